"""Win rates of one policy over another, as they are and at equal length.

n = questions, B = resamples of clusters. A verdict is 1 where policy a wins, 0 where b wins, 0.5
for a tie. The judge's scores are in stars.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from schemas.win_rates import STRENGTHS
from stages.pure import comparison, stats
from stages.pure.stats import NAN, Resampling

# A judge of single texts. Half of its differences between two policies on the sample course are
# below a twentieth of a star: the same text, or another word. Half a star is two or three of
# the standard deviations of these differences, a quarter one or two.
TIE_STARS, BETTER_STARS, MUCH_BETTER_STARS = 0.05, 0.25, 0.5
ROUNDING = 1e-9  # stars, so that 3.3 - 3.05 is a quarter

# Keeps the fit finite where length decides every verdict. One question bends the likelihood by
# at most 0.25, so it weighs less than a twentieth of a question.
RIDGE = 0.01
STEPS, CONVERGED = 60, 1e-8  # of Newton's method; log odds


@dataclass(frozen=True)
class BothOrders:
    """What a judge of pairs says when it sees every pair twice.

    position_bias: -1..1, the share of pairs won by the first text in both orders less the share
    won by the second in both; 0 for a judge who does not look at the position, NaN without pairs.
    """

    verdicts: np.ndarray  # (n,) of policy a
    position_bias: float


def verdicts(differences: np.ndarray, tie: float = TIE_STARS) -> np.ndarray:
    """Who wins, (n,), from score differences a - b in stars; up to `tie` is a tie, NaN stays."""
    is_tie = np.abs(differences) <= tie + ROUNDING
    found = np.where(is_tie, 0.5, (differences > 0).astype(float))
    return np.where(np.isnan(differences), NAN, found)


def from_both_orders(a_first: np.ndarray, b_first: np.ndarray) -> BothOrders:
    """The verdicts of a judge of pairs: what it says in one order only is a tie.

    a_first, b_first: (n,), 1 where the text shown first wins, 0 the second, 0.5 neither, NaN
    unread; a's text is shown first, then b's. An unread order leaves no verdict.
    Zheng et al. 2023 (arXiv:2306.05685, section 3.4) call this the conservative approach.
    """
    for_a = np.array([a_first, 1 - b_first], dtype=float)  # (2, n)
    agreed = np.where(for_a[0] == for_a[1], for_a[0], 0.5)
    is_read = ~np.isnan(for_a).any(axis=0)
    bias = float((a_first + b_first - 1)[is_read].mean()) if is_read.any() else NAN
    return BothOrders(np.where(is_read, agreed, NAN), bias)


def strengths(differences: np.ndarray, tie: float = TIE_STARS) -> dict[str, int]:
    """How many wins and losses of each size, by the names of schemas.win_rates.STRENGTHS + _n."""
    size, side = np.abs(differences) + ROUNDING, np.sign(differences)
    is_win = verdicts(differences, tie) != 0.5
    much, some = size >= MUCH_BETTER_STARS, size >= BETTER_STARS
    classes = [much, some & ~much, ~some]
    counts = [int((c & is_win & (side > 0)).sum()) for c in classes]
    counts += [int((c & is_win & (side < 0)).sum()) for c in reversed(classes)]
    return {f"{name}_n": n for name, n in zip(STRENGTHS, counts, strict=True)}


def length_controlled(
    won: np.ndarray, longer: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The win rate at equal length and the effect of length, each (B,).

    Logistic regression of the verdict on an intercept and on tanh(longer / SD(longer)), read at
    `longer` = 0 (Dubois et al. 2024, arXiv:2404.04475, section 3, without the term for the
    instruction's difficulty, which needs other models' answers). A tie counts half as a win and
    half as a loss. A ridge of RIDGE / 2 times the squared coefficients keeps them finite. The
    effect is in log odds: from equal length to about one SD more it is three quarters of it.

    NaN where no text of a is as short as its rival, or none as long: then length and policy are
    one and the same, and the rate at equal length would be a guess. NaN also if the fit does
    not settle.

    won: verdicts (n,), no NaN; longer: words of a's text less those of b's (n,);
    weights: how often each question counts, (B, n).
    """
    spread = longer.std()
    feature = np.tanh(longer / spread) if spread else np.zeros(len(longer))
    intercept, slope = np.zeros(len(weights)), np.zeros(len(weights))
    for _ in range(STEPS):
        expected = 1 / (1 + np.exp(-(intercept[:, None] + slope[:, None] * feature)))  # (B, n)
        missing = weights * (won - expected)
        curved = weights * expected * (1 - expected)
        up_0 = missing.sum(axis=1) - RIDGE * intercept
        up_1 = np.einsum("bn,n->b", missing, feature) - RIDGE * slope
        h_00 = curved.sum(axis=1) + RIDGE
        h_01 = np.einsum("bn,n->b", curved, feature)
        h_11 = np.einsum("bn,n->b", curved, feature**2) + RIDGE
        steps = np.array([h_11 * up_0 - h_01 * up_1, h_00 * up_1 - h_01 * up_0])
        steps /= h_00 * h_11 - h_01**2
        intercept, slope = intercept + steps[0], slope + steps[1]
        is_found = np.abs(steps).max(axis=0) < CONVERGED
        if is_found.all():
            break
    is_known = is_found & (weights @ (longer <= 0) > 0) & (weights @ (longer >= 0) > 0)
    rate = 1 / (1 + np.exp(-intercept))
    return np.where(is_known, rate, NAN), np.where(is_known, slope, NAN)


def win_rate(compared: pd.DataFrame, how: Resampling) -> dict[str, float]:
    """The measures of WinRates, except strengths and position bias.

    compared: verdict (NaN = none), longer (words of a less those of b), cluster_id.
    Length-controlled limits are NaN unless `how.level` of the resamples have a rate.
    """
    known = compared.dropna(subset=["verdict", "longer"])
    won, longer = known.verdict.to_numpy(float), known.longer.to_numpy(float)
    names, member = np.unique(known.cluster_id.to_numpy(), return_inverse=True)
    plain = stats.cluster_bootstrap(won, member, how.samples, how.level, how.seed)
    rate = effect = low = high = NAN
    if len(known):
        rate, effect = (float(x[0]) for x in length_controlled(won, longer, np.ones((1, len(won)))))
    if len(names) > 1 and np.isfinite(rate):
        counts = stats.resamples(len(names), how.samples, how.seed)[:, member]  # (B, n)
        rates = length_controlled(won, longer, counts)[0]
        if np.isfinite(rates).mean() >= how.level:
            tail = (1 - how.level) / 2
            low, high = (float(x) for x in np.nanquantile(rates, [tail, 1 - tail]))
    return {
        "questions_n": len(known),
        "clusters_n": len(names),
        "wins_n": int((won == 1).sum()),
        "ties_n": int((won == 0.5).sum()),
        "losses_n": int((won == 0).sum()),
        "win_frac": plain.mean,
        "win_low": plain.low,
        "win_high": plain.high,
        "length_controlled_frac": rate,
        "length_controlled_low": low,
        "length_controlled_high": high,
        "length_effect": effect,
    }


def win_rates(compared: pd.DataFrame, scorers: list[str], how: Resampling) -> pd.DataFrame:
    """comparison.all_pairs -> WinRates by judges of single texts (`scorers`: metrics in stars).

    A verdict is of one question and one training; the texts of a question are averaged first,
    scores and words alike. Pairs of policies without a common question are left out.
    """
    is_wanted = compared.metric.isin([*scorers, "words"]) & (compared.course == comparison.ALL)
    found = compared[is_wanted]
    pairs = found.assign(change=found.value_a - found.value_b)
    keys = ["question_id", "cluster_id", "training_seed"]
    rows = []
    for place, group in pairs.groupby(comparison.PAIR, sort=True):
        table = group.pivot(index=keys, columns="metric", values="change").reset_index()
        for scorer in [name for name in scorers if name in table]:
            row: dict[str, Any] = dict(zip(comparison.PAIR, list(place), strict=True))
            change = table[scorer].to_numpy(float)
            rated = table.assign(verdict=verdicts(change), longer=table.words)
            measures = strengths(change[~np.isnan(change)]) | {"position_bias_frac": NAN}
            rows.append({**row, "scorer": scorer, **win_rate(rated, how), **measures})
    sizes = {f"{name}_n": "Int64" for name in STRENGTHS}
    return pd.DataFrame(rows).astype(sizes) if rows else pd.DataFrame(rows)


def length_flag(family: pd.DataFrame, rates: pd.DataFrame, level: float = 0.95) -> bool:
    """Is policy a clearly longer than b while no held-out headline metric is clearly better?

    family: rows of Comparisons of one (policy_a, policy_b, decoding, course), with `words`.
    rates: the rows of WinRates of the same policies and decoding; a scorer that stands there is
    better only if its length-controlled rate is clearly above one half too.
    """
    words = family[family.metric == "words"]
    if not (words.low > 0).any():
        return False
    level_of_length = rates.set_index("scorer").length_controlled_low
    better = family[(family.p_value_holm < 1 - level) & (family.difference > 0)].metric
    return not any(
        level_of_length[metric] > 0.5 if metric in level_of_length.index else True
        for metric in better
    )


def with_flags(rates: pd.DataFrame, compared: pd.DataFrame, level: float) -> pd.DataFrame:
    """WinRates without and with `is_only_longer`. compared: Comparisons of the same policies."""
    overall = compared[compared.course == comparison.ALL]
    is_flagged = {
        place: length_flag(family, of_place(rates, place), level)
        for place, family in overall.groupby(comparison.PAIR)
    }
    places = zip(*(rates[name] for name in comparison.PAIR), strict=True)
    return rates.assign(is_only_longer=[is_flagged.get(place, False) for place in places])


def of_place(rates: pd.DataFrame, place: Any) -> pd.DataFrame:
    """The rows of two policies and a decoding."""
    wanted = pd.Series(dict(zip(comparison.PAIR, place, strict=True)))
    return rates[(rates[comparison.PAIR] == wanted).all(axis=1)]
