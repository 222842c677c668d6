"""The geometry of the forest plot: where everything lies on a line, in per cent of its width. Worse is left."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from evalharness.report import numbers
from evalharness.report.view import MetricRow

_LEFT: Final = 3.0
_RIGHT: Final = 97.0
_TICKS: Final = 8
_FEW_TICKS: Final = 5


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on the axis and its label: a size, or "0". `minor`: every other one of many, whose label may go."""

    x: str
    label: str
    minor: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """One metric on the axis; positions are SVG percentages. `cut_*` say that an end lies beyond the axis."""

    delta: str
    low: str
    high: str
    lower: str
    margin: str
    zero: str
    cut_low: bool
    cut_high: bool
    lower_shown: bool
    delta_shown: bool
    label: str


@dataclass(frozen=True, slots=True)
class Panel:
    """Metrics that share a unit, and so an axis."""

    unit: str
    ticks: tuple[Tick, ...]
    rows: tuple[tuple[MetricRow, Mark | None], ...]


def panels(rows: Sequence[MetricRow]) -> tuple[Panel, ...]:
    """One panel a unit, fractions first; rows keep their order. Ungated metrics may be cut by the gated ones' axis."""
    units = sorted(dict.fromkeys(row.unit for row in rows), key=lambda unit: unit != "fraction")
    return tuple(_panel(unit, [row for row in rows if row.unit == unit]) for unit in units)


def _panel(unit: str, rows: list[MetricRow]) -> Panel:
    low, high = _domain(rows)

    def place(value: float) -> float:
        return _LEFT + (min(max(value, low), high) - low) / (high - low) * (_RIGHT - _LEFT)

    def mark(row: MetricRow) -> Mark | None:
        p = row.plotted
        if p is None or not math.isfinite(p.delta):
            return None
        return Mark(
            delta=_percent(place(p.delta)),
            low=_percent(place(_or(p.low, low))),
            high=_percent(place(_or(p.high, high))),
            lower=_percent(place(_or(p.lower, low))),
            margin=_percent(place(-p.margin)),
            zero=_percent(place(0.0)),
            cut_low=_or(p.low, -math.inf) < low,
            cut_high=_or(p.high, math.inf) > high,
            lower_shown=low <= _or(p.lower, -math.inf) <= high,
            delta_shown=low <= p.delta <= high,
            label=_label(row),
        )

    steps = _ticks(low, high)
    ticks = tuple(
        Tick(_percent(place(k * step)), _tick(k * step, unit), minor=k % 2 == 1 and len(steps) > _FEW_TICKS)
        for step, k in steps
    )
    return Panel(unit, ticks, tuple((row, mark(row)) for row in rows))


def _or(value: float, otherwise: float) -> float:
    return value if math.isfinite(value) else otherwise


def _label(row: MetricRow) -> str:
    unit = f" {row.unit_word}" if row.unit_word else ""
    early = " at an early stop" if row.early else ""
    return (
        f"{row.label}: difference {row.delta}{unit}{early}, {row.ci_level} interval {row.ci}, "
        f"one-sided bound {row.bound}, {row.margin_long}"
    )


def _domain(rows: Iterable[MetricRow]) -> tuple[float, float]:
    drawn = [(row.gated, row.plotted) for row in rows if row.plotted is not None]
    gated = [p for is_gated, p in drawn if is_gated] or [p for _, p in drawn]
    ends = [v for p in gated for v in (p.low, p.high, p.lower, p.delta, -1.25 * p.margin) if math.isfinite(v)]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    span = (high - low) or 1.0
    # An advisory metric may stretch the axis by half: further, it would flatten what decides.
    others = [v for g, p in drawn if not g for v in (p.low, p.high) if math.isfinite(v)]
    low, high = (
        min([low, *(max(v, low - span / 2) for v in others)]),
        max([high, *(min(v, high + span / 2) for v in others)]),
    )
    # Room on the better side, so that zero is never the edge.
    high = max(high, (high - low) * 0.12, 1e-12)
    return min(low, -0.12 * high), high


def _ticks(low: float, high: float) -> list[tuple[float, int]]:
    """Steps of the axis as (size, number): places from low to high, counted from zero."""
    rough = (high - low) / _TICKS
    base = 10.0 ** math.floor(math.log10(rough))
    step = next(base * m for m in (1, 2, 5, 10) if base * m >= rough)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [(step, number) for number in range(first, last + 1)]


def _tick(at: float, unit: str) -> str:
    return "0" if abs(at) < 1e-12 else numbers.amount(abs(at), unit).removesuffix(unit).rstrip()


def _percent(x: float) -> str:
    return f"{x:.2f}%"
