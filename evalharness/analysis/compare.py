"""Two runs on one suite → Comparison: every metric and slice estimated, every changed case listed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from evalharness.analysis.align import Array, Paired, incomparable, pair
from evalharness.analysis.changes import (
    case_changes,
    critical_failures,
    unanswered_critical,
    unguarded_critical,
)
from evalharness.core.cases import Slice
from evalharness.core.comparisons import Comparison, MetricComparison, Side
from evalharness.core.estimates import PairedEstimate
from evalharness.core.protocols import CorpusScorer, Scorer
from evalharness.core.runs import Coverage, Run
from evalharness.core.suites import EvalSpec, MetricRule, Suite
from evalharness.stats.paired import paired_cases, paired_corpus
from evalharness.stats.power import mde, n_for_power

MOST_SLICE_VALUES: Final = 50
"""A tag with more values than this is an identifier, not a slice."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """What stays the same over one metric and its slices."""

    metric_id: str
    eval_id: str
    scorer_id: str
    scorer: Scorer
    rule: MetricRule
    suite: Suite
    paired: Paired
    seed: int

    @property
    def gated(self) -> bool:
        return not self.rule.advisory

    @property
    def primary(self) -> bool:
        named = self.suite.gate.primary
        return self.gated and (not named or self.metric_id in named)


def compare_runs(
    suite: Suite,
    baseline: Run,
    candidate: Run,
    scorers: Mapping[str, Scorer],
    *,
    seed: int,
    warnings: Sequence[str] = (),
) -> Comparison:
    """Lay two runs side by side.

    Every random draw comes from `seed` and the metric's id, so that adding a metric does not move another.
    `warnings` are what is already known of the suite.
    Runs that cannot be compared give a Comparison with `problems` and no metrics.
    """
    sides = (_side("baseline", baseline), _side("candidate", candidate))
    problems = incomparable(suite, baseline, candidate)
    metrics: list[MetricComparison] = []
    slices: list[MetricComparison] = []
    told: list[str] = []
    pairs: dict[str, Paired] = {}
    if not problems:
        for item in suite.evals:
            for spec in item.scorers:
                frame = _frame(suite, item, spec.id, scorers, baseline, candidate, seed)
                pairs[frame.metric_id] = frame.paired
                metrics.append(_whole(frame))
                slices.extend(_slices(frame, told))
        told.extend(_floor_warnings(metrics, scorers))
        told.extend(_side_warnings(baseline, candidate))
        told.extend(unguarded_critical(suite, scorers))
        told.extend(unanswered_critical(suite, pairs, scorers))
    changes = case_changes(suite, baseline, candidate, pairs, scorers) if not problems else ()
    critical = critical_failures(suite, pairs, scorers) if not problems else ()
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


def _side(role: str, run: Run) -> Side:
    about = run.manifest
    counts = about["coverage"]
    return Side(
        role=role,
        name=run.name,
        run_id=run.id,
        digest=run.candidate_digest,
        provider=about["candidate"]["provider"],
        model=about["candidate"]["model"],
        models=tuple(about["models_returned"]),
        repeats=run.repeats,
        coverage=Coverage(**counts),
        facts={**about.get("facts", {}), "versions": _versions(about)},
    )


def _versions(about: Mapping[str, Any]) -> dict[str, str]:
    """What made the run: this package and every plugin that took part, by name."""
    rows = about.get("plugins", ())
    return {"evalharness": about.get("environment", {}).get("evalharness", "unknown")} | {
        f"{row['kind'].removesuffix('s')} {row['name']}": row["version"] for row in rows
    }


def _frame(
    suite: Suite,
    item: EvalSpec,
    scorer_id: str,
    scorers: Mapping[str, Scorer],
    baseline: Run,
    candidate: Run,
    seed: int,
) -> _Frame:
    metric_id = f"{item.id}/{scorer_id}"
    scorer = scorers[metric_id]
    return _Frame(
        metric_id=metric_id,
        eval_id=item.id,
        scorer_id=scorer_id,
        scorer=scorer,
        rule=suite.gate.rule(metric_id),
        suite=suite,
        paired=pair(item.golden_set, metric_id, scorer, baseline, candidate),
        seed=seed,
    )


def _whole(frame: _Frame) -> MetricComparison:
    paired = frame.paired
    missing = (paired.missing_baseline, paired.missing_candidate)
    return _metric(frame, np.arange(len(paired.cases)), None, missing, _missing_problem(frame))


def _missing_problem(frame: _Frame) -> str | None:
    """Why a metric decides on too little, None when it does not."""
    paired, most = frame.paired, frame.suite.gate.max_failures
    for role, missing, planned in (
        ("baseline", paired.missing_baseline, paired.planned_baseline),
        ("candidate", paired.missing_candidate, paired.planned_candidate),
    ):
        if missing > most * planned + 1e-6:  # 29% of 100 is 28.999999999999996 in binary floats
            return (
                f"{missing} of {planned} {role} answers failed or could not be scored; "
                f"at most {100 * most:.4g}% of them may (gate.max_failures)"
            )
    if paired.dropped_unbounded and frame.gated:
        return (
            f"{paired.dropped_unbounded} cases have no candidate value and this metric has no worst value to count; "
            "make it advisory or get every answer"
        )
    return None


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
    values = Counter(key for key, _ in members)
    for key, count in sorted(values.items()):
        if count > MOST_SLICE_VALUES:
            told.append(
                f"tag {key!r} has {count} values and is not shown as slices (at most {MOST_SLICE_VALUES})"
            )
    return [
        _metric(
            frame,
            np.asarray(members[key, value], dtype=np.intp),
            Slice(key, value),
            missing.get((key, value), (0, 0)),
            None,
        )
        for key, value in sorted(members)
        if values[key] <= MOST_SLICE_VALUES
    ]


def _metric(
    frame: _Frame, index: Any, of: Slice | None, missing: tuple[int, int], problem: str | None
) -> MetricComparison:
    metric, gate = frame.scorer.metric, frame.suite.gate
    margin = frame.rule.margin or gate.max_drop
    estimate: PairedEstimate | None = None
    breakdown: dict[str, Any] = {}
    if len(index) == 0:
        problem = problem or "no case has a score on both sides"
    else:
        rng = _rng(frame.seed, frame.metric_id, of)
        try:
            if metric.kind == "corpus":
                estimate, breakdown = _corpus(frame, index, rng, of is None)
            else:
                estimate = _cases(frame, index, rng)
        except ValueError as error:  # values no statistic can be made of, from a scorer that broke its word
            problem = problem or f"it could not be estimated: {error}"
    own_baseline = abs(estimate.baseline) if estimate is not None else 0.0
    max_drop = margin.absolute(own_baseline)
    if estimate is not None and margin.relative and max_drop == 0.0 and of is None:
        problem = problem or f"the margin {margin} is relative and the baseline is 0; write it in pp"
    whole = of is None
    return MetricComparison(
        id=frame.metric_id,
        eval=frame.eval_id,
        scorer=frame.scorer_id,
        kind=metric.kind,
        unit=metric.unit,
        direction=metric.direction,
        gated=frame.gated and whole,
        primary=frame.primary and whole,
        margin=margin,
        max_drop=max_drop,
        n_missing_baseline=missing[0],
        n_missing_candidate=missing[1],
        estimate=estimate,
        problem=problem,
        mde=mde(estimate, alpha=gate.alpha) if estimate is not None else None,
        n_for_power=(
            n_for_power(estimate, max_drop, alpha=gate.alpha)
            if estimate is not None and max_drop > 0
            else None
        ),
        slice=of,
        breakdown=breakdown,
    )


def _cases(frame: _Frame, index: Any, rng: np.random.Generator) -> PairedEstimate:
    paired = frame.paired
    lower = frame.scorer.metric.direction == "lower"
    one_repeat = paired.repeats_baseline == paired.repeats_candidate == 1
    binary = frame.scorer.metric.kind == "binary" and one_repeat
    sign = -1.0 if lower else 1.0
    # a lower-is-better 0/1 becomes a higher-is-better 0/1 for the binary methods, and is shifted back after
    shift = 1.0 if lower and binary else 0.0
    estimate = paired_cases(
        shift + sign * paired.baseline[index],
        shift + sign * paired.candidate[index],
        binary=binary,
        equal_repeats=paired.repeats_baseline == paired.repeats_candidate,
        clusters=_pick(paired.clusters, index),
        alpha=frame.suite.gate.alpha,
        rng=rng,
    )
    return replace(estimate, baseline=estimate.baseline - shift, candidate=estimate.candidate - shift)


def _corpus(
    frame: _Frame, index: Any, rng: np.random.Generator, whole: bool
) -> tuple[PairedEstimate, dict[str, Any]]:
    paired, scorer = frame.paired, frame.scorer
    assert isinstance(scorer, CorpusScorer)
    assert paired.rows_baseline is not None and paired.rows_candidate is not None
    left, right = paired.rows_baseline[index], paired.rows_candidate[index]
    aggregate: Callable[[Array], Array] = lambda sums: scorer.corpus(paired.columns, sums)  # noqa: E731
    estimate = paired_corpus(
        left,
        right,
        aggregate,
        sign=1.0 if scorer.metric.direction == "higher" else -1.0,
        clusters=_pick(paired.clusters, index),
        alpha=frame.suite.gate.alpha,
        rng=rng,
    )
    if not whole:
        return estimate, {}
    tables = {
        "baseline": scorer.breakdown(paired.columns, left.sum(axis=0)),
        "candidate": scorer.breakdown(paired.columns, right.sum(axis=0)),
    }
    return estimate, tables if any(tables.values()) else {}


def _pick(labels: Sequence[str] | None, index: Any) -> list[str] | None:
    return None if labels is None else [labels[i] for i in index]


def _rng(seed: int, metric_id: str, of: Slice | None) -> np.random.Generator:
    name = metric_id if of is None else f"{metric_id}\0{of}"
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")])


def _floor_warnings(metrics: Sequence[MetricComparison], scorers: Mapping[str, Scorer]) -> list[str]:
    """Gated metrics whose baseline is as bad as can be: they cannot fall, so their pass says nothing."""
    found = []
    for m in metrics:
        worst = scorers[m.id].metric.worst
        if not m.gated or m.estimate is None or worst is None:
            continue
        own = m.estimate.baseline if m.direction == "higher" else -m.estimate.baseline
        if own == worst:
            found.append(
                f"{m.id}: the baseline has the worst value on every case, so no drop could ever be seen; "
                "check that this metric and its prompt fit the golden set"
            )
    return found


def _side_warnings(baseline: Run, candidate: Run) -> list[str]:
    warnings: list[str] = []
    for role, run in (("baseline", baseline), ("candidate", candidate)):
        warnings.extend(f"{role}: {text}" for text in run.manifest.get("warnings", ()))
        models = run.manifest["models_returned"]
        if len(models) > 1:
            warnings.append(
                f"{role}: the endpoint answered as {len(models)} models ({', '.join(models[:5])})"
            )
    pinned = candidate.manifest["candidate"].get("cacheable", True)
    if baseline.candidate_digest == candidate.candidate_digest and pinned:
        warnings.append("both sides are the same candidate: this comparison can only show noise")
    if baseline.repeats != candidate.repeats:
        warnings.append(
            f"repeats differ ({baseline.repeats} and {candidate.repeats}): tests on case averages are used"
        )
    return warnings
