"""How large a drop a comparison could have seen, and how many cases would see a given one."""

from __future__ import annotations

import math

from evalharness.core.estimates import PairedEstimate
from evalharness.stats._inputs import checked_alpha
from evalharness.stats.mcnemar import MIDP_MCNEMAR
from evalharness.stats.student import normal_quantile


def _quantiles(alpha: float, power: float) -> tuple[float, float]:
    checked_alpha(alpha)
    if not 0.5 <= power < 1.0:
        raise ValueError(f"power must lie between 0.5 and 1, got {power}")
    return normal_quantile(1 - alpha), normal_quantile(power)


def _units_for(drop: float, discordance: float, z_alpha: float, z_power: float) -> float:
    """Cases for a one-sided McNemar test to see `drop`: (z_a sqrt(psi) + z_b sqrt(psi − drop²))² / drop².

    psi is the share of cases that change; a drop of `drop` needs at least that share. Source: Connor 1987,
    Biometrics 43:207-211.
    """
    psi = max(discordance, drop)
    return (z_alpha * math.sqrt(psi) + z_power * math.sqrt(max(psi - drop**2, 0.0))) ** 2 / drop**2


def _counts_changes(estimate: PairedEstimate) -> bool:
    """Whether the share of changed units, not a standard deviation, says what can be seen.

    So it is for 0/1 values. Where nothing varied there is no standard deviation either: a drop is then thought of as
    some units losing a full point.
    """
    return estimate.test == MIDP_MCNEMAR or estimate.sd == 0


def mde(estimate: PairedEstimate, *, alpha: float, power: float = 0.8) -> float:
    """Smallest true drop, in the metric's unit, that this many units would show as significant with `power`.

    Binary: the drop whose required n (see `n_for_power`) is this n, with the observed discordance or, where larger,
    the drop itself as the share of changing cases; at most 1. Others: (z_alpha + z_power) · sd / sqrt(n_units).

    Args:
        estimate: what was observed; its n, discordance or sd.
        alpha: one-sided level of the test, in (0, 0.5).
        power: wanted chance of seeing the drop, in [0.5, 1).

    Raises:
        ValueError: alpha or power out of range.
    """
    z_alpha, z_power = _quantiles(alpha, power)
    units = estimate.n_units
    if not _counts_changes(estimate):
        return (z_alpha + z_power) * estimate.sd / math.sqrt(units)
    discordance = _discordance(estimate)
    if _units_for(1.0, discordance, z_alpha, z_power) >= units:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _units_for(middle, discordance, z_alpha, z_power) > units:
            low = middle
        else:
            high = middle
    return high


def n_for_power(estimate: PairedEstimate, margin: float, *, alpha: float, power: float = 0.8) -> int | None:
    """Cases needed to see a true drop of `margin`, in the metric's unit, with `power`; None when no number would do.

    Binary: (z_a sqrt(psi) + z_b sqrt(psi − m²))² / m² with psi the larger of observed discordance and margin.
    Others: ((z_a + z_b) · sd / m)² units. Clusters are turned into cases at the observed cases per cluster.

    Args:
        estimate: what was observed; its n, discordance or sd.
        margin: the drop to see; None is returned where it is not above 1e-100, or above 1 for 0/1 values.
        alpha: one-sided level of the test, in (0, 0.5).
        power: wanted chance of seeing the drop, in [0.5, 1).

    Raises:
        ValueError: alpha or power out of range, or a margin that is not finite.
    """
    if not math.isfinite(margin):
        raise ValueError(f"margin must be a finite number, got {margin}")
    z_alpha, z_power = _quantiles(alpha, power)
    by_changes = _counts_changes(estimate)
    if margin <= 1e-100 or (by_changes and margin > 1):  # the square of less is 0 in floats
        return None
    if by_changes:
        units = _units_for(margin, _discordance(estimate), z_alpha, z_power)
    else:
        units = ((z_alpha + z_power) * estimate.sd / margin) ** 2
    # An answer that is whole but for rounding must not be pushed up by it.
    return max(1, math.ceil(units * estimate.n / estimate.n_units - 1e-9))


def _discordance(estimate: PairedEstimate) -> float:
    """Observed share of changed cases; 0 where a metric without spread is judged by counts alone."""
    return estimate.discordance if estimate.test == MIDP_MCNEMAR else 0.0
