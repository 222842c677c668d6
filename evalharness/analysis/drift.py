"""Where both sides stand against the anchor: the release that all changes are held against, however many came since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

from evalharness.analysis.align import unfit
from evalharness.analysis.compare import compare_runs
from evalharness.core.comparisons import Drift, MetricComparison, Side
from evalharness.core.protocols import Scorer
from evalharness.core.runs import Run
from evalharness.core.suites import Suite
from evalharness.errors import InvalidComparisonError
from evalharness.stats.margins import drop_of


def drift(
    suite: Suite,
    anchor: Run,
    baseline: Run,
    candidate: Run,
    scorers: Mapping[str, Scorer],
    metrics: Sequence[MetricComparison],
    *,
    seed: int,
    today: date | None = None,
) -> tuple[Side, tuple[Drift, ...]]:
    """How far each gated metric has come since the anchor, on both sides.

    The anchor is compared with each side exactly as the baseline is with the candidate: paired by case, missing
    answers of the side as its worst value, a relative margin resolved against the anchor's value. p-values and bounds
    are of one look and one metric: nothing is adjusted, since drift never decides.

    Args:
        suite: what the runs are compared on; a sample of the suite where the verdict rests on one.
        anchor: the run of the pinned release.
        baseline: the run of the verdict's baseline.
        candidate: the run of the verdict's candidate.
        scorers: by metric id.
        metrics: the comparison's; the runs of both sides fit each other.
        seed: of every random draw.
        today: decides which waivers still count; None: none does.

    Returns:
        The anchor as a side, and one entry a gated metric, in the order of `metrics`.

    Raises:
        InvalidComparisonError: the anchor answered other golden sets, or was scored by other scorers.
    """
    check_anchor(suite, anchor)
    plain = _without_slices(suite)
    since = [
        compare_runs(plain, anchor, run, scorers, seed=seed, today=today) for run in (baseline, candidate)
    ]
    before, after = ({metric.id: metric for metric in found.metrics} for found in since)
    return replace(since[1].baseline, role="anchor"), tuple(
        _drift(metric, before[metric.id], after[metric.id], suite.gate.alpha)
        for metric in metrics
        if metric.gated
    )


def check_anchor(suite: Suite, anchor: Run) -> None:
    """Refuse an anchor that cannot be compared on this suite.

    Raises:
        InvalidComparisonError: it answered other golden sets or not all cases, or was scored by other scorers.
    """
    problems = unfit("anchor", suite, anchor)
    if problems:
        raise InvalidComparisonError("; ".join([*problems, "or compare without --anchor"]))


def _without_slices(suite: Suite) -> Suite:
    """The suite with no tag on any case: drift is of whole metrics, and slices cost most of a comparison's time."""
    evals = tuple(
        replace(
            item,
            golden_set=replace(
                item.golden_set, cases=tuple(replace(case, tags={}) for case in item.golden_set.cases)
            ),
        )
        for item in suite.evals
    )
    return replace(suite, evals=evals, gate=replace(suite.gate, slices=()))


def _drift(
    metric: MetricComparison, before: MetricComparison, after: MetricComparison, alpha: float
) -> Drift:
    estimate = after.estimate
    exceeds = (
        estimate is not None
        and after.problem is None
        and estimate.delta <= drop_of(after.max_drop)
        and estimate.p_drop <= alpha
    )
    # the comparison calls whatever it holds the others against its baseline
    problem = after.problem.replace("baseline", "anchor") if after.problem is not None else None
    return Drift(
        metric=metric, baseline=before.estimate, candidate=estimate, exceeds=exceeds, problem=problem
    )
