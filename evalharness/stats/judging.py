"""How far a judge can be trusted: position, agreement with people.

Every share comes with a 95% interval by one construction, `share`, so that figures beside each other mean the same.
The effect of length is in `evalharness.stats.length`, agreement coefficients in `evalharness.stats.agreement`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evalharness.core.estimates import LEVEL
from evalharness.core.judges import Measured
from evalharness.stats._inputs import cluster_codes
from evalharness.stats.agreement import Agreement, Undefined, cohen_kappa
from evalharness.stats.mcnemar import midp_mcnemar
from evalharness.stats.ratings import Ratings
from evalharness.stats.student import normal_quantile, t_quantile

Array: TypeAlias = NDArray[np.float64]
Kind: TypeAlias = Literal[
    "no_cases",  # nothing to measure on
    "few_cases",  # too few for an interval
    "constant",  # one of two things compared never varies
    "one_sided",  # every verdict is for one side
    "separated",  # length alone decides every verdict
    "undetermined",  # the data leave the effect of length open
]
_EVEN: Final = 0.5
_ROUNDING: Final = 1e-9
"""Preferences this near one half are a tie: 0.1 + 0.4 is one."""


@dataclass(frozen=True, slots=True)
class NotEstimated:
    """There is no such figure for these verdicts; `reason` is a sentence part that says why."""

    kind: Kind
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """What the place of an answer does to the verdict, from pairs judged in both orders.

    A pair flips when its verdict (baseline, tie, candidate) is not the same in both orders. It favours the first slot
    when the candidate does better where it stands first.

    Attributes:
        n_pairs: pairs judged in both orders. n_flipped: those that flip; n_first and n_second: those of them that
            favour the first and the second slot. n_reversed: those of them that name opposite winners.
        flip_rate: n_flipped of n_pairs.
        flips_to_first: n_first of n_flipped, None without flips.
        p_value: two-sided, of "flips favour neither slot", None without flips.
        first_slot: share of all verdicts for the first answer, a tie counting one half.
    """

    n_pairs: int
    n_flipped: int
    n_first: int
    n_second: int
    n_reversed: int
    flip_rate: Measured
    flips_to_first: Measured | None
    p_value: float | None
    first_slot: Measured


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelAgreement:
    """How a judge's verdicts agree with people's labels of the same cases.

    Attributes:
        n: cases.
        agreement: share of cases with the same verdict (good, tie, bad).
        sensitivity: share of people's good cases that the judge sees as good, None where there are none.
        specificity: share of people's bad cases that the judge sees as bad, None where there are none. A judge's tie
            is in neither.
        kappa: Cohen's, unweighted, over the three verdicts.
        correlation2: squared Pearson correlation of the judge's values with the labels, in [0, 1]: what a corrected
            estimate (PPI++) gains from the judge. None where either does not vary.
    """

    n: int
    agreement: Measured
    sensitivity: Measured | None
    specificity: Measured | None
    kappa: Agreement | Undefined
    correlation2: float | None


def share(values: Array, *, cases: Sequence[str] | None = None) -> Measured:
    """A mean of values in [0, 1] with its 95% interval.

    Wilson's score interval where each value is 0 or 1 and stands alone. Otherwise the same interval at the effective
    sample size p(1 − p)/SE² of a mean with that standard error, between cases, times (z/t)² for the degrees of freedom;
    where nothing varies, at the number of cases. Sources: Wilson 1927, Journal of the American Statistical Association
    22:209-212; effective size: Korn and Graubard 1998, Survey Methodology 24:193-201.

    Args:
        values: shape (n,), n >= 1.
        cases: the case of each value, shape (n,); None where every value is a case of its own.

    Raises:
        ValueError: no values, values outside [0, 1], NaN, or not one case per value.
    """
    found = _checked(values)
    codes = np.arange(found.size) if cases is None else cluster_codes(cases, found.size)
    units = int(codes.max()) + 1
    p = float(found.mean())
    z, size = normal_quantile((1 + LEVEL) / 2), float(units)
    plain = units == found.size and bool(np.isin(found, (0.0, 1.0)).all())
    if not plain and units > 1:
        residual = np.bincount(codes, weights=found - p)
        variance = units / (units - 1) * float(residual @ residual) / found.size**2
        if variance > _ROUNDING**2:
            size = p * (1 - p) / variance * (z / t_quantile((1 + LEVEL) / 2, units - 1)) ** 2
    low, high = _wilson(p, size, z)
    return Measured(value=p, low=low, high=high, n=units)


def position(
    baseline_first: Array, candidate_first: Array, *, cases: Sequence[str] | None = None
) -> Position | NotEstimated:
    """Flips and the preferred slot of pairs that were judged in both orders.

    The test is the exact binomial with mid-p of flips towards the first slot against one half. A case with several
    pairs counts once, for the slot that most of its flips favour. The same imbalance among inconsistent pairs is what
    Shi et al. 2024 (arXiv:2406.07791) call preference fairness, and 1 − flip_rate is their position consistency.

    Args:
        baseline_first: shape (n,), preference for the candidate in [0, 1] in the order AB.
        candidate_first: shape (n,), the same pairs in the order BA.
        cases: the case of each pair; None where every pair is a case of its own.

    Raises:
        ValueError: shapes that differ, values outside [0, 1], NaN, or not one case per pair.
    """
    first, second = np.asarray(baseline_first, np.float64), np.asarray(candidate_first, np.float64)
    if first.shape != second.shape:
        raise ValueError(f"both orders must hold the same pairs, got {first.shape} and {second.shape}")
    if first.size == 0:
        return NotEstimated("no_cases", "no pair was judged in both orders")
    _checked(first)
    _checked(second)
    before, after = verdicts_of(first), verdicts_of(second)
    # The candidate stands second in `first`: doing better in `second` is doing better in the first slot.
    step = np.sign(after - before)
    flipped = step != 0
    codes = np.arange(first.size) if cases is None else cluster_codes(cases, first.size)
    labels = [str(code) for code in codes]
    net = np.sign(np.bincount(codes, weights=step))
    towards, away = int(np.count_nonzero(net > 0)), int(np.count_nonzero(net < 0))
    n_flipped = int(np.count_nonzero(flipped))
    to_first = None
    if n_flipped:
        moved = [label for label, moves in zip(labels, flipped.tolist(), strict=True) if moves]
        to_first = share((step[flipped] > 0).astype(np.float64), cases=moved)
    return Position(
        n_pairs=first.size,
        n_flipped=n_flipped,
        n_first=int(np.count_nonzero(step > 0)),
        n_second=int(np.count_nonzero(step < 0)),
        n_reversed=int(np.count_nonzero(before * after < 0)),
        flip_rate=share(flipped.astype(np.float64), cases=labels),
        flips_to_first=to_first,
        p_value=_two_sided(towards, away) if n_flipped else None,
        first_slot=share((1 - first + second) / 2, cases=labels),
    )


def against_labels(judged: Array, labels: Array, *, rng: np.random.Generator) -> LabelAgreement:
    """Hold a judge's verdicts against people's labels of the same cases.

    Above one half is good (pairwise: the candidate's answer is better), below is bad, one half is a tie.

    Args:
        judged: shape (n,), n >= 1, in [0, 1].
        labels: shape (n,), 1 good, 0 bad, 0.5 a tie.
        rng: source of the resamples behind the interval of kappa.

    Raises:
        ValueError: no cases, shapes that differ, values out of range.
    """
    values, people = _checked(judged), _checked(labels)
    if values.shape != people.shape:
        raise ValueError(f"judged and labels must be of one shape, got {values.shape} and {people.shape}")
    if not np.isin(people, (0.0, _EVEN, 1.0)).all():
        raise ValueError("labels must be 0 (bad), 0.5 (a tie) or 1 (good)")
    said, meant = verdicts_of(values), verdicts_of(people)
    right = (said == meant).astype(np.float64)
    good, bad = meant > 0, meant < 0
    ratings = Ratings.of(
        (str(i), rater, f"{verdict:+.0f}")
        for rater, verdicts in (("judge", said), ("people", meant))
        for i, verdict in enumerate(verdicts.tolist())
    )
    return LabelAgreement(
        n=values.size,
        agreement=share(right),
        sensitivity=share(right[good]) if good.any() else None,
        specificity=share(right[bad]) if bad.any() else None,
        kappa=cohen_kappa(ratings, "judge", "people", rng=rng),
        correlation2=_squared_correlation(values, people),
    )


def verdicts_of(preferences: Array) -> Array:
    """Preferences for the candidate as verdicts: 1 the candidate, 0 a tie, −1 the baseline; shape (n,)."""
    away = np.asarray(preferences, np.float64) - _EVEN
    return np.where(np.abs(away) <= _ROUNDING, 0.0, np.sign(away))


def _checked(values: Array) -> Array:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or found.size == 0:
        raise ValueError(f"a 1-dimensional array that is not empty is needed, got shape {found.shape}")
    wrong = int(np.count_nonzero(~((found >= 0.0) & (found <= 1.0))))
    if wrong:
        raise ValueError(f"values must lie between 0 and 1; {wrong} of {found.size} do not")
    return found


def _wilson(p: float, n: float, z: float) -> tuple[float, float]:
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    # At 0 and 1 the ends are exact; rounding must not push them past the estimate.
    return max(0.0, min(p, middle - half)), min(1.0, max(p, middle + half))


def _two_sided(first: int, second: int) -> float:
    """Mid-p of `first` against `second` successes with chance one half."""
    if first + second == 0:
        return 1.0
    return min(1.0, 2 * min(midp_mcnemar(first, second), midp_mcnemar(second, first)))


def _squared_correlation(first: Array, second: Array) -> float | None:
    x, y = first - first.mean(), second - second.mean()
    spread = float(x @ x) * float(y @ y)
    if min(np.ptp(first), np.ptp(second)) <= _ROUNDING:
        return None
    return min(1.0, float(x @ y) ** 2 / spread)
