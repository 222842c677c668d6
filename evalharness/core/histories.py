"""History: a metric of many runs over time, in lines that join only what answered the same cases in the same way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from evalharness.core.scores import Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """How far a run has come since its anchor, paired by case, on the metric's own scale.

    Attributes:
        anchor: the anchor's run id.
        n: paired cases.
        delta: run − anchor; low, high: its two-sided 95% interval by `method`, None where it has no finite end.
        p_drop: one-sided p of "no drop", in [0, 1], adjusted for nothing.
        exceeds: it lost the gate's margin or more, and `p_drop` is at most the gate's alpha. Never of an advisory
            metric without a margin of its own.
    """

    anchor: str
    n: int
    delta: float
    low: float | None
    high: float | None
    method: str
    p_drop: float
    exceeds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One run on one metric.

    Attributes:
        when: when the run was started.
        name: of its candidate; `against` that of the baseline where the metric is a preference over one.
        run_id: its content digest. place: where it was found. source: a run folder, or the report that speaks of it.
        segment: number of the segment it belongs to, from 0.
        value: on the metric's own scale, None where nothing could be scored; over `n` cases, with `missing` answers
            that failed or have no score. They count as the worst value.
        anchor: whether the others of its segment are held against it.
        since: the difference to the anchor; None where there is none, and then `problem` may say why.
    """

    when: datetime
    name: str
    run_id: str
    place: str
    source: Literal["run", "report"]
    segment: int
    value: float | None
    n: int | None
    missing: int | None
    against: str | None = None
    anchor: bool = False
    since: Since | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Runs of one candidate name that can be joined: one suite digest, and so one version of each golden set.

    `golden_set` names the version of the metric's golden set, as far as it is known. `current` says that suite and
    golden set are those on disk. `apart` says why it is not joined to an earlier segment of the name, None for the
    first.
    """

    number: int
    name: str
    suite_digest: str
    golden_set: str
    current: bool
    apart: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricHistory:
    """One metric over time: points in order of time, `left_out` older ones that are not among them."""

    metric: str
    unit: str
    direction: Direction
    points: tuple[Point, ...]
    segments: tuple[Segment, ...]
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Metrics over time. `skipped` holds (place, why) of what was found and could not be used."""

    suite: str | None
    metrics: tuple[MetricHistory, ...]
    runs: int
    reports: int
    skipped: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
