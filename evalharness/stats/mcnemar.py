"""One-sided McNemar tests on the two discordant counts of a paired binary metric.

Sources: McNemar 1947; the mid-p version is the one Fagerland, Lydersen and Laake recommend (BMC Medical Research
Methodology 2013, 13:91).
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special

Counts: TypeAlias = NDArray[np.float64]
"""Whole numbers, many at once."""

MIDP_MCNEMAR: Final = "mid-p McNemar"
"""Name of the mid-p test in an estimate; power analysis reads it to know that counts of changes decide."""
SMALLEST_P: Final = 2.2250738585072014e-308
"""The smallest p-value ever returned: an underflow to 0 would claim more than a float can say."""


def _upper_tail(k: int, trials: int) -> float:
    """P(X >= k) for X ~ Binomial(trials, 1/2), through the regularised incomplete beta function."""
    if k <= 0:
        return 1.0
    if k > trials:
        return 0.0
    return float(special.betainc(k, trials - k + 1, 0.5))


def midp_mcnemar(regressed: int, fixed: int) -> float:
    """One-sided mid-p of "no drop": P(X > b) + P(X = b)/2 for X ~ Binomial(b + c, 1/2), b = `regressed`, c = `fixed`.

    Returns a p-value in (0, 1]; 1 when no case changed, since nothing speaks for a drop then. The p of "no gain" is
    `midp_mcnemar(fixed, regressed)`.

    Raises:
        ValueError: a count is negative.
    """
    if regressed < 0 or fixed < 0:
        raise ValueError(f"discordant counts must not be negative, got {regressed} and {fixed}")
    changed = regressed + fixed
    if changed == 0:
        return 1.0
    return max((_upper_tail(regressed, changed) + _upper_tail(regressed + 1, changed)) / 2, SMALLEST_P)


def midp_mcnemar_counts(regressed: Counts, fixed: Counts) -> Counts:
    """`midp_mcnemar` of many counts at once: arrays of one shape in, p-values in (0, 1] out."""
    changed = regressed + fixed
    p = (upper_tails(regressed, changed, 0.5) + upper_tails(regressed + 1, changed, 0.5)) / 2
    return np.where(changed == 0, 1.0, np.maximum(p, SMALLEST_P))


def upper_tails(k: Counts, trials: Counts, chance: float) -> Counts:
    """P(X >= k) for X ~ Binomial(trials, chance), element by element."""
    inside = (k > 0) & (k <= trials)
    safe_k, safe_trials = np.where(inside, k, 1.0), np.where(inside, trials, 1.0)
    tail = special.betainc(safe_k, safe_trials - safe_k + 1, chance)
    return np.where(k <= 0, 1.0, np.where(inside, tail, 0.0))
