"""From two sides to a verdict: obtain the runs, compare, confirm critical failures, decide; in looks where planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from evalharness.analysis.align import unfit
from evalharness.analysis.beside import Judged, beside
from evalharness.analysis.changes import case_keys
from evalharness.analysis.compare import compare_runs
from evalharness.analysis.confirm import CONFIRM_REPEATS, confirm, critical_subset
from evalharness.analysis.drift import check_anchor
from evalharness.analysis.looks import Look, Schedule, critical_cases, schedule, suite_at
from evalharness.analysis.sequential import LookSequence
from evalharness.analysis.upgrades import upgrade_warning
from evalharness.api.refereeing import Referee
from evalharness.core.comparisons import Comparison, CriticalFailure, Side
from evalharness.core.judges import JudgedEval
from evalharness.core.protocols import Scorer
from evalharness.core.runs import Run
from evalharness.core.suites import Sampling, Suite
from evalharness.core.verdicts import Verdict
from evalharness.engine.beforehand import refuse_unready_sides
from evalharness.engine.collect import collect
from evalharness.engine.plan import Asked
from evalharness.engine.scoring import build_scorers
from evalharness.engine.sides import SideSource, Surroundings
from evalharness.errors import InvalidComparisonError, UsageError
from evalharness.gate.decide import decide, settled
from evalharness.report.folder import about_run
from evalharness.spec.load import suite_warnings
from evalharness.store.folder import load_run, read_manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Which looks a comparison took: enough to take them again. `repeats` as in `analysis.looks.Schedule`."""

    number: int
    repeats: tuple[int | None, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is compared and how.

    Attributes:
        suite: the one suite of both sides.
        baseline, candidate: the sides.
        anchor: what both are held against beside the verdict, None where none is named.
        today: decides which waivers still count.
        warnings: what is known of the question itself.
        extend: whether cases in reserve and more repeats may be asked.
        confirming: a stored run that asked failed critical cases again, in place of asking now.
        taken: the looks of an earlier comparison that is rendered again; None: look until it is decided.
        judgments: a file of what judges said in an earlier comparison, in place of asking them now.
        judge_facts: by eval, what asking them took then.
    """

    suite: Suite
    baseline: SideSource
    candidate: SideSource
    today: date | None
    warnings: tuple[str, ...] = ()
    anchor: SideSource | None = None
    extend: bool = False
    confirming: Path | None = None
    taken: Taken | None = None
    judgments: Path | None = None
    judge_facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A verdict with what its report's manifest says.

    `runs`: both sides as they were compared. `critical`: the run that asked failed critical cases again. `judged`: the
    verdict's judgments under the names that the runs have for their cases, where the verdict itself was redacted.
    """

    verdict: Verdict
    runs: tuple[Run, Run]
    baseline: Mapping[str, Any]
    candidate: Mapping[str, Any]
    anchor: Mapping[str, Any] | None
    critical: Path | None
    taken: Taken | None
    judged: tuple[JudgedEval, ...] = ()


def answer(question: Question, around: Surroundings) -> Answer:
    """Compare two sides: at once, or in the looks that the suite plans.

    Raises:
        UsageError: --extend where nothing can be extended. InvalidComparisonError: the anchor, or a side whose answers
            are there already beside one that is asked, does not fit the suite. And as `SideSource.obtain` does.
    """
    suite = question.suite
    scorers = build_scorers(suite, around.registry)
    sides = _Sides(question, around)
    sides.check_anchor()
    if suite.sampling is not None:
        return _in_looks(question, suite.sampling, sides, scorers, around)
    if question.extend:
        raise UsageError(
            f"{suite.path}: nothing to extend: the suite has no `sampling` with `reserve` or `max_repeats`; how far a "
            "comparison may go is fixed before its first look"
        )
    referee = Referee(suite, scorers, around, question.judgments, question.judge_facts)
    bench = referee.bench(None, *sides.obtain(None))
    comparison = compare_runs(
        bench.suite,
        bench.baseline,
        bench.candidate,
        referee.scorers,
        seed=around.how.seed,
        today=question.today,
        warnings=(*question.warnings, *suite_warnings(suite)),
    )
    comparison, again = _Critical(question, scorers, around).confirmed(comparison, bench.candidate)
    comparison = sides.beside(bench.told(comparison, suite), None, scorers)
    return sides.answer(decide(comparison, bench.suite.gate), again, None)


def _in_looks(
    question: Question,
    sampling: Sampling,
    sides: _Sides,
    scorers: Mapping[str, Scorer],
    around: Surroundings,
) -> Answer:
    suite = question.suite
    repeats = question.taken.repeats if question.taken is not None else sides.repeats()
    plan = schedule(suite, sampling, repeats, seed=around.how.seed)
    referee = Referee(suite, scorers, around, question.judgments, question.judge_facts)
    critical = _Critical(question, scorers, around)
    sequence: LookSequence | None = None
    for look in _looks(question, plan):
        bench = referee.bench(look.cases, *sides.obtain(look))
        if sequence is None or not sequence.rules(bench.suite):  # a judge may lose its standing on the way
            sequence = LookSequence(
                bench.suite,
                plan,
                referee.scorers,
                seed=around.how.seed,
                today=question.today,
                warnings=(*question.warnings, *suite_warnings(suite)),
            )
        comparison = sequence.at(look.number, bench.baseline, bench.candidate)
        comparison, again = critical.confirmed(comparison, bench.candidate)
        stopped = settled(decide(comparison, bench.suite.gate))
        if stopped is not None or comparison.problems:
            break
    assert sequence is not None
    own = bench.baseline.repeats, bench.candidate.repeats
    comparison = replace(comparison, looks=sequence.standing(look.number, stopped or "end", own))
    comparison = sides.beside(bench.told(comparison, suite), (look, repeats), scorers)
    verdict = decide(comparison, bench.suite.gate)
    return sides.answer(verdict, again, Taken(number=look.number, repeats=repeats))


def _looks(question: Question, plan: Schedule) -> tuple[Look, ...]:
    """The looks to take now.

    Raises:
        UsageError: --extend where nothing can be extended.
    """
    if question.taken is not None:
        return plan.looks[question.taken.number - 1 : question.taken.number]
    if not question.extend:
        return plan.looks[: plan.routine]
    if plan.routine == len(plan.looks):
        raise UsageError(
            f"{question.suite.path}: nothing to extend: `sampling` holds no cases in reserve, and no side that can be "
            "asked has fewer repeats than `max_repeats`; how far a comparison may go is fixed before its first look"
        )
    return plan.looks


class _Sides:
    """Both sides, and the anchor, as far as they have been asked."""

    def __init__(self, question: Question, around: Surroundings) -> None:
        self._question = question
        self._around = around
        self._sources = [question.baseline, question.candidate]
        if question.anchor is not None:
            self._sources.append(question.anchor)
        self._fixed = [source.fixed(around.registry) for source in self._sources]
        self._critical = critical_cases(question.suite)
        self._found: list[Run | None] = [None] * len(self._sources)
        self._about: list[Mapping[str, Any]] = [{}] * len(self._sources)
        self._looked_at = False

    def repeats(self) -> tuple[int | None, int | None]:
        """Answers to a case that each side gives by itself, None where they are there already."""
        first, second = (
            None if fixed or source.model is None else source.model.repeats or 1
            for source, fixed in zip(self._sources[:2], self._fixed[:2], strict=True)
        )
        return first, second

    def obtain(self, look: Look | None) -> tuple[Run, Run]:
        """Both runs, asked as far as `look` needs (None: everything). Critical cases are asked at every look.

        Raises:
            InvalidComparisonError: the answers of one side are there already and do not fit; the other was not asked.
            And as `SideSource.obtain` does.
        """
        asked: Asked | None = None
        if look is not None:
            asked = {name: cases | self._critical[name] for name, cases in look.cases.items()}
        repeats = look.repeats if look is not None else None
        if not self._looked_at:  # before the first call of any side
            suite, sources = self._question.suite, self._sources
            refuse_unready_sides(sources, suite, self._around, asked=asked, repeats=repeats)
            self._looked_at = True
        for place in sorted((0, 1), key=lambda place: not self._fixed[place]):
            run = self._one(place, asked, repeats)
            if self._fixed[place] and not self._fixed[1 - place]:
                self._refuse_unfit(place, run, look)
        first, second = self._found[:2]
        assert first is not None and second is not None
        return first, second

    def _refuse_unfit(self, place: int, run: Run, look: Look | None) -> None:
        """Refuse a side whose answers are there already and do not fit, before the other one is asked and paid for."""
        suite = self._question.suite if look is None else suite_at(self._question.suite, look.cases)
        problems = unfit(("baseline", "candidate")[place], suite, run)
        if problems:
            raise InvalidComparisonError(
                "the two runs could not be compared, so nothing was asked: " + "; ".join(problems)
            )

    def check_anchor(self) -> None:
        """Refuse an anchor whose answers are there already and do not fit, before a side is asked.

        Raises:
            InvalidComparisonError: the anchor does not fit the suite.
        """
        suite = self._question.suite
        if len(self._sources) == 2 or not self._fixed[2]:
            return
        if suite.sampling is not None:  # which cases will be needed of it is not known yet
            suite = suite_at(suite, {golden_set.name: frozenset() for golden_set in suite.golden_sets})
        check_anchor(suite, self._one(2, None, None))

    def beside(
        self,
        comparison: Comparison,
        at: tuple[Look, tuple[int | None, int | None]] | None,
        scorers: Mapping[str, Scorer],
    ) -> Comparison:
        """The comparison of the runs obtained last, with drift and flakiness.

        `at`: the look it was made at, with the schedule's repeats. An anchor that can be asked is asked now, and no
        more than the sides were.
        """
        baseline, candidate = self._found[:2]
        assert baseline is not None and candidate is not None
        if comparison.problems:
            return comparison
        blessed = self._sources[0].blessed
        upgrade = upgrade_warning(
            baseline, candidate, blessed=blessed.reference if blessed is not None else None
        )
        if upgrade is not None:
            comparison = replace(comparison, warnings=(*comparison.warnings, upgrade))
        suite = self._question.suite
        judged = Judged(
            suite=suite,
            baseline=baseline,
            candidate=candidate,
            anchor=self._anchor(at[0].cases if at is not None else None),
        )
        return beside(
            comparison,
            judged if at is None else judged.at(*at),
            scorers,
            case_keys(suite),
            seed=self._around.how.seed,
            today=self._question.today,
        )

    def _anchor(self, asked: Asked | None) -> Run | None:
        if len(self._sources) == 2:
            return None
        for place in (0, 1):
            if self._sources[2] is self._sources[place]:
                self._about[2] = self._about[place]
                return self._found[place]
        return self._one(2, asked, None)

    def answer(self, verdict: Verdict, critical: Path | None, taken: Taken | None) -> Answer:
        """The verdict with what is known of the runs, named by the answers that were compared."""
        compared = verdict.comparison
        anchor = compared.anchor
        baseline, candidate = self._found[:2]
        assert baseline is not None and candidate is not None
        named = replace(
            compared,
            baseline=_with_blessing(compared.baseline, self._sources[0]),
            candidate=_with_blessing(compared.candidate, self._sources[1]),
        )
        return Answer(
            verdict=replace(verdict, comparison=named),
            runs=(baseline, candidate),
            baseline={**self._about[0], "run_id": compared.baseline.run_id},
            candidate={**self._about[1], "run_id": compared.candidate.run_id},
            anchor={**self._about[2], "run_id": anchor.run_id} if anchor is not None else None,
            critical=critical,
            taken=taken,
        )

    def _one(self, place: int, asked: Asked | None, repeats: int | None) -> Run:
        before = self._found[place]
        if before is not None and self._fixed[place]:
            return before
        run, folder = self._sources[place].obtain(
            self._question.suite,
            self._around,
            asked=asked,
            repeats=repeats,
            known=before,
        )
        self._found[place] = run
        # read at once: the other side may be stored in the same folder
        self._about[place] = about_run(read_manifest(folder), self._around.paths.show(folder))
        blessed = self._sources[place].blessed
        if blessed is not None:
            self._about[place] = {**self._about[place], "blessed": blessed.row()}
        return run


def _with_blessing(side: Side, source: SideSource) -> Side:
    """A side that says, beside the versions of what made it, under which name it stands and who blessed it."""
    if source.blessed is None:
        return side
    versions = {"baseline": source.blessed.line, **side.facts.get("versions", {})}
    return replace(side, facts={**side.facts, "versions": versions})


class _Critical:
    """Asks critical cases that failed again: each once in a comparison, however many looks it takes."""

    def __init__(self, question: Question, scorers: Mapping[str, Scorer], around: Surroundings) -> None:
        self._question = question
        self._scorers = scorers
        self._around = around
        self._asked: frozenset[str] = frozenset()
        self._found: Path | None = question.confirming

    def confirmed(self, comparison: Comparison, candidate: Run) -> tuple[Comparison, Path | None]:
        """The comparison with the critical failures that stand, and the run that asked them again."""
        failures = comparison.critical
        if not failures or candidate.repeats > 1:
            return comparison, None
        failed = frozenset(failure.key for failure in failures)
        if self._question.confirming is None and not failed <= self._asked:
            self._asked, self._found = failed, self._ask(failures)
        if self._found is None:
            return comparison, None
        standing, recovered = confirm(self._question.suite, failures, load_run(self._found), self._scorers)
        warnings = (*recovered, *comparison.warnings)
        return replace(comparison, critical=standing, warnings=warnings), self._found

    def _ask(self, failures: Sequence[CriticalFailure]) -> Path | None:
        """More answers of a candidate that can still be asked; None: it cannot."""
        model, around = self._question.candidate.model, self._around
        if model is None or around.registry.load("providers", model.provider).recorded:
            return None
        again = replace(model, name=f"{model.name}-critical", repeats=CONFIRM_REPEATS)
        return collect(critical_subset(self._question.suite, failures), again, around.registry, around.how)[1]
