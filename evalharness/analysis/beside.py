"""What is seen beside a verdict and no part of it: drift since an anchor, a candidate's flakiness against itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

from evalharness.analysis.changes import Keys
from evalharness.analysis.drift import drift
from evalharness.analysis.flakiness import flakiness, flakiness_warnings
from evalharness.analysis.looks import Look, run_at, suite_at
from evalharness.core.comparisons import Comparison
from evalharness.core.protocols import Scorer
from evalharness.core.runs import Run
from evalharness.core.suites import Suite


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a verdict was reached on: the suite or a sample of it, and the runs with the answers that counted."""

    suite: Suite
    baseline: Run
    candidate: Run
    anchor: Run | None

    def at(self, look: Look, repeats: tuple[int | None, int | None]) -> Judged:
        """The part of it that `look` judged. `repeats` as in `analysis.looks.Schedule`."""
        own = (None, None) if look.repeats is not None else repeats
        return Judged(
            suite=suite_at(self.suite, look.cases),
            baseline=run_at(self.baseline, look.cases, own[0]),
            candidate=run_at(self.candidate, look.cases, own[1]),
            anchor=run_at(self.anchor, look.cases) if self.anchor is not None else None,
        )


def beside(
    comparison: Comparison,
    judged: Judged,
    scorers: Mapping[str, Scorer],
    keys: Keys,
    *,
    seed: int,
    today: date | None,
) -> Comparison:
    """The comparison with `anchor`, `drift` and `flakiness`. One that has problems is left as it is.

    Args:
        comparison: of the runs in `judged`.
        judged: what it rests on.
        scorers: by metric id.
        keys: the names of the cases in reports.
        seed: of every random draw.
        today: decides which waivers still count.

    Raises:
        InvalidComparisonError: the anchor has no answer to a case.
    """
    if comparison.problems:
        return comparison
    suite, runs = judged.suite, (judged.baseline, judged.candidate)
    own = {metric_id for metric_id, _, _ in suite.metrics}
    metrics = tuple(
        m for m in comparison.metrics if m.id in own
    )  # a judge compares the two sides and no third
    if judged.anchor is not None:
        anchor, since = drift(suite, judged.anchor, *runs, scorers, metrics, seed=seed, today=today)
        comparison = replace(comparison, anchor=anchor, drift=since)
    return replace(
        comparison,
        flakiness=flakiness(suite, *runs, scorers, metrics, keys, seed=seed),
        warnings=(*comparison.warnings, *flakiness_warnings(suite, *runs)),
    )
