"""Student's t and the normal distribution, and the one-sample t statistics built on them."""

from __future__ import annotations

from scipy import special

from evalharness.stats.mcnemar import SMALLEST_P


def normal_quantile(probability: float) -> float:
    """The z with P(Z <= z) = `probability`, in (0, 1)."""
    return float(special.ndtri(probability))


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
