"""An API's model as a policy: what leaves, which answers count, and what it is compared on."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from anthropic import transform_schema

from schemas.errors import InputError
from schemas.explanations import NO_TRAINING, Explanations
from schemas.questions import Questions
from schemas.synthetic import POSITIVE
from stages import explain_test_api as stage
from stages.pure import comparison, measurements, privacy, synthesis
from stages.pure.prompts import distinct_questions, render_prompt
from stages.pure.stats import Resampling
from stages.runtime import artifacts, params, store, tracking
from stages.runtime.asking import asker
from stages.runtime.run import start
from tests import invented
from tests.test_synthesize import API, KEY
from tests.tiny_models import course
from tests.vendor_shapes import asked_of, limit_of
from tests.vendors import Fault as F
from tests.vendors import Vendors, always, at_first, status, vendors

SECTION: dict[str, Any] = {
    "provider": "none",
    "model": "gpt-4o",
    "base_url": None,
    "answer_format": "json_schema",
    "temperature": None,
    "max_tokens": 200,
    "max_asks": 2,
    "max_questions": None,
    "budget_usd": 5.0,
    "is_batch": False,
}
CLAUDE = API["prices"][0] | {"provider": "anthropic", "model": "claude-haiku-4-5"}
PRICED = API | {"prices": [*API["prices"], CLAUDE]}
TEST_N = 6  # test questions of the course
Run = Callable[..., pd.DataFrame]


def data_of(user: str) -> Any:
    return json.loads(user.split("<data>")[1].split("</data>")[0])


def answer(system: str, user: str, schema: dict[str, Any] | None) -> str:
    """A text that names the key."""
    asked = data_of(user)
    key = asked["options"][asked["right option"]]
    return json.dumps({"reasoning": "so", "explanation": f"It is {key} for a good reason."})


def sent(server: Vendors, provider: Any = "openai") -> list[tuple[Any, ...]]:
    """What the server was asked, in an order of its own, as `printed` has it."""
    bodies = [one.body for one in server.asked()]
    rows = [(*asked_of(provider, b), limit_of(b), b.get("temperature")) for b in bodies]
    return sorted(rows, key=repr)


def printed(out: str, provider: str = "openai") -> list[tuple[Any, ...]]:
    """System, user, schema, max_tokens and temperature of each line of a dry run."""
    fields = ("system", "user", "schema", "max_tokens", "temperature")
    asks = [json.loads(line) for line in out.splitlines()]
    if provider == "anthropic":  # whose client leaves out the type where the values are listed
        asks = [one | {"schema": one["schema"] and transform_schema(one["schema"])} for one in asks]
    return sorted((tuple(one[name] for name in fields) for one in asks), key=repr)


def estimates(told: str) -> tuple[float, ...]:
    """Requests, those not answered yet, likely and worst dollars and the cap, as printed."""
    pattern = r"(\d+) requests to \S+ \S+, (\d+) of them not answered yet: about ([\d.]+) dollars, "
    match = re.search(pattern + r"([\d.]+) at most if none is asked twice; cap ([\d.]+)\.", told)
    assert match
    return tuple(map(float, match.groups()))


def of(stem: str, fault: F) -> Callable[[str, int], F | None]:
    """A plan: every request about the question with this stem goes wrong."""
    return lambda user, nth: fault if stem in user else None


@pytest.fixture
def rows() -> pd.DataFrame:
    return course()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: pd.DataFrame) -> Run:
    """Run the stage in a workspace; the table that it wrote."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tracking, "record", lambda *args: None)
    monkeypatch.setattr(asker, "FIRST_WAIT", 0.01)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)

    def once(
        server: Vendors | None = None, provider: str = "openai", dry: bool = False, **changes: Any
    ) -> pd.DataFrame:
        section = SECTION | changes
        if server:
            section |= {"provider": provider, "base_url": server.url_of(provider)}
        monkeypatch.setattr(params, "declared", lambda name: {stage.NAME: section, "api": PRICED})
        artifacts.write(Questions, rows)
        stage.main(dry)
        return artifacts.read(Explanations, "api") if not dry else pd.DataFrame()

    return once


def report() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(f"reports/{stage.NAME}.json").read_text())
    return found


# ---- the default, and what is asked --------------------------------------------------------


def test_without_a_provider_there_is_an_empty_table_and_no_key_is_needed(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("OPENAI_API_KEY")
    assert run().empty
    assert "no model is asked" in capsys.readouterr().err
    assert report() == {"metrics": {"questions_n": 0}}


def test_each_test_question_has_one_answer_that_counts_as_sampled(run: Run, rows: pd.DataFrame):
    with vendors(answer=answer) as server:
        table = run(server)
        assert len(server.bills) == TEST_N
        read, written = server.tokens()
    test = distinct_questions(rows[rows.split == "test"])
    assert table.question_id.tolist() == test.question_id.tolist()
    assert table.cluster_id.tolist() == test.cluster_id.tolist()
    assert set(table.policy) == {"api"}
    assert set(table.decoding) == {"sampled"}
    assert set(table.training_seed) == {NO_TRAINING}
    assert table.is_final.all()
    assert table.is_stopped.all()
    assert table.explanation.str.endswith("for a good reason.").all()
    numbers = report()["metrics"]
    assert (numbers["questions_n"], numbers["answered_n"]) == (TEST_N, TEST_N)
    assert (numbers["input_tokens"], numbers["output_tokens"]) == (read, written)
    assert table.tokens_n.sum() == written
    assert numbers["cost_usd"] == pytest.approx((2.5 * read + 10 * written) / 1e6)
    assert report()["details"] == {"model": "openai gpt-4o"}


def test_what_is_asked_is_the_reasoned_positive_without_samples(run: Run, rows: pd.DataFrame):
    with vendors(answer=answer) as server:
        run(server)
        bodies = [one.body for one in server.asked()]
    stems = {data_of(body["messages"][1]["content"])["question"] for body in bodies}
    assert stems == set(rows.stem[rows.split == "test"])
    for body in bodies:
        system, user = (one["content"] for one in body["messages"])
        assert system == synthesis.system_text(POSITIVE, None, "json_schema")
        assert user.count("<data>") == 1
        assert [*data_of(user)] == ["question", "options", "right option"]
        schema = body["response_format"]["json_schema"]["schema"]
        assert schema == synthesis.schema_of(POSITIVE)
    sent = json.dumps(bodies)
    for own in ("finds its food", "I think", "zoo/", "q14", "c14"):  # students, ids
        assert own not in sent


def test_a_model_that_only_continues_gets_our_own_prompt_and_may_be_cut(
    run: Run, rows: pd.DataFrame
):
    with vendors(answer=lambda *_: "It is so. " * 20) as server:
        table = run(server, answer_format="plain", max_tokens=10)
        users = {one.body["messages"][-1]["content"] for one in server.asked()}
        assert len(server.bills) == TEST_N  # and is not asked again
        assert all(len(one.body["messages"]) == 1 for one in server.asked())
    test = distinct_questions(rows[rows.split == "test"])
    assert users == {render_prompt(row) for row in test.to_dict("records")}
    assert not table.is_stopped.any()
    assert report()["metrics"]["stopped_frac"] == 0


def test_an_option_with_personal_data_keeps_its_question_back(run: Run, rows: pd.DataFrame):
    own = rows.question_id == "q14"
    rows.loc[own, "option_b"] = "ann.lee@uni.example"
    rows.loc[rows.question_id == "q15", "stem"] = "Ask ann.lee@uni.example where it lives."
    with vendors(answer=answer) as server:
        table = run(server)
        assert "ann.lee" not in json.dumps([one.body for one in server.asked()])
    assert "q14" not in set(table.question_id)
    numbers = report()["metrics"]
    assert (numbers["kept_back_n"], numbers["masked_email_n"]) == (1, 1)
    assert numbers["questions_n"] == TEST_N - 1


@pytest.mark.parametrize("is_batch", [False, True])
def test_another_vendor_answers_the_same_questions_singly_or_in_a_batch(run: Run, is_batch: bool):
    with vendors(answer=answer, polls=0) as server:
        table = run(server, "anthropic", model="claude-haiku-4-5", is_batch=is_batch)
        assert len(server.bills) == len(table) == TEST_N
    assert report()["details"] == {"model": "anthropic claude-haiku-4-5"}


def test_a_limit_takes_the_first_by_a_digest_and_more_takes_the_same_again(run: Run):
    with vendors(answer=answer) as server:
        two = set(run(server, max_questions=2).question_id)
        assert len(server.bills) == len(two) == 2
        assert two < set(run(server, max_questions=4).question_id)
        assert len(server.bills) == 4


# ---- what is shown before it is sent -------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "changes"),
    [
        ("openai", {"temperature": 0.5}),
        ("openai", {"answer_format": "tag", "max_questions": 4}),
        ("openai", {"answer_format": "plain"}),
        ("anthropic", {"model": "claude-haiku-4-5"}),
    ],
)
def test_a_dry_run_prints_exactly_what_is_then_sent_and_needs_no_key(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    provider: str,
    changes: dict[str, Any],
):
    with vendors(answer=lambda *_: "Because. EXPLANATION: because.") as server:
        with monkeypatch.context() as without:
            for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
                without.delenv(name)
            run(server, provider, dry=True, **changes)
        shown = capsys.readouterr()
        assert server.seen == []
        assert not Explanations.path("api").exists()
        assert not Path("reports").exists()
        run(server, provider, max_asks=1, **changes)
        assert printed(shown.out, provider) == sent(server, provider)
    names = [json.loads(line)["name"] for line in shown.out.splitlines()]
    assert len(names) == changes.get("max_questions", TEST_N)
    found = store.opened().find(asker.KIND, names)
    assert {row["reply"]["text"] for row in found.values()} == {"Because. EXPLANATION: because."}
    assert set(found) == set(names)


def test_a_dry_run_tells_the_cost_and_what_is_masked(
    run: Run, rows: pd.DataFrame, capsys: pytest.CaptureFixture[str]
):
    rows.loc[rows.question_id == "q15", "stem"] = "Ask ann.lee@uni.example where it lives."
    with vendors(answer=answer) as server:
        run(server, dry=True)
        told = capsys.readouterr()
        assert "ann.lee" not in told.out
        asked, new, likely, worst, cap = estimates(told.err)
        assert (asked, new, cap) == (TEST_N, TEST_N, 5)
        assert 0 < likely < worst
        assert "Masked in what is sent: {'email': 1}. Nothing was sent." in told.err
        run(server, max_questions=2)
        assert report()["metrics"]["cost_usd"] < worst
        assert estimates(capsys.readouterr().err)[:2] == (2, 2)  # told before they are asked
        run(server, dry=True)
        again = capsys.readouterr()
    asked, new, less, _, _ = estimates(again.err)
    assert (asked, new) == (TEST_N, TEST_N - 2)
    assert less < likely
    assert again.out == told.out  # those of a first run, answered or not


def test_requests_that_masking_makes_equal_are_shown_and_counted_once(
    run: Run, rows: pd.DataFrame, capsys: pytest.CaptureFixture[str]
):
    asked = ["stem", *privacy.OPTIONS, "options_n", "key"]
    one, other = rows.question_id == "q14", rows.question_id == "q15"
    for name in asked:
        rows.loc[other, name] = rows.loc[one, name].iloc[0]
    rows.loc[one, "stem"] = "Ask ann.lee@uni.example where it lives."
    rows.loc[other, "stem"] = "Ask bo.ek@uni.example where it lives."
    with vendors(answer=answer) as server:
        run(server, dry=True)
        shown = capsys.readouterr()
        assert len(run(server)) == TEST_N
        assert printed(shown.out) == sent(server)
    assert len(shown.out.splitlines()) == estimates(shown.err)[0] == TEST_N - 1


def test_the_estimate_is_told_before_anything_is_asked(
    run: Run, capsys: pytest.CaptureFixture[str]
):
    refused = pytest.raises(InputError, match="OPENAI_API_KEY")
    with vendors(answer=answer, plan=always(status(401, "bad key"))) as server, refused:
        run(server)
    assert estimates(capsys.readouterr().err)[:2] == (TEST_N, TEST_N)


def test_a_dry_run_without_a_provider_says_so(run: Run, capsys: pytest.CaptureFixture[str]):
    run(dry=True)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "explain_test_api.provider is none: nothing would be sent.\n"


def test_a_dry_run_refuses_what_a_run_refuses(run: Run):
    for changes in ({"answer_format": "tags"}, {"budget_usd": -1.0}, {"model": "gpt-5"}):
        with vendors() as server, pytest.raises(InputError):
            run(server, dry=True, **changes)


def test_the_dry_run_is_an_option_of_the_command(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run()  # leaves the workspace as it is
    monkeypatch.setattr("sys.argv", [stage.NAME, "--dry-run"])
    with pytest.raises(SystemExit) as ended:
        start(stage.main)
    assert ended.value.code == 0
    assert "nothing would be sent" in capsys.readouterr().err


# ---- what is no answer ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "reason", "bills"),
    [
        (F("refusal"), "refused", 1),
        (F("length"), "cut_off", 2),
        (F("empty"), "unparsed", 2),
        (status(422, "no"), "rejected", 0),
    ],
)
def test_a_question_without_an_answer_is_counted_and_has_no_row(
    run: Run, caplog: pytest.LogCaptureFixture, fault: F, reason: str, bills: int
):
    with vendors(answer=answer, plan=of("owl", fault)) as server:
        table = run(server)
        assert len(server.bills) == TEST_N - 1 + bills
    assert len(table) == TEST_N - 1
    assert "q14" not in set(table.question_id)  # the owl
    numbers = report()["metrics"]
    assert (numbers["questions_n"], numbers["answered_n"]) == (TEST_N, TEST_N - 1)
    assert numbers[f"{reason}_n"] == 1
    assert f"1 without an answer: {{'{reason}_n': 1}}" in caplog.text


def test_an_answer_of_another_form_is_asked_for_again_and_its_tokens_count(run: Run):
    with vendors(answer=answer, plan=at_first(F("empty"))) as server:
        table = run(server)
        assert len(server.bills) == 2 * TEST_N
        read, written = server.tokens()
    assert len(table) == TEST_N
    assert report()["metrics"]["input_tokens"] == read
    assert table.tokens_n.sum() == written


def test_beyond_the_budget_nothing_is_asked_and_the_rest_has_no_row(run: Run):
    with vendors(answer=answer) as server:
        table = run(server, budget_usd=0.0)
        assert server.bills == []
        assert table.empty
        assert report()["metrics"]["over_budget_n"] == TEST_N
        assert "mean_words" not in report()["metrics"]
        whole = run(server)  # the cap is raised: what is missing is asked for
    assert len(whole) == TEST_N


def test_a_second_run_pays_nothing_and_writes_the_same_bytes(run: Run):
    paths = [Explanations.path("api"), Path(f"reports/{stage.NAME}.json")]
    with vendors(answer=answer, plan=of("owl", F("refusal"))) as server:
        run(server)
        first, bills = [path.read_bytes() for path in paths], len(server.bills)
        run(server)
        assert len(server.bills) == bills
    assert [path.read_bytes() for path in paths] == first


def test_a_key_that_is_refused_ends_the_run_and_writes_nothing(run: Run):
    refused = pytest.raises(InputError, match="OPENAI_API_KEY")
    with vendors(answer=answer, plan=always(status(401, "bad key"))) as server, refused:
        run(server)
    assert not Explanations.path("api").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"answer_format": "json"}, r"explain_test_api.answer_format: unknown 'json'"),
        ({"max_tokens": 0}, r"explain_test_api.max_tokens: 0. Give 1 or more"),
        ({"max_asks": 0}, r"explain_test_api.max_asks: 0"),
        ({"max_questions": 0}, r"explain_test_api.max_questions: 0"),
        ({"budget_usd": -1.0}, r"explain_test_api.budget_usd: -1.0. Give 0 or more"),
        ({"budget_usd": float("nan")}, r"explain_test_api.budget_usd: nan"),
        ({"model": None}, r"explain_test_api.model"),
        ({"model": "gpt-5"}, r"api.prices has no price of openai 'gpt-5'"),
    ],
)
def test_parameters_that_cannot_be_meant_are_refused(run: Run, changes: dict, said: str):
    with vendors(answer=answer) as server:
        with pytest.raises(InputError, match=said):
            run(server, **changes)
        assert server.seen == []


def test_a_course_without_test_rows_is_refused(run: Run, rows: pd.DataFrame):
    rows.loc[rows.split == "test", "split"] = "train"
    with vendors(answer=answer) as server, pytest.raises(InputError, match="split 'test'"):
        run(server)


# ---- the policy beside the others ----------------------------------------------------------

HOW = Resampling(samples=200, level=0.95, seed=13)


def evaluated(values: dict[tuple[str, int], list[float | None]]) -> pd.DataFrame:
    """Evaluations by the judge: policy and training -> values of q0, q1, ...; None = no text."""
    rows = [
        (policy, seed, f"q{i}", f"c{i}", "zoo", "sampled", 0, "judge", "heldout", value, None)
        for (policy, seed), found in values.items()
        for i, value in enumerate(found)
        if value is not None
    ]
    columns = [*measurements.KEY, "metric", "role", "value", "reason"]
    return pd.DataFrame(rows, columns=columns)


def test_only_questions_that_both_policies_answered_are_compared():
    # api answered q0 and q2: dpo has (4 + 2) / 2 and (3 + 3) / 2 there, api 2 and 5
    values: dict[tuple[str, int], list[float | None]] = {
        ("dpo", 13): [4.0, 1.0, 3.0],
        ("dpo", 14): [2.0, 1.0, 3.0],
        ("api", NO_TRAINING): [2.0, None, 5.0],
    }
    pairs = comparison.all_pairs(evaluated(values), [])
    (row,) = comparison.comparisons(pairs, ["judge"], HOW).to_dict("records")
    assert (row["policy_a"], row["policy_b"], row["decoding"]) == ("dpo", "api", "sampled")
    assert (row["questions_n"], row["clusters_n"], row["seeds_n"]) == (2, 2, 2)
    assert (row["mean_a"], row["mean_b"], row["difference"]) == (3.0, 3.5, -0.5)
    of_seeds = comparison.seed_comparisons(pairs, HOW)
    assert of_seeds.training_seed.tolist() == [13, 14]
    assert of_seeds.difference.tolist() == [0.0, -1.0]  # (2 - 2), (0 - 2) are halved
    means = comparison.policy_means(evaluated(values), HOW).query("course == 'all'")
    assert means.set_index("policy").questions_n.to_dict() == {"dpo": 3, "api": 2}
    assert means.set_index("policy")["mean"]["api"] == 3.5  # not 7 / 3: no answer is no zero


def test_no_answer_at_all_leaves_every_comparison_as_it_was():
    values: dict[tuple[str, int], list[float | None]] = {
        ("dpo", 13): [4.0, 1.0, 3.0],
        ("sft", 13): [3.0, 2.0, 1.0],
    }
    without = comparison.comparisons(comparison.all_pairs(evaluated(values), []), ["judge"], HOW)
    assert without.policy_b.tolist() == ["sft"]
    texts = [invented.explanations(policy) for policy in ("student", "dpo")]
    empty = artifacts.empty(Explanations)
    pd.testing.assert_frame_equal(
        measurements.final_texts(invented.questions(), [*texts, empty]),
        measurements.final_texts(invented.questions(), texts),
    )


def test_tokens_of_an_api_are_not_ours_and_its_end_is_known():
    tables = [invented.explanations(policy) for policy in ("dpo", "api")]
    texts = measurements.final_texts(invented.questions(), tables)
    found = measurements.endings(texts)
    assert texts.policy.tolist() == ["api", "api", "dpo", "dpo"]
    assert [one.reason for one in found["tokens"]] == ["other_tokens"] * 2 + [None] * 2
    assert [one.value for one in found["stopped"]] == [1.0] * 4
