"""Win rates: how often the candidate's answer is preferred to the baseline's, against one half."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evalharness.core.estimates import LEVEL, Interval, PairedEstimate
from evalharness.stats._inputs import MIN_CHANGED
from evalharness.stats.mcnemar import midp_mcnemar
from evalharness.stats.paired import paired_cases

EVEN: Final = 0.5
"""The win rate of two candidates no one can tell apart."""


def win_rate(
    scores: NDArray[np.float64],
    *,
    clusters: Sequence[str] | None,
    alpha: float,
    level: float = LEVEL,
    equal_repeats: bool = True,
    rng: np.random.Generator,
) -> PairedEstimate:
    """Compare a candidate with its baseline by pairwise preferences.

    A case's score is the mean over both orders of presentation: 1 the candidate won both, 0 it lost both, 0.5 a tie
    or an order-bound verdict, 0.25 and 0.75 half a tie. The case (or cluster) is the unit, never the single verdict:
    two orders of one case are not independent. Tests and bounds are those of `paired_cases` for the candidate's
    scores against 0.5 in every case; swapping the sides turns a score s into 1 − s, which is the sign-flip.

    Where one side won every case outright there is no spread. The bound is then exact: a mean of values in [0, 1]
    that were all 1 in n independent cases lies above alpha^(1/n) at confidence 1 − alpha.

    Args:
        scores: shape (n,), in [0, 1], the preference for the candidate.
        clusters: one label per case, or None where cases are independent.
        alpha: level of the one-sided bound, in (0, 0.5).
        level: of the two-sided interval, in (0, 1).
        equal_repeats: a case's score averages as many answers of the one side as of the other; a sign-flip is only
            valid then.
        rng: used by the sign-flip and the bootstrap.

    Returns:
        `baseline` is 0.5, `candidate` the win rate, `delta` the win rate less 0.5, `n_fixed` the cases won,
        `n_regressed` those lost, `discordance` the share of cases that are no tie.

    Raises:
        ValueError: no cases, scores outside [0, 1], NaN or infinite, a wrong number of cluster labels, alpha or level
            out of range.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.size:
        wrong = int(np.count_nonzero(~((values >= 0.0) & (values <= 1.0))))
        if wrong:
            raise ValueError(
                f"preferences must lie between 0 and 1 (0.5 a tie); {wrong} of {values.size} do not"
            )
    estimate = paired_cases(
        np.full(values.shape, EVEN),
        values,
        binary=False,
        equal_repeats=equal_repeats,
        clusters=clusters,
        alpha=alpha,
        level=level,
        rng=rng,
    )
    if estimate.clustered:
        return estimate
    if estimate.n >= MIN_CHANGED and (values == values[0]).all() and values[0] in (0.0, 1.0):
        return _unanimous(estimate, alpha, level)
    decided = estimate.n_fixed + estimate.n_regressed
    if estimate.no_pass_reason is not None and decided < MIN_CHANGED:
        ties = "every case is a tie" if decided == 0 else f"only {decided} of {estimate.n} cases are no tie"
        return replace(
            estimate, no_pass_reason=f"{ties}; a bound needs at least {MIN_CHANGED} cases that are none"
        )
    return estimate


def _unanimous(estimate: PairedEstimate, alpha: float, level: float) -> PairedEstimate:
    """Exact bounds where every case was won, or every case lost."""
    n, won = estimate.n, estimate.delta > 0
    reach = ((1 - level) / 2) ** (1 / n)
    low, high = (reach - EVEN, EVEN) if won else (-EVEN, EVEN - reach)
    method = "exact (unanimous)"
    return replace(
        estimate,
        interval=Interval(low=low, high=high, level=level, method=method),
        lower=alpha ** (1 / n) - EVEN if won else -EVEN,
        lower_method=method,
        # Differences of one size: the sign-flip test is the mid-p McNemar test, and need not be drawn.
        p_drop=midp_mcnemar(estimate.n_regressed, estimate.n_fixed),
        p_gain=midp_mcnemar(estimate.n_fixed, estimate.n_regressed),
        no_pass_reason=None,
    )
