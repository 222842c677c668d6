"""How much a metric moves when nothing changed: several answers of one candidate to the same cases.

Answers are a matrix of shape (cases, answers), higher is better, with a mask of the cells that hold one. Cases need
not have the same number of answers; what stands in a cell without an answer is not read.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from evalharness.stats._inputs import LARGEST, cluster_codes, without_rounding
from evalharness.stats.margins import drop_of

DRAWS: Final = 10_000
FEWEST_DRAWS: Final = 1_000
DEALS: Final = 256
"""Up to this many ways to deal a case's answers to two sides are all used; of more, about this many are drawn."""
_WORK: Final = 100_000_000
_TABLE_CELLS: Final = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """What `spread` finds. `cases` are those with at least two answers."""

    cases: int
    between_cases: float
    within_cases: float
    flips: float


def spread(values: NDArray[np.float64], answered: NDArray[np.bool_]) -> Spread:
    """Split the variance of the answers into what differs between cases and what differs within them.

    Let case i have k_i answers with mean m_i and variance v_i (divisor k_i − 1).

        within  = mean of v_i
        between = variance of m_i (divisor n − 1) − mean of v_i / k_i, cut off at 0
        flips   = mean over cases of the share of the case's pairs of answers that differ

    `within` is unbiased for the mean over cases of the variance of one answer about its case's true value, and
    `between`, before it is cut off, for the variance of the true values, however unequal the k_i and the cases' own
    variances are, since E[variance of m_i] = between + E[mean of v_i / k_i]. With equal k_i both are the analysis-of-
    variance estimators of the one-way random-effects model (Searle, Casella and McCulloch 1992, Variance Components,
    chapter 3). `flips` is unbiased for the chance that two answers to a case differ, averaged over the cases; for 0/1
    values with s of k answers passed a case adds 2 s (k − s) / (k (k − 1)), so that `flips` is twice `within`.

    All three take the answers to a case as independent draws from one distribution, and the expectations are over
    those draws.

    Args:
        values: shape (cases, answers), finite where answered.
        answered: shape (cases, answers). Cases with fewer than two answers are not counted.

    Raises:
        ValueError: fewer than two cases have two answers, shapes that differ, or values that are not finite.
    """
    values, answered = _counted(values, answered)
    if len(values) < 2:
        raise ValueError("fewer than two cases have two answers, so nothing says how much answers vary")
    held = answered.sum(axis=1)
    means = values.sum(axis=1) / held
    within = _squares(values, answered, means) / (held - 1)
    between = float(np.var(means, ddof=1) - np.mean(within / held))
    return Spread(
        cases=len(values),
        between_cases=max(between, 0.0),
        within_cases=float(within.mean()),
        flips=float((_different_pairs(values, answered) / (held * (held - 1) / 2)).mean()),
    )


def false_drop_rate(
    values: NDArray[np.float64],
    answered: NDArray[np.bool_],
    *,
    first: int,
    margin: float,
    clusters: Sequence[str] | None,
    rng: np.random.Generator,
) -> float:
    """Chance that a comparison of two such runs observes a drop of the margin or more, in [0, 1].

    The answers to a case are dealt to the two sides anew, `first` places to one and the rest to the other, every way
    being as likely. This is conditional on the answers of each case: which cases vary, and how many of their answers
    are good, is held fixed; only which side got which answer is random. Where the answers to a case are exchangeable
    (independent draws of one candidate are), the expectation of this chance over the answers is the chance of such a
    drop in any comparison of this size and kind; one A/A gives one estimate of it.

    With 0/1 values, one answer a side and no clusters the chance is exact: of d cases that differ, b ~ Bin(d, 1/2)
    fall, and the drop is (2b − d)/n. Otherwise it is the share of 10,000 deals (1,000 at least, above 10,000 units
    that vary). The cases of a cluster are dealt alike: whatever ties the answers of one run to a cluster together
    then stays together. A case that a deal leaves without an answer on a side adds no difference in that deal.

    Args:
        values: shape (cases, answers), finite where answered, higher is better.
        answered: shape (cases, answers). Cases with fewer than two answers are not counted.
        first: how many of the columns are the first side's, in [1, answers − 1].
        margin: in the metric's unit, above 0.
        clusters: one label per case, or None where cases are independent.
        rng: source of the deals; not used where the chance is exact.

    Raises:
        ValueError: no case has two answers, `first` or `margin` out of range, a wrong number of labels, shapes that
            differ, or values that are not finite.
    """
    if not 0 < first < values.shape[1]:
        raise ValueError(f"the first side has {first} of {values.shape[1]} answers; each side needs one")
    if not (math.isfinite(margin) and margin > 0):
        raise ValueError(f"the margin must be a number above 0, got {margin}")
    codes = None if clusters is None else cluster_codes(clusters, len(values))
    counted = answered.sum(axis=1) >= 2
    values, answered = _counted(values, answered)
    n = len(values)
    if n == 0:
        raise ValueError("no case has two answers, so nothing says how much answers vary")
    moving = _different_pairs(values, answered) > 0
    own = codes is None or len(np.unique(codes[counted])) == n
    if values.shape[1] == 2 and own and np.isin(values, (0.0, 1.0)).all():
        return _exact(int(np.count_nonzero(moving)), n, margin)
    units = np.arange(n) if own or codes is None else codes[counted]
    return _dealt(values[moving], answered[moving], units[moving], first, n, margin, rng)


def _exact(differing: int, n: int, margin: float) -> float:
    """P((d − 2b)/n <= −margin) for b ~ Bin(d, 1/2) cases that fall."""
    fewest = math.ceil((differing - n * drop_of(margin)) / 2)
    if fewest > differing:
        return 0.0
    return float(special.bdtrc(fewest - 1, differing, 0.5))


def _dealt(
    values: NDArray[np.float64],
    answered: NDArray[np.bool_],
    units: NDArray[np.int64],
    first: int,
    n: int,
    margin: float,
    rng: np.random.Generator,
) -> float:
    """Share of deals whose mean difference over `n` cases is a drop of the margin; the others of `n` never differ."""
    if len(values) == 0:
        return 0.0
    order = np.argsort(units, kind="stable")
    starts = np.flatnonzero(np.diff(units[order], prepend=-1))
    deals = _deals(values.shape[1], first, rng)
    draws = min(DRAWS, max(FEWEST_DRAWS, _WORK // starts.size))
    sums = np.zeros(draws)
    step = max(1, _TABLE_CELLS // (len(deals) * values.shape[1]))
    for begin in range(0, starts.size, step):
        end = begin + step
        last = int(starts[end]) if end < starts.size else len(order)
        rows = order[int(starts[begin]) : last]
        table = np.add.reduceat(
            _differences(values[rows], answered[rows], deals), starts[begin:end] - starts[begin], axis=0
        )
        for row in table:
            sums += row[rng.integers(0, len(deals), size=draws, dtype=np.uint16)]
    # Sums of the same numbers in another order differ in their last bits; drop_of leaves room for that.
    return float(np.count_nonzero(sums / n <= drop_of(margin)) / draws)


def _deals(answers: int, first: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Ways to pick the first side's places, shape (deals, answers), 1 where picked; each place as often as any other.

    All of them, or where there are too many, the rotations of random orders: these too use every place equally often,
    so that no deal favours a side.
    """
    if math.comb(answers, first) <= DEALS:
        picked = [list(places) for places in itertools.combinations(range(answers), first)]
    else:
        orders = [rng.permutation(answers) for _ in range(max(1, DEALS // answers))]
        picked = [list(np.roll(order, turn)[:first]) for order in orders for turn in range(answers)]
    deals = np.zeros((len(picked), answers))
    deals[np.arange(len(picked))[:, None], picked] = 1.0
    return deals


def _differences(
    values: NDArray[np.float64], answered: NDArray[np.bool_], deals: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Second side's mean − first side's mean of every case under every deal, shape (cases, deals)."""
    held = answered.astype(np.float64)
    left, right = held @ deals.T, held @ (1 - deals).T
    both = (left > 0) & (right > 0)
    means = (values @ (1 - deals).T) / np.maximum(right, 1) - (values @ deals.T) / np.maximum(left, 1)
    return np.where(both, means, 0.0)


def _counted(
    values: NDArray[np.float64], answered: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The cases with two answers or more, cells without an answer set to 0."""
    values, answered = np.asarray(values, dtype=np.float64), np.asarray(answered, dtype=np.bool_)
    if values.ndim != 2 or values.shape != answered.shape:
        raise ValueError(
            f"values and answered must be matrices of one shape, got {values.shape} and {answered.shape}"
        )
    values = np.where(answered, values, 0.0)
    if not (np.abs(values) <= LARGEST).all():  # False for NaN as well
        raise ValueError(f"answers must be finite and within ±{LARGEST:g}; a missing one needs its mark")
    counted = answered.sum(axis=1) >= 2
    return values[counted], answered[counted]


def _squares(
    values: NDArray[np.float64], answered: NDArray[np.bool_], means: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum of squared deviations of each case's answers from their mean; 0 where they differ by rounding only."""
    centre = np.broadcast_to(means[:, None], values.shape)
    deviations = without_rounding(values - centre, values, centre)
    return np.asarray(np.where(answered, deviations**2, 0.0).sum(axis=1))


def _different_pairs(values: NDArray[np.float64], answered: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How many pairs of a case's answers differ by more than rounding, shape (cases,)."""
    count = np.zeros(len(values))
    for one, other in itertools.combinations(range(values.shape[1]), 2):
        left, right = values[:, one], values[:, other]
        count += answered[:, one] & answered[:, other] & (without_rounding(right - left, left, right) != 0)
    return count
