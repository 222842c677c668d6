"""The view model: a verdict as display-ready words and numbers, cleaned once, so that no two renderings disagree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evalharness._canon import short
from evalharness.core.comparisons import MetricComparison, Side
from evalharness.core.runs import Coverage
from evalharness.core.verdicts import Check, Outcome, Status, Verdict
from evalharness.report import numbers, words
from evalharness.report.comparison_json import NO_ESTIMATE, own_scale
from evalharness.report.evidence import EARLY_MARK, Evidence, build_evidence, waiver_state
from evalharness.report.judges import JudgeView, advisories, build_judges
from evalharness.report.movement import GROUPS, Group, flips, group_of, metrics_of
from evalharness.report.text import one_line

_NAME = 120
WIN_RATE = "win rate"
EVEN_MARK = "‡"
"""Stands at the baseline's value of a win rate."""
EVEN_MEANS = "won by the candidate against the baseline, ties counting one half; 50% is even by definition"
_SENTENCE = 1200


@dataclass(frozen=True, slots=True, kw_only=True)
class Plotted:
    """What the forest plot draws, on the goodness scale (negative is worse), in the metric's unit."""

    delta: float
    low: float
    high: float
    lower: float
    margin: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """One metric, or one slice of it, as shown. Numbers are on the metric's own scale; "–" where there is none.

    Fractions are written as per cent and pp; numbers of another unit are bare, and `unit_word` names it.
    `early`: the difference was observed at an early stop. `waiver` names the waiver that `margin` comes from.
    """

    id: str
    slice: str
    unit: str
    direction: str
    gated: bool
    primary: bool
    status: Status
    status_word: str
    kind: str
    reason: str
    n: str
    missing: str
    baseline: str
    candidate: str
    delta: str
    ci: str
    ci_level: str
    bound: str
    p_adjusted: str
    margin: str
    max_drop: str
    mde: str
    moved: str
    early: bool
    waiver: str
    how: tuple[str, ...]
    plotted: Plotted | None
    breakdown: Mapping[str, Any]

    @property
    def label(self) -> str:
        """The metric's id, with its slice where it has one."""
        return f"{self.id} [{self.slice}]" if self.slice else self.id

    @property
    def unit_word(self) -> str:
        """The unit's name where numbers do not carry it, else ""."""
        return "" if self.unit == "fraction" else self.unit

    @property
    def title(self) -> str:
        """The label with the unit where numbers do not carry it: "answers/length (characters)"."""
        word = WIN_RATE if self.preference else self.unit_word
        return f"{self.label} ({word})" if word and not self.id.endswith(f"/{word}") else self.label

    @property
    def preference(self) -> bool:
        """Whether the value is a win rate against the baseline, whose own is 50% by definition."""
        return self.kind == "preference"

    @property
    def baseline_cell(self) -> str:
        """The baseline's value in a table, marked where it is 50% by definition: "50% ‡"."""
        return f"50% {EVEN_MARK}" if self.preference and self.baseline != numbers.DASH else self.baseline

    @property
    def margin_long(self) -> str:
        """The margin as a reader meets it: "may fall by 2pp", "may rise by 15% (21.4 characters)"."""
        size = self.margin if self.margin == self.max_drop else f"{self.margin} ({self.max_drop})"
        waiver = f", waiver {self.waiver}" if self.waiver else ""
        return f"may {'fall' if self.direction == 'higher' else 'rise'} by {size}{waiver}"

    @property
    def margin_cell(self) -> str:
        """The margin in a table: "2pp", "3pp (waived)"."""
        return f"{self.margin} (waived)" if self.waiver else self.margin

    @property
    def delta_cell(self) -> str:
        """The difference in a table, with its mark where it was observed at an early stop: "−4.3pp †"."""
        return f"{self.delta} {EARLY_MARK}" if self.early else self.delta


@dataclass(frozen=True, slots=True, kw_only=True)
class SideView:
    """One side: who it is and what became of its cases. `facts` and `versions` are (label, value) pairs."""

    role: str
    name: str
    provider: str
    model: str
    models: str
    repeats: int
    run_id: str
    run_short: str
    digest: str
    planned: str
    scored: str
    failed: str
    unscored: str
    complete: bool
    reasons: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]

    @property
    def blessed(self) -> str:
        """Under which name it stands, who blessed it and when; empty for a run that nobody blessed."""
        return dict(self.versions).get("baseline", "")

    @property
    def coverage(self) -> str:
        """Coverage in one line."""
        return f"{self.planned} planned, {self.scored} scored, {self.failed} failed, {self.unscored} unscored"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A verdict as every renderer shows it. All text is free of control characters; none of it is escaped.

    `metrics` is the main table: each metric, followed by those of its slices that gate. `slices` holds every slice.
    `moved` counts the changed cases by what became of them; `flips`: a case can regress or be fixed here.
    `advisories` say which judges may not gate and why; they stand beside the verdict, and not among `warnings`.
    """

    outcome: Outcome
    word: str
    exit_code: int
    headline: str
    advisories: tuple[str, ...]
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    problems: tuple[str, ...]
    steps: tuple[str, ...]
    suite: str
    suite_digest: str
    seed: int
    alpha: str
    baseline: SideView
    candidate: SideView
    metrics: tuple[MetricRow, ...]
    slices: tuple[MetricRow, ...]
    n_changed: int
    moved: Mapping[Group, int]
    flips: bool
    n_critical: int
    evidence: Evidence
    judges: tuple[JudgeView, ...]

    @property
    def sides(self) -> tuple[SideView, SideView]:
        """Baseline and candidate."""
        return self.baseline, self.candidate

    @property
    def names(self) -> tuple[str, str]:
        """Candidate and baseline as told apart: by their runs where both have one name."""
        if self.candidate.name != self.baseline.name:
            return self.candidate.name, self.baseline.name
        return (
            f"{self.candidate.name} (run {self.candidate.run_short})",
            f"{self.baseline.name} (run {self.baseline.run_short})",
        )

    @property
    def changes_line(self) -> str:
        """How many cases moved, in one sentence. What no metric here can do is not counted: see `movement.NO_FLIPS`."""
        if not self.metrics:
            return "No case was compared."
        if not self.n_changed:
            percentiles = any(row.kind == "quantile" for row in self.metrics)
            return "No case changed." + (" Times are compared over all answers." if percentiles else "")
        told = ("regressed", "fixed") if self.flips else ()
        parts = [
            f"{self.moved[group]:,} {word}"
            for group, word in GROUPS.items()
            if self.moved[group] or group in told
        ]
        line = f"{words.plural(self.n_changed, 'case')} changed: " + ", ".join(parts)
        if self.n_critical:
            line += f"; {words.plural(self.n_critical, 'critical case')} failed"
        return line + "."


def build_view(verdict: Verdict) -> View:
    """Everything but the cases, which `report.cases` builds for the renderers that show them."""
    comparison = verdict.comparison
    changes = comparison.changes
    metrics = metrics_of(comparison)
    groups = Counter(group_of(change, metrics) for change in changes)
    evidence = build_evidence(verdict)
    problems = [p for p in comparison.problems if p not in verdict.reasons]
    warnings = tuple(dict.fromkeys((*verdict.warnings, *comparison.warnings)))
    advisory = advisories(comparison.judges, warnings)
    return View(
        outcome=verdict.outcome,
        word=words.OUTCOME_WORD[verdict.outcome],
        exit_code=verdict.exit_code,
        headline=words.headline(verdict),
        advisories=tuple(one_line(a, _SENTENCE) for a in advisory),
        reasons=tuple(one_line(r, _SENTENCE) for r in _reasons(verdict)),
        warnings=tuple(one_line(w, _SENTENCE) for w in warnings if w not in advisory),
        problems=tuple(one_line(p, _SENTENCE) for p in problems),
        steps=words.next_steps(verdict),
        suite=one_line(comparison.suite_name, _NAME) or numbers.DASH,
        suite_digest=one_line(comparison.suite_digest, _NAME) or numbers.DASH,
        seed=comparison.seed,
        alpha=f"{comparison.alpha:g}",
        baseline=_side(comparison.baseline),
        candidate=_side(comparison.candidate),
        metrics=tuple(_row(c, comparison.alpha, evidence.early) for c in words.table_checks(verdict)),
        slices=tuple(_row(c, comparison.alpha, evidence.early) for c in verdict.slice_checks),
        n_changed=len(changes),
        moved={group: groups[group] for group in GROUPS},
        flips=flips(comparison),
        n_critical=len({failure.key for failure in comparison.critical}),
        evidence=evidence,
        judges=build_judges(comparison.judges),
    )


def _reasons(verdict: Verdict) -> tuple[str, ...]:
    """The reasons but the one about the looks, which comes last and which the line under the verdict says shorter."""
    reasons, looks = verdict.reasons, verdict.comparison.looks
    if looks is None or not reasons:
        return reasons
    said = f"look {looks.number} of {looks.planned} "
    return reasons[:-1] if reasons[-1].startswith((said, f"stopped at {said}")) else reasons


def _row(check: Check, alpha: float, early: bool) -> MetricRow:
    metric, estimate, unit = check.metric, check.metric.estimate, check.metric.unit
    lines = (0.0, metric.max_drop, -metric.max_drop)
    own = NO_ESTIMATE if estimate is None else own_scale(estimate, metric.direction)
    ci = own["ci"]
    shown = one_line(unit, 40)
    return MetricRow(
        id=one_line(metric.id, _NAME),
        slice="" if metric.slice is None else one_line(str(metric.slice), _NAME),
        unit=shown,
        direction=metric.direction,
        gated=metric.gated,
        primary=metric.primary,
        status=check.status,
        kind=metric.kind,
        status_word=words.STATUS_WORD[check.status],
        reason=one_line(check.reason or metric.problem or "", _SENTENCE),
        n=numbers.count(None if estimate is None else estimate.n),
        missing=_missing(metric),
        baseline=numbers.value(own["baseline"], shown),
        candidate=numbers.value(own["candidate"], shown),
        delta=numbers.difference(own["delta"], shown, lines),
        ci=numbers.DASH if ci is None else numbers.interval(ci["low"], ci["high"], shown, lines),
        ci_level="" if estimate is None else f"{round(estimate.interval.level * 100, 4):g}%",
        bound=numbers.difference(own["bound"], shown, lines),
        p_adjusted=numbers.p_value(check.p_adjusted),
        margin=one_line(str(metric.margin), 40),
        max_drop=numbers.amount(metric.max_drop, shown),
        mde=numbers.amount(metric.mde, shown),
        moved=_moved(metric),
        early=early and estimate is not None,
        waiver=waiver_state(metric) if metric.waived else "",
        how=words.how_decided(check, alpha),
        plotted=_plotted(metric),
        breakdown=metric.breakdown,
    )


def _moved(metric: MetricComparison) -> str:
    estimate = metric.estimate
    if estimate is None or not (estimate.n_regressed or estimate.n_fixed):
        return ""
    return f"{words.plural(estimate.n_regressed, 'case')} got worse, {estimate.n_fixed:,} got better."


def _plotted(metric: MetricComparison) -> Plotted | None:
    estimate = metric.estimate
    if estimate is None:
        return None
    return Plotted(
        delta=estimate.delta,
        low=estimate.interval.low,
        high=estimate.interval.high,
        lower=estimate.lower,
        margin=metric.max_drop,
    )


def _missing(metric: MetricComparison) -> str:
    if not metric.n_missing_baseline and not metric.n_missing_candidate:
        return ""
    return f"missing: {metric.n_missing_baseline:,} in the baseline, {metric.n_missing_candidate:,} in the candidate"


def _side(side: Side) -> SideView:
    coverage = side.coverage
    return SideView(
        role=one_line(side.role, 40),
        name=one_line(side.name, _NAME),
        provider=one_line(side.provider, _NAME) or numbers.DASH,
        model=one_line(side.model or numbers.DASH, _NAME),
        models=one_line(", ".join(side.models), 600) or "not reported",
        repeats=side.repeats,
        run_id=one_line(side.run_id, _NAME) or numbers.DASH,
        run_short=short(one_line(side.run_id, _NAME)) or numbers.DASH,
        digest=one_line(side.digest, _NAME) or numbers.DASH,
        planned=numbers.count(coverage.planned),
        scored=numbers.count(coverage.scored),
        failed=numbers.count(coverage.failed),
        unscored=numbers.count(coverage.unscored),
        complete=coverage.scored == coverage.planned,
        reasons=_lost(coverage),
        facts=tuple(_facts(side.facts)),
        versions=_versions(side.facts.get("versions")),
    )


def _lost(coverage: Coverage) -> tuple[tuple[str, str], ...]:
    ordered = sorted(coverage.reasons.items(), key=lambda item: (-item[1], item[0]))
    return tuple((one_line(_reason(reason), 200), numbers.count(n)) for reason, n in ordered)


def _reason(reason: str) -> str:
    """A failure's kind in words (`bad_request`); a sentence, which may name a metric, as it is."""
    return reason.replace("_", " ") if reason.isidentifier() else reason


_FACTS = {
    "calls": "Calls made",
    "cached": "Answers from the cache",
    "resumed": "Answers kept from an earlier run",
    "retries": "Retries",
    "input_tokens": "Input tokens",
    "output_tokens": "Output tokens",
    "usage_known": "Answers that report tokens",
    "usage_unknown": "Answers that do not",
    "cost_usd": "Cost",
    "prices": "Prices",
    "latency_p50_ms": "Latency, median",
    "latency_p95_ms": "Latency, 95th percentile",
    "wall_s": "Wall time",
    "tries": "Requests sent, retries among them",
    "spent_input_tokens": "Input tokens of the calls made",
    "spent_output_tokens": "Output tokens of the calls made",
    "spent_usd": "Cost of the calls made",
}


def _facts(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Known facts in a fixed order, then any other plain number or word, so that nothing recorded is dropped."""
    facts = {**facts, **_unknown_cost(facts)}
    rows = [(label, _fact(key, facts[key])) for key, label in _FACTS.items() if facts.get(key) is not None]
    for key in sorted(set(map(str, facts)) - _FACTS.keys()):
        if isinstance(facts.get(key), (str, int, float)) and not isinstance(facts[key], bool):
            rows.append((one_line(key.replace("_", " "), 60).capitalize(), _fact(key, facts[key])))
    return rows


def _unknown_cost(facts: Mapping[str, Any]) -> dict[str, str]:
    """The cost of answers that were asked for, where it is not known, or not of all of them."""
    known, unknown = facts.get("usage_known", 0), facts.get("usage_unknown", 0)
    if not facts.get("calls") or not (known or unknown):
        return {}
    if not known:
        return {"cost_usd": "unknown: no answer tells its tokens"}
    if facts.get("cost_usd") is None:
        return {"cost_usd": "unknown: no price is stated"}
    if unknown:
        money = numbers.money(facts["cost_usd"])
        return {
            "cost_usd": f"{money} for the {known:,} of {known + unknown:,} answers that tell their tokens"
        }
    return {}


def _fact(key: str, fact: Any) -> str:
    if isinstance(fact, bool) or not isinstance(fact, (int, float)):
        return one_line(str(fact), _NAME)
    if key.endswith("_usd"):
        return numbers.money(fact)
    if key.endswith("_ms"):
        return numbers.seconds(fact / 1000)
    if key.endswith("_s"):
        return numbers.seconds(fact)
    return f"{fact:,}" if isinstance(fact, int) else f"{fact:,.4g}"


def _versions(versions: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(versions, Mapping):
        return ()
    return tuple((one_line(str(k), 60), one_line(str(v), 300)) for k, v in sorted(versions.items()))
