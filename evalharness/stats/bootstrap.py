"""Bootstrap resampling in terms of counts, and the bootstrap-t bounds for a mean difference.

Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 12.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalharness.stats._inputs import DRAWS_BEYOND, carried

DRAWS: Final = 2_000
MAX_DRAWS: Final = 40_000
_CHUNK_CELLS: Final = 250_000  # small enough to stay in cache, and measured the fastest
_FULL_UNITS: Final = 5_000
_BINS: Final = 512


class Bounds(NamedTuple):
    """A one-sided lower bound and a two-sided interval for one difference."""

    lower: float
    low: float
    high: float


def resampled_counts(
    counts: NDArray[np.int64], draws: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    """How often each distinct value appears in a bootstrap sample, in chunks of shape (chunk, distinct).

    `counts`, shape (distinct,), says how many units hold each value; every row sums to their total. Memory stays
    bounded whatever the number of draws.
    """
    units = int(counts.sum())
    distinct = counts.size
    # Many units per value: draw the counts at once. Few: drawing the units one by one is cheaper.
    by_counts = distinct * 12 < units
    owner = None if by_counts else np.repeat(np.arange(distinct), counts)
    chunk = max(1, min(draws, _CHUNK_CELLS // (distinct if by_counts else units)))
    for start in range(0, draws, chunk):
        size = min(chunk, draws - start)
        if owner is None:
            yield rng.multinomial(units, counts / units, size=size).astype(np.float64)
            continue
        picked = owner[rng.integers(0, units, size=(size, units))]
        picked += distinct * np.arange(size)[:, None]
        yield (
            np.bincount(picked.ravel(), minlength=size * distinct).reshape(size, distinct).astype(np.float64)
        )


def draws_for(*tails: float, most: int = MAX_DRAWS) -> int:
    """Resamples that carry quantiles with these tails, each in (0, 0.5]: 10 beyond each, 2,000 to `most` in all.

    A tail too small for `most` asks for none: its quantile is not read (see `carried`).
    """
    wanted = [math.ceil(DRAWS_BEYOND / tail) for tail in tails if carried(tail, most)]
    return max([DRAWS, *wanted])


def bootstrap_t(
    differences: NDArray[np.float64],
    *,
    confidence: float,
    level: float,
    rng: np.random.Generator,
    draws: int = DRAWS,
    full_units: int = _FULL_UNITS,
) -> Bounds:
    """Bootstrap-t bounds for the mean of `differences`.

    The studentised mean t* is resampled `draws` times; the bounds are mean − t*_q · se. Free of the order of the
    units. Above `full_units` units the distribution of t* is taken from the differences rounded into 512 equal bins
    (each replaced by its bin's mean); mean and standard error stay those of the full data, so only the shape of t*
    is approximate, and at such sizes it is all but normal.

    Args:
        differences: shape (units,), finite, not all equal, units >= 2.
        confidence: of the one-sided lower bound, in (0.5, 1).
        level: of the two-sided interval, in (0, 1).
        rng: source of the resamples.
        draws: number of resamples; `draws_for` says how many the two levels need.
        full_units: up to this many units nothing is binned.

    Raises:
        ValueError: all differences are equal, so there is no spread to studentise by.
    """
    differences = np.sort(differences)
    units = differences.size
    mean = float(differences.mean())
    error = float(differences.std(ddof=1)) / units**0.5 if units > 1 else 0.0
    if error <= 1e-12 * float(np.abs(differences).max()):
        raise ValueError("bootstrap-t needs differences that are not all equal")
    values, counts = np.unique(differences, return_counts=True)
    if units > full_units and values.size > _BINS:
        values, counts = _binned(differences)
    # Drawn for the drop whichever side it is on: the comparison the other way round is the mirror image.
    turn = -1.0 if mean > 0 else 1.0
    order = np.argsort(turn * values)
    studentised = turn * _studentised(turn * values[order], counts[order], draws, rng)
    q = np.quantile(studentised, [confidence, (1 + level) / 2, (1 - level) / 2])
    return Bounds(*(mean - float(t) * error for t in q))


def _binned(differences: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    low, high = float(differences.min()), float(differences.max())
    index = np.minimum(((differences - low) * (_BINS / (high - low))).astype(np.int64), _BINS - 1)
    counts = np.bincount(index, minlength=_BINS)
    sums = np.bincount(index, weights=differences, minlength=_BINS)
    held = counts > 0
    return sums[held] / counts[held], counts[held]


def _studentised(
    values: NDArray[np.float64], counts: NDArray[np.int64], draws: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    units = int(counts.sum())
    centred = values - float(values @ counts) / units
    moments = np.column_stack((centred, centred**2))
    spread = float(centred**2 @ counts)
    parts = []
    for weights in resampled_counts(counts, draws, rng):
        first, second = (weights @ moments).T
        squares = np.maximum(second - first**2 / units, 0.0)
        # A resample that drew one value only has no spread; studentised it lies beyond every other.
        flat = squares <= 1e-18 * spread
        with np.errstate(divide="ignore"):
            t = first / np.sqrt(np.where(flat, 1.0, squares) * units / (units - 1))
        parts.append(np.where(flat, np.copysign(np.inf, first), t))
    studentised = np.concatenate(parts)
    finite = studentised[np.isfinite(studentised)]
    if finite.size == 0:
        return np.zeros_like(studentised)
    return np.asarray(np.clip(studentised, finite.min(), finite.max()))
