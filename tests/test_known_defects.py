"""Defects that were found in public code which builds preference pairs: none of them here.

Each docstring names where the defect was. Where the right place for a test is beside the code
that it tests, COVERED_BY says which test that is, and a test here checks that it still exists.
"""

import ast
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InputError
from schemas.evaluations import Evaluations
from schemas.preferences import Preferences
from schemas.questions import Questions
from schemas.scores import Scores
from stages.pure import comparison
from stages.pure.comparison import all_pairs
from stages.pure.scored import scoring
from stages.pure.winrates import from_both_orders, verdicts
from stages.runtime import artifacts
from stages.runtime.params import StageParams
from stages.runtime.sampling import shared_prefill
from stages.runtime.sampling.drawing import Decoding, Request
from stages.runtime.sheets import number
from tests import invented
from tests.imports import ROOT, tree
from tests.pipeline import stages

HOW = comparison.Resampling(100, 0.95, 13)

# defect -> tests that would fail with it
COVERED_BY = {
    "SimPO reward_model_annotate.py:79: pairs are written over the scores file": [
        "test_pipeline.py::test_every_schema_is_written_by_exactly_one_stage_per_file",
        "test_build_preferences.py::test_the_stage_writes_what_it_announces_and_leaves_its_inputs_alone",
    ],
    "SimPO reward_model_annotate.py, distilabel formatting/dpo.py: ties make pairs": [
        "test_build_preferences.py::test_equal_scores_make_no_pair_also_without_a_minimum_gap",
        "test_build_preferences.py::test_texts_that_differ_in_case_and_space_only_make_no_pair",
        "test_build_preferences.py::test_no_two_texts_beat_each_other",
    ],
    "SimPO post_process.py (#62): answers are merged by position": [
        "test_build_preferences.py::test_texts_and_scores_meet_by_id_and_not_by_position",
        "test_build_preferences.py::test_a_dropped_score_row_shifts_no_other",
        "test_explain_test.py::test_an_answer_goes_to_its_question",
    ],
    "open-instruct synthetic_preference_dataset.py:156: the first text is always chosen": [
        "test_build_preferences.py::test_the_higher_rewarded_text_is_chosen_wherever_it_stands",
    ],
    "Online-RLHF run_loop2.sh: eval_dir = train_dir": [
        "test_build_preferences.py::test_a_pair_whose_cluster_is_tested_is_named_although_its_question_is_not",
        "test_sample_candidates.py::test_only_train_questions_are_sampled",
        "test_evaluate.py::test_a_text_of_no_test_question_is_refused",
        "test_train_verifier.py::test_a_half_never_sees_the_questions_of_its_own_fold",
    ],
    "Strong-AI-Lab RL fork: a parse failure is -1, 0.0 or 3.0": [
        "test_score_candidates.py::test_a_text_that_is_too_long_is_null_and_not_zero",
        "test_evaluate.py::test_models_read_no_empty_text_and_it_is_null_not_zero",
        "test_build_preferences.py::test_an_unscored_text_is_in_no_pair_and_not_the_worst",
    ],
    "Strong-AI-Lab RL fork: a list of zeros stands for BERTScore": [
        "test_evaluate.py::test_bertscore_agrees_with_its_library_and_a_blank_text_has_none",
    ],
    "Strong-AI-Lab RL fork: unseeded evaluation at temperature 0.5": [
        "test_explain_test.py::test_the_same_seed_gives_the_same_bytes",
        "test_shared_prefill.py::test_torchs_own_random_numbers_are_neither_used_nor_moved",
    ],
    "Strong-AI-Lab RL fork: errors become silent drops": [
        "test_score_candidates.py::test_every_text_has_a_row_of_every_scorer",
        "test_pair_rules.py::test_a_reward_scorer_that_reads_less_than_half_stops_the_stage",
        "test_build_preferences.py::test_every_text_is_in_a_pair_or_in_drops_and_never_in_both",
    ],
    "Strong-AI-Lab RL fork: an API key on the command line": [
        "test_architecture.py::test_no_file_names_this_machine_or_a_registry_or_holds_a_key",
        "test_prepare_questions.py::test_a_secret_that_can_be_guessed_is_refused_and_not_shown",
    ],
}


@pytest.mark.parametrize("defect", COVERED_BY)
def test_a_known_defect_has_a_test(defect: str):
    for place in COVERED_BY[defect]:
        file, name = place.split("::")
        assert re.search(rf"^def {name}\(", (ROOT / "tests" / file).read_text(), re.M), place


# ---- who is chosen -----------------------------------------------------------------------


@pytest.mark.parametrize(("better", "verdict"), [(0, 1.0), (1, 0.0)])
def test_the_verdict_decides_in_both_places(better: int, verdict: float):
    """open-instruct synthetic_preference_dataset.py:156: its swap asks for "0" and "1" at once,
    is never done, and the first text is chosen whatever the judge says."""
    a_is_better = better == 0
    a_first, b_first = np.array([float(a_is_better)]), np.array([float(not a_is_better)])
    assert from_both_orders(a_first, b_first).verdicts.tolist() == [verdict]
    assert verdicts(np.array([1.0 if a_is_better else -1.0])).tolist() == [verdict]


PAIR = invented.preferences().iloc[[0]]


def refused(table: pd.DataFrame, schema: Any = Preferences) -> str:
    with pytest.raises(InputError) as error:
        artifacts.validate(schema, artifacts.conform(schema, table), Path("table"))
    return str(error.value)


def test_a_pair_of_equal_texts_cannot_be_written():
    """distilabel formatting/dpo.py: of equal ratings max and min are the same text."""
    assert "texts_differ" in refused(PAIR.assign(rejected=PAIR.chosen))


def test_a_pair_of_equal_scores_cannot_be_written():
    """SimPO reward_model_annotate.py:79: if all scores are equal, chosen is rejected."""
    tied = PAIR.assign(rejected_score=PAIR.chosen_score, score_gap=0.0)
    assert "score_gap" in refused(tied)


# ---- failures are no numbers -------------------------------------------------------------


@given(st.lists(st.sampled_from([0.0, 3.0, -1.0, np.nan, np.inf]), min_size=1, max_size=20))
def test_a_failure_is_null_with_a_reason_and_a_measured_zero_is_zero(outputs: list[float]):
    """Strong-AI-Lab RL fork: a failure is -1 in one script, 0.0 in another, 3.0 in a third."""
    numbers = np.array(outputs)
    found = scoring.model_values(numbers, np.zeros(len(numbers), dtype=bool))
    for value, number_ in zip(found, numbers, strict=True):
        is_known = bool(np.isfinite(number_))
        assert value.value == (number_ if is_known else None)
        assert (value.reason is None) is is_known


def test_a_failure_enters_no_mean():
    """open-instruct parse_preferences.py:33: parse failures of -1 enter the mean."""
    start = ("dpo", 13, "q1", "c1", "a", "sampled")
    rows: list[tuple] = [(*start, 0, "judge", "heldout", 4.0, None)]
    rows += [(*start, 1, "judge", "heldout", None, "too_long")]
    rows += [("dpo", 13, "q2", "c2", "a", "sampled", 0, "judge", "heldout", 2.0, None)]
    means = comparison.policy_means(invented.table(Evaluations, rows), HOW)
    overall = means[means.course == comparison.ALL].iloc[0]
    assert (overall["mean"], overall.null_n) == (3.0, 1)


@pytest.mark.parametrize("value", [0.0, -1.0, 3.0])
def test_a_placeholder_in_place_of_a_null_cannot_be_written(value: float):
    """Strong-AI-Lab RL fork: zeros are written where BERTScore was not computed."""
    table = invented.scores()
    failed = table[table.value.isna()]
    assert len(failed) == 1
    assert "a_null_has_a_reason" in refused(failed.assign(value=value), Scores)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1.0), ("1.0", 1.0), (" 1 ", 1.0), ("01", 1.0), ("5", 5.0), ("10", 10.0), ("", None)],
)
def test_a_rating_is_read_as_it_is_written(text: str, value: float | None):
    """UltraFeedback #8: the parser made 10 of a 1 in about 2,000 rows. Here 10 is no rating
    either: tests/test_exports.py, rating_above_5."""
    assert number(text) == value


def test_no_score_is_read_out_of_a_text():
    """UltraFeedback #8, and every judge that prints a number: our scorers return numbers."""
    for path in [*Path("stages/scorers").glob("*.py"), Path("stages/runtime/classifiers.py")]:
        calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
        names = {ast.unparse(call.func) for call in calls}
        assert not {name for name in names if name.startswith("re.")}, path


# ---- every text at its place -------------------------------------------------------------


def network() -> Any:
    """A model with random weights."""
    import torch
    import transformers

    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 64}
    sizes |= {"num_hidden_layers": 1}
    sizes |= {"num_attention_heads": 2, "num_key_value_heads": 2, "initializer_range": 0.3}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes)).eval()


def answers(prompts: list[list[int]], how: Decoding, rows: int) -> list[list[int]]:
    """Token ids, each prompt with a seed of its own."""
    requests = [Request(prompt, how, seed=i) for i, prompt in enumerate(prompts)]
    decoded = shared_prefill.decode(network(), requests, rows, max_new_tokens=9, ends=[])
    found = dict(answer for ended in decoded for answer in ended)
    return [found[i] for i in range(len(prompts))]


@pytest.mark.parametrize("prompts_n", [1, 7, 8, 9])
def test_the_last_prompts_are_answered_too(prompts_n: int):
    """Online-RLHF gen_hf2.py: integer division drops the prompts that fill no batch."""
    prompts = [[2 + i] * (1 + i % 3) for i in range(prompts_n)]
    greedy = Decoding(None, 0, 1.0, 1.0)
    found = answers(prompts, greedy, rows=4)
    assert found == [answers([prompt], greedy, rows=4)[0] for prompt in prompts]
    assert len({tuple(tokens) for tokens in found}) == prompts_n  # each to its own prompt


def test_every_answer_of_an_evaluation_is_seeded():
    """Strong-AI-Lab RL fork: the evaluation samples at temperature 0.5 without a seed."""
    import torch

    prompts, how = [[2 + i % 3] for i in range(9)], Decoding(0.5, 0, 1.0, 1.0)
    torch.manual_seed(1)
    first = answers(prompts, how, rows=4)
    torch.manual_seed(2)
    assert answers(prompts, how, rows=4) == first
    assert len({tuple(tokens) for tokens in first}) == 9  # equal prompts have other seeds


def test_two_policies_are_compared_by_question_and_not_by_position():
    """SimPO post_process.py (#62): rows of two files are merged by position."""
    rows = [
        (policy, 13, f"q{q}", f"c{q}", "a", "sampled", 0, "judge", "heldout", value, None)
        for policy, values in (("dpo", [1.0, 2.0, 3.0, 5.0]), ("sft", [1.0, 2.0, 3.0]))
        for q, value in enumerate(values)
    ]
    table = invented.table(Evaluations, rows)
    for order in (table, table[::-1], table.sample(frac=1, random_state=1)):
        found = comparison.comparisons(all_pairs(order, ["judge"]), ["judge"], HOW)
        overall = found[found.course == comparison.ALL].iloc[0]
        assert (overall.difference, overall.questions_n) == (0.0, 3)


# ---- what is trained on is not tested on, and what is read exists ------------------------


def test_a_cluster_of_both_splits_cannot_be_written():
    """Online-RLHF run_loop2.sh: the folder of evaluation is the folder of training."""
    table = invented.questions()
    leaking = table.assign(cluster_id=table.cluster_id.replace("c4", "c1"))
    assert "a_cluster_has_one_split_and_one_fold" in refused(leaking, Questions)


def test_no_stage_reads_what_it_writes():
    """Online-RLHF run_loop2.sh, SimPO reward_model_annotate.py:79: paths that are one and the
    same."""
    for stage in stages().values():
        assert stage.deps & stage.outs == set(), stage.name


COMMANDS = sorted((ROOT / "stages").glob("*.py"))


def is_our_module_params(node: ast.AST) -> bool:
    """Whether it is `from stages.runtime import params`."""
    if not isinstance(node, ast.ImportFrom) or node.module != "stages.runtime":
        return False
    return "params" in {alias.name for alias in node.names}


def read_parameters(module: ast.Module) -> set[str]:
    """x of every `run.params.x`, and of `params.x` unless `params` is our module."""
    nodes = [*ast.walk(module)]
    is_module = any(is_our_module_params(node) for node in nodes)
    return {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute)
        and (
            (isinstance(node.value, ast.Attribute) and node.value.attr == "params")
            or (isinstance(node.value, ast.Name) and node.value.id == "params" and not is_module)
        )
    }


def test_parameters_are_found_and_the_module_of_that_name_is_none():
    reading = "a = run.params.one, params.two, other.three"
    assert read_parameters(ast.parse(reading)) == {"one", "two"}
    imported = "from stages.runtime import params\n" + reading
    assert read_parameters(ast.parse(imported)) == {"one"}
    a_class = "from stages.runtime.params import StageParams\n" + reading
    assert read_parameters(ast.parse(a_class)) == {"one", "two"}


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.stem)
def test_a_stage_reads_only_parameters_that_it_declares(path: Path):
    """open-instruct parse_preferences.py:33: reads args.command, which no parser defines."""
    import importlib

    module = importlib.import_module(f"stages.{path.stem}".removesuffix(".__init__"))
    declared = getattr(module, "Params", None)
    if declared is None or not issubclass(declared, StageParams):
        return
    own = {field.name for field in fields(declared)}
    assert read_parameters(tree(path.relative_to(ROOT))) <= own


SECRET = re.compile(r"(?:^|_|-)(?:key|token|secret|password)s?(?:$|_|-)", re.I)


def options(path: Path) -> set[str]:
    """The names of what a command takes from its command line."""
    mains = [n for n in tree(path.relative_to(ROOT)).body if isinstance(n, ast.FunctionDef)]
    return {arg.arg for node in mains if node.name == "main" for arg in node.args.args}


def test_no_secret_is_taken_from_the_command_line():
    """Strong-AI-Lab RL fork: the API key is an option, so it is in every list of processes."""
    taken = {name for path in COMMANDS for name in options(path)}
    assert {"item", "sql", "profile"} <= taken  # the search finds what there is
    assert [name for name in taken if SECRET.search(name)] == []
    assert [
        s.cmd for s in stages().values() if re.search(r"--?\w*(?:key|token|secret)", s.cmd)
    ] == []
    assert SECRET.search("api_key")
