"""Values that came with the response: scores another tool gave."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, cast

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Direction, Kind, Metric, Score, Scored, Unscored
from evalharness.scorers.normalise import one_of


class Recorded:
    """Takes `response.scores[name]` as given.

    `direction` is "higher" (default) or "lower"; `kind` is "bounded" (default), "binary" or "unbounded"; `low` and
    `high` bound the values (ignored for "unbounded"); `unit` is "fraction" or a plain word. A value that is absent,
    not finite, outside the bounds, or neither `low` nor `high` in a binary one is Unscored, never clipped.
    """

    name: ClassVar[str] = "recorded"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[Mapping[str, str]] = {}

    __slots__ = ("_key", "_metric")

    def __init__(
        self,
        name: str,
        direction: str = "higher",
        unit: str = "fraction",
        kind: str = "bounded",
        low: float = 0.0,
        high: float = 1.0,
    ) -> None:
        # Parameters come from YAML, so their types are not to be trusted.
        words: dict[str, object] = {"name": name, "unit": unit}
        for key, value in words.items():
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"{key} must be a text that is not empty, not {value!r}")
        one_of("direction", direction, ("higher", "lower"))
        one_of("kind", kind, ("bounded", "binary", "unbounded"))
        bounds: dict[str, object] = {"low": low, "high": high}
        for key, bound in bounds.items():
            if isinstance(bound, bool) or not isinstance(bound, int | float) or not math.isfinite(bound):
                raise TypeError(f"{key} must be a finite number, not {bound!r}")
        if low >= high:
            raise ValueError(f"low must be below high, not {low!r} and {high!r}")
        free = kind == "unbounded"
        if unit == "fraction" and not free and (low < 0 or high > 1):
            raise ValueError(
                f'unit "fraction" means values from 0 to 1; name another unit for {low!r} to {high!r}'
            )
        if kind == "binary" and (low, high) != (0, 1):
            raise ValueError("a binary score is 0 or 1; leave low and high out")
        self._key = name
        self._metric = Metric(
            direction=cast(Direction, direction),
            unit=unit,
            kind=cast(Kind, kind),
            low=None if free else float(low),
            high=None if free else float(high),
        )

    def __repr__(self) -> str:
        return f"Recorded(name={self._key!r}, metric={self._metric!r})"

    @property
    def metric(self) -> Metric:
        return self._metric

    def score(self, case: Case, response: Response) -> Score:
        value: object = response.scores.get(self._key)
        if value is None:
            return Unscored(response.unscored.get(self._key) or f"no recorded score {self._key!r}")
        if not isinstance(value, int | float):
            return Unscored(f"recorded score {self._key!r} is not a number")
        number = float(value)
        if not math.isfinite(number):
            return Unscored(f"recorded score {self._key!r} is not finite")
        low, high = self._metric.low, self._metric.high
        if low is not None and high is not None and not low <= number <= high:
            return Unscored(f"recorded score {self._key!r} lies outside {low:g} to {high:g}")
        if self._metric.kind == "binary" and number not in (0.0, 1.0):
            return Unscored(f"recorded score {self._key!r} is neither 0 nor 1")
        return Scored(number)
