"""What stands around a verdict, display-ready: the look it was taken at, waivers, drift from the anchor, flakiness."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from evalharness._canon import short
from evalharness.core.comparisons import Comparison, Drift, Flakiness, Looks, MetricComparison
from evalharness.core.estimates import PairedEstimate
from evalharness.core.verdicts import Verdict
from evalharness.report import numbers, words
from evalharness.report.comparison_json import NO_ESTIMATE, anchor_value, own_scale, waived_metrics
from evalharness.report.text import one_line

EARLY_MARK: Final = "†"
"""Stands at a difference that was observed at an early stop."""
EARLY_MEANS: Final = "observed at an early stop, so leaning towards the verdict"
FLAKY_SHOWN: Final = 20
"""How many flaky cases of a metric a short rendering names."""
_FLAKY: Final = 500
_REASONS: Final = 20  # what every rendering shows at least,
_REASON: Final = 600  # and how much of each
_NAME: Final = 120
_SENTENCE: Final = 1200


@dataclass(frozen=True, slots=True, kw_only=True)
class LooksView:
    """Where the sequence of looks stands. `sets` are (golden set, cases used, cases at the last look)."""

    line: str
    early: bool
    sets: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WaiverView:
    """A known trade-off that the suite declares. `state` says in words until when it holds, or that it does not.

    `told`: one of the verdict's reasons says all of it; where everything is on one screen it need not stand twice.
    """

    metric: str
    margin: str
    reason: str
    active: bool
    state: str
    told: bool

    @property
    def line(self) -> str:
        """The waiver in one line."""
        return f"{self.metric}: {self.margin} instead of its own margin ({self.state}): {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRow:
    """One metric since the anchor, on its own scale. `delta` and `ci` are candidate − anchor."""

    title: str
    anchor: str
    baseline: str
    baseline_delta: str
    candidate: str
    delta: str
    ci: str
    margin: str
    exceeds: bool
    problem: str

    @property
    def mark_word(self) -> str:
        """What to notice: the margin was lost since the anchor ("exceeded"), or nothing can be said ("unknown")."""
        return "exceeded" if self.exceeds else "unknown" if self.problem else ""

    @property
    def mark(self) -> str:
        """The same where no column says what was exceeded: "margin exceeded"."""
        return "margin exceeded" if self.exceeds else self.mark_word

    @property
    def line(self) -> str:
        """The row in one line."""
        if self.problem:
            return f"{self.title}: {self.problem}"
        mark = f", {self.mark}" if self.mark else ""
        return (
            f"{self.title}: {self.anchor} in the anchor, {self.baseline} in the baseline, {self.candidate} in the "
            f"candidate; {self.delta} {self.ci} since the anchor with a margin of {self.margin}{mark}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorView:
    """The anchor and how far each gated metric has come since."""

    name: str
    run_id: str
    run_short: str
    digest: str
    ci_level: str
    rows: tuple[DriftRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlakyView:
    """How one metric moves when nothing changed. `flaky` are (case, share of passes, answers); `total` counts all."""

    metric: str
    cases: str
    answers: str
    flips: str
    within: str
    between: str
    false_drops: str
    flaky: tuple[tuple[str, str, str], ...]
    total: int

    def more(self, shown: int) -> str:
        """How many flaky cases stand beyond the first `shown`: "and 12 more", or ""."""
        return f"and {self.total - shown:,} more" if self.total > shown else ""

    @property
    def line(self) -> str:
        """The metric in one line."""
        return (
            f"{self.metric}: {self.cases} cases, {self.answers} answers each; two answers differ in {self.flips}, "
            f"variance {self.within} within cases and {self.between} between them, false drop in {self.false_drops}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All of it. Parts that the comparison does not have are None or ()."""

    looks: LooksView | None
    waivers: tuple[WaiverView, ...]
    anchor: AnchorView | None
    flakiness: tuple[FlakyView, ...]

    @property
    def early(self) -> bool:
        """Whether the differences were observed at an early stop."""
        return self.looks is not None and self.looks.early


def build_evidence(verdict: Verdict) -> Evidence:
    """What a verdict's comparison says of its own making."""
    comparison = verdict.comparison
    reasons = [one_line(reason, _REASON) for reason in verdict.reasons[:_REASONS]]
    return Evidence(
        looks=None if comparison.looks is None else _looks(comparison.looks),
        waivers=tuple(_waiver(metric, reasons) for metric in waived_metrics(comparison)),
        anchor=_anchor(comparison),
        flakiness=tuple(_flaky(item) for item in comparison.flakiness),
    )


def waiver_state(metric: MetricComparison) -> str:
    """Until when the metric's waiver holds: "active until 2027-03-31", "expired on 2026-02-28"; "" without one."""
    if metric.waiver is None:
        return ""
    day = metric.waiver.expires.isoformat()
    return f"active until {day}" if metric.waived else f"expired on {day}"


def _looks(looks: Looks) -> LooksView:
    used, most = sum(looks.used.values()), sum(looks.most.values())
    parts = [f"look {looks.number:,} of {looks.planned:,}", f"{used:,} of {words.plural(most, 'case')}"]
    parts += _saved(looks.saved_baseline, looks.saved_candidate)
    rows = tuple(
        (one_line(name, _NAME), numbers.count(looks.used.get(name, 0)), numbers.count(n))
        for name, n in sorted(looks.most.items())
    )
    return LooksView(line=" · ".join(parts), early=looks.early, sets=rows)


def _saved(baseline: int, candidate: int) -> list[str]:
    if baseline == candidate:
        return [f"{words.plural(candidate, 'answer')} a side saved"] if candidate else []
    sides = (("baseline", baseline), ("candidate", candidate))
    named = [f"{n:,} {role}" for role, n in sides if n]
    return [f"{' and '.join(named)} {'answer' if baseline + candidate == 1 else 'answers'} saved"]


def _waiver(metric: MetricComparison, reasons: Iterable[str]) -> WaiverView:
    waiver = metric.waiver
    assert waiver is not None
    words_of_it = (metric.id, str(waiver.margin), waiver.expires.isoformat(), one_line(waiver.reason))
    return WaiverView(
        metric=one_line(waiver.metric, _NAME),
        margin=one_line(str(waiver.margin), 40),
        reason=one_line(waiver.reason, _SENTENCE),
        active=metric.waived,
        state=waiver_state(metric),
        told=metric.waived and any(all(word in reason for word in words_of_it) for reason in reasons),
    )


def _anchor(comparison: Comparison) -> AnchorView | None:
    anchor = comparison.anchor
    if anchor is None:
        return None
    levels = [item.candidate.interval.level for item in comparison.drift if item.candidate is not None]
    return AnchorView(
        name=one_line(anchor.name, _NAME),
        run_id=one_line(anchor.run_id, _NAME),
        run_short=short(one_line(anchor.run_id, _NAME)),
        digest=one_line(anchor.digest, _NAME),
        ci_level=words.level(1 - levels[0]) if levels else words.level(comparison.alpha),
        rows=tuple(_drift(item) for item in comparison.drift),
    )


def _drift(drift: Drift) -> DriftRow:
    metric = drift.metric
    unit, lines = one_line(metric.unit, 40), (0.0, metric.max_drop, -metric.max_drop)
    before, after = _own(drift.baseline, metric), _own(drift.candidate, metric)
    ci = after["ci"]
    name = words.name_of(metric)
    nothing = "no estimate" if drift.candidate is None else ""
    return DriftRow(
        title=name if unit == "fraction" else f"{name} ({unit})",
        anchor=numbers.value(anchor_value(drift), unit),
        baseline=numbers.value(before["candidate"], unit),
        baseline_delta=numbers.difference(before["delta"], unit, lines),
        candidate=numbers.value(after["candidate"], unit),
        delta=numbers.difference(after["delta"], unit, lines),
        ci="" if ci is None else numbers.interval(ci["low"], ci["high"], unit, lines),
        margin=one_line(str(metric.margin), 40),
        exceeds=drift.exceeds,
        problem=one_line(drift.problem or nothing, _SENTENCE),
    )


def _own(estimate: PairedEstimate | None, metric: MetricComparison) -> dict[str, Any]:
    return NO_ESTIMATE if estimate is None else own_scale(estimate, metric.direction)


def _flaky(item: Flakiness) -> FlakyView:
    return FlakyView(
        metric=one_line(item.metric, _NAME),
        cases=numbers.count(item.cases),
        answers=numbers.count(item.answers),
        flips=numbers.chance(item.flips),
        within=numbers.variance(item.within_cases),
        between=numbers.variance(item.between_cases),
        false_drops=numbers.chance(item.false_drops),
        flaky=tuple(
            (one_line(case.key, 200), numbers.share(case.rate), numbers.count(case.answers))
            for case in item.flaky[:_FLAKY]
        ),
        total=len(item.flaky),
    )
