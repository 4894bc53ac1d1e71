"""How far two texts agree, by hand; and the linear heads that read it from a frozen encoder."""

from collections.abc import Callable
from dataclasses import replace
from math import cos, log, sin
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InputError
from stages.pure.prompts import distractor_texts
from stages.pure.scored.claims import Claim, claim, claim_key
from stages.runtime.encoding import alignment, encoder, heads
from stages.runtime.encoding.agreement import (
    ENTAILMENT,
    FEATURES,
    Vectors,
    agreement,
    bare,
    features,
)
from stages.runtime.encoding.alignment import (
    Examples,
    Reader,
    Scorer,
    fit,
    load,
    reader,
    save,
    windows,
)
from stages.runtime.loading import checkpoints
from stages.runtime.loading.checkpoints import scratch_outputs
from tests.tiny_models import ANIMALS, ENCODER, course, tree_bytes

pytest_plugins = ["tests.tiny_fixtures"]

# ---- agreement -----------------------------------------------------------------------------

EAST, NORTH, WEST, BETWEEN = (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.6, 0.8)


def vectors(whole: tuple[float, float], *tokens: tuple[float, float]) -> Vectors:
    return Vectors(np.array(whole), np.array(tokens).reshape(-1, 2))


def test_agreement_by_hand():
    part = vectors(EAST, EAST, EAST, BETWEEN, NORTH)
    explanation = vectors(BETWEEN, EAST, *[BETWEEN] * 4, WEST)
    # nearest of each token of the part: 1, 1, 1 and, from NORTH to BETWEEN, 0.8;
    # nearest of each token of the explanation: 1 five times and, from WEST to NORTH, 0
    assert agreement(part, explanation) == pytest.approx(
        [0.6, 3.8 / 4, 0.8, 2.8 / 3, 5 / 6, 0.0, 4 / 5]
    )


def test_few_tokens_are_all_among_the_least_covered():
    found = agreement(vectors(EAST, EAST, NORTH), vectors(EAST, EAST))
    assert found == pytest.approx([1, 0.5, 0, 0.5, 1, 1, 1])


@pytest.mark.parametrize("is_swapped", [False, True])
def test_beside_no_tokens_nothing_is_covered_and_the_texts_still_have_a_cosine(is_swapped: bool):
    sides = [vectors(EAST, EAST), vectors(BETWEEN)]
    found = agreement(*(sides[::-1] if is_swapped else sides))
    assert found.tolist() == [0.6, 0, 0, 0, 0, 0, 0]


angles = st.floats(0, 6.25)
any_text = st.builds(
    lambda whole, tokens: vectors((cos(whole), sin(whole)), *[(cos(a), sin(a)) for a in tokens]),
    angles,
    st.lists(angles, max_size=8),
)


@given(any_text, any_text)
def test_agreement_is_a_cosine_and_the_least_covered_are_below_the_mean(a: Vectors, b: Vectors):
    found = agreement(a, b)
    assert found.shape == (7,)
    assert (np.abs(found) <= 1 + 1e-9).all()
    for mean, least, few in (found[1:4], found[4:7]):
        assert least - 1e-9 <= few <= mean + 1e-9


@given(any_text, any_text)
def test_recall_and_precision_swap_with_the_sides(a: Vectors, b: Vectors):
    one_way, other_way = agreement(a, b), agreement(b, a)
    assert one_way[0] == pytest.approx(other_way[0])
    # the third of each kind is over 3 tokens of a claim, but 5 of an explanation
    assert one_way[[1, 2, 4, 5]] == pytest.approx(other_way[[4, 5, 1, 2]])


@given(any_text.filter(lambda text: len(text.tokens) > 0))
def test_a_text_agrees_with_itself(text: Vectors):
    assert agreement(text, text) == pytest.approx([1] * 7)


@given(any_text, any_text, st.randoms())
def test_the_order_of_the_words_does_not_matter(a: Vectors, b: Vectors, random: Any):
    order = list(range(len(a.tokens)))
    random.shuffle(order)
    shuffled = Vectors(a.whole, a.tokens[order])
    assert agreement(shuffled, b) == pytest.approx(agreement(a, b))


# ---- features ------------------------------------------------------------------------------

SAID = ("it is o", "o", "which?", "near", "far")
TEXT = "three plain words"
READ = {
    "it is o": vectors(BETWEEN, BETWEEN, EAST),
    "o": vectors(EAST, EAST),
    "which?": vectors(NORTH, NORTH),
    "near": vectors(WEST, NORTH),  # nearer by its words
    "far": vectors(EAST, WEST),  # nearer as a whole
    TEXT: vectors(EAST, BETWEEN, BETWEEN),
}


def beside(part: str) -> list[float]:
    return agreement(READ[part], READ[TEXT]).tolist()


def test_features_are_claim_option_stem_the_nearest_other_option_lengths_and_the_vector():
    row = features(SAID, TEXT, READ)
    assert row.shape == (FEATURES + 2,) == (32,)
    assert row[:21].tolist() == beside("it is o") + beside("o") + beside("which?")
    # cosines -1 and 1; recall and precision 0.8 and -0.6
    assert row[21:28] == pytest.approx([1.0] + [0.8] * 6)
    assert row[28:30] == pytest.approx([log(4), log(17 + 1)])
    assert row[30:].tolist() == list(EAST)  # the explanation's own vector


def test_a_question_of_one_option_has_no_rival():
    row = features(SAID[:3], TEXT, READ)
    assert row[21:28].tolist() == [0] * 7
    assert row[:21].tolist() == features(SAID, TEXT, READ)[:21].tolist()


def test_what_entails_hangs_neither_on_rivals_nor_on_length():
    read = READ | {"word": READ[TEXT]}
    short = features((*SAID[:3], "far"), "word", read)
    long = features(SAID, TEXT, read)
    assert short[ENTAILMENT].tolist() == long[ENTAILMENT].tolist()
    assert short[21:].tolist() != long[21:].tolist()


def test_a_bare_claim_is_the_option_as_its_sentence():
    rows = np.array([features(said, TEXT, READ) for said in (SAID, SAID[:3])])
    wanted = features(("o", *SAID[1:]), TEXT, READ)
    assert bare(rows)[0].tolist() == wanted.tolist()
    assert bare(rows).shape == rows.shape
    assert rows[0].tolist() == features(SAID, TEXT, READ).tolist(), "it changed what it was given"


# ---- claims --------------------------------------------------------------------------------


def question() -> dict[Any, Any]:
    """Where does the ant live? In the meadow (A); there are three other options."""
    row: dict[Any, Any] = course().to_dict("records")[0]
    return row


def test_a_claim_says_that_an_option_is_right_and_leaves_it_out_of_the_others():
    stem = "Where does the ant live?"
    said = claim(question(), "a river")
    assert said == (
        f'The correct answer to "{stem}" is a river.',
        "a river",
        stem,
        "the meadow",
        "the dry sand",
        "old trees",
    )


def test_the_claim_of_the_key():
    assert claim_key(question()) == claim(question(), "the meadow")
    assert claim_key(question() | {"key": "D"})[1] == "old trees"


# ---- reading -------------------------------------------------------------------------------

WIDTH = FEATURES + 32  # of a row of features; 32 is the width of the tiny encoder
LIMIT = ENCODER.max_length - 2  # words of a window of the tiny encoder; two markers
LONG = "owl " * 200


def asked() -> tuple[list[Claim], list[str]]:
    """Keys and explanations of the course, of different lengths."""
    rows = course().to_dict("records")
    return [claim_key(row) for row in rows], [row["explanation"] for row in rows]


def judge(seed: int = 0) -> Scorer:
    """A judge with random weights around 2.5 stars."""
    numbers = np.random.default_rng(seed).normal(size=WIDTH) / 5
    return Scorer("rating", ENCODER, numbers, 2.5 - float(rows_of(*asked()).mean(0) @ numbers))


def rows_of(claims: list[Claim], explanations: list[str]) -> np.ndarray:
    return reader(ENCODER).features(claims, explanations)


def entailer(intercept: float = 0.0) -> Scorer:
    numbers = np.linspace(-1, 1, 21)
    return Scorer("entailment", ENCODER, numbers, intercept)


def test_vectors_are_of_unit_length_and_of_the_words_alone(checkout: Path):
    read = Reader(ENCODER).embed(["old trees", "owl", ""])
    assert [len(read[text].tokens) for text in ("old trees", "owl", "")] == [2, 1, 0]
    for text in read.values():
        assert np.linalg.norm(text.whole) == pytest.approx(1, abs=1e-6)
        assert np.linalg.norm(text.tokens, axis=1) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("marker", ["[SEP]", "[PAD]", "[MASK]"])
def test_a_marker_in_a_students_text_is_plain_text(checkout: Path, marker: str):
    text = f"old {marker} trees"
    read = Reader(ENCODER).embed([text])
    assert len(read[text].tokens) == 5  # two words, two brackets and what is between them


@pytest.mark.parametrize(
    ("ids", "wanted"),
    [
        ([1, 2], [[1, 2]]),
        ([1, 7, 2], [[1, 7, 2]]),
        ([1, 7, 8, 9, 2], [[1, 7, 8, 9, 2]]),  # exactly the limit
        ([1, 6, 7, 8, 9, 2], [[1, 6, 7, 8, 2], [1, 9, 2]]),
        ([1, *range(10, 17), 2], [[1, 10, 11, 12, 2], [1, 13, 14, 15, 2], [1, 16, 2]]),
    ],
)
def test_windows_by_hand(ids: list[int], wanted: list[list[int]]):
    assert windows(ids, 5) == wanted


@given(st.lists(st.integers(10, 99), max_size=40), st.integers(3, 12))
def test_every_token_is_in_one_window_in_its_order(body: list[int], limit: int):
    parts = windows([1, *body, 2], limit)
    assert [token for part in parts for token in part[1:-1]] == body
    assert all((part[0], part[-1]) == (1, 2) and len(part) <= limit for part in parts)
    assert len(parts) == max(1, -(-len(body) // (limit - 2)))  # and no more than are needed


def words(count: int) -> str:
    """Different words, so that each token has a vector of its own."""
    return " ".join((ANIMALS * 20)[:count])


def fed(monkeypatch: pytest.MonkeyPatch, texts: list[str]) -> tuple[Any, list[list[int]]]:
    """What embed returns, and the rows of token ids that the encoder was fed, unpadded."""
    own, rows = Reader(ENCODER), list[list[int]]()
    pad = own.tokenizer.pad

    def padded(batch: list[dict[str, list[int]]], **how: Any) -> Any:
        fresh = [row["input_ids"] for row in batch]  # a small batch repeats its first row
        rows.extend(row for i, row in enumerate(fresh) if row not in fresh[:i])
        return pad(batch, **how)

    monkeypatch.setattr(own.tokenizer, "pad", padded)
    return own.embed(texts), rows


def test_a_short_text_is_one_window_and_has_the_vectors_of_the_plain_encoder(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    import torch

    for text in ("old trees by the river", words(LIMIT)):
        found, rows = fed(monkeypatch, [text])
        own = Reader(ENCODER)
        (ids,) = own.tokenizer([text])["input_ids"]
        assert rows == [ids]
        with torch.inference_mode():
            hidden = own.model(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy()
        whole, tokens = hidden.mean(axis=0), hidden[1:-1]
        assert found[text].whole == pytest.approx(whole / np.linalg.norm(whole), abs=1e-6)
        lengths = np.linalg.norm(tokens, axis=1, keepdims=True)
        assert found[text].tokens == pytest.approx(tokens / lengths, abs=1e-6)


@pytest.mark.parametrize("extra", [1, 2, LIMIT, LIMIT + 1])
def test_a_longer_text_is_read_in_windows_with_every_token_once(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, extra: int
):
    text = words(LIMIT + extra)
    found, rows = fed(monkeypatch, [text])
    (ids,) = Reader(ENCODER).tokenizer([text], verbose=False)["input_ids"]
    assert max(map(len, rows)) == ENCODER.max_length
    assert len(rows) == 2 + (extra > LIMIT)
    assert sorted(i for row in rows for i in row[1:-1]) == sorted(ids[1:-1])
    assert found[text].tokens.shape[0] == LIMIT + extra


def test_the_vectors_of_the_windows_stand_side_by_side(checkout: Path):
    first, second = words(LIMIT), "the wasp lives in old trees"
    long = f"{first} {second}"
    read = Reader(ENCODER).embed([long, first, second])
    both = np.concatenate([read[first].tokens, read[second].tokens])
    assert read[long].tokens == pytest.approx(both, abs=1e-5)
    # the whole is the mean over all that was read, so the longer window weighs more
    nearer, farther = (float(read[long].whole @ read[part].whole) for part in (first, second))
    assert 1 - 1e-6 > nearer > farther


@pytest.mark.parametrize("before_n", [0, 1, 3, 9])
def test_a_claim_is_found_in_whichever_window_states_it(before_n: int):
    # with the encoder that the profiles name, in windows of 48 tokens
    own = Reader(replace(ENCODER, name=encoder.PACKAGE, max_length=48))
    said = "The correct answer is the mitochondrion."
    key = "So the answer is the mitochondrion, which burns sugar for the cell."
    filler = "The weather in spring is mild, and many people like to walk in the park. "
    without = (filler * (before_n + 1)).strip()
    stated = f"{filler * before_n}{key}"
    sizes = [len(ids) for ids in own.tokenizer([without, stated], verbose=False)["input_ids"]]
    assert min(sizes) > 48 or before_n < 3
    read = own.embed([said, key, without, stated])
    found, missed, alone = (agreement(read[said], read[text]) for text in (stated, without, key))
    # how well the claim's tokens are covered: their mean, the least, and the mean of three
    assert (found[1:4] > missed[1:4] + 0.2).all()
    assert found[1:4] == pytest.approx(alone[1:4], abs=0.2)  # a window may cut the sentence


def test_a_long_text_is_read_alike_whatever_stands_beside_it(checkout: Path):
    alone = Reader(ENCODER).embed([LONG])[LONG]
    beside = Reader(ENCODER).embed([*asked()[1], LONG, words(3 * LIMIT)])[LONG]
    assert alone.whole == pytest.approx(beside.whole, abs=1e-5)
    assert alone.tokens == pytest.approx(beside.tokens, abs=1e-5)


def test_a_text_is_read_alike_alone_and_among_longer_ones(checkout: Path):
    together = Reader(ENCODER).embed([*asked()[1], "owl"])["owl"]
    alone = Reader(ENCODER).embed(["owl"])["owl"]
    assert alone.whole == pytest.approx(together.whole, abs=1e-5)
    assert alone.tokens == pytest.approx(together.tokens, abs=1e-5)


def test_the_order_of_the_pairs_does_not_change_their_features(checkout: Path):
    claims, explanations = asked()
    forward = Reader(ENCODER).features(claims, explanations)
    backward = Reader(ENCODER).features(claims[::-1], explanations[::-1])
    assert forward.shape == (40, WIDTH)
    assert np.isfinite(forward).all()
    assert backward[::-1].tolist() == forward.tolist()


def test_more_pairs_than_one_block_are_all_read(checkout: Path, monkeypatch: pytest.MonkeyPatch):
    whole = Reader(ENCODER).features(*asked())
    monkeypatch.setattr(alignment, "BLOCK", 7)
    assert Reader(ENCODER).features(*asked()) == pytest.approx(whole, abs=1e-5)


def test_no_pairs_have_no_values(checkout: Path):
    assert rows_of([], []).shape == (0, WIDTH)
    assert judge().ratings([], []).shape == (0,)
    assert entailer().probabilities([], []).shape == (0,)


def test_a_missing_explanation_is_an_error(checkout: Path):
    with pytest.raises(ValueError, match="shorter"):
        rows_of(asked()[0][:2], ["only one"])


@pytest.mark.parametrize("side", ["explanation", "sentence", "stem", "other"])
def test_no_value_is_missing_for_length_whichever_text_is_long(checkout: Path, side: str):
    claims, explanations = asked()
    claims, explanations = claims[:3], explanations[:3]
    wanted = judge().ratings(claims, explanations)
    if side == "explanation":
        explanations[1] = LONG
    else:
        place = {"sentence": 0, "stem": 2, "other": 3}[side]
        claims[1] = (*claims[1][:place], LONG, *claims[1][place + 1 :])
    others = [True, False, True]
    assert np.isfinite(rows_of(claims, explanations)).all()
    ratings = judge().ratings(claims, explanations)
    assert np.isfinite(ratings).all()
    assert ratings[others].tolist() == wanted[others].tolist()
    assert ratings[1] != wanted[1]
    assert np.isfinite(entailer().probabilities(claims, explanations)).all()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that encoders were given to read since the test began."""
    texts: list[str] = []
    plain = Reader.read

    def counted(self: Reader, given: list[str]) -> dict[str, Vectors]:
        texts.extend(given)
        return plain(self, given)

    monkeypatch.setattr(Reader, "read", counted)
    return texts


def test_each_pair_is_read_once_for_both_scorers(checkout: Path, read: list[str]):
    reader.cache_clear()
    claims, explanations = asked()
    first = entailer().probabilities(claims * 2, explanations * 2)
    assert len(read) == len(set(read)), "a text was encoded twice"
    known = len(read)
    assert entailer().probabilities(claims, explanations).tolist() == first[:40].tolist()
    entailer().probabilities(claims, explanations, is_bare=True)
    Scorer("rating", ENCODER, np.zeros(WIDTH), 1.0).ratings(claims, explanations)
    assert len(read) == known > 0


def test_beside_another_claim_a_text_is_not_read_again(checkout: Path, read: list[str]):
    own, (claims, explanations) = Reader(ENCODER), asked()
    first = own.features(claims, explanations)
    new = [("the owl is blind", *claim[1:]) for claim in claims]
    known = len(read)
    again = own.features(new, explanations)
    assert read[known:] == ["the owl is blind"]
    assert again[:, 7:].tolist() == first[:, 7:].tolist()
    assert again.tolist() == Reader(ENCODER).features(new, explanations).tolist()


def test_what_stays_in_memory_is_bounded_and_the_oldest_goes_first(
    checkout: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
):
    own = Reader(ENCODER)
    monkeypatch.setattr(alignment, "KEPT_BYTES", 2 * own.embed(["owl"])["owl"].tokens.nbytes)
    own.embed(["tree"])
    own.embed(["owl"])
    own.embed(["river"])
    assert read == ["owl", "tree", "river"]
    assert list(own.known) == ["owl", "river"]
    both = own.embed(["tree", "river", "old trees"])  # more than may stay is still given
    assert list(both) == ["river", "tree", "old trees"]
    assert read[3:] == ["tree", "old trees"]
    assert list(own.known) == ["old trees"]


# ---- answers -------------------------------------------------------------------------------


def test_a_rating_is_in_stars_and_never_beyond_the_scale(checkout: Path):
    made = judge()
    found, outputs = made.ratings(*asked()), made.outputs(rows_of(*asked()))
    assert found == pytest.approx(np.clip(outputs, 0, 5))
    assert np.ptp(found) > 0.01
    for intercept, stars in ((50.0, 5.0), (-50.0, 0.0)):
        assert set(replace(made, intercept=intercept).ratings(*asked())) == {stars}


def test_a_probability_is_the_logistic_function_of_the_log_odds(checkout: Path):
    flat = Scorer("entailment", ENCODER, np.zeros(21), log(3))
    assert flat.probabilities(*asked()) == pytest.approx([0.75] * 40)
    found = entailer().probabilities(*asked())
    assert ((found > 0) & (found < 1)).all()
    assert np.ptp(found) > 0.01


def test_the_bare_option_is_asked_instead_of_the_sentence(checkout: Path):
    claims, explanations = asked()
    found = entailer().probabilities(claims, explanations, is_bare=True)
    bare_claims = [(said[1], *said[1:]) for said in claims]
    assert found == pytest.approx(entailer().probabilities(bare_claims, explanations), abs=1e-5)
    assert found != pytest.approx(entailer().probabilities(claims, explanations), abs=1e-3)


# ---- fitting -------------------------------------------------------------------------------


def named(is_key: bool, rows: slice) -> tuple[list[Claim], list[str], list[str]]:
    """Claims of the key, texts that name the key or another option, and clusters."""
    records = course().drop_duplicates("question_id").to_dict("records")[rows]
    options = [claim_key(row)[1] if is_key else distractor_texts(row)[0] for row in records]
    texts = [f"I think it is {option} here" for option in options]
    return [claim_key(row) for row in records], texts, [row["cluster_id"] for row in records]


def planted(rows: slice, right: float = 4.0, wrong: float = 1.0) -> Examples:
    """Texts that name the key have the target `right`, those that name another `wrong`."""
    sides = [named(True, rows), named(False, rows)]
    claims, explanations, groups = (a + b for a, b in zip(*sides, strict=True))
    n = len(sides[0][0])
    targets = np.repeat([right, wrong], n)
    return Examples(claims, explanations, targets, np.ones(2 * n), np.array(groups))


KNOWN, UNSEEN = slice(0, 14), slice(14, 20)


def test_a_judge_learns_what_the_ratings_hang_on(checkout: Path):
    made, curve = fit("rating", ENCODER, planted(KNOWN))
    assert made.weights.shape == (WIDTH,)
    unseen = planted(UNSEEN)
    found = made.ratings(unseen.claims, unseen.explanations)
    # half are 4 and half 1 star, so the constant that fits best is off by 1.5
    assert np.mean((found - unseen.targets) ** 2) < 0.2 * 1.5**2
    assert curve.eval_loss.min() < 0.2 * 1.5**2


def test_an_entailment_scorer_learns_which_option_a_text_speaks_for(checkout: Path):
    made, curve = fit("entailment", ENCODER, planted(KNOWN, right=1, wrong=0))
    assert made.weights.shape == (21,)
    unseen = planted(UNSEEN, right=1, wrong=0)
    found = made.probabilities(unseen.claims, unseen.explanations)
    assert found[unseen.targets == 1].min() > found[unseen.targets == 0].max()
    assert curve.eval_loss.min() < 0.5 * log(2)


@pytest.mark.parametrize(
    ("kind", "examples", "constant"),
    [
        ("rating", lambda: planted(KNOWN), 1.5**2),  # the variance of 4 and 1
        ("entailment", lambda: planted(KNOWN, 1, 0), log(2)),  # of a fair coin, in nats
    ],
    ids=["rating", "entailment"],
)
def test_the_log_goes_from_the_constant_to_the_closest_fit(
    checkout: Path, kind: str, examples: Callable[[], Examples], constant: float
):
    _, curve = fit(kind, ENCODER, examples())
    assert list(curve) == ["step", "penalty", "vector_scale", "loss", "eval_loss"]
    assert curve.step.tolist() == list(range(1, len(curve) + 1))
    assert (curve.penalty.diff().dropna() < 0).all()
    assert (curve.loss.diff().dropna() < 0).all()
    assert curve[["loss", "eval_loss"]].iloc[0].tolist() == pytest.approx([constant] * 2, rel=0.05)


def styled(count: int, share: float) -> Examples:
    """Texts of one length and two styles: of `count`, the first `share` are rated by style."""
    styles = [f"the {{}} lives in {place}" for place in ("old trees", "a river")]
    texts = [styles[n % 2].format(ANIMALS[n % 20]) for n in range(count)]
    claims = [asked()[0][0]] * count
    stars = np.random.default_rng(0).normal(3, 1, size=count)
    by_style = np.where(np.arange(count) % 2, 4.0, 2.0)
    targets = np.where(np.arange(count) < share * count, by_style, stars)
    return Examples(
        claims, texts, targets, np.ones(count), np.array([f"c{n}" for n in range(count)])
    )


def blind(rows: np.ndarray) -> np.ndarray:
    """The same features, as if every explanation agreed alike with its question."""
    return np.concatenate([np.zeros((len(rows), FEATURES)), rows[:, FEATURES:]], axis=1)


def test_what_only_the_text_itself_shows_is_learned_from_its_vector(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = Reader.features
    monkeypatch.setattr(Reader, "features", lambda *given: blind(whole(*given)))
    made, curve = fit("rating", ENCODER, styled(80, 1.0))
    assert set(curve.vector_scale) <= set(heads.VECTOR_SCALES[1:])
    assert curve.eval_loss.min() < 0.2  # a constant is off by a star
    assert made.weights[:FEATURES].tolist() == [0] * FEATURES


def test_noise_is_not_learned_from_the_vector(checkout: Path):
    _, curve = fit("rating", ENCODER, styled(80, 0.0))
    best = int(curve.eval_loss.to_numpy().argmin())
    assert curve.penalty[best] >= 100


def test_a_scorer_says_what_the_fitted_pipeline_says(checkout: Path):
    examples = planted(KNOWN)
    rows = rows_of(examples.claims, examples.explanations)
    search = heads.search_of(heads.KINDS["rating"], 5)
    search.fit(rows, examples.targets, groups=examples.groups)
    weights, intercept = heads.linear_of(search)
    assert rows @ weights + intercept == pytest.approx(search.predict(rows))


def test_a_cluster_is_never_on_both_sides_of_the_cross_validation(checkout: Path):
    # each question has the same text twice, and stars of no reason: only who has seen the
    # twin can know them
    claims, texts, clusters = named(True, slice(0, 20))
    stars = np.random.default_rng(0).normal(size=20)
    rows = np.repeat(np.arange(20), 2)

    def best(groups: list[str]) -> float:
        twins = [claims[i] for i in rows], [texts[i] for i in rows]
        examples = Examples(*twins, stars[rows], np.ones(40), np.array(groups))
        return float(fit("rating", ENCODER, examples)[1].eval_loss.min())

    assert best([clusters[i] for i in rows]) > 0.9 * stars.var()
    assert best([f"row {i}" for i in range(40)]) < 0.6 * stars.var()


def test_rows_of_no_weight_teach_nothing(checkout: Path):
    # all weight on the good texts: nothing says that the poor ones are worth less
    examples = replace(planted(KNOWN, right=4.5), weights=np.repeat([2.0, 0.0], 14))
    made, _ = fit("rating", ENCODER, examples)
    assert made.ratings(*asked()) == pytest.approx([4.5] * 40)


def test_a_long_text_is_fitted_to_like_any_other(checkout: Path):
    known = planted(KNOWN)
    long = [LONG + text for text in known.explanations]
    made, _ = fit("rating", ENCODER, replace(known, explanations=long))
    found = made.ratings(known.claims, long)
    assert np.mean((found - known.targets) ** 2) < 0.5 * 1.5**2


def test_two_clusters_are_enough(checkout: Path):
    made, curve = fit("rating", ENCODER, planted(slice(0, 2)))
    assert np.isfinite(made.weights).all()
    assert np.isfinite(curve).all(axis=None)


@pytest.mark.parametrize("kind", ["rating", "entailment"])
@pytest.mark.parametrize("clusters", [0, 1])
def test_fewer_than_two_clusters_are_refused(checkout: Path, kind: str, clusters: int):
    with pytest.raises(InputError, match=rf"{clusters} cluster\(s\) .*{kind}.*Add exports or"):
        fit(kind, ENCODER, planted(slice(0, clusters), 1, 0))


# ---- saving --------------------------------------------------------------------------------


def saved(scorer: Scorer, folder: str = "models/saved") -> Path:
    path = scratch_outputs(Path(folder))
    save(scorer, path, {"split": "judge"})
    return path


def test_a_saved_scorer_gives_the_same_numbers(checkout: Path):
    rating, _ = fit("rating", ENCODER, planted(KNOWN))
    entailment, _ = fit("entailment", ENCODER, planted(KNOWN, 1, 0))
    loaded = load(saved(rating))
    assert (loaded.kind, loaded.encoder) == ("rating", ENCODER)
    assert loaded.ratings(*asked()).tolist() == rating.ratings(*asked()).tolist()
    found = load(saved(entailment)).probabilities(*asked())
    assert found.tolist() == entailment.probabilities(*asked()).tolist()


def test_two_trainings_have_the_same_bytes(checkout: Path):
    first = tree_bytes(saved(fit("rating", ENCODER, planted(KNOWN))[0], "models/a"))
    reader.cache_clear()  # as in another process: every text is read again
    second = tree_bytes(saved(fit("rating", ENCODER, planted(KNOWN))[0], "models/b"))
    assert first == second
    assert set(first) == {"head.safetensors", "manifest.json"}
    assert b'"split": "judge"' in first["manifest.json"]


@pytest.mark.parametrize(
    ("name", "digest"), [(encoder.PACKAGE, encoder.PACKAGE_SHA256), ("owner/model", None)]
)
def test_the_manifest_names_the_encoder_by_its_digest_if_it_has_one(
    tmp_path: Path, name: str, digest: str | None
):
    save(replace(entailer(), encoder=replace(ENCODER, name=name)), tmp_path, {"split": "judge"})
    manifest = checkpoints.read_manifest(tmp_path)
    assert manifest["encoder_sha256"] == digest
    assert manifest["encoder"]["name"] == name
    assert (manifest["kind"], manifest["split"]) == ("entailment", "judge")


def test_a_folder_that_was_not_finished_is_refused(checkout: Path):
    folder = saved(entailer())
    (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"manifest\.json does not exist"):
        load(folder)
