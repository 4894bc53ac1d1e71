"""What a student typed becomes plain text, and a row is used or rejected, never lost."""

import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.questions import LETTERS
from schemas.rejects import REASONS, Rejects
from stages.pure.cleaning import OPTIONS, TEXTS, plain_text, sort_out
from stages.pure.tiers import waterfall
from stages.runtime.artifacts import conform


def raw_row(row_id: str = "bio/1", **changes: Any) -> dict[str, object]:
    """A row that passes every filter, changed."""
    row: dict[str, object] = {"row_id": row_id, "course": "bio", "source_file": "bio.csv"}
    row |= {"source_row": 1, "stem": "What makes ATP?", "explanation": "It does."}
    row |= {name: f"part {name[-1]}" for name in OPTIONS} | {"options_n": "5", "key": "A"}
    row |= {"rating_mean": 3.5, "ratings_n": 20.0, "is_deleted": False}
    return row | changes


def sorted_out(*rows: dict[str, object]) -> tuple[pd.DataFrame, pd.DataFrame]:
    return sort_out(pd.DataFrame(rows), min_ratings=10)


def reason_of(**changes: Any) -> str | None:
    """Why a row with these changes is rejected."""
    usable, rejects = sorted_out(raw_row(**changes))
    assert len(usable) + len(rejects) == 1
    return rejects.reason.iloc[0] if len(rejects) else None


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One</p><p>two<br>three</p>", "One two three"),
        ("mito<b>chond</b>rion", "mitochondrion"),
        ("CO<sub>2</sub>", "CO2"),
        ("10<sup>3</sup> m<sup>-1</sup>", "10^3 m^-1"),
        ("Ca<sup>2+</sup>, x<sub>i+1</sub>, e<sup>a b</sup>", "Ca^2+, x_(i+1), e^(a b)"),
        ("the 1<sup>st</sup> law", "the 1st law"),
        ("pH &lt; 7 &amp; rising&nbsp;&eacute;", "pH < 7 & rising é"),
        ("&amp;lt;", "&lt;"),  # one layer of entities, not two
        ("a\u00a0\t b\n", "a b"),
        ("soft\u00adhyphen zero\u200bwidth", "softhyphen zerowidth"),
        ("caf\u00c3\u00a9 don\u00e2\u20ac\u2122t", "café don't"),  # UTF-8 read as something else
        ("a<b and c>d, p<0.05 & x < y", "a<b and c>d, p<0.05 & x < y"),
        ("if (a<b) {c>d}", "if (a<b) {c>d}"),
        ("x<y <i>and</i> y<z <i>too</i>", "x<y and y<z too"),
        ("<span lang=EN-US style='color:red'>red</span><o:p></o:p>", "red"),
        ("<!-- word --><style>p {}</style>text<![endif]>", "text"),
        ("what does <script> do?", "what does <script> do?"),
        ("&lt;b&gt; makes text bold", "<b> makes text bold"),
        ("<td nowrap>one</td><td>two</td>", "one two"),
        ("NA", "NA"),
        ("aa and Aa", "aa and Aa"),
        ("", ""),
    ],
)
def test_html_becomes_the_text_a_reader_saw(html: str, text: str):
    assert plain_text(html) == text


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("<>&/;bpsu "))))
def test_plain_text_is_one_line_that_can_be_stored(text: str):
    found = plain_text(text)
    assert found == " ".join(found.split())
    found.encode()  # no lone surrogate, which no file could hold


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        (None, {}),
        ("question_is_nan", {"stem": "nan"}),
        ("has_image", {"stem": 'see <IMG src="a.png">'}),
        ("has_image", {"option_e": "<img src=a>"}),
        ("has_image", {"stem": f'<img src="data:image/png;base64,{"A1b/" * 60_000}">'}),
        ("has_image", {"option_e": "<img src=a>", "options_n": "4"}),  # as in the prior code
        ("has_image", {"explanation": "<p><img/></p>"}),
        ("few_ratings", {"ratings_n": 9.0}),
        (None, {"ratings_n": 10.0}),
        (None, {"ratings_n": math.nan}),
        ("deleted", {"is_deleted": True}),
        ("empty_explanation", {"explanation": ""}),
        ("empty_explanation", {"explanation": "nan"}),
        ("empty_explanation", {"explanation": "<p>&nbsp;</p>"}),
        ("options_count", {"options_n": "6"}),
        ("options_count", {"options_n": "0"}),
        ("options_count", {"options_n": "-1"}),
        ("options_count", {"options_n": "4.5"}),
        ("options_count", {"options_n": ""}),
        (None, {"options_n": "4.0"}),
        (None, {"options_n": "1"}),
        ("empty_option", {"option_b": " "}),
        ("empty_option", {"option_b": "nan"}),
        (None, {"option_e": "", "options_n": "4"}),
        ("duplicate_options", {"option_b": "<b>part</b> a"}),
        (None, {"option_b": "Part A"}),  # case may be all that differs: aa, Aa
        ("key_not_an_option", {"key": "E", "options_n": "4"}),
        ("key_not_an_option", {"key": "F"}),
        ("key_not_an_option", {"key": ""}),
        ("key_not_an_option", {"key": "AB"}),
        (None, {"key": " b "}),
        ("empty_stem", {"stem": "<br>"}),
        (None, {"stem": "NaN, in a program, is what?"}),
        (None, {"rating_mean": 0.5}),  # rated low, and kept for the verifier
        (None, {"explanation": "Short."}),
    ],
)
def test_each_reason_has_its_rows(reason: str | None, changes: dict[str, Any]):
    assert reason_of(**changes) == reason


def test_a_row_is_counted_at_the_first_filter_that_it_fails():
    wrong: dict[str, dict[str, Any]] = {
        "question_is_nan": {"stem": "nan"},
        "has_image": {"option_a": "<img>"},
        "few_ratings": {"ratings_n": 1.0},
        "deleted": {"is_deleted": True},
        "empty_explanation": {"explanation": " "},
        "empty_option": {"option_c": ""},
        "duplicate_options": {"option_e": "part d"},
        "key_not_an_option": {"key": "?"},
    }
    names = [name for name in REASONS if name in wrong]
    assert len(names) == len(wrong)
    for i, name in enumerate(names):
        changes: dict[str, Any] = {}
        for later in names[i:]:
            changes |= wrong[later]
        assert reason_of(**changes) == name


def test_a_usable_row_holds_what_the_filters_promise():
    usable, _ = sorted_out(
        raw_row(options_n="3", key=" c", explanation="<p>Two</p><p>words</p>"),
        raw_row("bio/2", ratings_n=math.nan, rating_mean=math.nan),
    )
    first = usable.iloc[0]
    assert first.options_n == 3
    assert first.key == "C"
    assert first.explanation == "Two words"
    assert first.explanation_words_n == 2
    assert usable[["option_d", "option_e"]].iloc[0].isna().all()
    assert usable.ratings_n.tolist() == [20, 0]


def test_the_mean_of_no_ratings_is_null():
    row = raw_row(ratings_n=0.0, rating_mean=0.0)
    usable, _ = sort_out(pd.DataFrame([row]), min_ratings=0)
    assert usable.rating_mean.isna().all()


def test_a_reject_holds_no_word_of_a_student():
    secret = "Zyzzyva"
    rows = [
        raw_row("bio/1", key=secret),
        raw_row("bio/2", options_n=secret),
        raw_row("bio/3", stem=f"<img>{secret}"),
        raw_row("bio/4", option_a=secret, option_b=secret),
    ]
    usable, rejects = sorted_out(*rows)
    assert usable.empty
    assert len(rejects) == 4
    assert secret.lower() not in rejects.to_csv().lower()


WEIRD = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", "nan", "<img src=x>", "<p></p>", "&nbsp;", "a<b", "<sup>2</sup>", "x"]),
)
COURSE = {"course": st.sampled_from(["bio", "law"])}
CELLS = dict.fromkeys(TEXTS, WEIRD) | {
    "options_n": st.sampled_from(["", "0", "1", "2", "4", "5", "6", "5.0", "five", "٣", "nan"]),
    "key": st.one_of(st.sampled_from([*LETTERS, "a", " E", "F", "", "AB"]), st.text()),
    "ratings_n": st.sampled_from([math.nan, 0.0, 9.0, 10.0, 500.0]),
    "rating_mean": st.sampled_from([math.nan, 0.0, 2.9, 5.0]),
    "is_deleted": st.booleans(),
}
ROWS = st.lists(st.fixed_dictionaries(COURSE | CELLS), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None)
@given(ROWS, st.sampled_from([0, 10]))
def test_every_row_of_any_table_is_used_or_rejected_and_counted(rows: list[dict], min_ratings: int):
    table = [raw_row(f"{r['course']}/{i}", source_row=i + 1) | r for i, r in enumerate(rows)]
    raw = pd.DataFrame(table)
    usable, rejects = sort_out(raw, min_ratings)
    assert sorted([*usable.row_id, *rejects.row_id]) == sorted(raw.row_id)
    Rejects.validate(conform(Rejects, rejects))
    for row in usable.to_dict("records"):
        given_options = [row[name] for name in OPTIONS[: row["options_n"]]]
        assert all(given_options)
        assert len(set(given_options)) == row["options_n"]
        assert row["key"] in LETTERS[: row["options_n"]]
        assert row["stem"]
        assert row["explanation_words_n"] >= 1
    nothing = pd.DataFrame(index=usable.index)
    for course, steps in waterfall(raw, rejects, usable, nothing).items():
        assert steps[0] == ["export", int((raw.course == course).sum())]
        assert steps[-1][1] == (usable.course == course).sum()
