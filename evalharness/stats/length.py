"""What the length of answers does to a judge's verdicts: win rate at equal length, and correlation with length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special

from evalharness.core.estimates import LEVEL
from evalharness.core.judges import Measured
from evalharness.stats._inputs import LARGEST, cluster_codes
from evalharness.stats.judging import NotEstimated
from evalharness.stats.student import normal_quantile, t_quantile

Array: TypeAlias = NDArray[np.float64]
MIN_CASES: Final = 10
"""Fewer cases than this say nothing about two coefficients."""
PENALTY: Final = 0.1
"""Ridge on the slope of length: a prior of standard deviation 3.2 on a log-odds ratio, weak from 20 cases on."""
_OPEN: Final = 0.2
"""Where the penalty holds more than this share of the information on the slope, it would be the answer."""

_UNDETERMINED: Final = (
    "lengths vary too little, or verdicts for one side are too rare, to tell what length does"
)
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthControlled:
    """A win rate as it would be if both answers were equally long.

    Attributes:
        value: in (0, 1). standard_error: by the delta method, on the same scale. low, high: 95% interval.
        raw: the plain mean of the same preferences.
        slope: log-odds for the candidate from length: at tanh(·) = 1, an answer far longer than the baseline's.
        n: pairs. n_cases: independent cases behind them.
        extrapolated: no two answers are equally long and one side's are always the longer: what is predicted lies
            outside of what was seen.
    """

    value: float
    standard_error: float
    low: float
    high: float
    raw: float
    slope: float
    n: int
    n_cases: int
    extrapolated: bool


def length_controlled_win_rate(
    preferences: Array,
    length_differences: Array,
    *,
    cases: Sequence[str] | None = None,
    penalty: float = PENALTY,
) -> LengthControlled | NotEstimated:
    """The win rate at equal length, after Dubois et al. 2024.

    Logistic regression of the preference y (fractional ones by quasi-likelihood) on length,
    logit E[y] = a + b · tanh(d / sd(d)), d the candidate's length less the baseline's; the answer is the prediction at
    d = 0, logistic(a), averaged over pairs (they all have the same one). Standard errors are the sandwich clustered by
    case, with the factor G/(G − 1) · (n − 1)/(n − 2); the interval is Student's on the log-odds scale with G − 2
    degrees of freedom, taken back to shares, and `standard_error` is the delta method's. Both orders of a pair have the
    same length, so averaging them first gives the same estimate and the same error.

    Source: Dubois, Galambosi, Liang and Hashimoto 2024, Length-Controlled AlpacaEval (arXiv:2404.04475). Taken from
    it: the model term, tanh of the difference in characters over its standard deviation (n − 1, not centred),
    fractional preferences, the prediction at no difference. Left out: the term for the difficulty of an instruction
    (estimated there from many models on AlpacaEval's own 805 instructions), the two "gamed" baselines added to the
    data with weight 0.2, and the L1 penalty chosen by 5-fold cross-validation. In their place stands a fixed ridge
    `penalty`/2 · b² on the slope alone, so the fitted mean stays the raw win rate, and two answers with swapped sides
    give the mirrored result. AlpacaEval gives no error for its length-controlled figure.

    It is a diagnostic, not a correction of the truth: where longer answers are better, length is part of the quality.

    Args:
        preferences: shape (n,), in [0, 1], for the candidate, orders averaged.
        length_differences: shape (n,), candidate − baseline, in any one unit (characters, tokens).
        cases: the case of each pair; None where every pair is a case of its own.
        penalty: at least 0.

    Returns:
        `NotEstimated` with fewer than 10 cases, lengths that do not vary, verdicts for one side only, verdicts that
        length decides by itself (the likelihood then has no maximum; Albert and Anderson 1984, Biometrika 71:1-10),
        or a slope that the penalty decides more than the data do.

    Raises:
        ValueError: shapes that differ, preferences outside [0, 1], NaN or infinite values, a negative penalty, or not
            one case per pair.
    """
    y, d = _checked(preferences, length_differences)
    if not penalty >= 0:
        raise ValueError(f"the penalty must be at least 0, got {penalty}")
    codes = np.arange(y.size) if cases is None else cluster_codes(cases, y.size)
    n_cases = int(codes.max()) + 1 if y.size else 0
    if n_cases < MIN_CASES:
        return NotEstimated("few_cases", f"{n_cases} cases are too few; at least {MIN_CASES} are needed")
    if np.ptp(d) == 0:
        return NotEstimated("constant", _constant(float(d[0])))
    z = np.tanh(d / d.std(ddof=1))
    if np.ptp(z) <= _ROUNDING:  # every difference is many standard deviations from none
        return NotEstimated("undetermined", _UNDETERMINED)
    unclear = _separated(y, z)
    if unclear is not None:
        return unclear
    a, b = _fit(y, z, penalty)
    p = special.expit(a + b * z)
    weight = p * (1 - p)
    x = np.column_stack((np.ones_like(z), z))
    information = (x * weight[:, None]).T @ x
    on_slope = information[1, 1] - information[0, 1] ** 2 / information[0, 0]
    if penalty > _OPEN * (penalty + on_slope):
        return NotEstimated("undetermined", _UNDETERMINED)
    scores = np.column_stack([np.bincount(codes, weights=column * (y - p)) for column in x.T])
    bread = np.linalg.inv(information + np.diag((0.0, penalty)))
    factor = n_cases / (n_cases - 1) * (y.size - 1) / (y.size - 2)
    error = float((factor * (bread @ (scores.T @ scores) @ bread))[0, 0]) ** 0.5
    value = float(special.expit(a))
    reach = t_quantile((1 + LEVEL) / 2, n_cases - 2) * error
    return LengthControlled(
        value=value,
        standard_error=value * (1 - value) * error,
        low=float(special.expit(a - reach)),
        high=float(special.expit(a + reach)),
        raw=float(y.mean()),
        slope=b,
        n=y.size,
        n_cases=n_cases,
        extrapolated=not bool(d.min() <= 0.0 <= d.max()),
    )


def length_correlation(preferences: Array, length_differences: Array) -> Measured | NotEstimated:
    """Spearman's correlation between the preference for the candidate and how much longer its answer is.

    Pearson's correlation of midranks, so ties are handled; the interval is Fisher's z with variance
    (1 + r²/2)/(n − 3) (Bonett and Wright 2000, Psychometrika 65:23-28). With 0/1 preferences it is the point-biserial
    correlation with the ranks of length. Simulated with preferences on 2, 3, 5 and any number of levels, true
    correlations from 0 to 0.85 and 20 to 200 cases, the interval covered in 94.4% or more of the draws. A perfect order
    has no such interval: it then reaches to what a share of unseen cases up to 1 − 0.025^(1/n), all in the opposite
    order, could make of it.

    Args:
        preferences: shape (n,), in [0, 1], one a case: orders and repeats averaged.
        length_differences: shape (n,), candidate − baseline.

    Returns:
        The correlation in [−1, 1], positive where longer answers are preferred.

    Raises:
        ValueError: shapes that differ, preferences outside [0, 1], NaN or infinite values.
    """
    y, d = _checked(preferences, length_differences)
    if y.size < MIN_CASES:
        return NotEstimated("few_cases", f"{y.size} cases are too few; at least {MIN_CASES} are needed")
    if np.ptp(d) == 0:
        return NotEstimated("constant", _constant(float(d[0])))
    if np.ptp(y) == 0:
        return NotEstimated("constant", "the preference is the same in every case")
    first, second = _midranks(y), _midranks(d)
    r = float(first @ second) / float((first @ first) * (second @ second)) ** 0.5
    r = min(1.0, max(-1.0, r))
    if abs(r) > 1 - 1e-12:
        unseen = 1 - ((1 - LEVEL) / 2) ** (1 / y.size)
        low, high = (1 - 2 * unseen, 1.0) if r > 0 else (-1.0, 2 * unseen - 1)
        return Measured(value=r, low=low, high=high, n=y.size)
    reach = normal_quantile((1 + LEVEL) / 2) * ((1 + r * r / 2) / (y.size - 3)) ** 0.5
    z = float(np.arctanh(r))
    low, high = float(np.tanh(z - reach)), float(np.tanh(z + reach))
    return Measured(value=r, low=low, high=high, n=y.size)


def _checked(preferences: Array, differences: Array) -> tuple[Array, Array]:
    y, d = np.asarray(preferences, np.float64), np.asarray(differences, np.float64)
    if y.shape != d.shape or y.ndim != 1:
        raise ValueError(
            f"preferences and length differences must be of one shape (n,), got {y.shape} and {d.shape}"
        )
    wrong = int(np.count_nonzero(~((y >= 0.0) & (y <= 1.0))))
    if wrong:
        raise ValueError(f"preferences must lie between 0 and 1 (0.5 a tie); {wrong} of {y.size} do not")
    if not (np.abs(d) <= LARGEST).all():
        raise ValueError(
            f"length differences hold NaN or values beyond ±{LARGEST:g}; leave such pairs out, and count them"
        )
    return y, d


def _constant(difference: float) -> str:
    if difference == 0:
        return "both answers are equally long in every case"
    side = "candidate" if difference > 0 else "baseline"
    return f"the {side}'s answers are longer by {abs(difference):g} in every case, so length and side are one"


def _separated(y: Array, z: Array) -> NotEstimated | None:
    """Whether the likelihood has no maximum: with one covariate, wins and losses must overlap on it to either side."""
    won, lost = z[y > 0], z[y < 1]
    if won.size == 0 or lost.size == 0:
        side = "candidate" if lost.size == 0 else "baseline"
        return NotEstimated("one_sided", f"every verdict is for the {side}")
    if won.min() >= lost.max():
        return NotEstimated(
            "separated", "length alone decides: the longer the candidate's answer, the sooner it wins"
        )
    if won.max() <= lost.min():
        return NotEstimated(
            "separated", "length alone decides: the shorter the candidate's answer, the sooner it wins"
        )
    return None


def _fit(y: Array, z: Array, penalty: float) -> tuple[float, float]:
    """Intercept and slope of the penalised fit, by Newton's method with step halving; the loss is convex."""
    x = np.column_stack((np.ones_like(z), z))
    ridge = np.array((0.0, penalty))
    at = np.array((float(special.logit(y.mean())), 0.0))

    def loss(beta: Array) -> float:
        eta = x @ beta
        return float((np.logaddexp(0.0, eta) - y * eta).sum() + 0.5 * (ridge * beta**2).sum())

    now = loss(at)
    for _ in range(100):
        p = special.expit(x @ at)
        gradient = x.T @ (p - y) + ridge * at
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + np.diag(ridge), gradient)
        size = 1.0
        while size > 1e-8 and (then := loss(at - size * step)) > now:
            size /= 2
        if size <= 1e-8:
            break
        at, now = at - size * step, then
        if float(np.abs(size * step).max()) < 1e-12:
            break
    return float(at[0]), float(at[1])


def _midranks(values: Array) -> Array:
    """Centred ranks, tied values sharing the mean of theirs; shape (n,)."""
    _, code, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    found = ranks[code.reshape(-1)]
    return np.asarray(found - found.mean())
