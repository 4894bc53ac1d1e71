"""Synthetic texts -> why each is not used, the first reason that holds; null for a text to use.

Nearness is the Jaccard index of shingles. For texts these are rows of words (Broder 1997,
doi:10.1109/SEQUEN.1997.666900). MinHash, as in stages/pure/clusters.py, may overlook a pair; a
held-out text that was overlooked would be learned, so pairs are found by prefix filtering, which
overlooks none (Bayardo, Ma and Srikant 2007, Scaling Up All Pairs Similarity Search).

The order of the rows does not matter. Of synthetic texts that are equal or near, the one with the
smallest text_id is kept, so the ids must not change from run to run.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pandas as pd

from schemas.errors import InputError
from stages.pure import clusters
from stages.pure.metrics import acr, comparable, tokens
from stages.pure.prompts import key_text

REASONS = ["key_not_named", "too_short", "equal_to_existing", "near_existing", "near_held_out"]
SHINGLE_WORDS = 3

Shingles = frozenset[str]


class Limits(NamedTuple):
    """From where on a text is refused: white-space words, and Jaccard indices in (0, 1]."""

    min_words: int
    max_existing_similarity: float
    max_held_out_similarity: float


class Item(NamedTuple):
    """A text as the gates see it, beside what was there before or comes after it."""

    same: tuple[str, ...]  # equal for two texts that say the same
    shingles: Shingles
    reason: str | None = None  # found in the text itself
    is_held_out: bool = False  # near a held-out text


def check(limits: Limits) -> None:
    """Raise InputError unless the limits are in their ranges."""
    if limits.min_words < 1:
        raise InputError(
            f"params.yaml: synthesize.min_words: {limits.min_words} is below 1. Set it, e.g. to 10."
        )
    for name in ("max_existing_similarity", "max_held_out_similarity"):
        value = getattr(limits, name)
        if not 0 < value <= 1:
            raise InputError(
                f"params.yaml: synthesize.{name}: {value} is not in (0, 1]. Set it, e.g. to 0.6."
            )


def word_shingles(text: str) -> Shingles:
    """Every row of SHINGLE_WORDS words; a shorter text is one row, one without words itself."""
    said = tokens(text) or [comparable(text)]
    rows = range(max(1, len(said) - SHINGLE_WORDS + 1))
    return frozenset(" ".join(said[i : i + SHINGLE_WORDS]) for i in rows)


def shingles_within(group: str, text: str) -> Shingles:
    """The shingles of a text that only those of its group may be near to."""
    return frozenset(f"{group}\n{shingle}" for shingle in word_shingles(text))


def neighbours(
    sets: Sequence[Shingles], others: Sequence[Shingles], limit: float
) -> list[list[int]]:
    """For each set the positions in `others` with a Jaccard index of `limit` or more, in order.

    J(A, B) >= t asks for |A & B| >= t |A|, so the |A| - ceil(t |A|) + 1 first elements of A and
    those of B share one, whatever the order is in which they are sorted. Rare ones come first, so
    few pairs have to be compared. limit: in (0, 1]; no set is empty.
    """
    counted = Counter(shingle for found in (*sets, *others) for shingle in found)

    def prefix(found: Shingles) -> list[str]:
        rare_first = sorted(found, key=lambda shingle: (counted[shingle], shingle))
        needed = math.ceil(limit * len(found) - 1e-9)  # 0.7 * 10 is a little more than 7
        return rare_first[: len(found) - needed + 1]

    holders = defaultdict[str, list[int]](list)
    for j, other in enumerate(others):
        for shingle in prefix(other):
            holders[shingle].append(j)
    near: dict[Shingles, list[int]] = {}
    for own in dict.fromkeys(sets):  # a text that comes often is compared once
        met = sorted({j for shingle in prefix(own) for j in holders[shingle]})
        near[own] = [j for j in met if clusters.jaccard(own, others[j]) >= limit]
    return [near[own] for own in sets]


def explanation_reasons(
    texts: pd.DataFrame, existing: pd.DataFrame, held_out: Iterable[str], limits: Limits
) -> pd.Series:
    """Why each synthetic explanation is not used: one of REASONS or null, index of `texts`.

    texts: text_id (unique), question_id, text, key_text, is_positive (must name the key; a key
    without a word cannot be named and is not asked for). existing: question_id and text of
    all that is there for these questions. held_out: the texts of judge, validation and test
    students. Raises InputError for limits out of range and for a text_id that comes twice.
    """
    check(limits)

    def item(row: Any) -> Item:
        question, text = row["question_id"], row["text"]
        return Item((question, comparable(text)), shingles_within(question, text))

    def own_reason(row: Any) -> str | None:
        if row["is_positive"] and acr(row["text"], row["key_text"]).value == 0:
            return "key_not_named"
        return "too_short" if len(row["text"].split()) < limits.min_words else None

    rows = in_order(texts)
    unseen = [*{word_shingles(text) for text in held_out}]
    said = [word_shingles(row["text"]) for row in rows]
    near = neighbours(said, unseen, limits.max_held_out_similarity)
    items = [
        item(row)._replace(reason=own_reason(row), is_held_out=bool(found))
        for row, found in zip(rows, near, strict=True)
    ]
    known = [item(row) for row in existing[["question_id", "text"]].to_dict("records")]
    return aligned(first_reasons(items, known, limits.max_existing_similarity), texts)


def question_reasons(
    questions: pd.DataFrame, existing: pd.DataFrame, held_out: pd.DataFrame, limits: Limits
) -> pd.Series:
    """Why each synthetic question is not used: one of REASONS or null, index of `questions`.

    All three have stem, option_a..option_e, options_n and key, one row per question; `questions`
    has a unique text_id. min_words is asked of the stem. An existing question is equal or near
    by its stem, if the key is the same: to rephrase is to find other words. A held-out question
    is near by the shingles that clusters are made of, which tell that the same fact is asked in
    whatever words. Raises InputError as explanation_reasons does.
    """
    check(limits)

    def item(row: Any) -> Item:
        stem, key = str(row["stem"]), comparable(key_text(row))
        reason = "too_short" if len(stem.split()) < limits.min_words else None
        return Item((key, comparable(stem)), shingles_within(key, stem), reason)

    rows = in_order(questions)
    unseen = [*{clusters.shingles(row) for row in held_out.to_dict("records")}]
    near = neighbours(
        [clusters.shingles(row) for row in rows], unseen, limits.max_held_out_similarity
    )
    items = [
        item(row)._replace(is_held_out=bool(found)) for row, found in zip(rows, near, strict=True)
    ]
    known = [item(row) for row in existing.to_dict("records")]
    return aligned(first_reasons(items, known, limits.max_existing_similarity), questions)


def in_order(table: pd.DataFrame) -> list[Any]:
    """The rows by text_id. Raises InputError if one comes twice."""
    twice = table.text_id[table.text_id.duplicated()]
    if len(twice):
        raise InputError(
            f"text_id {twice.min()} stands twice among the synthetic texts. "
            "Give each text its own id."
        )
    return table.sort_values("text_id").to_dict("records")


def aligned(found: Sequence[Any], table: pd.DataFrame) -> pd.Series:
    """Reasons in the order of text_id -> the same in the order of `table`, with its index."""
    by_id = pd.Series(found, index=table.text_id.sort_values(), dtype="str")
    return by_id.loc[table.text_id].set_axis(table.index)


def first_reasons(items: Sequence[Item], known: Sequence[Item], limit: float) -> list[str | None]:
    """The reason of each item; it is compared with `known` and with what was kept before it."""
    own = [item.shingles for item in items]
    near_known = neighbours(own, [*{item.shingles for item in known}], limit)
    near_own = neighbours(own, own, limit)
    taken, kept, found = {item.same for item in known}, set[int](), list[str | None]()
    for i, item in enumerate(items):
        reason = item.reason
        if reason is None and item.same in taken:
            reason = "equal_to_existing"
        elif reason is None and (near_known[i] or kept.intersection(near_own[i])):
            reason = "near_existing"
        elif reason is None and item.is_held_out:
            reason = "near_held_out"
        if reason is None:
            kept.add(i)
            taken.add(item.same)
        found.append(reason)
    return found


def counts(found: pd.Series) -> dict[str, int]:
    """How many texts each of REASONS holds for, 0 included, in their order."""
    return {reason: int((found == reason).sum()) for reason in REASONS}
