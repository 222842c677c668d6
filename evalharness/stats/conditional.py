"""The exact conditional test of repeated 0/1 answers, whatever the numbers of repeats on the two sides.

Under "no case changed" the successes of a case, over the repeats of both sides, are spread over those repeats by
chance, so the candidate's share of them is hypergeometric. Its sum over the cases is the statistic; ties count half.
Source: Birch 1964, Journal of the Royal Statistical Society B 26:313-324; with one repeat on each side it is the mid-p
McNemar test.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from evalharness.stats.mcnemar import SMALLEST_P
from evalharness.stats.student import normal_cdf

_EXACT: Final = 4_000
"""Up to this many undecided answers the distribution is convolved; beyond, it is normal to all that a p-value shows."""


def conditional(
    baseline: NDArray[np.float64], candidate: NDArray[np.float64], repeats: tuple[int, int]
) -> tuple[float, float]:
    """One-sided mid-p of "no drop" and of "no gain", each in (0, 1]; both 1 where no case could go either way.

    It tests that no case changed, which is more than "the mean did not change": where some cases got better and as
    many got worse it rejects too often, so it is only ever a second opinion beside a test of the mean.

    Args:
        baseline: shape (n,), shares of successes in [0, 1].
        candidate: shape (n,), the same cases at the same places.
        repeats: numbers of repeats behind the shares of each side, at least 1. A case whose share is no multiple of
            1/repeats (an answer is missing) is left out.
    """
    first, second = baseline * repeats[0], candidate * repeats[1]
    known = (np.abs(first - np.rint(first)) < 1e-6) & (np.abs(second - np.rint(second)) < 1e-6)
    totals = np.rint(first + second)[known].astype(np.int64)
    undecided = (totals > 0) & (totals < sum(repeats))
    observed = int(np.rint(second)[known][undecided].sum())
    held = np.bincount(totals[undecided], minlength=sum(repeats) + 1)
    if not held.any():
        return 1.0, 1.0
    if int(held.sum()) * repeats[1] > _EXACT:
        below = _normal(held, observed, repeats)
        return max(below, SMALLEST_P), max(1.0 - below, SMALLEST_P)
    chances = _distribution(held, repeats)
    half = chances[observed] / 2
    return (
        min(max(float(chances[:observed].sum() + half), SMALLEST_P), 1.0),
        min(max(float(chances[observed + 1 :].sum() + half), SMALLEST_P), 1.0),
    )


def _distribution(held: NDArray[np.int64], repeats: tuple[int, int]) -> NDArray[np.float64]:
    """Chances of each sum of the candidate's successes; `held[s]` cases have s successes on both sides together."""
    chances = np.ones(1)
    for total in np.flatnonzero(held).tolist():
        power, times = _hypergeometric(total, repeats), int(held[total])
        while times:
            if times & 1:
                chances = np.convolve(chances, power)
            times >>= 1
            if times:
                power = np.convolve(power, power)
    return chances


def _hypergeometric(total: int, repeats: tuple[int, int]) -> NDArray[np.float64]:
    """Chances that the candidate holds 0 … repeats[1] of `total` successes."""
    taken = np.arange(repeats[1] + 1)
    ways = special.binom(repeats[1], taken) * special.binom(repeats[0], total - taken)
    return np.asarray(np.where(total - taken < 0, 0.0, ways) / special.binom(sum(repeats), total))


def _normal(held: NDArray[np.int64], observed: int, repeats: tuple[int, int]) -> float:
    both = sum(repeats)
    share = np.arange(both + 1) / both
    mean = repeats[1] * float(held @ share)
    variance = repeats[1] * (both - repeats[1]) / (both - 1) * float(held @ (share * (1 - share)))
    return normal_cdf((observed - mean) / variance**0.5)
