"""Confirming critical failures of a candidate that can still be asked: one bad answer is not yet a broken case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from evalharness._canon import digest
from evalharness.analysis.changes import case_keys
from evalharness.core.cases import GoldenSet
from evalharness.core.comparisons import CriticalFailure
from evalharness.core.protocols import Scorer
from evalharness.core.runs import Run
from evalharness.core.scores import Scored
from evalharness.core.suites import Suite

CONFIRM_REPEATS: Final = 3
"""Answers that decide over a critical case: the failure is confirmed when most of them fail."""


def critical_subset(suite: Suite, failures: Sequence[CriticalFailure]) -> Suite:
    """The suite with only the failed critical cases, to be run with `CONFIRM_REPEATS` repeats."""
    wanted = {failure.key for failure in failures}
    keys = case_keys(suite)
    kept: dict[str, GoldenSet] = {}
    for golden_set in suite.golden_sets:
        cases = tuple(case for case in golden_set.cases if keys[golden_set.name, case.id] in wanted)
        if cases:
            identity = digest([golden_set.digest, [case.id for case in cases]])
            kept[golden_set.name] = replace(golden_set, cases=cases, digest=identity)
    evals = tuple(
        replace(item, golden_set=kept[item.golden_set.name])
        for item in suite.evals
        if item.golden_set.name in kept
    )
    return replace(suite, evals=evals, digest=digest([suite.digest, sorted(wanted)]))


def confirm(
    suite: Suite, failures: Sequence[CriticalFailure], run: Run, scorers: Mapping[str, Scorer]
) -> tuple[tuple[CriticalFailure, ...], tuple[str, ...]]:
    """Decide failures by a run of their subset. An answer that could not be had is a failure.

    Returns:
        The failures that stand, and a warning for each that did not come back.
    """
    ids = {key: place for place, key in case_keys(suite).items()}
    standing: list[CriticalFailure] = []
    recovered: list[str] = []
    for failure in failures:
        case_id = ids[failure.key][1]
        higher = scorers[failure.metric].metric.direction == "higher"
        passed = 0
        for repeat in range(run.repeats):
            score = run.scores[failure.metric].get((case_id, repeat))
            if isinstance(score, Scored) and (score.value >= 0.5 if higher else score.value <= 0.5):
                passed += 1
        failed = f"{run.repeats - passed} of {run.repeats} answers failed"
        if 2 * passed < run.repeats:
            standing.append(replace(failure, failed_after=failed, confirmed=True))
        else:
            recovered.append(
                f"critical case {failure.key} failed {failure.metric} once and recovered on repeats ({failed})"
            )
    return tuple(standing), tuple(recovered)
