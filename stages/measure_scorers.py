"""Measure the judge or the entailment scorer on a file that people judged.

    FILE (ratings of explanations), encoder                    -> a table on the screen
    FILE (premises and hypotheses), encoder, models/entailment -> a table on the screen

The judge's recipe is trained on 80 % of the groups of FILE and measured on the rest, beside the
word count and a bag of words. With --pairs the entailment scorer of this checkout is measured
as it is, beside one that sees the hypothesis alone. Which group is on which side is a hash of
its name. Not a stage: nothing is kept, and no stage reads FILE.

    python -m stages.measure_scorers ratings.csv
    python -m stages.measure_scorers ratings.parquet --rating mean_rating --only source=copa
    python -m stages.measure_scorers pairs.parquet --pairs
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from schemas.errors import InputError
from stages.pure import baselines, measured_scorers
from stages.pure.scored.claims import Claim, claim_key
from stages.runtime import params, rated_files
from stages.runtime.encoding import alignment
from stages.runtime.loading.profile import Encoder
from stages.runtime.run import start
from stages.scorers import entailment

STAGE = "train_verifier@judge"  # the stage whose encoder is used
PAIRS = ["premise", "hypothesis"]


def claims(rows: pd.DataFrame) -> list[Claim]:
    """The key of each row's question, as the judge reads it."""
    return [claim_key(row) for row in rows.to_dict("records")]


def judged(known: pd.DataFrame, asked: pd.DataFrame, how: Encoder) -> pd.DataFrame:
    """`asked` with the predictions of the judge's recipe and a bag of words, fitted on `known`."""
    weights = known.ratings_n.clip(lower=1).to_numpy(float)
    texts = known.explanation.tolist(), asked.explanation.tolist()
    examples = alignment.Examples(
        claims(known),
        texts[0],
        known.rating.to_numpy(float),
        weights / weights.mean(),
        known.group.to_numpy(),
    )
    judge, _ = alignment.fit("rating", how, examples)
    names = {"rating": "question_rating_mean", "ratings_n": "question_ratings_n"}
    table = known.rename(columns={**names, "group": "cluster_id"})
    return asked.assign(
        judge=judge.ratings(claims(asked), texts[1]),
        bag_of_words=baselines.ridge(texts[0], table, texts[1]),
    )


def measured_judge(rows: pd.DataFrame, path: Path, gap: float, percent: int, how: Encoder) -> str:
    """The report on the judge's recipe."""
    is_test = measured_scorers.is_held_out(rows.group, percent)
    known, asked = rows[~is_test], rows[is_test]
    for name, side in (("train", known), ("test", asked)):
        if side.group.nunique() < 2:
            raise InputError(
                f"{path}: {side.group.nunique()} group(s) to {name} on, of {rows.group.nunique()}; "
                "two are needed. Add rows, or name another --group or --test-percent."
            )
    found = judged(known, asked.reset_index(drop=True), how)
    table = measured_scorers.ratings(found, "judge", ["words", "bag_of_words"], gap)
    said = f"{path}: trained on {len(known)} rows, measured on {len(asked)}, pairs {gap:g} apart"
    return f"{said}.\n\n{measured_scorers.markdown(table)}"


def measured_entailment(sheet: pd.DataFrame, path: Path, label: str, how: Encoder) -> str:
    """The report on the entailment scorer, as it is and retrained on the file's own pairs."""
    rows = pd.DataFrame({"group": sheet.premise, "label": sheet[label].str.strip() == "entailment"})
    if rows.label.nunique() < 2 or rows.group.nunique() < 2:
        raise InputError(
            f"{path}: {int(rows.label.sum())} of {len(rows)} rows are 'entailment' in {label}; "
            "both kinds are needed, and two premises. Name another --label."
        )
    premises, truth, groups = sheet.premise.tolist(), rows.label.to_numpy(), rows.group.to_numpy()
    asked: list[Claim] = [(text, text, text) for text in sheet.hypothesis]  # no stem, no option
    rows["entailment"] = entailment.probabilities(asked, premises)
    rows["hypothesis_only"] = measured_scorers.bag_of_words(
        sheet.hypothesis.tolist(), truth, groups
    )
    rows["retrained"] = retrained(asked, premises, truth, groups, how)
    names = ["hypothesis_only", "retrained"]
    table = measured_scorers.labelled(rows, "entailment", names)
    said = f"{path}: {len(rows)} pairs, {truth.sum()} of them entailed"
    return f"{said}.\n\n{measured_scorers.markdown(table)}"


def retrained(
    asked: list[Claim], premises: list[str], truth: np.ndarray, groups: np.ndarray, how: Encoder
) -> np.ndarray:
    """P(entailed) (n,) of the same recipe, learned from pairs of other premises."""
    from sklearn.model_selection import GroupKFold

    found = np.full(len(asked), np.nan)
    folds = GroupKFold(min(measured_scorers.FOLDS, len(set(groups))))
    for there, here in folds.split(truth, groups=groups):
        known = [asked[i] for i in there], [premises[i] for i in there]
        examples = alignment.Examples(
            *known, truth[there].astype(int), np.ones(len(there)), groups[there]
        )
        scorer, _ = alignment.fit("entailment", how, examples)
        texts = [asked[i] for i in here], [premises[i] for i in here]
        found[here] = scorer.probabilities(*texts)
    return found


def main(
    file: Annotated[Path, typer.Argument(help=".csv, .csv.gz, .xlsx or .parquet.")],
    pairs: Annotated[bool, typer.Option("--pairs", help="FILE holds premise, hypothesis.")] = False,
    rating: Annotated[str, typer.Option(help="Column of the mean rating, 0 to 5.")] = "avg_rating",
    count: Annotated[
        str | None, typer.Option(help="Column of the number of ratings: a row's weight.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Column of related questions. Default: each question.")
    ] = None,
    label: Annotated[str, typer.Option(help="With --pairs: 'entailment', or other.")] = "label",
    only: Annotated[str | None, typer.Option(help="Rows with COLUMN=VALUE alone.")] = None,
    gap: Annotated[float, typer.Option(min=0.01, help="Least difference of a pair.")] = 1.0,
    test_percent: Annotated[int, typer.Option(min=1, max=99, help="Groups to test on.")] = 20,
) -> None:
    """Measure the judge's recipe on rated explanations, or the entailment scorer on pairs.

    Columns of ratings: question, altA to altE, answer (a letter), explanation and the rating.
    Columns of --pairs: premise, hypothesis and the label.

    python -m stages.measure_scorers ratings.csv --count total_ratings --group topic

    python -m stages.measure_scorers pairs.parquet --pairs --only source=snli
    """
    columns = [name for name in (count, group) if name is not None]
    needed = PAIRS if pairs else [*rated_files.TEXTS, rating]
    sheet = rated_files.read(file, [*needed, *([label] if pairs else columns)], only)
    how = params.section(Encoder, "encoder", params.declared(STAGE))
    if pairs:
        print(measured_entailment(sheet, file, label, how))
    else:
        rows = rated_files.rated_rows(sheet, file, rating, count, group)
        print(measured_judge(rows, file, gap, test_percent, how))


if __name__ == "__main__":
    start(main)
