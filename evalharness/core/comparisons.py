"""Comparison: two runs laid side by side, before any rule is applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from evalharness.core.attempts import Failure, Response
from evalharness.core.cases import Case, Slice
from evalharness.core.estimates import PairedEstimate
from evalharness.core.judges import JudgedEval
from evalharness.core.runs import Coverage
from evalharness.core.scores import Direction, Kind
from evalharness.core.suites import Margin, Waiver

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
    `note` says what else went into the estimate.
    `waiver` is what the suite waives for this metric; `margin` is the waiver's where it still holds (`waived`).
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
    waiver: Waiver | None = None
    waived: bool = False
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseChange:
    """A case whose score moved on at least one metric. `deltas` are candidate − baseline by metric id, goodness scale.

    `key` is the case id, prefixed `<golden set>:` when two golden sets of the suite share the id.
    `regressed` / `fixed`: it passed and now fails / failed and now passes a gated binary metric.
    `whys`: by metric id, what the scorer says of the worse of the two answers.
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
    whys: Mapping[str, str] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticalFailure:
    """A critical case that passed and now fails. `confirmed`: on repeats; False: it rests on its one answer."""

    key: str
    metric: str
    passed_before: str
    failed_after: str
    confirmed: bool


Stopped: TypeAlias = Literal["regression", "pass", "end"]
"""Why a sequence of looks ended: a regression was found, every primary metric passed, or no look was left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """Where a sequential comparison stands.

    `number` of `planned` looks were taken; those after `routine` need --extend.
    `used` and `most` count the cases of each golden set at this look and at the last. `saved_baseline` and
    `saved_candidate` are answers that the routine looks would have asked for and did not need.
    """

    number: int
    planned: int
    routine: int
    used: Mapping[str, int]
    most: Mapping[str, int]
    saved_baseline: int
    saved_candidate: int
    stopped: Stopped

    @property
    def early(self) -> bool:
        """Whether it stopped before the last look; the observed difference then leans towards the verdict."""
        return self.stopped != "end" and self.number < self.planned

    @property
    def extendable(self) -> bool:
        """Whether --extend would gather more."""
        return self.stopped == "end" and self.number < self.planned


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How far one gated metric has come since the anchor, the release all changes are held against.

    Both estimates are side − anchor on the goodness scale, None where the pair could not be estimated.
    `exceeds`: the candidate has lost the margin or more since the anchor, and that is no noise (unadjusted test).
    """

    metric: MetricComparison
    baseline: PairedEstimate | None
    candidate: PairedEstimate | None
    exceeds: bool
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlakyCase:
    """A case that one candidate answers now right, now wrong. `rate` is its share of passes, in (0, 1)."""

    key: str
    rate: float
    answers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Flakiness:
    """How much one metric moves when nothing changed, from two runs of one candidate (A/A).

    Attributes:
        metric: its id. cases: with at least two answers. answers: a case, both runs together.
        between_cases: variance of the cases' true values. within_cases: variance of one answer about its case's value.
        flips: chance that two answers to one case differ (0/1 metrics: in verdict; others: in value), in [0, 1].
        false_drops: chance that a comparison of the same size, of the candidate with itself, observes a drop of the
            margin or more, in [0, 1].
        flaky: the cases that differ, most balanced first; all of them stay in the metric.
    """

    metric: str
    cases: int
    answers: int
    between_cases: float
    within_cases: float
    flips: float
    false_drops: float
    flaky: tuple[FlakyCase, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Everything the gate and the report need. Renderers compute nothing from anything else.

    `looks`: None where all evidence was judged at once. `anchor` and `drift`: None and empty where none was named.
    `flakiness`: of a candidate compared with itself, else empty. `judges`: what judges said, one entry an eval that has
    one.
    """

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
    looks: Looks | None = None
    anchor: Side | None = None
    drift: tuple[Drift, ...] = ()
    flakiness: tuple[Flakiness, ...] = ()
    judges: tuple[JudgedEval, ...] = ()
