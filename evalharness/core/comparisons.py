"""Comparison: two runs laid side by side, before any rule is applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evalharness.core.attempts import Failure, Response
from evalharness.core.cases import Case, Slice
from evalharness.core.estimates import PairedEstimate
from evalharness.core.runs import Coverage
from evalharness.core.scores import Direction, Kind
from evalharness.core.suites import Margin

_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a comparison. `models` are the names the endpoint returned. `facts` hold cost, tokens, times."""

    role: str
    name: str
    run_id: str
    digest: str
    provider: str
    model: str | None
    models: tuple[str, ...]
    repeats: int
    coverage: Coverage
    facts: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricComparison:
    """One metric (or one slice of it) on both sides.

    `estimate` is on the goodness scale; None when the pair could not be estimated, and then `problem` says why.
    `delta` and the bounds in reports are turned back to the metric's own scale by `direction`.
    `max_drop` is the margin in the metric's unit (resolved against the baseline when relative).
    `mde` is the smallest true drop seen with 80% power at this n; `n_for_power` the cases that would see a drop of
    `max_drop` with 80% power. `breakdown` holds per-class tables of a corpus metric for each side.
    """

    id: str
    eval: str
    scorer: str
    kind: Kind
    unit: str
    direction: Direction
    gated: bool
    primary: bool
    margin: Margin
    max_drop: float
    n_missing_baseline: int
    n_missing_candidate: int
    estimate: PairedEstimate | None
    problem: str | None = None
    mde: float | None = None
    n_for_power: int | None = None
    slice: Slice | None = None
    breakdown: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseChange:
    """A case whose score moved on at least one metric. `deltas` are candidate − baseline by metric id, goodness scale.

    `key` is the case id, prefixed `<golden set>:` when two golden sets of the suite share the id.
    `regressed` / `fixed`: it passed and now fails / failed and now passes a gated binary metric.
    """

    key: str
    golden_set: str
    case: Case
    before: Response | Failure
    after: Response | Failure
    deltas: Mapping[str, float]
    values_before: Mapping[str, float | None]
    values_after: Mapping[str, float | None]
    regressed: bool
    fixed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticalFailure:
    """A critical case that passed and now fails. `confirmed`: on repeats; False: it rests on its one answer."""

    key: str
    metric: str
    passed_before: str
    failed_after: str
    confirmed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Everything the gate and the report need. Renderers compute nothing from anything else."""

    baseline: Side
    candidate: Side
    suite_name: str
    suite_digest: str
    seed: int
    alpha: float
    metrics: tuple[MetricComparison, ...]
    slices: tuple[MetricComparison, ...]
    changes: tuple[CaseChange, ...]
    critical: tuple[CriticalFailure, ...]
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
