"""Paired estimates of one metric: which test and which bound, by what the values are.

| values | p-values | bound and interval |
|---|---|---|
| 0/1, one repeat, no clusters | mid-p McNemar | Tango score |
| anything else without clusters | paired t when n >= 100, else sign-flip | bootstrap-t |
| the same, repeats differ | skewness-corrected t, and the exact conditional test where repeats are 0/1 | bootstrap-t |
| clustered | cluster t (G − 1), or cluster sign-flip under 20 clusters | cluster t (G − 1) |
| corpus metrics | paired approximate randomisation | paired bootstrap (`paired_corpus`) |

Different numbers of repeats on the two sides make the differences skewed, and a plain t gives false alarms where few
cases are flaky. Measured: a baseline of 8 repeats against a candidate of one, flaky cases whose chances are drawn from
Beta(1, 1), (4, 1), (1, 4) and (0.5, 6), 2, 5, 10 and 20% of the answers changing for no reason; 10,000 comparisons a
cell; the highest rate of p <= 5% over the 16 cells of each n, and the mean power against a drop of 4 points:

| p-value | n = 50 | 200 | 500 | 1,000 | power at 50, 200, 500 |
|---|---|---|---|---|---|
| paired t | 20.0% | 12.6% | 8.4% | 7.1% | 27, 69, 94% |
| Johnson's 1978 or Hall's 1992 corrected t | 37.8% | 12.0% | 6.8% | 5.6% | 36, 71, 94% |
| bootstrap-t (2,000 comparisons a cell) | 38.1% | 11.5% | 6.2% | 6.2% | 36, 71, 94% |
| the larger of t and Hall's t | 19.8% | 11.7% | 6.4% | 5.6% | 27, 69, 94% |
| the larger of these two and the conditional test | 4.0% | 4.8% | 4.8% | 5.4% | 25, 69, 94% |

So the last decides where each repeat is 0 or 1; the last but one where that is not known. Where 5% of all cases truly
changed, as many for the better as for the worse, the last reaches 5.9, 6.4, 6.2 and 5.4%.

A bootstrap-t bound is never narrower than Student's: each of the two is too hopeful on data that suit the other. On
scores of which few changed, averages of four repeats, and 8 repeats against one, at 2 to 20% discordance and 50 to
1,000 cases, the worst of some 70 cells of 1,000 comparisons (each rate has a standard deviation of 0.7%):

| bound | false pass of a true drop of the margin (5%) | misses of the 95% interval (5%) |
|---|---|---|
| bootstrap-t | 7.2% | 9.2% |
| Student's t | 9.1% | 7.6% |
| the wider of the two | 6.9% | 7.0% |

It costs 0.2 to 1.8 points of the chance to pass an unchanged candidate, five in the worst cell. Measured again with
1,500 to 2,000 comparisons a cell, the wider passes a true drop in at most 6.5%, and its interval misses in 6.2%.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evalharness.core.estimates import LEVEL, Interval, PairedEstimate
from evalharness.stats._inputs import (
    MIN_CHANGED,
    carried,
    checked_alpha,
    checked_level,
    checked_pair,
    cluster_codes,
    too_few,
    too_strict,
    without_rounding,
)
from evalharness.stats.bootstrap import MAX_DRAWS, Bounds, bootstrap_t, draws_for
from evalharness.stats.conditional import conditional
from evalharness.stats.corpus import paired_corpus
from evalharness.stats.mcnemar import MIDP_MCNEMAR, midp_mcnemar
from evalharness.stats.signflip import flips_for, sign_flip
from evalharness.stats.student import skewness_corrected_p_values, t_p_values, t_quantile
from evalharness.stats.tango import tango_interval, tango_lower

__all__ = ["paired_cases", "paired_corpus"]

T_CASES: Final = 100
"""From this many cases on the mean's t test replaces the sign-flip."""
T_CLUSTERS: Final = 20
"""From this many clusters on the cluster t test replaces the cluster sign-flip."""
_CORRECTED: Final = "skewness-corrected t"
_NO_SPREAD: Final = "every case changed by the same amount, so there is no spread to bound the change by"


def paired_cases(
    baseline: NDArray[np.float64],
    candidate: NDArray[np.float64],
    *,
    binary: bool,
    equal_repeats: bool,
    clusters: Sequence[str] | None,
    alpha: float,
    level: float = LEVEL,
    repeats: tuple[int, int] | None = None,
    rng: np.random.Generator,
) -> PairedEstimate:
    """Compare two runs case by case on a metric that is the mean of per-case values.

    Nothing changed gives p = 1 on both sides. Differences no larger than floating-point rounding count as 0.
    Clusters that all hold a single case carry no dependence and are treated as no clusters.

    Args:
        baseline: shape (n,), higher is better, repeats already averaged.
        candidate: shape (n,), the same cases at the same places.
        binary: every value is 0 or 1 and comes from one repeat on each side.
        equal_repeats: both sides averaged the same number of repeats; a sign-flip is only valid then.
        clusters: one label per case, or None where cases are independent.
        alpha: level of the one-sided bound, in (0, 0.5), down to the 1e-6 of an early look. A bootstrap-t bound
            takes 10/alpha resamples where that is more than 2,000; under 0.00025 it would take more than 40,000:
            the bound is then Student's, and a PASS is refused. A drawn sign-flip takes 100/alpha sign patterns
            where that is more than 10,000, and 400,000 at most.
        level: of the two-sided interval, in (0, 1), with the same rule for (1 − level)/2.
        repeats: how many repeats, baseline and candidate, a case's value is the mean of, where each repeat was 0 or
            1; None where repeats hold other values. Read only where `equal_repeats` is false.
        rng: used by the sign-flip (over 16 changed units) and the bootstrap; the same state gives the same result.

    Raises:
        ValueError: no cases, shapes that differ, NaN or infinite values, values other than 0 and 1 under `binary`
            or outside 0 to 1 under `repeats`, repeats under 1, a wrong number of cluster labels, or alpha or level
            out of range.
    """
    checked_alpha(alpha)
    checked_level(level)
    left, right = checked_pair(baseline, candidate, dimensions=1)
    if binary and not (np.isin(left, (0.0, 1.0)).all() and np.isin(right, (0.0, 1.0)).all()):
        raise ValueError("a binary metric must hold only 0 and 1 in every case")
    if repeats is not None and not equal_repeats:
        _check_repeats(left, right, repeats)
    codes = None if clusters is None else cluster_codes(clusters, left.size)
    differences = without_rounding(right - left, left, right)
    if codes is not None and int(codes.max()) + 1 < left.size:
        return _clustered(left, right, differences, codes, alpha, level, rng)
    if binary:
        return _binary(left, right, alpha, level)
    return _fractional(left, right, differences, equal_repeats, repeats, alpha, level, rng)


def _check_repeats(left: NDArray[np.float64], right: NDArray[np.float64], repeats: tuple[int, int]) -> None:
    if min(repeats) < 1:
        raise ValueError(f"repeats must be at least 1 on both sides, got {repeats[0]} and {repeats[1]}")
    if min(left.min(), right.min()) < 0 or max(left.max(), right.max()) > 1:
        raise ValueError(
            "the mean of repeats that are 0 or 1 lies in [0, 1]; leave `repeats` out for other values"
        )


def _binary(
    left: NDArray[np.float64], right: NDArray[np.float64], alpha: float, level: float
) -> PairedEstimate:
    n = left.size
    passed_before, passed_after = int(left.sum()), int(right.sum())
    both = int(left @ right)
    regressed, fixed = passed_before - both, passed_after - both
    discordance, delta = (regressed + fixed) / n, (fixed - regressed) / n
    low, high = tango_interval(regressed, fixed, n, level)
    return PairedEstimate(
        n=n,
        n_units=n,
        baseline=passed_before / n,
        candidate=passed_after / n,
        delta=delta,
        interval=Interval(low=low, high=high, level=level, method="Tango score"),
        lower=tango_lower(regressed, fixed, n, 1 - alpha),
        lower_method="Tango score",
        p_drop=midp_mcnemar(regressed, fixed),
        p_gain=midp_mcnemar(fixed, regressed),
        test=MIDP_MCNEMAR,
        n_regressed=regressed,
        n_fixed=fixed,
        discordance=discordance,
        sd=max(discordance - delta**2, 0.0) ** 0.5,
    )


def _fractional(
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    differences: NDArray[np.float64],
    equal_repeats: bool,
    repeats: tuple[int, int] | None,
    alpha: float,
    level: float,
    rng: np.random.Generator,
) -> PairedEstimate:
    n = differences.size
    ordered = np.sort(differences)
    delta = float(ordered.mean())
    changed = int(np.count_nonzero(ordered))
    error = _standard_error(ordered)
    if not equal_repeats and error > 0:
        test, (p_drop, p_gain) = _CORRECTED, skewness_corrected_p_values(ordered)
    elif error > 0 and n >= T_CASES:
        test, (p_drop, p_gain) = "paired t", t_p_values(delta, error, n - 1)
    else:
        test, (p_drop, p_gain) = "sign-flip (mid-p)", sign_flip(ordered, rng, draws=flips_for(alpha))
    if not equal_repeats and repeats is not None:
        by_chance = conditional(left, right, repeats)
        test, p_drop, p_gain = f"{test}, conditional", max(p_drop, by_chance[0]), max(p_gain, by_chance[1])
    no_pass = too_few(changed, n, clustered=False)
    method, bounds = _student_bounds(delta, error, n, alpha, level, float(np.abs(ordered).max()))
    lower_method = method
    if error > 0 and changed >= MIN_CHANGED:
        tail = (1 - level) / 2
        draws = draws_for(alpha, tail)
        resampled = bootstrap_t(ordered, confidence=1 - alpha, level=level, rng=rng, draws=draws)
        # The wider of bootstrap-t and Student's t: see the table above.
        if carried(alpha, draws):
            lower_method, bounds = "bootstrap-t", bounds._replace(lower=min(resampled.lower, bounds.lower))
        else:
            no_pass = no_pass or too_strict(alpha, MAX_DRAWS)
        if carried(tail, draws):
            low, high = min(resampled.low, bounds.low), max(resampled.high, bounds.high)
            method, bounds = "bootstrap-t", bounds._replace(low=low, high=high)
    elif changed and error == 0:
        no_pass = no_pass or _NO_SPREAD
    return PairedEstimate(
        n=n,
        n_units=n,
        baseline=float(left.mean()),
        candidate=float(right.mean()),
        delta=delta,
        interval=Interval(low=bounds.low, high=bounds.high, level=level, method=method),
        lower=bounds.lower,
        lower_method=lower_method,
        p_drop=p_drop,
        p_gain=p_gain,
        test=test,
        n_regressed=int(np.count_nonzero(ordered < 0)),
        n_fixed=int(np.count_nonzero(ordered > 0)),
        discordance=changed / n,
        sd=error * n**0.5,
        no_pass_reason=no_pass,
    )


def _clustered(
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    differences: NDArray[np.float64],
    codes: NDArray[np.int64],
    alpha: float,
    level: float,
    rng: np.random.Generator,
) -> PairedEstimate:
    """Cluster sums as the units; the mean per case is a ratio, so its error comes from D_g − delta · n_g."""
    n = differences.size
    sums = np.bincount(codes, weights=differences)
    sizes = np.bincount(codes).astype(np.float64)
    units = sums.size
    # A cluster whose cases cancel sums to rounding noise, not to a change.
    sums[np.abs(sums) <= 1e-12 * np.bincount(codes, weights=np.abs(differences))] = 0.0
    delta = float(differences.sum()) / n
    residual = sums - delta * sizes
    error = 0.0
    if units > 1 and np.abs(residual).max() > 1e-12 * np.abs(sums).max():
        error = (units / (units - 1) * float(residual @ residual)) ** 0.5 / n
    if units >= T_CLUSTERS and error > 0:
        test, (p_drop, p_gain) = "cluster t", t_p_values(delta, error, units - 1)
    else:
        test, (p_drop, p_gain) = (
            "cluster sign-flip (mid-p)",
            sign_flip(np.sort(sums), rng, draws=flips_for(alpha)),
        )
    touched = np.bincount(codes, weights=differences != 0) > 0
    no_pass = too_few(int(np.count_nonzero(touched)), units, clustered=True)
    if error == 0 and touched.any():
        no_pass = no_pass or _NO_SPREAD
    method, bounds = _student_bounds(delta, error, units, alpha, level, float(np.abs(differences).max()))
    regressed, fixed = int(np.count_nonzero(differences < 0)), int(np.count_nonzero(differences > 0))
    method = "cluster t" if method == "paired t" else method
    return PairedEstimate(
        n=n,
        n_units=units,
        baseline=float(left.mean()),
        candidate=float(right.mean()),
        delta=delta,
        interval=Interval(low=bounds.low, high=bounds.high, level=level, method=method),
        lower=bounds.lower,
        lower_method=method,
        p_drop=p_drop,
        p_gain=p_gain,
        test=test,
        n_regressed=regressed,
        n_fixed=fixed,
        discordance=(regressed + fixed) / n,
        sd=error * units**0.5,
        no_pass_reason=no_pass,
        clustered=True,
    )


def _standard_error(differences: NDArray[np.float64]) -> float:
    """Standard error of the mean, shape (n,) in; exactly 0 where the values differ by rounding only, or n is 1."""
    if differences.size < 2 or np.ptp(differences) <= 1e-12 * float(np.abs(differences).max()):
        return 0.0
    return float(differences.std(ddof=1)) / float(differences.size**0.5)


def _student_bounds(
    delta: float, error: float, units: int, alpha: float, level: float, largest: float
) -> tuple[str, Bounds]:
    """Student bounds with units − 1 degrees of freedom, and the name of the method.

    One unit that changed says nothing about spread: its bounds reach twice its own change to either side, labelled
    as such, and the caller refuses a PASS.
    """
    if units == 1 and largest > 0:
        return "none (a single unit)", Bounds(delta - 2 * largest, delta - 2 * largest, delta + 2 * largest)
    if error == 0:
        return "paired t", Bounds(delta, delta, delta)
    one, two = t_quantile(1 - alpha, units - 1) * error, t_quantile((1 + level) / 2, units - 1) * error
    return "paired t", Bounds(delta - one, delta - two, delta + two)
