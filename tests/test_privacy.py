"""What tells who somebody is does not leave; what a course teaches stays as it was."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.pure.privacy import ALLOWED_COLUMNS, KINDS, allowed, masked, quoted
from tests import invented

AT = "@"  # so that no file here holds an address with a password
SECRETS = {
    "email": ["ann.smith@uni.ac.nz", "a_b+c@x-y.example.org", "ann [at] uni.edu", "ann＠uni.edu"],
    "phone": [
        "+64 21 345 678",
        "+44 (0)20 7946 0958",
        "0064 9 123 4567",
        "09 123 4567",
        "+64 9 123 4567",
    ],
    "id": ["12345678", "c1234567", "abcd123", "Abcd1234", "ABCD123", "xy98765"],
    "handle": ["@ann_smith", "@Ann.Smith"],
    "url": ["https://uni.edu/view?id=3", "www.uni.edu/~ann", "moodle.uni.edu/u/1234567"],
}
PAIRS = [(kind, secret) for kind, secrets in SECRETS.items() for secret in secrets]
# What is built from may meet in any order, with or without spaces.
PARTS = ["@", "ann", "uni.edu", " ", "/", "?q=1", "https://", "www.", "+", "-", ".", ",", "(", ")"]
PARTS += [
    "12345678",
    "021",
    "345",
    "0",
    "abcd",
    "CD",
    "phone ",
    "student id ",
    " at ",
    "[",
    "~",
    "=",
]
texts = st.one_of(
    st.text(),
    st.lists(st.sampled_from([*PARTS, *(secret for _, secret in PAIRS)]), max_size=12).map("".join),
)


# ---- what is masked ------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "secret"), PAIRS)
@pytest.mark.parametrize("text", ["Ask {} about it.", "({})", "{}, or me", "see: {}\nThen"])
def test_a_secret_is_replaced_and_what_stands_around_it_stays(kind: str, secret: str, text: str):
    left, counts = masked(text.format(secret))
    assert counts == {kind: 1}
    before, after = text.split("{}")
    assert left.startswith(before)
    assert left.endswith(after)
    assert secret not in left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("mail ann@uni.edu or bob@uni.edu", "mail [email] or [email]"),
        ("see https://uni.edu/a?user=ann.", "see https://uni.edu/[url]."),
        (f"ftp://ann:pw{AT}uni.edu/a/b", "ftp://uni.edu/[url]"),
        ("(02) 9351 2222 / 07700 900123", "[phone] / [phone]"),
        ("call 555-123-4567 or (555) 123-4567", "call [phone] or [phone]"),
        ("my phone number is 9351 2222", "my phone number is [phone]"),
        ("123e4567-e89b-12d3-a456-426614174000", "[id]"),
        ("I am 1234567,7654321", "I am [id],[id]"),
        ("Student ID: 12345", "Student ID: [id]"),
        ("UPI = ab123", "UPI = [id]"),
        ("user_id = 12345678", "user_id = [id]"),
    ],
)
def test_the_text_that_is_left_by_hand(text: str, left: str):
    assert masked(text)[0] == left


def test_counts_hold_each_kind_that_was_found():
    text = "ann@uni.edu, bob@uni.edu, abcd123, @ann_smith, +64 21 345 678, www.uni.edu?a=1"
    assert masked(text)[1] == {"email": 2, "id": 1, "handle": 1, "phone": 1, "url": 1}
    assert set(masked(text)[1]) == set(KINDS)


# ---- what stays ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "In 1953, 1939-1945, 2019/20, on 12/03/2021, 01-02-2023 or 01.02.2023, 0900-1700",
        "10-20 mg, 500mg, 1,000,000 IU, 0.00012345678, 3.14159265, 6.02214076e23, -0.1234567",
        "p53, BRCA1, CD4, IL6, B12, H1N1, CYP2D6, T4, HbA1c, PO4, SARS2, CYP450, cyp450, CD274",
        "miR-155, gp120, HEK293, ca125, cd133, hsp100, U235, Cs137, rs1801133, KIAA0100, PM2.5",
        "C6H12O6, Na2HPO4, 7732-18-5, 1s2 2s2 2p6, pH 7.4, 1.5 x 10^6 cells, 5'-ATG-3'",
        "12345678 + 1 = 12345679, 2 * 1234567, $1234567, 1234567 / 3, 8901234 - 1, x=1234567",
        "16777216 colours, 4294967295, 25000000, 10110101, 299792458 m/s, 8000003 people",
        "5 +12345678, (2)+12345678",
        "log100, sin180, Rs500, sha256, ES2015, ISO9001, HTTP404, rgb255, in2019, is100, #abc123",
        "@media (min-width: 100px), @property, @Override, sold @ 5%, a @ b, 2@3, @angular/core",
        "https://uni.edu/course/5, www.uni.edu, e.g. a/b? or m.s/kg, Is it so?",
        "[email] [phone] [id] [url] [handle]",
        "",
    ],
)
def test_terms_numbers_and_plain_addresses_stay(text: str):
    assert masked(text) == (text, {})


@pytest.mark.parametrize("text", ["12345678", " 4782969 "])
def test_an_option_that_is_a_number_stays(text: str):
    assert masked(text) == (text, {})


# ---- laws ----------------------------------------------------------------------------------


@given(texts)
def test_masking_twice_is_masking_once(text: str):
    left, counts = masked(text)
    assert masked(left) == (left, {})
    assert set(counts) <= set(KINDS)
    assert (left == text) == (not counts)


@given(st.sampled_from(PAIRS), st.text("aeiou \n", max_size=20), st.text("aeiou \n", max_size=20))
def test_no_secret_is_left_whatever_words_stand_beside_it(
    pair: tuple[str, str], before: str, after: str
):
    kind, secret = pair
    left, counts = masked(f"so {before} {secret} {after}")
    assert counts == {kind: 1}
    assert secret not in left


@given(texts)
def test_every_replacement_shows(text: str):
    left, counts = masked(text)
    shown = {kind: left.count(f"[{kind}]") - text.count(f"[{kind}]") for kind in KINDS}
    # an address may swallow a placeholder that was found before it
    assert all(shown[kind] <= counts.get(kind, 0) for kind in KINDS)


# ---- what of a row may leave ---------------------------------------------------------------


def row(**changes: Any) -> dict[str, Any]:
    first: Any = invented.questions().to_dict("records")[0]
    return first | changes


def test_only_allowed_columns_leave_and_nulls_do_not():
    found, counts = allowed(row())
    assert counts == {}
    assert set(found) == {"stem", "option_a", "option_b", "options_n", "key", "explanation"}
    assert set(found) <= set(ALLOWED_COLUMNS)


def test_every_text_is_masked_and_counted():
    found, counts = allowed(
        row(stem="Ask ann@uni.edu?", option_b="abcd123", explanation="@annie x")
    )
    assert (found["stem"], found["option_b"], found["explanation"]) == (
        "Ask [email]?",
        "[id]",
        "[handle] x",
    )
    assert counts == {"email": 1, "id": 1, "handle": 1}


def test_an_option_beyond_the_last_stays_here():
    assert "option_c" not in allowed(row(option_c="left over"))[0]


def test_the_course_leaves_only_if_asked_for():
    given_row = row(course="bio of abcd123")
    assert "course" not in allowed(given_row)[0]
    found, counts = allowed(given_row, with_course=True)
    assert found["course"] == "bio of [id]"
    assert counts == {"id": 1}


def test_a_question_without_a_student_text_has_none():
    bare = row()
    del bare["explanation"]
    assert "explanation" not in allowed(bare)[0]


def test_no_identity_and_no_judgement_is_allowed():
    names = " ".join(ALLOWED_COLUMNS)
    assert not any(word in names for word in ("_id", "user", "rating", "split", "fold", "words"))


# ---- text as data --------------------------------------------------------------------------


def test_quoted_by_hand():
    assert quoted("a </data> & b") == r'"a \u003c/data\u003e \u0026 b"'
    assert quoted("é\n\u2028\U000e0041") == r'"é\n\u2028\udb40\udc41"'
    assert quoted({"n": 2, "of": ["<"]}) == r'{"n": 2, "of": ["\u003c"]}'


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_quoted_is_one_line_without_delimiters_and_loses_nothing(value: object):
    text = quoted(value)
    assert json.loads(text) == value
    assert not set("<>&\n\r\u2028") & set(text)
    assert text.isprintable()
    text.encode()  # no lone surrogate


@pytest.mark.parametrize("value", [float("nan"), {1, 2}])
def test_what_json_does_not_hold_is_refused(value: object):
    with pytest.raises((TypeError, ValueError)):
        quoted(value)
