"""Rows that teach the ILearner prompt: a worse text with its rating, then a better one."""

import hashlib
import itertools

import pandas as pd

from stages.pure.prompts import render_refinement


def refinements(rows: pd.DataFrame, min_gap: float) -> list[tuple[str, str]]:
    """(refinement prompt, better explanation) of texts of one cluster, in order of a hash.

    The better text must be an SFT row; the worse one may be anything else that is rated at
    least `min_gap` stars lower and is not the same text. The question is the better text's
    own: the two rows may ask it in slightly other words. The hash order makes a prefix of
    the list a fair sample.
    """
    rated = rows[rows.question_rating_mean.notna()].sort_values("row_id")
    found = []
    for _, cluster in rated.groupby("cluster_id", sort=True):
        for worse, better in itertools.permutations(cluster.to_dict("records"), 2):
            gap = better["question_rating_mean"] - worse["question_rating_mean"]
            is_other = better["explanation"].strip() != worse["explanation"].strip()
            if better["is_sft_row"] and gap >= min_gap and is_other:
                name = f"{worse['row_id']}>{better['row_id']}"
                order = hashlib.sha256(name.encode()).hexdigest()
                rating = worse["question_rating_mean"]
                prompt = render_refinement(better, worse["explanation"], rating)
                found.append((order, prompt, better["explanation"]))
    return [(prompt, answer) for _, prompt, answer in sorted(found)]
