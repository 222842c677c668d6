"""Paired comparison of a quantile over all attempts (the 95th percentile of latency), as a ratio of the two sides.

A quantile is no mean of case values, and the quantile of case averages is another number: averaging repeats hides the
slow ones. So it is taken over every attempt, and uncertainty comes from the cases (or clusters) the attempts belong
to. Two attempts at one case share its length and its difficulty, and are no two observations.

The bounds are Woodruff's (1952, Journal of the American Statistical Association 47:635-646), for both sides together:
the share of attempts at or below each quantile is what varies, and the observed order statistics turn each drawn share
into a value. With one attempt a case the pair of counts at or below is multinomial, with margins of exactly q, and the
observed share of cases that lie on different sides of the two quantiles as the link between them; else cases or
clusters are drawn with replacement. Rounded outwards, the candidate's value to the next order statistic and the
baseline's to the one before, the bound of one side alone is the exact binomial one (David and Nagaraja 2003, Order
Statistics, section 7.1). Where the data hold no value beyond a drawn share there is no bound, and it says so.

Measured: false pass of a true rise of the margin at a nominal 5%, both sides log-normal (log-scale deviation 0.6),
log-t3, Pareto (index 1.5), 3% of calls ten times slower, rounded to whole numbers, or of different spread (0.1 against
0.9), correlation of the two sides 0 or 0.8; the worst of 14 cells, 500 comparisons each (six cells of 800 below):

| bound | n = 100: p50, p95, p99 | 300 | 1,000 |
|---|---|---|---|
| this one | 5.0%, 3.0%, never passes | 5.0%, 4.0%, 2.0% | 5.6%, 4.6%, 4.4% |
| paired bootstrap, percentile | 5.4%, 8.5%, 26% | 4.5%, 6.9%, 13% | not run |
| paired bootstrap, basic | 11%, 15%, 27% | 7.1%, 11%, 19% | not run |

It calls an unchanged candidate worse in at most 6.4% (p50, n = 100), and its interval misses in as many. With four
repeats a case, eight against one, or 10 to 60 clusters of ten, no cell of 400 is above 5.8%. The bootstraps fail where
the tails of the two sides differ, which is what a latency regression looks like. Swapping the sides of a case at random
is exact where nothing changed, and rejects 19% where only the spread did (p50, n = 300).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalharness.core.estimates import LEVEL, Interval, PairedEstimate
from evalharness.stats._inputs import (
    LARGEST,
    carried,
    checked_alpha,
    checked_level,
    cluster_codes,
    too_few,
    too_strict,
    without_rounding,
)
from evalharness.stats.bootstrap import MAX_DRAWS, draws_for, resampled_counts
from evalharness.stats.student import normal_quantile, t_quantile

Array = NDArray[np.float64]

DRAWS: Final = 10_000
METHOD: Final = "Woodruff (paired)"
_EPS: Final = 1e-9
"""A position this near a whole number is one: 0.95 · 100 is 94.99999999999999 in binary floats."""


class Attempts(NamedTuple):
    """One side: `values` and `held` of shape (n, repeats); a value that is not held is not read.

    Values are 0 or more; +inf stands for an attempt that failed, slower than any that did not.
    """

    values: Array
    held: NDArray[np.bool_]


def quantile(values: Array, q: float) -> float:
    """The smallest value that at least a share q of all lie at or below: numpy.quantile(method="inverted_cdf").

    Always one of the values, so that it also exists where some are infinite.

    Args:
        values: shape (n,), n >= 1.
        q: in (0, 1).
    """
    return float(np.sort(values)[_rank(q, values.size) - 1])


def fewest_units(q: float, alpha: float) -> int:
    """Independent cases from which the q-quantile has a bound at `alpha` on both ends: max(q, 1 − q)^n <= alpha.

    With fewer, all of them may lie on one side of the true quantile more often than that. 59 for q = 0.95 and 299 for
    q = 0.99 at 5%. Source: David and Nagaraja 2003, section 7.1.
    """
    return math.ceil(math.log(alpha) / math.log(max(q, 1 - q)) - _EPS)


def paired_quantile(
    baseline: Attempts,
    candidate: Attempts,
    *,
    q: float,
    sign: float,
    clusters: Sequence[str] | None,
    alpha: float,
    level: float = LEVEL,
    rng: np.random.Generator,
) -> PairedEstimate:
    """Compare the q-quantiles of two runs over the same cases.

    Everything in the estimate is in the metric's own unit on the goodness scale: a ratio R of candidate to baseline
    is given as sign · Q_baseline · (R − 1) with the observed Q_baseline held fixed, so that a relative margin is
    judged on the ratio itself and the noise of the baseline is in the bound. A baseline of exactly 0 has no ratio;
    then differences are given.

    p-values are those of the same draws: the share in which the ratio, rounded against the claim, is not beyond 1.
    Under clusters or repeats the drawn shares are stretched by t(G − 1)/z · sqrt(G/(G − 1)) at `alpha`, since few
    units drawn with replacement vary too little.

    Args:
        baseline: every attempt of the one run.
        candidate: the other's, the same cases at the same places.
        q: in (0, 1).
        sign: +1 where higher is better, −1 where lower is.
        clusters: one label per case, or None.
        alpha: level of the one-sided bound, in (0, 0.5). Below 0.00025 even 40,000 draws do not carry it: a PASS is
            then refused.
        level: of the two-sided interval, in (0, 1).
        rng: source of the draws, and of the order of equal values.

    Returns:
        An estimate whose bounds are infinite where the data hold none; then `no_pass_reason` says so. `sd` is half the
        width of the central 68% of the drawn differences times the root of the number of units.

    Raises:
        ValueError: shapes that differ, a case without an attempt, values below 0 or NaN, a quantile that falls on
            failed attempts, or q, sign, alpha or level out of range.
    """
    checked_alpha(alpha)
    checked_level(level)
    if not 0.0 < q < 1.0:
        raise ValueError(f"a quantile must lie between 0 and 1, got {q}")
    if sign not in (1, -1):
        raise ValueError(f"sign must be +1 (higher is better) or -1 (lower is better), got {sign}")
    n = _checked(baseline, candidate)
    codes = None if clusters is None else cluster_codes(clusters, n)
    clustered = codes is not None and int(codes.max()) + 1 < n
    owner = codes if clustered and codes is not None else np.arange(n)
    units = int(owner.max()) + 1
    left, right = _side(baseline, owner, q, rng), _side(candidate, owner, q, rng)
    for name, side in (("baseline", left), ("candidate", right)):
        if math.isinf(side.value):
            raise ValueError(
                f"more than {100 * (1 - q):.4g}% of the {name} answers failed, so this quantile falls on a failed one"
            )
    tail = (1 - level) / 2
    draws = max(DRAWS, draws_for(alpha, tail, most=MAX_DRAWS))
    single = not clustered and left.values.size == n == right.values.size
    if single:
        positions = _multinomial(left, right, q, draws, rng)
    else:
        positions = _resampled(left, right, q, units, alpha, draws, rng)
    low, high, middle = _changes(left, right, *positions)
    if (
        units == 1 and not single
    ):  # drawn with replacement it never varies, and so would tell of no noise at all
        low, high = np.full_like(low, -np.inf), np.full_like(high, np.inf)
    means = _mean_per_case(baseline), _mean_per_case(candidate)
    moved = np.where(means[0] == means[1], 0.0, means[1] - means[0])
    moved = np.where(np.isinf(moved), moved, without_rounding(moved, *means))
    touched = np.unique(owner[moved != 0]).size
    no_pass = too_few(touched, units, clustered=clustered) or _too_thin(q, units, alpha, clustered)
    if not carried(alpha, draws):
        no_pass = no_pass or too_strict(alpha, draws)
    delta = sign * (right.value - left.value) + 0.0
    ends, lower = _bounds(low, high, sign, alpha, tail)
    if math.isinf(lower):
        no_pass = no_pass or "too few of the values lie beyond this quantile to bound it"
    rise, fall = _share(low <= 0), _share(high >= 0)
    return PairedEstimate(
        n=n,
        n_units=units,
        baseline=sign * left.value + 0.0,
        candidate=sign * right.value + 0.0,
        delta=delta,
        interval=Interval(low=min(ends[0], delta), high=max(ends[1], delta), level=level, method=METHOD),
        lower=min(lower, delta),
        lower_method=METHOD,
        p_drop=rise if sign < 0 else fall,
        p_gain=fall if sign < 0 else rise,
        test="Woodruff inversion",
        n_regressed=int(np.count_nonzero(sign * moved < 0)),
        n_fixed=int(np.count_nonzero(sign * moved > 0)),
        discordance=int(np.count_nonzero(moved)) / n,
        sd=_spread(middle) * units**0.5,
        no_pass_reason=no_pass,
        clustered=clustered,
    )


class _Side(NamedTuple):
    """One side's attempts: `values` sorted, the quantile's `value`, and for each attempt whether it ranks at or below.

    `below` and `owner` (the unit an attempt belongs to) are in the order of the attempts, cases first.
    """

    values: Array
    value: float
    below: NDArray[np.bool_]
    owner: NDArray[np.int64]


def _rank(q: float, count: int) -> int:
    return min(max(math.ceil(q * count - _EPS), 1), count)


def _checked(baseline: Attempts, candidate: Attempts) -> int:
    """The number of cases."""
    for name, side in (("baseline", baseline), ("candidate", candidate)):
        if side.values.ndim != 2 or side.values.shape != side.held.shape:
            raise ValueError(
                f"{name} values and held must be matrices of one shape, got {side.values.shape} and {side.held.shape}"
            )
        if not side.held.any(axis=1).all():
            raise ValueError(f"{name} has cases without any attempt")
        values = side.values[side.held]
        wrong = int(np.count_nonzero(~((values >= 0) & ((values <= LARGEST) | np.isinf(values)))))
        if wrong:
            raise ValueError(
                f"{name} holds {wrong} values below 0, beyond {LARGEST:g} or not a number; a quantile's ratio needs 0 "
                "or more"
            )
    if len(baseline.values) != len(candidate.values):
        raise ValueError(f"{len(baseline.values)} cases cannot be paired with {len(candidate.values)}")
    if not len(baseline.values):
        raise ValueError("there are no paired cases to compare")
    return len(baseline.values)


def _side(attempts: Attempts, owner: NDArray[np.int64], q: float, rng: np.random.Generator) -> _Side:
    rows, _ = np.nonzero(attempts.held)
    values = attempts.values[attempts.held]
    # Equal values in random order: the order of the cases would tie both sides' ranks together.
    shuffled = rng.permutation(values.size)
    order = shuffled[np.argsort(values[shuffled], kind="stable")]
    rank = _rank(q, values.size)
    below = np.zeros(values.size, dtype=np.bool_)
    below[order[:rank]] = True
    ordered = values[order]
    return _Side(ordered, float(ordered[rank - 1]), below, owner[rows])


def _multinomial(
    left: _Side, right: _Side, q: float, draws: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Numbers of attempts at or below the true quantiles, shape (draws,) a side, one attempt a case."""
    n = left.below.size
    apart = min(float(np.mean(left.below & ~right.below)), q, 1 - q)
    counts = rng.multinomial(n, [q - apart, apart, apart, 1 - q - apart], size=draws)
    both = counts[:, 0].astype(np.float64)
    return both + counts[:, 1], both + counts[:, 2]


def _resampled(
    left: _Side, right: _Side, q: float, units: int, alpha: float, draws: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """The same from units drawn with replacement; positions need not be whole."""
    columns = []
    for side in (left, right):
        columns += [
            np.bincount(side.owner, weights=side.below, minlength=units),
            np.bincount(side.owner, minlength=units).astype(np.float64),
        ]
    kinds, counts = np.unique(np.column_stack(columns), axis=0, return_counts=True)
    drawn = np.concatenate([w @ kinds for w in resampled_counts(counts.astype(np.int64), draws, rng)])
    stretch = 1.0
    if units > 1:
        stretch = t_quantile(1 - alpha, units - 1) / normal_quantile(1 - alpha) * (units / (units - 1)) ** 0.5
    return tuple(
        side.below.size
        * (
            q
            + stretch
            * (drawn[:, at] / drawn[:, at + 1] - float(np.count_nonzero(side.below)) / side.below.size)
        )
        for at, side in ((0, left), (2, right))
    )


def _changes(left: _Side, right: _Side, at_left: Array, at_right: Array) -> tuple[Array, Array, Array]:
    """Changes of the quantile, candidate − baseline at the observed baseline: rounded down, up, and neither way."""
    before, after = _down(left.values, at_left), _up(left.values, at_left)
    lowest, highest = _down(right.values, at_right), _up(right.values, at_right)
    plain = _plain(left.values, at_left), _plain(right.values, at_right)
    base = left.value
    with np.errstate(divide="ignore", invalid="ignore"):
        if base == 0:
            pairs = (lowest - after, highest - before, plain[1] - plain[0])
        else:
            pairs = (
                base * (lowest / after - 1),
                base * (highest / before - 1),
                base * (plain[1] / plain[0] - 1),
            )
    return (
        np.where(np.isnan(pairs[0]), -np.inf, pairs[0]),
        np.where(np.isnan(pairs[1]), np.inf, pairs[1]),
        pairs[2],
    )


def _bounds(
    low: Array, high: Array, sign: float, alpha: float, tail: float
) -> tuple[tuple[float, float], float]:
    """The two ends of the interval, and the one-sided lower bound, on the goodness scale."""
    ends = (
        float(np.quantile(low, tail, method="lower")),
        float(np.quantile(high, 1 - tail, method="higher")),
    )
    if sign > 0:
        return ends, float(np.quantile(low, alpha, method="lower"))
    return (-ends[1], -ends[0]), -float(np.quantile(high, 1 - alpha, method="higher"))


def _up(ordered: Array, at: Array) -> Array:
    """The order statistic after `at` of the values, +inf where there is none."""
    place = np.floor(at + _EPS).astype(np.int64)
    return np.append(ordered, np.inf)[np.clip(place, 0, ordered.size)]


def _down(ordered: Array, at: Array) -> Array:
    """The order statistic at or before `at`, 0 (the least value there can be) where there is none."""
    place = np.ceil(at - _EPS).astype(np.int64)
    return np.append(0.0, ordered)[np.clip(place, 0, ordered.size)]


def _plain(ordered: Array, at: Array) -> Array:
    return ordered[np.clip(np.ceil(at - _EPS).astype(np.int64) - 1, 0, ordered.size - 1)]


def _mean_per_case(attempts: Attempts) -> Array:
    total = np.where(attempts.held, attempts.values, 0.0).sum(axis=1)
    return np.asarray(total / attempts.held.sum(axis=1))


def _share(hits: NDArray[np.bool_]) -> float:
    return (1 + int(np.count_nonzero(hits))) / (hits.size + 1)


def _too_thin(q: float, units: int, alpha: float, clustered: bool) -> str | None:
    """Why so few units carry no bound of this quantile, None where they do."""
    needed = fewest_units(q, alpha)
    if units >= needed:
        return None
    noun = "clusters" if clustered else "cases"
    return f"{units} {noun} hold no bound of the {100 * q:.4g}th percentile; at least {needed:,} are needed"


def _spread(changes: Array) -> float:
    """Half the width of the central 68%; 0 where too much of it has no value."""
    finite = changes[np.isfinite(changes)]
    if finite.size < 0.9 * changes.size:
        return 0.0
    low, high = np.quantile(finite, [0.1587, 0.8413])
    return float(high - low) / 2
