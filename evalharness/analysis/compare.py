"""Two runs on one suite → Comparison: every metric and slice estimated, every changed case listed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, TypeAlias

import numpy as np

from evalharness.analysis.align import Paired, incomparable, pair
from evalharness.analysis.changes import (
    Keys,
    case_changes,
    case_keys,
    critical_failures,
    unanswered_critical,
    unguarded_critical,
)
from evalharness.analysis.estimating import Levels, Sample, estimated
from evalharness.analysis.load import timing_warnings
from evalharness.analysis.looks import critical_cases, suite_at
from evalharness.analysis.missing import blotted_answers, dropped_problem, empty_answers, missing_problem
from evalharness.analysis.pair_labels import PeoplesPairs
from evalharness.analysis.reach import floor_warnings, not_from_the_floor, power
from evalharness.core.cases import Case, Slice
from evalharness.core.comparisons import CaseChange, Comparison, CriticalFailure, MetricComparison, Side
from evalharness.core.estimates import LEVEL, PairedEstimate
from evalharness.core.protocols import Scorer
from evalharness.core.runs import Coverage, Run, count_coverage
from evalharness.core.suites import EvalSpec, Margin, MetricRule, SliceRule, Suite, Waiver
from evalharness.stats.streams import stream

MOST_SLICE_VALUES: Final = 50
"""A tag with more values than this is an identifier, not a slice."""
_NO_LEVELS: Final[Mapping[Any, Any]] = {}


MetricKey: TypeAlias = "tuple[str, Slice | None]"
"""A metric by its id, or one slice of it."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """What stays the same over one metric and its slices."""

    metric_id: str
    item: EvalSpec
    scorer_id: str
    scorer: Scorer
    rule: MetricRule
    waiver: Waiver | None
    waived: bool
    suite: Suite
    paired: Paired
    runs: tuple[Run, Run]
    labels: Scorer | None
    seed: int
    levels: Mapping[MetricKey, Levels]

    @property
    def gated(self) -> bool:
        return not self.rule.advisory

    @property
    def primary(self) -> bool:
        named = self.suite.gate.primary
        return self.gated and (not named or self.metric_id in named)

    def margin(self, of: SliceRule | None) -> Margin:
        """The margin of the metric, or of a slice that gates. A waiver is for the metric as a whole."""
        own = self.rule.margin or self.suite.gate.max_drop
        if of is not None:
            return of.margin or own
        return self.waiver.margin if self.waiver is not None and self.waived else own

    def gating(self, of: Slice) -> SliceRule | None:
        """What makes a slice gate, None where nothing does."""
        return next((r for r in self.suite.gate.slices if r.metric == self.metric_id and r.slice == of), None)

    @property
    def pairs(self) -> PeoplesPairs | None:
        """People's preferences, where they correct this metric."""
        found = self.rule.pairs
        return None if found is None else PeoplesPairs(found, self.metric_id, self.item.golden_set.name)

    def levels_of(self, of: Slice | None) -> Levels:
        return self.levels.get((self.metric_id, of)) or Levels(self.suite.gate.alpha, LEVEL)


def compare_runs(
    suite: Suite,
    baseline: Run,
    candidate: Run,
    scorers: Mapping[str, Scorer],
    *,
    seed: int,
    today: date | None = None,
    warnings: Sequence[str] = (),
    levels: Mapping[MetricKey, Levels] = _NO_LEVELS,
    whole: Suite | None = None,
) -> Comparison:
    """Lay two runs side by side.

    Every random draw comes from `seed` and the metric's id, so that adding a metric does not move another.
    Runs that cannot be compared give a Comparison with `problems` and no metrics.

    Args:
        suite: what is compared.
        baseline: its run.
        candidate: its run.
        scorers: by metric id.
        seed: of every random draw.
        today: decides which waivers still count; None: none does.
        warnings: what is already known of the suite.
        levels: where a metric is not judged at the gate's alpha and a 95% interval (a look among several).
        whole: the suite that `suite` is a sample of; its critical cases are guarded and its names are used.
    """
    sides = (_side("baseline", baseline, suite), _side("candidate", candidate, suite))
    problems = incomparable(suite, baseline, candidate)
    metrics: list[MetricComparison] = []
    slices: list[MetricComparison] = []
    told: list[str] = []
    changes: tuple[CaseChange, ...] = ()
    critical: tuple[CriticalFailure, ...] = ()
    if not problems:
        pairs: dict[str, Paired] = {}
        for metric_id, item, spec in suite.metrics:
            waiver = suite.gate.waiver(metric_id)
            frame = _Frame(
                metric_id=metric_id,
                item=item,
                scorer_id=spec.id,
                scorer=scorers[metric_id],
                rule=suite.gate.rule(metric_id),
                waiver=waiver,
                waived=waiver is not None and waiver.holds(today),
                suite=suite,
                paired=pair(item.golden_set, metric_id, scorers[metric_id], baseline, candidate),
                runs=(baseline, candidate),
                labels=scorers.get(suite.gate.rule(metric_id).labels or ""),
                seed=seed,
                levels=levels,
            )
            pairs[metric_id] = frame.paired
            metrics.append(_whole(frame))
            slices.extend(_slices(frame, told))
        told.extend(floor_warnings(metrics, scorers))
        told.extend(_side_warnings(baseline, candidate))
        blotted = blotted_answers(baseline, candidate) if suite.redact.stored else None
        told.extend([blotted] if blotted is not None else [])
        if any(scorers[metric.id].metric.timed for metric in metrics):
            told.extend(timing_warnings(baseline, candidate))
        keys = case_keys(whole or suite)
        changes = case_changes(suite, baseline, candidate, pairs, scorers, keys)
        critical, more = _guard(whole, suite, pairs, (baseline, candidate), scorers, keys)
        told.extend(more)
    return Comparison(
        baseline=sides[0],
        candidate=sides[1],
        suite_name=suite.name,
        suite_digest=suite.digest,
        seed=seed,
        alpha=suite.gate.alpha,
        metrics=tuple(metrics),
        slices=tuple(slices),
        changes=changes,
        critical=critical,
        problems=tuple(problems),
        warnings=tuple(dict.fromkeys([*told, *warnings])),
    )


def _guard(
    whole: Suite | None,
    suite: Suite,
    pairs: Mapping[str, Paired],
    runs: tuple[Run, Run],
    scorers: Mapping[str, Scorer],
    keys: Keys,
) -> tuple[tuple[CriticalFailure, ...], list[str]]:
    """Critical cases that broke, and what to say of those that nothing guards. A sample guards those of the whole."""
    guarded = suite
    if whole is not None:
        guarded = suite_at(whole, critical_cases(whole))
        pairs = {
            metric_id: pair(item.golden_set, metric_id, scorers[metric_id], *runs)
            for metric_id, item, _ in guarded.metrics
        }
    failures = critical_failures(guarded, pairs, scorers, keys)
    told = unguarded_critical(guarded, scorers) + unanswered_critical(guarded, pairs, scorers, keys)
    return failures, told


def _side(role: str, run: Run, suite: Suite) -> Side:
    about = run.manifest
    labels = {rule.labels for rule in suite.gate.metrics.values() if rule.labels is not None}
    coverage = Coverage(**about["coverage"])
    if labels & run.scores.keys():
        # People label a part of the answers; the others are not answers that could not be scored.
        scores = {metric: values for metric, values in run.scores.items() if metric not in labels}
        coverage = count_coverage(run.attempts, scores, about["metrics"])
    return Side(
        role=role,
        name=run.name,
        run_id=run.id,
        digest=run.candidate_digest,
        provider=about["candidate"]["provider"],
        model=about["candidate"]["model"],
        models=tuple(about["models_returned"]),
        repeats=run.repeats,
        coverage=coverage,
        facts={**about.get("facts", {}), "versions": _versions(about)},
    )


def _versions(about: Mapping[str, Any]) -> dict[str, str]:
    """What made the run: this package and every plugin that took part, by name."""
    rows = about.get("plugins", ())
    return {"evalharness": about.get("environment", {}).get("evalharness", "unknown")} | {
        f"{row['kind'].removesuffix('s')} {row['name']}": row["version"] for row in rows
    }


def _whole(frame: _Frame) -> MetricComparison:
    paired = frame.paired
    missing = (paired.missing_baseline, paired.missing_candidate)
    holds_labels = any(rule.labels == frame.metric_id for rule in frame.suite.gate.metrics.values())
    problem = (
        None  # people label a part of the answers
        if holds_labels
        else _missing(frame, frame.item.golden_set.cases, missing, paired.dropped_unbounded)
    )
    return _metric(frame, np.arange(len(paired.cases)), None, missing, problem)


def _missing(frame: _Frame, cases: Sequence[Case], missing: tuple[int, int], dropped: int) -> str | None:
    """Why the metric decides on too little over `cases`; None when it does not."""
    most = frame.suite.gate.max_failures
    problem = missing_problem(frame.item, frame.metric_id, frame.runs, cases, missing, most)
    if problem is None and dropped and frame.gated:
        problem = dropped_problem(frame.item, frame.metric_id, frame.runs[1], cases, dropped)
    return problem


def _slices(frame: _Frame, told: list[str]) -> list[MetricComparison]:
    members: dict[tuple[str, str], list[int]] = {}
    for index, case in enumerate(frame.paired.cases):
        for tag in case.tags.items():
            members.setdefault(tag, []).append(index)
    missing: dict[tuple[str, str], tuple[int, int]] = {}
    for case, before, after in frame.paired.lost:
        for tag in case.tags.items():
            members.setdefault(tag, [])  # a slice that nobody answered is shown, not left out
            earlier = missing.get(tag, (0, 0))
            missing[tag] = (earlier[0] + before, earlier[1] + after)
    declared = {(r.slice.key, r.slice.value) for r in frame.suite.gate.slices if r.metric == frame.metric_id}
    for tag in declared:
        members.setdefault(tag, [])  # a slice that gates is judged also where the sample holds none of it
    values = Counter(key for key, _ in members)
    for key, count in sorted(values.items()):
        if count > MOST_SLICE_VALUES:
            told.append(
                f"tag {key!r} has {count} values and is not shown as slices (at most {MOST_SLICE_VALUES})"
            )
    return [
        _slice(frame, Slice(*tag), members[tag], missing.get(tag, (0, 0)))
        for tag in sorted(members)
        if values[tag[0]] <= MOST_SLICE_VALUES or tag in declared
    ]


def _slice(frame: _Frame, of: Slice, members: Sequence[int], missing: tuple[int, int]) -> MetricComparison:
    index = np.asarray(members, dtype=np.intp)
    if frame.gating(of) is None:
        return _metric(frame, index, of, missing, None)
    planned = [case for case in frame.item.golden_set.cases if case.tags.get(of.key) == of.value]
    dropped = len(planned) - len(members) if frame.paired.dropped_unbounded else 0
    return _metric(frame, index, of, missing, _missing(frame, planned, missing, dropped))


def _metric(
    frame: _Frame, index: Any, of: Slice | None, missing: tuple[int, int], problem: str | None
) -> MetricComparison:
    metric = frame.scorer.metric
    rule = None if of is None else frame.gating(of)
    gates = rule is not None if of is not None else frame.gated
    margin = frame.margin(rule)
    levels = frame.levels_of(of)
    estimate: PairedEstimate | None = None
    breakdown: Mapping[str, Any] = {}
    note: str | None = None
    if len(index) == 0:
        problem = problem or "no case has a score on both sides"
    else:
        sample = Sample(
            scorer=frame.scorer,
            paired=frame.paired,
            index=index,
            runs=frame.runs,
            labels=frame.rule.labels,
            labels_scorer=frame.labels,
            pairs=frame.pairs,
            levels=levels,
            rng=stream(frame.seed, frame.metric_id, *([] if of is None else [str(of)])),
        )
        try:
            estimate, breakdown, note = estimated(sample, whole=of is None)
        except ValueError as error:  # values no statistic can be made of, from a scorer that broke its word
            problem = problem or f"it could not be estimated: {error}"
    estimate = not_from_the_floor(metric, estimate)
    own_baseline = abs(estimate.baseline) if estimate is not None else 0.0
    max_drop = margin.absolute(own_baseline)
    if estimate is not None and margin.relative and max_drop == 0.0 and (of is None or gates):
        instead = "write it in pp" if metric.unit == "fraction" else "make the metric advisory"
        problem = problem or f"the margin {margin} is relative and the baseline is 0; {instead}"
    smallest, needed = power(metric, estimate, max_drop, (levels.alpha, frame.suite.gate.alpha))
    return MetricComparison(
        id=frame.metric_id,
        eval=frame.item.id,
        scorer=frame.scorer_id,
        kind=metric.kind,
        unit=metric.unit,
        direction=metric.direction,
        gated=gates,
        primary=gates and (of is not None or frame.primary),
        margin=margin,
        max_drop=max_drop,
        n_missing_baseline=missing[0],
        n_missing_candidate=missing[1],
        estimate=estimate,
        problem=problem,
        mde=smallest,
        n_for_power=needed,
        slice=of,
        breakdown=breakdown,
        waiver=frame.waiver if of is None else None,
        waived=frame.waived and of is None,
        note=note,
    )


def _side_warnings(baseline: Run, candidate: Run) -> list[str]:
    warnings: list[str] = []
    for role, run in (("baseline", baseline), ("candidate", candidate)):
        warnings.extend(f"{role}: {text}" for text in run.manifest.get("warnings", ()))
        models = run.manifest["models_returned"]
        if len(models) > 1:
            warnings.append(
                f"{role}: the endpoint answered as {len(models)} models ({', '.join(models[:5])})"
            )
    emptier = empty_answers(baseline, candidate)
    if emptier is not None:
        warnings.append(emptier)
    pinned = candidate.manifest["candidate"].get("cacheable", True)
    if baseline.candidate_digest == candidate.candidate_digest and pinned:
        warnings.append("both sides are the same candidate: this comparison can only show noise")
    if baseline.repeats != candidate.repeats:
        warnings.append(
            f"repeats differ ({baseline.repeats} and {candidate.repeats}): tests on case averages are used"
        )
    return warnings
