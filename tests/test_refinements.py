"""Refinement rows: from a worse text of the cluster to a better one that SFT would imitate."""

from typing import Any

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from schemas.questions import Questions
from stages.pure.prompts import render_question, render_refinement
from stages.pure.refinements import refinements
from tests import invented


def row(name: str, rating: float | None, cluster: str = "c", **changed: Any) -> dict[str, Any]:
    """A row of `questions` whose explanation is "text <name>"."""
    columns = Questions.to_schema().columns
    values = dict(zip(columns, invented.question(1, 1, "train", rating, 12), strict=True))
    own = {"row_id": name, "cluster_id": cluster, "stem": f"What of {name}?"}
    return values | own | {"explanation": f"text {name}"} | changed


def found(*rows: dict[str, Any], gap: float = 0.5) -> list[tuple[str, str]]:
    return refinements(pd.DataFrame(rows), gap)


def answers(*rows: dict[str, Any], gap: float = 0.5) -> list[str]:
    return [answer for _, answer in found(*rows, gap=gap)]


def test_the_prompt_shows_the_better_rows_question_and_the_worse_text_with_its_rating():
    worse, better = row("w", 2.0), row("b", 4.0)
    assert found(worse, better) == [(render_refinement(better, "text w", 2.0), "text b")]
    ((prompt, _),) = found(worse, better)
    assert prompt.startswith(render_question(better))
    assert "Rating: 2.0" in prompt


def test_the_better_text_is_an_sft_row_the_worse_one_need_not_be():
    worse, better = row("w", 2.0, is_sft_row=False), row("b", 4.0)
    assert answers(worse, better) == ["text b"]
    assert answers(worse, better | {"is_sft_row": False}) == []


def test_two_texts_are_at_least_the_gap_apart():
    assert answers(row("w", 3.0), row("b", 3.5)) == ["text b"]
    assert answers(row("w", 3.0), row("b", 3.25)) == []
    assert answers(row("w", 3.0), row("b", 3.0)) == []


def test_texts_of_two_clusters_are_not_compared():
    assert answers(row("w", 1.0, "c"), row("b", 5.0, "d")) == []


def test_a_text_is_no_refinement_of_itself():
    # two students may hand in the same text, and the ratings of their questions differ
    worse, better = row("w", 1.0), row("b", 5.0)
    assert answers(worse | {"explanation": " text b "}, better) == []


def test_a_row_without_a_rating_is_on_neither_side():
    assert answers(row("w", None), row("b", 5.0)) == []
    assert answers(row("w", 1.0), row("b", None)) == []


def test_every_worse_text_of_a_cluster_leads_to_every_better_one():
    three = [row("x", 1.0), row("y", 3.0), row("z", 5.0)]
    assert sorted(answers(*three)) == ["text y", "text z", "text z"]


RATED = st.lists(
    st.tuples(st.integers(0, 10), st.sampled_from("abc"), st.booleans()), min_size=2, max_size=10
)


@given(RATED, st.randoms())
def test_the_order_of_the_rows_does_not_matter(drawn: list[tuple[int, str, bool]], random: Any):
    rows = [
        row(f"r{i}", stars / 2, cluster, is_sft_row=good)
        for i, (stars, cluster, good) in enumerate(drawn)
    ]
    assert found(*rows) == found(*random.sample(rows, len(rows)))


def test_a_beginning_of_the_list_is_drawn_from_all_clusters():
    # the stage takes the first few: in the order of the table they would be one cluster
    rows = [
        row(f"{cluster}{i}", float(i), cluster) for cluster in "abcdefgh" for i in (1, 2, 3, 4, 5)
    ]
    first = answers(*rows)[:20]
    assert len({text.split()[1][0] for text in first}) > 4


def test_other_rows_do_not_change_the_order_of_the_pairs_there_were():
    rows = [row(f"{c}{i}", float(i), c) for c in "abcd" for i in (1, 3, 5)]
    before, after = found(*rows), found(*rows, row("z1", 1.0, "z"), row("z2", 5.0, "z"))
    assert [pair for pair in after if pair in before] == before
    assert len(after) == len(before) + 1
