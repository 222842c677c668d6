"""Student's t and the normal distribution, and the one-sample t statistics built on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from evalharness.stats.mcnemar import SMALLEST_P


def normal_quantile(probability: float) -> float:
    """The z with P(Z <= z) = `probability`, in (0, 1)."""
    return float(special.ndtri(probability))


def normal_cdf(z: float) -> float:
    """P(Z <= z) for the standard normal."""
    return float(special.ndtr(z))


def t_cdf(t: float, df: float) -> float:
    """P(T <= t) for Student's t with `df` > 0 degrees of freedom."""
    return float(special.stdtr(df, t))


def t_quantile(probability: float, df: float) -> float:
    """The t with P(T <= t) = `probability`, in (0, 1), for `df` > 0 degrees of freedom."""
    return float(special.stdtrit(df, probability))


def t_p_values(mean: float, standard_error: float, df: float) -> tuple[float, float]:
    """One-sided p of "no drop" and of "no gain" for an estimate and its positive standard error, each in (0, 1]."""
    t = mean / standard_error
    return max(t_cdf(t, df), SMALLEST_P), max(t_cdf(-t, df), SMALLEST_P)


def skewness_corrected_p_values(differences: NDArray[np.float64]) -> tuple[float, float]:
    """One-sided p of "no drop" and of "no gain", each the larger of Student's t and Hall's corrected t.

    Hall's transformation removes the skewness g from the distribution of t: t + g·t²/(3√n) + g²·t³/(27n) + g/(6√n),
    held against Student's t with n − 1 degrees of freedom. Source: Hall 1992, Journal of the Royal Statistical Society
    B 54:221-228. Alone it rejects too often where few values differ from 0; so does t on the other side of the skew.

    Args:
        differences: shape (n,), n >= 2, not all equal.
    """
    n = differences.size
    mean, spread = float(differences.mean()), float(differences.std(ddof=1))
    skewness = float((((differences - mean) / spread) ** 3).mean())
    t = mean / spread * n**0.5
    corrected = t + skewness * t**2 / (3 * n**0.5) + skewness**2 * t**3 / (27 * n) + skewness / (6 * n**0.5)
    plain = t_p_values(mean, spread / n**0.5, n - 1)
    return (
        max(plain[0], t_cdf(corrected, n - 1)),
        max(plain[1], t_cdf(-corrected, n - 1)),
    )
