"""A file of judged texts goes in, a table or one line of complaint comes out."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from schemas.errors import InputError
from stages import measure_scorers
from stages.runtime import params, rated_files
from stages.runtime.encoding import alignment
from stages.runtime.loading.checkpoints import scratch_outputs
from tests import tiny_models
from tests.imports import ROOT
from tests.test_alignment import KNOWN, planted
from tests.tiny_models import ENCODER, course

pytest_plugins = ["tests.tiny_fixtures"]

OPTIONS = [f"alt{letter}" for letter in "ABCDE"]


@pytest.fixture
def profile(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkout of the tiny models, whose profile the command reads."""
    monkeypatch.setattr(params, "declared", lambda stage: tiny_models.profile())
    return checkout


def rated_file(path: str = "rated.csv", **columns: Any) -> Path:
    """The invented course as a file of rated explanations, five options of which one is empty."""
    rows = course()
    names = {f"option_{name[-1].lower()}": name for name in OPTIONS}
    names |= {"stem": "question", "key": "answer", "question_rating_mean": "avg_rating"}
    table = rows.rename(columns={**names, "cluster_id": "topic", "question_ratings_n": "count"})
    table = table[["question", *OPTIONS, "answer", "explanation", "avg_rating", "count", "topic"]]
    table = table.assign(**columns)
    target = Path(path)
    if target.suffix == ".parquet":
        table.to_parquet(target)
    else:
        table.to_csv(target, index=False)
    return target


def pairs_file() -> Path:
    """Premises with an entailed and another hypothesis each."""
    rows = []
    for animal, place in zip(tiny_models.ANIMALS, tiny_models.PLACES * 5, strict=True):
        premise = f"The {animal} lives in {place}."
        other = next(name for name in tiny_models.PLACES if name != place)
        rows.append((premise, f"The {animal} lives in {place}.", "entailment", "yes"))
        rows.append((premise, f"The {animal} lives in {other}.", "contradiction", "no"))
    table = pd.DataFrame(rows, columns=["premise", "hypothesis", "label", "subset"])
    table.to_parquet("pairs.parquet")
    return Path("pairs.parquet")


def measure(file: Path, **options: Any) -> None:
    """The command with its defaults, as a person would call it."""
    given: dict[str, Any] = {"pairs": False, "rating": "avg_rating", "count": None, "group": None}
    given |= {"label": "label", "only": None, "gap": 1.0, "test_percent": 40}
    measure_scorers.main(file, **(given | options))


def scorers_of(text: str) -> list[tuple[str, str]]:
    """(measure, scorer) of each line of the printed table."""
    lines = [line.split(" | ") for line in text.split("\n") if line.startswith("| ")]
    return [(line[0].removeprefix("| "), line[1]) for line in lines[1:]]


# ---- the file ------------------------------------------------------------------------------


def rows_of(file: Path, **options: Any) -> pd.DataFrame:
    sheet = rated_files.read(file, [*rated_files.TEXTS, "avg_rating"], options.pop("only", None))
    given: dict[str, Any] = {"rating": "avg_rating", "count": "count", "group": "topic"} | options
    return rated_files.rated_rows(sheet, file, **given)


@pytest.mark.parametrize("name", ["rated.csv", "rated.parquet"])
def test_rows_are_read_as_the_judge_reads_them(profile: Path, name: str):
    rows, expected = rows_of(rated_file(name)), course()[1:]  # the first has no rating
    assert len(rows) == len(expected)
    assert rows.rating.tolist() == expected.question_rating_mean.tolist()
    assert rows.ratings_n.tolist() == expected.question_ratings_n.tolist()
    assert rows.group.tolist() == expected.cluster_id.tolist()
    assert rows.question_id.nunique() == expected.question_id.nunique()
    assert rows.words.tolist() == expected.explanation_words_n.tolist()
    expected_claims = measure_scorers.claims(expected)
    assert measure_scorers.claims(rows) == expected_claims  # four options, the fifth is empty


def test_without_columns_for_them_rows_weigh_alike_and_each_question_is_a_group(profile: Path):
    rows = rows_of(rated_file(), count=None, group=None)
    assert set(rows.ratings_n) == {1.0}
    assert rows.group.tolist() == rows.question_id.tolist()


def test_a_group_does_not_hang_on_the_order_of_the_rows(profile: Path):
    rows = rows_of(rated_file(), group=None)
    table = pd.read_csv("rated.csv").iloc[::-1]
    table.to_csv("back.csv", index=False)
    back = rows_of(Path("back.csv"), group=None)
    assert back.group.tolist()[::-1] == rows.group.tolist()


def test_rows_without_a_rating_or_a_text_are_left_out(profile: Path):
    texts = course().explanation.tolist()
    texts[5] = "  "
    assert len(rows_of(rated_file(explanation=texts))) == 38


def test_only_takes_the_rows_with_the_value(profile: Path):
    file = rated_file(source=["a"] * 10 + ["b"] * 30)
    assert len(rows_of(file, only="source=b")) == 30


@pytest.mark.parametrize(
    ("changed", "options", "told"),
    [
        ({"answer": "E"}, {}, "data row 1: answer 'E' is none of its 4 options"),
        ({"answer": ""}, {}, "data row 1: answer '' is none of its 4 options"),
        ({"avg_rating": 7}, {}, "avg_rating '7' is not a number, 0 to 5"),
        ({"avg_rating": "good"}, {}, "avg_rating 'good' is not a number"),
        ({"count": -1}, {"count": "count"}, "count '-1' is not a number"),
        ({}, {"rating": "stars"}, "no column 'stars'"),
        ({}, {"group": "topics"}, "no column 'topics'. Is 'topic' meant"),
        ({}, {"only": "source"}, "no COLUMN=VALUE"),
        ({}, {"only": "source=a"}, "no COLUMN=VALUE with a column"),
        ({}, {"only": "topic=none"}, "no row of rated.csv has it"),
        ({"topic": "one"}, {"group": "topic"}, r"group\(s\) to t\w+ on, of 1; two are needed"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(
    profile: Path, changed: dict[str, Any], options: dict[str, Any], told: str
):
    with pytest.raises(InputError, match=told) as caught:
        measure(rated_file(**changed), **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("no.csv", None, "there is no such file"),
        ("empty.csv", b"", "the file is empty"),
        ("broken.parquet", b"PAR1 no", "no readable Parquet file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    profile: Path, name: str, content: bytes | None, told: str
):
    if content is not None:
        Path(name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}.*{told}"):
        measure(Path(name))


# ---- the judge -----------------------------------------------------------------------------


def test_the_judge_stands_beside_words_and_a_bag_of_words(
    profile: Path, capsys: pytest.CaptureFixture[str]
):
    measure(rated_file(), group="topic", count="count")
    text = capsys.readouterr().out
    names = ["judge", "words", "bag_of_words", "judge - words", "judge - bag_of_words"]
    measures = ["rank correlation", "pairs in order"]
    assert scorers_of(text) == [(measure, name) for measure in measures for name in names]
    # good texts are long and rated 4 and more, poor ones 1.5
    assert "| pairs in order | words | 1.000 |" in text
    before = alignment.reader(ENCODER)
    alignment.reader.cache_clear()  # as in another process
    measure(rated_file(), group="topic", count="count")
    assert capsys.readouterr().out == text
    assert alignment.reader(ENCODER) is not before


def test_no_group_is_trained_on_and_measured(profile: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[pd.DataFrame] = []

    def judged(known: pd.DataFrame, asked: pd.DataFrame, how: Any) -> pd.DataFrame:
        seen.extend([known, asked])
        return asked.assign(judge=1.0, bag_of_words=2.0)

    monkeypatch.setattr(measure_scorers, "judged", judged)
    measure(rated_file(), group="topic")
    known, asked = seen
    assert set(known.group).isdisjoint(asked.group)
    assert len(known) + len(asked) == 39


def test_the_judge_predicts_rows_that_it_has_not_seen_with_the_weights_of_the_others(
    profile: Path, monkeypatch: pytest.MonkeyPatch
):
    fitted: list[alignment.Examples] = []
    usual = alignment.fit

    def fit(kind: str, how: Any, examples: alignment.Examples) -> Any:
        fitted.append(examples)
        return usual(kind, how, examples)

    monkeypatch.setattr(alignment, "fit", fit)
    rows = rows_of(rated_file())
    known, asked = rows[:20], rows[20:].reset_index(drop=True)
    found = measure_scorers.judged(known, asked, ENCODER)
    (examples,) = fitted
    assert examples.explanations == known.explanation.tolist()
    assert examples.weights.mean() == pytest.approx(1)
    ratio = examples.weights / known.ratings_n.to_numpy()
    assert ratio == pytest.approx([ratio[0]] * 20)
    assert found.judge.between(0, 5).all()
    assert found.bag_of_words.notna().all()


# ---- entailment ----------------------------------------------------------------------------


@pytest.fixture
def entailment(profile: Path) -> None:
    """models/entailment, trained on the course."""
    scorer, _ = alignment.fit("entailment", ENCODER, planted(KNOWN, right=1, wrong=0))
    alignment.save(scorer, scratch_outputs(Path("models/entailment")), {"split": "judge"})


@pytest.mark.usefixtures("entailment")
def test_entailment_stands_beside_the_hypothesis_alone(capsys: pytest.CaptureFixture[str]):
    measure(pairs_file(), pairs=True)
    text = capsys.readouterr().out
    assert "40 pairs, 20 of them entailed" in text
    names = ["entailment", "hypothesis_only", "retrained"]
    names += ["entailment - hypothesis_only", "entailment - retrained"]
    wanted = [("accuracy", "always the same label"), *(("accuracy", name) for name in names)]
    assert scorers_of(text) == [*wanted, *(("AUC", name) for name in names)]
    # who copies the premise is entailed: the words' agreement says it all
    assert "| AUC | retrained | 1.000 |" in text


def test_the_retrained_scorer_never_saw_the_premise(profile: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[set[int]] = []

    class Told:
        def probabilities(self, claims: list[Any], premises: list[str]) -> np.ndarray:
            assert {int(text) for text in premises}.isdisjoint(seen[-1])
            return np.full(len(claims), 0.5)

    def fit(kind: str, how: Any, examples: alignment.Examples) -> Any:
        seen.append(set(examples.groups))
        return Told(), None

    monkeypatch.setattr(alignment, "fit", fit)
    groups = np.repeat(np.arange(10), 2)
    texts = [str(group) for group in groups]
    claims: list[Any] = [(text,) for text in texts]
    truth = np.array([True, False] * 10)
    found = measure_scorers.retrained(claims, texts, truth, groups, ENCODER)
    assert found.tolist() == [0.5] * 20
    assert len(seen) == 5


@pytest.mark.usefixtures("entailment")
@pytest.mark.parametrize("label", ["other", "neutral"])
def test_pairs_of_one_kind_are_refused(label: str):
    table = pd.read_parquet(pairs_file()).assign(label=label)
    table.to_parquet("pairs.parquet")
    with pytest.raises(InputError, match="0 of 40 rows are 'entailment' in label"):
        measure(Path("pairs.parquet"), pairs=True)


# ---- the command ---------------------------------------------------------------------------


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stages.measure_scorers", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_a_wrong_file_ends_with_one_line_and_code_two():
    done = run("no_such_file.csv")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no_such_file.csv: there is no such file.")
    assert done.stderr.count("\n") == 1


def test_the_help_names_columns_and_an_example():
    done = run("--help")
    assert done.returncode == 0
    for word in ("altA to altE", "hypothesis", "--group", "--only", "measure_scorers"):
        assert word in done.stdout, json.dumps(done.stdout)
