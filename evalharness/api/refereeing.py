"""What a comparison is made on once judges have spoken: runs with their scores, and rules that know their standing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalharness.analysis.judge_health import with_health
from evalharness.analysis.judged import (
    by_standing,
    flag_warnings,
    flip_warnings,
    standing_warnings,
    with_judges,
    with_judgments,
)
from evalharness.core.comparisons import Comparison
from evalharness.core.judges import JudgedEval, Judgment
from evalharness.core.protocols import Scorer
from evalharness.core.runs import Run
from evalharness.core.suites import Suite
from evalharness.engine.judging import Judging, heard
from evalharness.engine.sides import Surroundings
from evalharness.store.judgments import load_judgments


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What one look compares: the suite by the judges' standing, and both runs with the judges' scores."""

    suite: Suite
    baseline: Run
    candidate: Run
    judged: tuple[JudgedEval, ...]

    def told(self, comparison: Comparison, plain: Suite) -> Comparison:
        """The comparison with what the judges said, and first of all which of them may not gate."""
        if not self.judged:
            return comparison
        judges = with_health(self.judged, comparison, self.suite, self.baseline, self.candidate)
        first = (
            *standing_warnings(plain, judges),
            *flag_warnings(judges, plain.gate.max_failures),
            *flip_warnings(judges),
        )
        return replace(comparison, judges=judges, warnings=(*first, *comparison.warnings))


class Referee:
    """Has the answers of a comparison judged, or takes the judgments of an earlier one."""

    def __init__(
        self,
        suite: Suite,
        scorers: Mapping[str, Scorer],
        around: Surroundings,
        earlier: Path | None,
        facts: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """`earlier` is the file of the judgments to take, `facts` by eval what it took to have them; None: ask now."""
        self.suite, self.scorers = with_judges(suite, scorers)
        self._sets = {item.id: item.golden_set.name for item in suite.evals}
        self._judges = {item.id: item.judge for item in suite.evals if item.judge is not None}
        self._judging = Judging(suite, around.registry, around.how)
        self._facts = facts
        self._earlier: Mapping[str, tuple[Judgment, ...]] | None = None
        if earlier is not None and self._judges:
            self._earlier = load_judgments(earlier)

    def bench(self, cases: Mapping[str, Iterable[str]] | None, baseline: Run, candidate: Run) -> Bench:
        """Judge the answers to `cases` (golden set → ids, None for all).

        Raises:
            As `engine.judging.Judging.judge` does.
        """
        if not self._judges:
            return Bench(suite=self.suite, baseline=baseline, candidate=candidate, judged=())
        judged = (
            self._judging.judge(cases, baseline, candidate) if self._earlier is None else self._as_before()
        )
        return Bench(
            suite=by_standing(self.suite, judged),
            baseline=with_judgments(baseline, judged, self._sets, role="baseline"),
            candidate=with_judgments(candidate, judged, self._sets, role="candidate"),
            judged=judged,
        )

    def _as_before(self) -> tuple[JudgedEval, ...]:
        assert self._earlier is not None
        return tuple(
            heard(name, judge, self._earlier.get(name, ()), self._facts.get(name, {}))
            for name, judge in self._judges.items()
        )
