"""The text metrics: values worked out by hand, and the cases where there is no value."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.pure.metrics import (
    Value,
    acr,
    acr_upstream,
    bleu,
    bleu_characters_legacy,
    bleu_upstream,
    comparable,
    corpus_bleu,
    has_url,
    is_evasive,
    is_loop,
    is_verbose,
    stem,
    tokens,
    words,
)

CELL = "The mitochondrion makes most of the ATP in the cell."
LAW = "Courts may refuse to enforce a promise that has no consideration."
MONEY = "Inflation rises when the supply of money grows faster than output."
TEXTS = st.text(alphabet="abcde ATP6.\n", max_size=60)


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("It is the cell wall.", "cell wall", 1.0),
        ("It is the cell membrane.", "cell wall", 0.5),
        ("It is excellent, really.", "cell", 1.0),  # a substring counts: upstream's flaw
        ("blood", "blood or blood plasma", 2 / 3),  # duplicates count: blood, blood, plasma
        ("", "cell wall", 0.0),
    ],
)
def test_upstream_coverage_counts_long_terms_as_substrings(text: str, key: str, value: float):
    assert acr_upstream(text, key).value == pytest.approx(value)


@pytest.mark.parametrize("key", ["DNA", "6", "pH 7.4", "Na+ K+", ""])
def test_upstream_coverage_without_a_term_is_null_and_not_zero(key: str):
    assert acr_upstream("DNA at pH 7.4", key) == Value(None, "key_has_no_long_word")


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("It is excellent, really.", "cell", 0.0),  # whole tokens
        ("Enzymes increased it.", "an increasing enzyme", 1.0),  # stemmed, "an" is no term
        ("It is of the kind that is in the cell", "all of the cells", 1.0),
        ("blood", "blood or blood plasma", 0.5),  # distinct terms: blood, plasma
        ("DNA is copied.", "DNA", 1.0),
        ("It is RNA.", "DNA", 0.0),
        ("There are 6.", "6", 1.0),
        ("There are 6.5 of them", "6", 0.0),
        ("The charge is -6 here", "6", 0.0),
        ("the range 5-6", "6", 1.0),
        ("At pH 7.4 it works", "pH 7.4", 1.0),
        ("At pH 7 and 4 more", "pH 7.4", 0.0),
        ("So all of the above hold", "All of the above", 1.0),
        ("The above is all", "All of the above", 0.0),
        ("Take vitamin C", "vitamin B", 0.5),
        ("It is not essential", "essential", 1.0),
        ("It is essential", "not essential", 0.5),  # "not" is a term
        ("", "cell wall", 0.0),
    ],
)
def test_hardened_coverage_by_hand(text: str, key: str, value: float):
    assert acr(text, key).value == value


@pytest.mark.parametrize("key", ["", " ", "\u2192", "+"])
def test_coverage_is_null_only_for_a_key_without_a_word(key: str):
    assert acr("anything", key) == Value(None, "key_has_no_word")
    assert is_evasive("anything", key) == Value(None, "key_has_no_word")


@given(TEXTS.filter(lambda key: any(map(str.isalnum, key))), TEXTS, TEXTS)
def test_a_text_that_quotes_the_key_covers_it(key: str, before: str, after: str):
    assert acr(f"{before} {key} {after}", key).value == 1.0


@given(TEXTS, TEXTS)
def test_coverage_ignores_case_and_lies_in_the_unit_interval(text: str, key: str):
    value = acr(text, key)
    assert value == acr(text.upper(), key.lower())
    assert value.value is None or 0 <= value.value <= 1


def test_evasive_is_a_text_that_names_nothing_of_the_key():
    assert is_evasive("I do not know", "cell wall").value == 1.0
    assert is_evasive("", "cell wall").value == 1.0
    assert is_evasive("the wall", "cell wall").value == 0.0


def test_forms_of_one_word_share_a_stem_and_other_words_do_not():
    families = [
        ["increase", "increases", "increased", "increasing"],
        ["stop", "stops", "stopped", "stopping"],
        ["study", "studies"],
        ["virus", "viruses"],
        ["gas", "gases"],
        ["box", "boxes"],
        ["enzyme", "enzymes"],
        ["nucleus"],
        ["string"],
        ["bleed"],
    ]
    stems = [{stem(word) for word in family} for family in families]
    assert [len(s) for s in stems] == [1] * len(families)
    assert len(set().union(*stems)) == len(families)


def test_numbers_keep_sign_and_decimals_as_one_token():
    assert tokens("pH 7.4, \u22123 and 1,000 H\u2082O") == [
        "ph",
        "7.4",
        "-3",
        "and",
        "1,000",
        "h2o",
    ]


def test_words_are_split_on_white_space():
    assert words(" two\nwords ").value == 2.0
    assert words("").value == 0.0


def test_a_loop_is_a_six_gram_that_comes_back():
    six = "a b c d e f"
    assert is_loop(f"{six} and {six.upper()}").value == 1.0
    assert is_loop("a b c d e and a b c d e").value == 0.0
    assert is_loop("no " * 7).value == 1.0  # two overlapping 6-grams
    assert is_loop("no " * 6).value == 0.0
    assert is_loop("").value == 0.0


@pytest.mark.parametrize("text", ["see https://a.b", "at www.x.y", "on Example.com."])
def test_an_address_is_found(text: str):
    assert has_url(text).value == 1.0


@pytest.mark.parametrize("text", ["", "e.g. this", "at pH 7.4", "the end.Next one", "a.complete"])
def test_ordinary_text_has_no_address(text: str):
    assert has_url(text).value == 0.0


@pytest.mark.parametrize(
    ("characters", "entailed", "flag"),
    [(401, 0.049, 1.0), (400, 0.049, 0.0), (401, 0.05, 0.0), (9000, 0.0, 1.0), (0, 0.0, 0.0)],
)
def test_verbose_is_a_long_text_that_entails_next_to_nothing(
    characters: int, entailed: float, flag: float
):
    assert is_verbose("x" * characters, entailed) == Value(flag)
    assert is_verbose(" " * characters, entailed) == Value(flag)  # upstream counts characters


def test_bleu_of_the_same_text_is_one():
    for metric in (bleu, bleu_upstream, bleu_characters_legacy):
        assert metric(CELL, [CELL]).value == pytest.approx(1.0)
        assert metric(CELL, [LAW, CELL]).value == pytest.approx(1.0)
    assert corpus_bleu([CELL, LAW], [[CELL], [LAW]]).value == pytest.approx(1.0)


@pytest.mark.parametrize("metric", [bleu, bleu_upstream, bleu_characters_legacy])
def test_bleu_without_text_or_reference_is_null_and_not_zero(metric):
    assert metric(" ", [CELL]) == Value(None, "empty_text")
    assert metric(CELL, []) == Value(None, "no_reference")
    assert metric(CELL, ["", " "]) == Value(None, "no_reference")


def test_word_bleu_by_hand():
    # text a b c d e, reference a b c x y: 3/5 words, 2/4 pairs, 1/3 triples, none of 2 fours;
    # method 1 puts .1 for 0, equal lengths make no penalty
    expected = (3 / 5 * 2 / 4 * 1 / 3 * 0.1 / 2) ** 0.25
    assert bleu_upstream("a b c d e", ["a b c x y"]).value == pytest.approx(expected)


def test_word_bleu_of_a_short_text_by_hand():
    # "a b" against "a b c": 2/2, 1/1, then .1/1 twice for orders without an n-gram; e^(1-3/2)
    expected = math.exp(-0.5) * (0.1 * 0.1) ** 0.25
    assert bleu_upstream("a b", ["a b c"]).value == pytest.approx(expected)


def test_word_bleu_clips_repeated_words():
    # four times a, once in the reference: 1/4 words, 0/3, 0/2, 0/1
    expected = (1 / 4 * 0.1 / 3 * 0.1 / 2 * 0.1 / 1) ** 0.25
    assert bleu_upstream("a a a a", ["a x y z"]).value == pytest.approx(expected)


def test_word_bleu_without_a_common_word_is_a_measured_zero():
    assert bleu_upstream("a b c d", ["w x y z"]) == Value(0.0)


@given(*[st.lists(st.sampled_from("abcd"), min_size=4, max_size=9).map(" ".join)] * 2)
def test_word_bleu_agrees_with_sacrebleu_from_four_words_on(text: str, reference: str):
    from sacrebleu.metrics import BLEU

    scorer = BLEU(smooth_method="floor", smooth_value=0.1, tokenize="none", force=True)
    other = scorer.sentence_score(text, [reference]).score / 100
    found = bleu_upstream(text, [reference]).value
    if set(text.split()) & set(reference.split()):
        assert found == pytest.approx(other, abs=1e-9)


def test_character_bleu_of_unrelated_sentences_is_high_where_word_bleu_is_not():
    pairs = [(CELL, MONEY), (LAW, MONEY)]
    legacy = [bleu_characters_legacy(a, [b]).value for a, b in pairs]
    by_word = [bleu_upstream(a, [b]).value for a, b in pairs]
    assert all(value is not None and 0.1 < value < 0.25 for value in legacy)
    assert all(value is not None and value < 0.03 for value in by_word)


def test_character_bleu_by_hand():
    # "abcde" against "abcdx": 4/5, 3/4, 2/3, 1/2 -> product 1/5
    assert bleu_characters_legacy("abcde", ["abcdx"]).value == pytest.approx(0.2**0.25)


def test_corpus_bleu_sums_counts_before_dividing():
    # one long perfect text and one short wrong one: the mean of sentences would be about .5
    value = corpus_bleu(["a b c d e f g h i", "x y z w"], [["a b c d e f g h i"], ["k l m n"]])
    # 9/13, 8/11, 7/9, 6/7 at equal length
    assert value.value == pytest.approx((9 / 13 * 8 / 11 * 7 / 9 * 6 / 7) ** 0.25)


def test_corpus_bleu_takes_a_different_number_of_references_per_text():
    alone = corpus_bleu(["a b c", LAW], [["a b c d"], [LAW]])
    # another text's second reference must not add an empty one here, which would be nearest
    together = corpus_bleu(["a b c", LAW], [["a b c d", ""], [LAW, MONEY]])
    assert alone == together


def test_corpus_bleu_null_cases():
    assert corpus_bleu([], []) == Value(None, "no_text")
    assert corpus_bleu([CELL], [[" "]]) == Value(None, "no_reference")
    assert corpus_bleu([CELL, ""], [[CELL], [LAW]]).value is not None  # costs brevity instead
    with pytest.raises(ValueError, match="must align"):
        corpus_bleu([CELL], [])


@given(TEXTS, TEXTS)
def test_comparable_is_idempotent_and_ignores_case_and_space(a: str, b: str):
    assert comparable(comparable(a)) == comparable(a) == comparable(f" {a.upper()}\n")
    assert (comparable(a) == comparable(b)) == (a.lower().split() == b.lower().split())
