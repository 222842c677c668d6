"""Which items a coefficient uses, gathered for resampling: items that are alike are one row with a count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalharness.stats.ratings import Ratings


@dataclass(frozen=True, slots=True)
class Undefined:
    """The coefficient does not exist for these ratings; `reason` is a sentence."""

    reason: str


class Rows(NamedTuple):
    """The items in use, those that are alike as one row.

    Attributes:
        codes: shape (t,), value codes, row after row.
        starts, sizes: shape (rows,), where each row begins in `codes` and how many ratings it has.
        unit: shape (rows,), the unit of resampling that a row belongs to.
        counts: shape (units,), how many units are alike.
        n_raters: raters with a rating among the items in use.
    """

    codes: NDArray[np.int64]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    unit: NDArray[np.int64]
    counts: NDArray[np.int64]
    n_raters: int

    @property
    def owner(self) -> NDArray[np.int64]:
        """Shape (t,): the row of each rating."""
        return np.repeat(np.arange(self.sizes.size), self.sizes)

    def agreeing(self) -> NDArray[np.float64]:
        """Shape (rows,): the share of a row's pairs of ratings that agree, 0 where there is no pair."""
        pairs = self.sizes * (self.sizes - 1)
        # A run of m equal codes holds m(m − 1) ordered pairs that agree; codes are sorted within a row, or are pairs.
        first = np.ones(self.codes.size, dtype=bool)
        first[1:] = (np.diff(self.codes) != 0) | (np.diff(self.owner) != 0)
        begin = np.flatnonzero(first)
        run = np.diff(np.append(begin, self.codes.size))
        same = np.bincount(self.owner[begin], weights=run * (run - 1), minlength=self.sizes.size)
        return np.asarray(same / np.maximum(pairs, 1))


def rated_twice(ratings: Ratings, clusters: Sequence[str] | None) -> Rows | Undefined:
    """The items with two ratings or more.

    Raises:
        ValueError: not one cluster label per item.
    """
    if np.bincount(ratings.item).max() < 2:
        _check_clusters(ratings, clusters)
        return Undefined("no item has two ratings, so there is nothing to compare")
    return rated(ratings, clusters, at_least=2)


def rated(ratings: Ratings, clusters: Sequence[str] | None, *, at_least: int) -> Rows:
    """The items with so many ratings; codes are sorted within a row, since who gave which does not matter."""
    sizes = np.bincount(ratings.item)
    used = np.flatnonzero(sizes[ratings.item] >= at_least)
    order = used[np.lexsort((ratings.code[used], ratings.item[used]))]
    codes = np.split(ratings.code[order], np.cumsum(sizes[sizes >= at_least])[:-1])
    n_raters = np.unique(ratings.rater[used]).size
    return _gathered(ratings, np.flatnonzero(sizes >= at_least), codes, clusters, n_raters)


def rated_by_both(
    ratings: Ratings, first: str, second: str, clusters: Sequence[str] | None
) -> Rows | Undefined:
    """One row of two codes, that of `first` before that of `second`, for each item that both rated.

    Raises:
        ValueError: no such rater, one rater named twice, or not one cluster label per item.
    """
    for name in (first, second):
        if name not in ratings.raters:
            raise ValueError(f"there is no rater {name!r}; raters: {', '.join(map(repr, ratings.raters))}")
    if first == second:
        raise ValueError(f"Cohen's kappa compares two raters, got {first!r} twice")
    left, right = (np.flatnonzero(ratings.rater == ratings.raters.index(name)) for name in (first, second))
    items, at_left, at_right = np.intersect1d(
        ratings.item[left], ratings.item[right], assume_unique=True, return_indices=True
    )
    if items.size == 0:
        _check_clusters(ratings, clusters)
        return Undefined(f"{first!r} and {second!r} rated no item in common")
    codes = np.column_stack((ratings.code[left[at_left]], ratings.code[right[at_right]]))
    return _gathered(ratings, items, list(codes), clusters, 2)


def _gathered(
    ratings: Ratings,
    items: NDArray[np.int64],
    codes: Sequence[NDArray[np.int64]],
    clusters: Sequence[str] | None,
    n_raters: int,
) -> Rows:
    _check_clusters(ratings, clusters)
    if clusters is None:
        seen: dict[tuple[int, ...], int] = {}
        for row in codes:
            key = tuple(row.tolist())
            seen[key] = seen.get(key, 0) + 1
        kept = sorted(seen)
        unit, counts = np.arange(len(kept)), np.array([seen[row] for row in kept])
    else:
        kept = [tuple(row.tolist()) for row in codes]
        _, unit = np.unique([clusters[item] for item in items], return_inverse=True)
        counts = np.ones(int(unit.max()) + 1, dtype=np.int64)
    sizes = np.array([len(row) for row in kept])
    flat = np.array([code for row in kept for code in row])
    return Rows(flat, np.cumsum(sizes) - sizes, sizes, unit, counts, n_raters)


def _check_clusters(ratings: Ratings, clusters: Sequence[str] | None) -> None:
    if clusters is not None and len(clusters) != len(ratings.items):
        raise ValueError(
            f"clusters must hold one label per item: {len(clusters)} labels for {len(ratings.items)} items"
        )
