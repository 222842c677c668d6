"""The bias-corrected and accelerated bootstrap over units, for a statistic that may be undefined in a resample.

Source: Efron 1987, Better bootstrap confidence intervals, JASA 82:171-185; Efron and Tibshirani 1993, chapter 14.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special

from evalharness.stats.bootstrap import DRAWS, resampled_counts

Array: TypeAlias = NDArray[np.float64]
Statistic: TypeAlias = "Callable[[Array], tuple[Array, NDArray[np.bool_]]]"
"""Weights, shape (draws, distinct) → values and whether each is defined, shape (draws,); undefined ones are ignored."""

_CELLS: Final = 2_000_000
_ACCELERATED: Final = 2_000
"""Above this many distinct units the acceleration, of order 1/√units, is taken as 0."""


def bca_interval(
    statistic: Statistic,
    counts: NDArray[np.int64],
    *,
    value: float,
    level: float,
    limits: tuple[float, float],
    width: int,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> tuple[float, float] | None:
    """(low, high) for a statistic of weighted units, or None where no resample differs from `value`.

    A resample in which the statistic is undefined speaks for neither side: for the lower end it counts as the lowest
    possible value, for the upper end as the highest.

    Args:
        statistic: of the weights of the distinct units.
        counts: shape (distinct,), how many units are alike.
        value: the statistic of `counts` itself.
        level: of the interval, in (0, 1).
        limits: the lowest and the highest value that the statistic can take.
        width: numbers that the statistic holds in memory per draw.
        rng: source of the resamples.
        draws: number of resamples.
    """
    values, defined = _each(statistic, resampled_counts(counts, draws, rng), width)
    seen = values[defined]
    if seen.size == 0 or float(np.abs(seen - value).max()) <= 1e-12:
        return None
    below = np.count_nonzero(seen < value - 1e-12)
    ties = np.count_nonzero(seen <= value + 1e-12) - below
    # Never 0 or 1: the bias correction of a value beyond every resample would be infinite.
    share = min(max((below + ties / 2) / seen.size, 1 / (seen.size + 1)), seen.size / (seen.size + 1))
    bias = float(special.ndtri(share))
    acceleration = _acceleration(statistic, counts, width)
    low, high = (
        np.sort(np.where(defined, values, limit))[_place((1 + side * level) / 2, bias, acceleration, draws)]
        for side, limit in ((-1, limits[0]), (1, limits[1]))
    )
    return max(min(float(low), value), limits[0]), min(max(float(high), value), limits[1])


def _place(probability: float, bias: float, acceleration: float, draws: int) -> int:
    """Index of the order statistic that BCa takes for a nominal probability."""
    z = bias + float(special.ndtri(probability))
    scale = 1 - acceleration * z
    # Beyond the pole of the correction the quantile is the end of the distribution on that side.
    corrected = float(special.ndtr(bias + z / scale)) if scale > 0 else float(z > 0)
    return round(corrected * (draws - 1))


def _acceleration(statistic: Statistic, counts: NDArray[np.int64], width: int) -> float:
    """Skewness of the jackknife values over six, 0 where they do not vary or there are too many to compute."""
    if counts.size > _ACCELERATED:
        return 0.0
    size = max(1, _CELLS // max(width, counts.size))
    parts = (range(i, min(i + size, counts.size)) for i in range(0, counts.size, size))
    values, defined = _each(
        statistic, (counts - np.eye(len(part), counts.size, part.start) for part in parts), width
    )
    values, weights = values[defined], counts[defined].astype(np.float64)
    if weights.size == 0:
        return 0.0
    apart = float(values @ weights) / float(weights.sum()) - values
    spread = float(weights @ apart**2)
    return float(weights @ apart**3) / (6 * spread**1.5) if spread > 1e-24 else 0.0


def _each(statistic: Statistic, chunks: Iterator[Array], width: int) -> tuple[Array, NDArray[np.bool_]]:
    """The statistic of every row of every chunk, few enough at a time to stay small in memory."""
    rows = max(1, _CELLS // width)
    done = [statistic(chunk[i : i + rows]) for chunk in chunks for i in range(0, chunk.shape[0], rows)]
    return np.concatenate([values for values, _ in done]), np.concatenate([defined for _, defined in done])
