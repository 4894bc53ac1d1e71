"""What raters give: integers 0..5, from the latents, the length, the question and noise."""

import numpy as np
import pandas as pd

from stages.pure.sample_course import stream

# Stars. Tuned together with params.yaml: make_sample_course, before any DPO run, to a
# split-half reliability of .4 to .5 and a rank correlation of words and rating of about .3.
BASE_STARS = 2.6
NAMES_KEY_STARS = 0.30
MECHANISM_STARS = 0.45  # the right one, or a wrong one that the raters missed
NOTICED_STARS = -0.25  # a wrong mechanism that they noticed
REFUTES_STARS = 0.10
ENDORSES_WRONG_STARS = -0.50
QUESTION_STARS = 0.15  # standard deviation of the question effect
MIN_RATERS, MAX_RATERS, EXTRA_RATERS = 10, 40, 6.0  # raters of a row; mean above the minimum


def expected_stars(rows: pd.DataFrame, length_bonus: float, seed: int) -> np.ndarray:
    """The rating that a row would get from infinitely many raters without noise, (n,).

    BASE + NAMES_KEY * names_key + MECHANISM * (mechanism is right, or wrong and missed)
    + NOTICED * (wrong and noticed) + REFUTES * refutes_distractor
    + ENDORSES_WRONG * endorses_wrong + length_bonus * words
    + QUESTION * z, z standard normal, one per question.
    """
    convinces = (rows.mechanism == "right") | rows.is_missed
    noticed = (rows.mechanism == "wrong") & ~rows.is_missed
    effect = {
        one: QUESTION_STARS * stream(seed, "effect", one).standard_normal()
        for one in rows.question_id.unique()
    }
    stars = (
        BASE_STARS
        + NAMES_KEY_STARS * rows.names_key
        + MECHANISM_STARS * convinces
        + NOTICED_STARS * noticed
        + REFUTES_STARS * rows.refutes_distractor
        + ENDORSES_WRONG_STARS * rows.endorses_wrong
        + length_bonus * rows.words_n
        + rows.question_id.map(effect)
    )
    return stars.to_numpy(dtype=float)


def rate(
    rows: pd.DataFrame, noise: float, length_bonus: float, shuffle: bool, seed: int
) -> pd.DataFrame:
    """`rows` with `ratings`: a list of integers 0..5 for each, one per rater.

    A rater gives expected_stars + noise * z, rounded and clipped. Rows have MIN_RATERS to
    MAX_RATERS raters. shuffle: ratings go to another row, as a control.
    """
    ratings = []
    expected = expected_stars(rows, length_bonus, seed)
    names = zip(rows.question_id, rows.student, expected, strict=True)
    for question_id, student, stars in names:
        rng = stream(seed, "ratings", question_id, student)
        extra = int(rng.geometric(1 / (EXTRA_RATERS + 1))) - 1
        z = rng.standard_normal(min(MAX_RATERS, MIN_RATERS + extra))
        ratings.append(np.clip(np.rint(stars + noise * z), 0, 5).astype(int).tolist())
    if shuffle:
        order = stream(seed, "shuffle").permutation(len(ratings))
        ratings = [ratings[i] for i in order]
    return rows.assign(ratings=ratings)


def mean_stars(ratings: pd.Series) -> pd.Series:
    """The mean of each list, 4 decimals: what the export shows. NaN for a list of none."""
    return ratings.map(lambda values: round(float(np.mean(values)), 4) if values else np.nan)


def split_half_reliability(ratings: pd.Series) -> float:
    """Reliability of the mean rating, 0..1: the halves' correlation r, then 2r / (1 + r).

    The halves are the raters at even and odd positions, who are alike; the correction to
    full length is Spearman and Brown's (1910). Lists of fewer than two ratings do not count.
    """
    ratings = ratings[ratings.map(len) > 1]
    even = ratings.map(lambda values: float(np.mean(values[::2])))
    odd = ratings.map(lambda values: float(np.mean(values[1::2])))
    r = float(even.corr(odd))
    return 2 * r / (1 + r)


def rank_correlation(a: pd.Series, b: pd.Series) -> float:
    """Spearman's rank correlation, -1..1, ties averaged; pairs with a NaN do not count."""
    both = a.notna() & b.notna()
    return float(a[both].rank().corr(b[both].rank()))


def summarize(rows: pd.DataFrame) -> dict[str, float]:
    """Size, how often what was said, and the two properties that the ratings are tuned to."""
    used = rows[rows.is_usable]
    stars = mean_stars(used.ratings)
    clusters = used.drop_duplicates("question_id").cluster_id.value_counts(normalize=True)
    right = used.mechanism == "right"
    return {
        "facts_n": used.fact_id.nunique(),
        "questions_n": used.question_id.nunique(),
        "clusters_n": used.cluster_id.nunique(),
        "largest_cluster_frac": float(clusters.max()),
        "rows_usable_n": len(used),
        "rows_unusable_n": int((~rows.is_usable).sum()),
        "rows_unrated_n": int(stars.isna().sum()),
        "explanation_mean_words": float(used.words_n.mean()),
        "names_key_frac": float(used.names_key.mean()),
        "right_mechanism_frac": float(right.mean()),
        "endorses_wrong_frac": float(used.endorses_wrong.mean()),
        "fully_good_frac": float((used.names_key & right & ~used.endorses_wrong).mean()),
        "rating_mean_stars": float(stars.mean()),
        "rating_sd_stars": float(stars.std()),
        "rated_3_or_more_frac": float((stars.dropna() >= 3).mean()),
        "split_half_reliability_corr": split_half_reliability(used.ratings),
        "words_rating_corr": rank_correlation(used.words_n, stars),
    }
