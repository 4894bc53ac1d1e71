"""What a large language model makes goes the whole route, in a copy of the working tree.

The copy is that of tests/micro_route.py; the model is a server on this machine.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from schemas.candidates import Candidates
from schemas.drops import Drops
from schemas.negatives import Negatives
from schemas.preferences import Preferences
from schemas.scores import Scores
from schemas.synthetic_questions import FIRST_DROPPED, NEW, REPHRASED, SyntheticQuestions
from stages.benches.workspace import set_values
from tests.micro_route import run
from tests.test_synthetic_questions import answer as question_of
from tests.vendor_shapes import sentence
from tests.vendors import vendors

pytest_plugins = ["tests.micro_route"]
pytestmark = pytest.mark.route

KEY = "-".join(["sk", "planted", "for", "the", "route"])  # this file is in the copy too
ASKED: dict[str, Any] = {
    "provider": "openai",
    "model": "gpt-4o",
    "max_questions": 8,
    "kinds.inverted_logic": 1,
    "kinds.confused_concept": 0,
    "kinds.malgorithm": 1,
    f"kinds.{REPHRASED}": 1,
    f"kinds.{NEW}": 1,
    "ratio_rephrase": 0.0,
    "ratio_new": 0.0,
    "only_explained_below": 1.0,
    "rounds": 2,
}


def answer(system: str, user: str, schema: dict[str, Any] | None) -> str:
    """A question, or a text that names the key."""
    assert schema is not None
    if "options" in schema["properties"]:
        return question_of(system, user, schema)
    asked = json.loads(user.split("<data>")[1].split("</data>")[0])
    text = f"It is {asked['options'][asked['right option']]}. {sentence(system, user)}"
    return json.dumps(dict.fromkeys(schema["properties"], text))


def read(copy: Path, schema: Any) -> pd.DataFrame:
    return pd.read_parquet(copy / schema.path())


def test_questions_and_texts_are_learned_sampled_scored_and_paired(micro_route: Path):
    before = json.loads((micro_route / "reports/train_sft.json").read_text())["metrics"]
    with vendors(answer=answer, key=KEY) as server:
        asked = {f"synthesize.{name}": value for name, value in ASKED.items()}
        asked |= {"synthesize.base_url": server.url_of("openai")}
        # each question is sampled for, so that the synthetic ones are
        asked |= {"sample_candidates.max_questions": None}
        set_values(micro_route / "params.yaml", asked)
        done = run(micro_route, "dvc", "repro", "train_dpo", OPENAI_API_KEY=KEY)
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
        bills = len(server.bills)
        again = run(micro_route, "dvc", "repro", "train_dpo", OPENAI_API_KEY=KEY)
        assert "didn't change" in again.stdout
        assert len(server.bills) == bills
    made = read(micro_route, SyntheticQuestions)
    assert len(made) == 2 * 2 * 8  # kinds, rounds, sources
    used = made[made.reason.isna()]
    assert set(used.kind) == {REPHRASED, NEW}
    after = json.loads((micro_route / "reports/train_sft.json").read_text())["metrics"]
    assert after["plain_n"] == before["plain_n"] + len(used)
    candidates = read(micro_route, Candidates)
    own = candidates[candidates.question_id.isin(used.question_id)]
    assert set(own.question_id) == set(used.question_id)
    assert own.groupby("question_id").origin.agg(list).map(sorted).tolist() == [
        ["sft", "sft", "synthetic"]
    ] * len(used)
    assert set(used.question_id) <= set(read(micro_route, Negatives).question_id)
    texts = {*zip(own.question_id, own.candidate_index, strict=True)}
    scores = read(micro_route, Scores)
    assert texts <= {*zip(scores.question_id, scores.candidate_index, strict=True)}
    pairs, drops = read(micro_route, Preferences), read(micro_route, Drops)
    placed = {*zip(drops.question_id, drops.candidate_index, strict=True)}
    assert (drops.candidate_index >= FIRST_DROPPED).sum() == made.reason.notna().sum()
    for side in ("chosen_index", "rejected_index"):
        placed |= {*zip(pairs.question_id, pairs[side], strict=True)}
    assert texts <= placed
    assert pairs.question_id.isin(used.question_id).any()
    files = [path for path in micro_route.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) > 300
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
