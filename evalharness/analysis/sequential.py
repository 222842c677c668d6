"""A comparison in looks: every estimate judged so that looking several times does not inflate its error.

At look k a metric has its fixed-sample p-values of looks 1 to k. They are combined into one sequential p-value: the
smallest level at which a group-sequential test with alpha·t² spending would have rejected by now. Holm over these is
the group-sequential Holm procedure (Maurer and Bretz 2013, Statistics in Biopharmaceutical Research 5:311-320). The
bound a PASS is decided on is the best of the looks so far, each taken at its own look's level, so that it holds at all
looks together; the two-sided interval likewise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from evalharness.analysis.compare import MetricKey, compare_runs
from evalharness.analysis.estimating import Levels
from evalharness.analysis.looks import Schedule, critical_cases, run_at, suite_at
from evalharness.core.cases import Slice
from evalharness.core.comparisons import Comparison, Looks, MetricComparison, Stopped
from evalharness.core.estimates import LEVEL, PairedEstimate
from evalharness.core.protocols import Scorer
from evalharness.core.runs import Run
from evalharness.core.scores import Kind
from evalharness.core.suites import Suite
from evalharness.stats.sequential import nominal_levels, sequential_p

_RATIOS: Final = frozenset(("log_ratio", "quantile"))
"""Kinds whose bound is one of the ratio of the two sides."""


@dataclass(frozen=True, slots=True)
class _Course:
    """The looks at which one metric gains cases: their numbers, information and spending times, in (0, 1]."""

    numbers: tuple[int, ...]
    information: tuple[float, ...]
    spending: tuple[float, ...]

    def until(self, number: int) -> int:
        """How many of them have been taken at look `number`."""
        return sum(n <= number for n in self.numbers)


class LookSequence:
    """Compares two runs at one look after another. Nothing is asked here: the runs hold what was asked so far."""

    def __init__(
        self,
        suite: Suite,
        schedule: Schedule,
        scorers: Mapping[str, Scorer],
        *,
        seed: int,
        today: date | None,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self._suite = suite
        self._schedule = schedule
        self._scorers = scorers
        self._seed = seed
        self._today = today
        self._warnings = warnings
        self._courses = self._plan_courses()
        self._levels = self._plan_levels()
        self._seen: dict[tuple[int, str, str], Comparison] = {}

    def rules(self, suite: Suite) -> bool:
        """Whether this sequence judges by the rules of `suite`."""
        return self._suite.gate == suite.gate

    def at(self, number: int, baseline: Run, candidate: Run) -> Comparison:
        """The comparison at look `number`, counted from 1, with the looks before it taken into account.

        It is a function of the runs' answers to the cases of these looks only.
        """
        now = self._compared(number, baseline, candidate)
        if now.problems:
            return now
        before = [self._compared(n, baseline, candidate) for n in range(1, number)]
        history = [*before, now]
        return replace(
            now,
            metrics=tuple(self._adjusted(m, history) for m in now.metrics),
            slices=tuple(self._adjusted(m, history) for m in now.slices),
        )

    def standing(self, number: int, stopped: Stopped, repeats: tuple[int, int]) -> Looks:
        """Where the sequence stands after look `number`. `repeats` are those of baseline and candidate."""
        look = self._schedule.looks[number - 1]
        most = self._schedule.looks[-1].cases
        routine = self._schedule.looks[max(self._schedule.routine, number) - 1]
        guarded = critical_cases(self._suite)  # asked at every look, in the sample or not
        spared = sum(len(routine.cases[name] - look.cases[name] - guarded[name]) for name in look.cases)
        return Looks(
            number=number,
            planned=len(self._schedule.looks),
            routine=self._schedule.routine,
            used={name: len(cases) for name, cases in look.cases.items()},
            most={name: len(cases) for name, cases in most.items()},
            saved_baseline=spared * repeats[0],
            saved_candidate=spared * repeats[1],
            stopped=stopped,
        )

    def _compared(self, number: int, baseline: Run, candidate: Run) -> Comparison:
        """One look by itself, at that look's levels. Computed once for the same answers."""
        given = (number, baseline.id, candidate.id)
        if given in self._seen:
            return self._seen[given]
        look = self._schedule.looks[number - 1]
        sample = suite_at(self._suite, look.cases)
        guarded = critical_cases(self._suite)
        kept = {name: cases | guarded[name] for name, cases in look.cases.items()}
        # Answers that only a later look asked for do not belong to this one.
        own = (None, None) if look.repeats is not None else self._schedule.repeats
        left, right = run_at(baseline, kept, own[0]), run_at(candidate, kept, own[1])
        key = (number, left.id, right.id)
        if key not in self._seen:
            self._seen[key] = compare_runs(
                sample,
                left,
                right,
                self._scorers,
                seed=self._seed,
                today=self._today,
                warnings=self._warnings,
                levels=self._levels[number],
                whole=self._suite,
            )
        self._seen[given] = self._seen[key]
        return self._seen[key]

    def _plan_courses(self) -> dict[MetricKey, _Course]:
        gate = self._suite.gate
        keys: list[tuple[MetricKey, str]] = [
            ((i, None), e.golden_set.name) for i, e, _ in self._suite.metrics
        ]
        sets = {metric_id: e.golden_set.name for metric_id, e, _ in self._suite.metrics}
        keys += [((rule.metric, rule.slice), sets[rule.metric]) for rule in gate.slices]
        return {key: self._course(name, key[1]) for key, name in keys}

    def _course(self, golden_set: str, of: Slice | None) -> _Course:
        members = next(g for g in self._suite.golden_sets if g.name == golden_set).cases
        ids = {case.id for case in members if of is None or case.tags.get(of.key) == of.value}
        looks = self._schedule.looks
        most = max(1, len(ids & looks[-1].cases[golden_set]))
        numbers: list[int] = []
        information: list[float] = []
        spending: list[float] = []
        for look in looks:
            share = len(ids & look.cases[golden_set]) / most
            if share * look.share > (information[-1] if information else 0.0):
                numbers.append(look.number)
                information.append(share * look.share)
                # Repeats add less than new cases do. Before an extension to twice the answers, half of alpha is spent.
                spending.append(share * look.share**0.5)
        return _Course(tuple(numbers), tuple(information), tuple(spending))

    def _plan_levels(self) -> dict[int, dict[MetricKey, Levels]]:
        """By look, the levels of each metric's latest look: alpha for a bound, 2.5% for each end of an interval."""
        found: dict[int, dict[MetricKey, Levels]] = {look.number: {} for look in self._schedule.looks}
        for key, course in self._courses.items():
            if not course.numbers:
                continue
            one = nominal_levels(self._suite.gate.alpha, course.information, course.spending)
            two = nominal_levels((1 - LEVEL) / 2, course.information, course.spending)
            for number, levels in found.items():
                taken = course.until(number)
                if taken:
                    levels[key] = Levels(alpha=one[taken - 1], level=1 - 2 * two[taken - 1])
        return found

    def _adjusted(self, metric: MetricComparison, history: list[Comparison]) -> MetricComparison:
        """The metric with p-values, bound and interval that hold over all looks so far.

        A slice that does not gate is shown as it stands at this look.
        """
        estimate = metric.estimate
        course = self._courses.get((metric.id, metric.slice))
        taken = 0 if course is None else course.until(len(history))
        if estimate is None or course is None or taken == 0:
            return metric
        looks = [_estimate(history[n - 1], metric.id, metric.slice) for n in course.numbers[:taken]]
        looks[-1] = estimate
        word = f"look {len(history)} of {len(self._schedule.looks)}"
        told = [e for e in looks if e is not None and e.no_pass_reason is None] or [estimate]
        bounds = [_lower_now(e, estimate, metric.kind) for e in told]
        return replace(
            metric,
            estimate=replace(
                estimate,
                p_drop=sequential_p(
                    [1.0 if e is None else e.p_drop for e in looks], course.information, course.spending
                ),
                p_gain=sequential_p(
                    [1.0 if e is None else e.p_gain for e in looks], course.information, course.spending
                ),
                lower=min(max(bounds), estimate.delta),
                lower_method=f"{estimate.lower_method}, over looks",
                interval=replace(
                    estimate.interval, level=LEVEL, method=f"{estimate.interval.method}, over looks"
                ),
                test=f"{estimate.test}, {word}",
            ),
        )


def _lower_now(before: PairedEstimate, now: PairedEstimate, kind: Kind) -> float:
    """The bound of an earlier look in the units of this one.

    A difference is one at every look. A ratio is given as a difference from the baseline observed at its own look.
    """
    if before is now or kind not in _RATIOS:
        return before.lower
    if before.baseline == 0 or now.baseline == 0:
        return -math.inf
    return before.lower * (now.baseline / before.baseline)


def _estimate(comparison: Comparison, metric_id: str, of: Slice | None) -> PairedEstimate | None:
    rows = comparison.metrics if of is None else comparison.slices
    return next((m.estimate for m in rows if m.id == metric_id and m.slice == of), None)
