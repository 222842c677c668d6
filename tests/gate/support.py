"""Comparisons built through the real statistics, for tests of the gate."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from evalharness.core.cases import Slice
from evalharness.core.comparisons import Comparison, CriticalFailure, Looks, MetricComparison, Side
from evalharness.core.runs import Coverage
from evalharness.core.scores import Direction
from evalharness.core.suites import GatePolicy, Margin, Waiver
from evalharness.stats.paired import paired_cases
from evalharness.stats.power import mde, n_for_power

TWO_POINTS = Margin(Fraction(2, 100), relative=False)
POLICY = GatePolicy(max_drop=TWO_POINTS)


def metric(
    regressed: int,
    fixed: int,
    n: int,
    *,
    name: str = "e/exact_match",
    gated: bool = True,
    primary: bool = True,
    problem: str | None = None,
    margin: Margin = TWO_POINTS,
    of: Slice | None = None,
    waiver: Waiver | None = None,
    waived: bool = False,
    direction: Direction = "higher",
) -> MetricComparison:
    """A binary metric with so many regressed and fixed cases of n; 80% of the rest right.

    `margin` is the one it is judged by: the waiver's where `waived`. Under direction "lower" the estimate is the
    same, since it is on the goodness scale.
    """
    same = n - regressed - fixed
    right = round(0.8 * same)
    base = np.array([1.0] * regressed + [0.0] * fixed + [1.0] * right + [0.0] * (same - right))
    cand = np.array([0.0] * regressed + [1.0] * fixed + [1.0] * right + [0.0] * (same - right))
    estimate = paired_cases(
        base, cand, binary=True, equal_repeats=True, clusters=None, alpha=0.05, rng=np.random.default_rng(0)
    )
    return MetricComparison(
        id=name,
        eval=name.split("/")[0],
        scorer=name.split("/")[1],
        kind="binary",
        unit="fraction",
        direction=direction,
        gated=gated,
        primary=gated and primary,
        margin=margin,
        max_drop=margin.absolute(estimate.baseline),
        n_missing_baseline=0,
        n_missing_candidate=0,
        estimate=estimate,
        problem=problem,
        mde=mde(estimate, alpha=0.05),
        n_for_power=n_for_power(estimate, margin.absolute(estimate.baseline), alpha=0.05),
        slice=of,
        waiver=waiver,
        waived=waived,
    )


def side(role: str) -> Side:
    return Side(
        role=role,
        name=role,
        run_id="sha256:" + "0" * 64,
        digest="sha256:" + "1" * 64,
        provider="replay",
        model=None,
        models=(),
        repeats=1,
        coverage=Coverage(planned=1000, scored=1000, failed=0, unscored=0),
    )


def comparison(
    *metrics: MetricComparison,
    problems: tuple[str, ...] = (),
    critical: bool = False,
    looks: Looks | None = None,
) -> Comparison:
    failure = CriticalFailure(
        key="case-7", metric="e/exact_match", passed_before="1", failed_after="0", confirmed=True
    )
    return Comparison(
        baseline=side("baseline"),
        candidate=side("candidate"),
        suite_name="s",
        suite_digest="sha256:" + "2" * 64,
        seed=0,
        alpha=0.05,
        metrics=tuple(m for m in metrics if m.slice is None),
        slices=tuple(m for m in metrics if m.slice is not None),
        changes=(),
        critical=(failure,) if critical else (),
        problems=problems,
        looks=looks,
    )
