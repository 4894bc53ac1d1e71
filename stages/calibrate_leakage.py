"""What the limits of check_leakage find, and what they would find wrongly.

    stages/sample_course/, data/{questions,candidates,negatives}.parquet -> two tables on the screen

Questions: two of one fact ask the same, two of different facts do not. Texts: no training text
of the sample course is of a judge or test question, so whatever is near to one is a false
alarm; a copy with an opening, a closing or without its last word should be found. Not a stage:
only here and in evaluate may the facts be known.

    python -m stages.calibrate_leakage
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from schemas.candidates import Candidates
from schemas.negatives import Negatives
from schemas.questions import Questions
from stages.pure import leakage, oracle
from stages.pure.prompts import distinct_questions
from stages.runtime import artifacts, params
from stages.runtime.encoding import similarity
from stages.runtime.loading.profile import Encoder
from stages.runtime.run import start

FACTS_DIR = Path("stages/sample_course")
LIMITS = (0.65, 0.70, 0.75, 0.80, 0.85, 0.90, 0.92, 0.94, 0.96, 0.98)
EDITS: dict[str, Callable[[str], str]] = {  # harmless changes of a copied text
    "opening": lambda text: f"Clearly, {text}",
    "closing": lambda text: f"{text} I hope this helps.",
    "cut": lambda text: text.rsplit(maxsplit=1)[0],
}


def facts_of(questions: pd.DataFrame) -> np.ndarray:
    """The fact_id of each question (n,), empty where none matches."""
    tables = [
        pd.read_csv(path, dtype=str, keep_default_na=False)
        for path in sorted(FACTS_DIR.glob("facts_*.csv"))
    ]
    index = oracle.index(pd.concat(tables, ignore_index=True))
    found = [oracle.find_fact(index, row) for row in questions.to_dict("records")]
    return np.array(["" if fact is None else fact.fact_id for fact in found])


def question_table(rows: pd.DataFrame, encoder: Encoder) -> pd.DataFrame:
    """Per limit: share of same-fact pairs at or above it, and number of different-fact pairs."""
    texts, facts = leakage.question_texts(rows), facts_of(distinct_questions(rows))
    vectors = similarity.embed_parts(encoder, [texts.stem.tolist(), texts.key_text.tolist()])
    one, other = np.triu_indices(len(texts), k=1)
    known = (facts[one] != "") & (facts[other] != "")
    one, other = one[known], other[known]
    near = similarity.cosines(vectors, vectors)[one, other]
    same = facts[one] == facts[other]
    return pd.DataFrame(
        {
            "max_question_similarity": LIMITS,
            "same_fact_pairs_n": int(same.sum()),
            "found_frac": [(near[same] >= limit).mean() for limit in LIMITS],
            "different_fact_pairs_n": int((~same).sum()),
            "false_alarms_n": [int((near[~same] >= limit).sum()) for limit in LIMITS],
        }
    )


def text_table(
    rows: pd.DataFrame, tables: dict[str, pd.DataFrame], min_words: int, encoder: Encoder
) -> pd.DataFrame:
    """Per limit: training texts at or above it, and share of edited copies found."""
    held_out = leakage.student_texts(rows, min_words).text.tolist()
    others = similarity.embed(encoder, held_out)
    found: dict[str, object] = {"max_text_similarity": LIMITS}
    for name, table in tables.items():
        texts = leakage.training_texts(table, name, min_words).text.tolist()
        _, near = similarity.nearest(similarity.embed(encoder, texts), others)
        found[f"{name}_n"] = len(texts)
        found[f"{name}_false_alarms_n"] = [int((near >= limit).sum()) for limit in LIMITS]
    for name, edit in EDITS.items():
        copies = similarity.embed(encoder, [edit(text) for text in held_out])
        near = np.round((copies * others).sum(axis=1), similarity.DECIMALS)
        found[f"{name}_found_frac"] = [(near >= limit).mean() for limit in LIMITS]
    return pd.DataFrame(found)


def main() -> None:
    """Print recall and false alarms of both limits of check_leakage on the sample course."""
    given = params.declared("check_leakage@texts")
    encoder = params.section(Encoder, "encoder", given)
    min_words = int(given["check_leakage"]["min_text_words"])
    rows = artifacts.read(Questions)
    tables = {"candidates": artifacts.read(Candidates), "negatives": artifacts.read(Negatives)}
    for table in (question_table(rows, encoder), text_table(rows, tables, min_words, encoder)):
        print(table.to_string(index=False, float_format="%.3f"), end="\n\n")


if __name__ == "__main__":
    start(main)
