"""Tango's score interval for a difference of paired proportions.

Source: Tango 1998, Statistics in Medicine 17:891-908. The difference is candidate − baseline, (c − b)/n for b regressed
and c fixed cases out of n. Unlike the normal interval it stays honest where few cases changed.
"""

from __future__ import annotations

import math

import numpy as np

from evalharness.stats.mcnemar import Counts
from evalharness.stats.student import normal_quantile


def _check(regressed: int, fixed: int, n: int) -> None:
    if n < 1:
        raise ValueError(f"a paired difference needs at least one case, got n = {n}")
    if regressed < 0 or fixed < 0 or regressed + fixed > n:
        raise ValueError(f"{regressed} regressed and {fixed} fixed cases do not fit in n = {n}")


def tango_z(regressed: int, fixed: int, n: int, difference: float) -> float:
    """Score statistic for "the true difference is `difference`", in [−1, 1]; large when the data lie above it.

    Z(D) = (c − b − nD) / sqrt(n (2q + D(1 − D))), with q the maximum-likelihood probability of a regression under D.
    ±inf where the null allows no variance and the data contradict it.

    Raises:
        ValueError: the counts do not fit in n, or `difference` is outside [−1, 1].
    """
    _check(regressed, fixed, n)
    if not -1.0 <= difference <= 1.0:
        raise ValueError(f"a difference of proportions lies in [-1, 1], got {difference}")
    excess = fixed - regressed - n * difference
    if excess == 0:
        return 0.0
    a = 2.0 * n
    b = -(regressed + fixed) + (2.0 * n - fixed + regressed) * difference
    c = -regressed * difference * (1.0 - difference)
    root = math.sqrt(max(b * b - 4.0 * a * c, 0.0))
    # Of the two forms of the larger root, the one that does not subtract nearly equal numbers.
    q = (root - b) / (2.0 * a) if b <= 0 else -2.0 * c / (root + b)
    variance = n * (2.0 * q + difference * (1.0 - difference))
    if variance <= 0.0:
        return math.copysign(math.inf, excess)
    return excess / math.sqrt(variance)


def tango_z_counts(regressed: Counts, fixed: Counts, n: int, difference: float) -> Counts:
    """`tango_z` of many counts at once, for one `difference` in [-1, 1]: arrays of one shape in and out."""
    excess = fixed - regressed - n * difference
    a = 2.0 * n
    b = -(regressed + fixed) + (2.0 * n - fixed + regressed) * difference
    c = -regressed * difference * (1.0 - difference)
    root = np.sqrt(np.maximum(b * b - 4.0 * a * c, 0.0))
    safe = np.where(root + b > 0, root + b, 1.0)
    q = np.where(b <= 0, (root - b) / (2.0 * a), -2.0 * c / safe)
    variance = n * (2.0 * q + difference * (1.0 - difference))
    finite = excess / np.sqrt(np.where(variance > 0, variance, 1.0))
    return np.where(excess == 0, 0.0, np.where(variance > 0, finite, np.copysign(np.inf, excess)))


def tango_lower(regressed: int, fixed: int, n: int, confidence: float) -> float:
    """One-sided lower bound for the difference, in [−1, 1], at `confidence` in (0.5, 1).

    Z falls as D rises, so the bound is the D where Z(D) equals the normal quantile, found by bisection.

    Raises:
        ValueError: the counts do not fit in n, or `confidence` is out of range.
    """
    _check(regressed, fixed, n)
    if not 0.5 < confidence < 1.0:
        raise ValueError(f"confidence must lie between 0.5 and 1, got {confidence}")
    z = normal_quantile(confidence)
    low, high = -1.0, (fixed - regressed) / n
    for _ in range(100):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if tango_z(regressed, fixed, n, middle) > z:
            low = middle
        else:
            high = middle
    return low


def tango_interval(regressed: int, fixed: int, n: int, level: float) -> tuple[float, float]:
    """Two-sided interval (low, high) for the difference at `level` in (0, 1), for example 0.95.

    Raises:
        ValueError: the counts do not fit in n, or `level` is out of range.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    confidence = (1.0 + level) / 2
    return tango_lower(regressed, fixed, n, confidence), -tango_lower(fixed, regressed, n, confidence)
