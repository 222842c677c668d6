"""Ratings: who gave which item which value, checked once, for every agreement coefficient."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evalharness.stats._inputs import LARGEST

Scale: TypeAlias = Literal["nominal", "ordinal", "interval"]
Value: TypeAlias = "str | int | float | bool"


@dataclass(frozen=True, slots=True, eq=False)
class Ratings:
    """The ratings that were given; a rating that was not given is not in here, so no value stands for its absence.

    Attributes:
        scale: "nominal" (labels), "ordinal" (numbers of which only the order counts), "interval" (numbers whose
            differences count).
        items, raters: names, sorted.
        values: the distinct values that were given, sorted.
        item, rater, code: shape (ratings,), int64; rating t is value `values[code[t]]`, given to `items[item[t]]` by
            `raters[rater[t]]`. Sorted by item, then rater: the order in which ratings came is gone.
    """

    scale: Scale
    items: tuple[str, ...]
    raters: tuple[str, ...]
    values: tuple[Value, ...]
    item: NDArray[np.int64]
    rater: NDArray[np.int64]
    code: NDArray[np.int64]

    @classmethod
    def of(cls, triples: Iterable[tuple[str, str, Value]], *, scale: Scale = "nominal") -> Ratings:
        """Ratings from (item, rater, value) triples, in any order.

        Under "nominal" values are labels: texts, truth values or numbers, all of one kind. Otherwise they are finite
        numbers.

        Raises:
            ValueError: no ratings, fewer than two raters, a rater who rated an item twice, or values that do not fit
                the scale or are not of one kind.
        """
        rows = list(triples)
        if not rows:
            raise ValueError("there are no ratings")
        for _, _, value in rows:
            reason = misfit(value, scale)
            if reason is not None:
                raise ValueError(f"the value {value!r} does not fit the scale {scale!r}: {reason}")
        kinds = {kind(value) for _, _, value in rows}
        if len(kinds) > 1:
            raise ValueError(f"values must be of one kind, got {' and '.join(sorted(kinds))}")
        items = sorted({item for item, _, _ in rows})
        raters = sorted({rater for _, rater, _ in rows})
        if len(raters) < 2:
            raise ValueError(f"agreement needs at least two raters, got only {raters[0]!r}")
        if scale != "nominal":
            rows = [(item, rater, float(value)) for item, rater, value in rows]
        values: tuple[Value, ...] = tuple(sorted({value for _, _, value in rows}))
        places = [{name: i for i, name in enumerate(names)} for names in (items, raters)]
        codes = {value: i for i, value in enumerate(values)}
        table = np.array([(places[0][i], places[1][r], codes[v]) for i, r, v in rows], dtype=np.int64)
        table = table[np.lexsort((table[:, 1], table[:, 0]))]
        twice = np.flatnonzero((table[1:, :2] == table[:-1, :2]).all(axis=1))
        if twice.size:
            i, r, _ = table[twice[0]]
            raise ValueError(f"{raters[r]!r} rated the item {items[i]!r} more than once")
        return cls(scale, tuple(items), tuple(raters), values, table[:, 0], table[:, 1], table[:, 2])


def kind(value: Value) -> str:
    """What a value is: "truth values", "texts" or "numbers"."""
    if isinstance(value, bool):
        return "truth values"
    return "texts" if isinstance(value, str) else "numbers"


def misfit(value: Value, scale: Scale) -> str | None:
    """Why a value cannot stand on a scale, or None when it can."""
    if isinstance(value, (str, bool)):
        return None if scale == "nominal" else f"{scale} values are numbers, not {kind(value)}"
    if isinstance(value, float) and not math.isfinite(value):
        return "a rating that is missing is left out, never NaN or infinite"
    if abs(value) > LARGEST:
        return f"numbers beyond ±{LARGEST:g} have differences that cannot be squared"
    return None
