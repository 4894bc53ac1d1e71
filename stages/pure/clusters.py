"""Distinct questions -> clusters of near-identical questions, each in one split and one fold.

MinHash (Broder 1997, doi:10.1109/SEQUEN.1997.666900) finds candidate pairs, the exact Jaccard
index of the same sets of shingles decides, and connected components are the clusters. No
step depends on the order of the rows, and no split depends on any other cluster.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import pandas as pd

from schemas.errors import InputError
from schemas.questions import SPLITS
from stages.pure.prompts import distractor_texts, key_text

PERMUTATIONS = 128
MISS_PROBABILITY = 1e-3  # that MinHash overlooks a pair exactly at the threshold
KEY_WEIGHT = 2  # the key names the fact, so it counts more than a distractor
SPLIT_STEPS = 10_000  # splits are drawn in steps of a hundredth of a percent

# Words that say that something is asked, not what. `not` and `except` stay: they turn it.
BOILERPLATE_WORDS = """
    a about all an and answer any are as at be been best by can choice choose consider
    correct could describe did do does following for from give given has have how identify
    if in indicate into is it its mark may most name of on one option or pick please
    question select shall should some statement statements tell that the their them then
    there these they this those to was were what when where which who whom whose why will
    with would you your
    """
BOILERPLATE = frozenset(BOILERPLATE_WORDS.split())


def question_id(stem: str, options: Sequence[str], key_text: str) -> str:
    """16 hex digits of the SHA-256 of (stem, options in order, key).

    Only white space is normalised: case and superscripts can be all that tells two
    questions apart (aa and Aa, 10^2 and 102).
    """
    spaced = [" ".join(text.split()) for text in (stem, *options, key_text)]
    return digest([spaced[0], spaced[1:-1], spaced[-1]])[:16]


def digest(value: object) -> str:
    """SHA-256 of a JSON value as 64 hex digits."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def content_words(text: str) -> list[str]:
    """The words of `text` that say what it is about, lower case, without a plural's s.

    A text of boilerplate only keeps all its words, one without words (+, <=) stays whole.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    words = re.findall(r"\w+", plain)
    chosen = [word for word in words if word not in BOILERPLATE] or words
    stripped = [w[:-1] if len(w) > 3 and w[-1] == "s" and w[-2] != "s" else w for w in chosen]
    return stripped or [" ".join(plain.split())]


def shingles(question: Mapping[Any, Any]) -> frozenset[str]:
    """What two questions are compared by: the words of stem, of key and of all options.

    Sets, so the order of the options and repeated words do not matter; words that are
    asked for and words that are offered are kept apart.
    """
    key = content_words(key_text(question))
    found = {f"stem {word}" for word in content_words(str(question["stem"]))}
    for text in distractor_texts(question):
        found |= {f"option {word}" for word in content_words(text)}
    found |= {f"option {word}" for word in key}
    found |= {f"key{i} {word}" for i in range(KEY_WEIGHT) for word in key}
    return frozenset(found)


def anchor(question: Mapping[Any, Any]) -> str:
    """A hash of what near-identical questions share: the words of stem and key.

    Distractors are left out, so a question that lost one, or was introduced by other
    boilerplate, has the same anchor and cannot move its cluster to another split.
    """
    key = sorted(set(content_words(key_text(question))))
    return digest([sorted(set(content_words(str(question["stem"])))), key])


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Shared elements over all elements, 0..1; `a` or `b` has at least one."""
    return len(a & b) / len(a | b)


def bands(similarity: float) -> tuple[int, int]:
    """(number of bands, rows per band): the narrowest net that still finds the pairs.

    Two sets of Jaccard index s meet in one of b bands of r rows with probability
    1 - (1 - s^r)^b (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, 3.4.2).
    """
    for rows in range(16, 1, -1):
        if (1 - similarity**rows) ** (PERMUTATIONS // rows) < MISS_PROBABILITY:
            return PERMUTATIONS // rows, rows
    return PERMUTATIONS, 1


def candidate_pairs(sets: Sequence[frozenset[str]], similarity: float) -> Iterator[tuple[int, int]]:
    """Pairs (i, j), i < j, of positions in `sets` that MinHash finds worth comparing."""
    from datasketch import MinHash, MinHashLSH
    from tqdm import tqdm

    index = MinHashLSH(num_perm=PERMUTATIONS, params=bands(similarity))
    encoded = [[shingle.encode() for shingle in sorted(found)] for found in sets]
    sketches = MinHash.generator(encoded, num_perm=PERMUTATIONS, seed=1)
    shown = tqdm(sketches, desc="compare", total=len(sets), unit="question", disable=None)
    for j, sketch in enumerate(shown):
        yield from ((i, j) for i in sorted(index.query(sketch)))
        index.insert(j, sketch)


def components(sets: Sequence[frozenset[str]], similarity: float) -> list[int]:
    """For each set the position of the first set that it is connected with."""
    parent = list(range(len(sets)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j in candidate_pairs(sets, similarity):
        first, second = sorted((root(i), root(j)))
        if first != second and jaccard(sets[i], sets[j]) >= similarity:
            parent[second] = first
    return [root(i) for i in range(len(sets))]


def split_of(cluster_anchor: str, split_percent: Mapping[str, float]) -> str:
    """The split that a cluster's anchor falls in; splits are in the order of SPLITS."""
    position = int(digest(["split", cluster_anchor]), 16) % SPLIT_STEPS
    ends = accumulate(split_percent[name] for name in SPLITS)
    return next(
        name for name, end in zip(SPLITS, ends, strict=True) if position < end * SPLIT_STEPS / 100
    )


def fold_of(cluster_anchor: str) -> int:
    """0 or 1, independent of the split."""
    return int(digest(["fold", cluster_anchor]), 16) % 2


def check(similarity: float, split_percent: Mapping[str, float]) -> None:
    """Raise InputError unless the similarity is in (0, 1] and the percents are four and 100."""
    where = "params.yaml: prepare_questions"
    if not 0 < similarity <= 1:
        raise InputError(
            f"{where}.cluster_similarity: {similarity} is not in (0, 1]. Set it, e.g. to 0.6."
        )
    if set(split_percent) != set(SPLITS):
        raise InputError(
            f"{where}.split_percent: {sorted(split_percent)} must be exactly {SPLITS}."
        )
    values = list(split_percent.values())
    # what has to hold, not what must not: no comparison holds for .nan
    if not (all(value >= 0 for value in values) and abs(sum(values) - 100) <= 1e-9):
        raise InputError(
            f"{where}.split_percent: {values} must be at least 0 and sum to 100, not {sum(values)}."
        )


def assign(
    questions: pd.DataFrame, similarity: float, split_percent: Mapping[str, float]
) -> pd.DataFrame:
    """(question_id, cluster_id, split, fold) for each distinct question, by question_id.

    questions: one row per question_id with stem, option_a..option_e, options_n and key.
    similarity: Jaccard index in (0, 1] from which two questions are one cluster.
    split_percent: percent of clusters per split, sum 100. Raises InputError otherwise.
    """
    check(similarity, split_percent)
    ordered = questions.reset_index(drop=True)
    rows = ordered.to_dict("records")
    # equal sets are one set here: thousands of copies must not be compared pair by pair
    by_shingles: dict[frozenset[str], list[int]] = {}
    for i, row in enumerate(rows):
        by_shingles.setdefault(shingles(row), []).append(i)
    members: dict[int, list[int]] = {}
    for root, group in zip(
        components([*by_shingles], similarity), by_shingles.values(), strict=True
    ):
        members.setdefault(root, []).extend(group)
    found = []
    for group in members.values():
        ids = sorted(ordered.question_id[group])
        smallest = min(anchor(rows[i]) for i in group)
        place = (digest(ids)[:16], split_of(smallest, split_percent), fold_of(smallest))
        found += [(one, *place) for one in ids]
    columns = ["question_id", "cluster_id", "split", "fold"]
    return pd.DataFrame(found, columns=columns).sort_values("question_id", ignore_index=True)
