"""comparison.json: the machine's copy of a verdict. Equal verdicts give equal bytes; no times, no money, no host."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from evalharness.core.comparisons import Comparison, Drift, Flakiness, Looks, MetricComparison, Side
from evalharness.core.estimates import PairedEstimate
from evalharness.core.runs import Coverage
from evalharness.core.scores import Direction
from evalharness.core.suites import Margin
from evalharness.core.verdicts import Check, Verdict
from evalharness.report.judges_json import judge_document
from evalharness.report.numbers import finite

SCHEMA_VERSION: Final = 1


def comparison_json(verdict: Verdict) -> str:
    """The document as text: ASCII, keys in a fixed order, indent 2, a final newline, never NaN."""
    return json.dumps(comparison_document(verdict), indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def comparison_document(verdict: Verdict) -> dict[str, Any]:
    """The document of design §5, schema_version 1.

    `baseline`, `candidate`, `delta`, `ci` and `bound` of a metric are on its own scale (delta = candidate −
    baseline), whatever its direction; for direction "lower" the bound is an upper one. A number that has no finite
    value is null, and `problem` or `reason` says why.
    """
    comparison = verdict.comparison
    changes = comparison.changes
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": verdict.outcome,
        "exit_code": verdict.exit_code,
        "seed": comparison.seed,
        "alpha": finite(comparison.alpha),
        "baseline": _side(comparison.baseline),
        "candidate": _side(comparison.candidate),
        "suite": {"name": comparison.suite_name, "digest": comparison.suite_digest},
        "reasons": list(verdict.reasons),
        "warnings": list(verdict.warnings),
        "metrics": [_metric(check) for check in verdict.checks],
        "slices": [_metric(check) for check in verdict.slice_checks],
        "flips": {
            "regressed": _unique(change.key for change in changes if change.regressed),
            "fixed": _unique(change.key for change in changes if change.fixed),
        },
        "critical_failures": _unique(failure.key for failure in comparison.critical),
        "coverage": {
            "baseline": _coverage(comparison.baseline.coverage),
            "candidate": _coverage(comparison.candidate.coverage),
        },
        "looks": None if comparison.looks is None else _looks(comparison.looks),
        "waivers": [_waiver(metric) for metric in waived_metrics(comparison)],
        "anchor": None if comparison.anchor is None else _anchor(comparison.anchor, comparison.drift),
        "flakiness": [_flakiness(item) for item in comparison.flakiness] or None,
        "judges": [judge_document(one) for one in comparison.judges],
    }


def own_scale(estimate: PairedEstimate, direction: Direction) -> dict[str, Any]:
    """Value, difference, interval and bound of an estimate on the metric's own scale."""
    if direction == "higher":
        sign, low, high = 1.0, estimate.interval.low, estimate.interval.high
    else:
        sign, low, high = -1.0, -estimate.interval.high, -estimate.interval.low
    return {
        "baseline": finite(sign * estimate.baseline),
        "candidate": finite(sign * estimate.candidate),
        "delta": finite(sign * estimate.delta),
        "ci": {
            "low": finite(low),
            "high": finite(high),
            "level": finite(estimate.interval.level),
            "method": estimate.interval.method,
        },
        "bound": finite(sign * estimate.lower),
    }


NO_ESTIMATE: Final[dict[str, Any]] = {
    "baseline": None,
    "candidate": None,
    "delta": None,
    "ci": None,
    "bound": None,
}


def _metric(check: Check) -> dict[str, Any]:
    metric, estimate = check.metric, check.metric.estimate
    document: dict[str, Any] = {"id": metric.id}
    if metric.slice is not None:
        document["slice"] = str(metric.slice)
    numbers = NO_ESTIMATE if estimate is None else own_scale(estimate, metric.direction)
    return document | {
        "eval": metric.eval,
        "scorer": metric.scorer,
        "kind": metric.kind,
        "unit": metric.unit,
        "direction": metric.direction,
        "gated": metric.gated,
        "primary": metric.primary,
        "n": None if estimate is None else estimate.n,
        "n_units": None if estimate is None else estimate.n_units,
        "n_missing": {"baseline": metric.n_missing_baseline, "candidate": metric.n_missing_candidate},
        **numbers,
        "lower_method": None if estimate is None else estimate.lower_method,
        "p_value": None if estimate is None else finite(estimate.p_drop),
        "p_adjusted": finite(check.p_adjusted),
        "p_gain": None if estimate is None else finite(estimate.p_gain),
        "test": None if estimate is None else estimate.test,
        "margin": str(metric.margin),
        "max_drop": finite(metric.max_drop),
        "waived": metric.waived,
        "mde": finite(metric.mde),
        "n_for_power": metric.n_for_power,
        "n_regressed": None if estimate is None else estimate.n_regressed,
        "n_fixed": None if estimate is None else estimate.n_fixed,
        "discordance": None if estimate is None else finite(estimate.discordance),
        "status": check.status,
        "reason": check.reason,
        "problem": metric.problem,
        "note": metric.note,
    }


def _unique(keys: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(keys))


def _side(side: Side) -> dict[str, Any]:
    return {"name": side.name, "run_id": side.run_id, "digest": side.digest}


def _coverage(coverage: Coverage) -> dict[str, int]:
    return {
        "planned": coverage.planned,
        "scored": coverage.scored,
        "failed": coverage.failed,
        "unscored": coverage.unscored,
    }


def _looks(looks: Looks) -> dict[str, Any]:
    return {
        "look": looks.number,
        "of": looks.planned,
        "routine": looks.routine,
        "stopped": looks.stopped,
        "early": looks.early,
        "cases": {
            name: {"used": looks.used.get(name, 0), "most": most} for name, most in sorted(looks.most.items())
        },
        "answers_saved": {"baseline": looks.saved_baseline, "candidate": looks.saved_candidate},
    }


def waived_metrics(comparison: Comparison) -> list[MetricComparison]:
    """The metrics that the suite holds a waiver for, in suite order. A waiver is the metric's, not its slices'."""
    return [metric for metric in comparison.metrics if metric.waiver is not None]


def _waiver(metric: MetricComparison) -> dict[str, Any]:
    waiver = metric.waiver
    assert waiver is not None
    return {
        "metric": waiver.metric,
        "margin": str(waiver.margin),
        "max_drop": finite(_resolved(waiver.margin, metric.estimate)),
        "reason": waiver.reason,
        "expires": waiver.expires.isoformat(),
        "active": metric.waived,
    }


def _resolved(margin: Margin, estimate: PairedEstimate | None) -> float | None:
    """A margin in the metric's unit, None for a relative one where there is nothing it is relative to."""
    if estimate is None:
        return None if margin.relative else margin.absolute(0.0)
    return margin.absolute(estimate.baseline)


def _anchor(anchor: Side, drift: Iterable[Drift]) -> dict[str, Any]:
    return _side(anchor) | {"metrics": [_drift(item) for item in drift]}


def _drift(drift: Drift) -> dict[str, Any]:
    metric = drift.metric
    document: dict[str, Any] = {"id": metric.id}
    if metric.slice is not None:
        document["slice"] = str(metric.slice)
    return document | {
        "unit": metric.unit,
        "direction": metric.direction,
        "margin": str(metric.margin),
        "anchor": anchor_value(drift),
        "baseline": _since_anchor(drift.baseline, metric.direction),
        "candidate": _since_anchor(drift.candidate, metric.direction),
        "exceeds": drift.exceeds,
        "problem": drift.problem,
    }


def anchor_value(drift: Drift) -> float | None:
    """The anchor's value on the metric's own scale, over the cases it shares with the candidate (else baseline)."""
    estimate = drift.candidate or drift.baseline
    value: float | None = (
        None if estimate is None else own_scale(estimate, drift.metric.direction)["baseline"]
    )
    return value


def _since_anchor(estimate: PairedEstimate | None, direction: Direction) -> dict[str, Any] | None:
    if estimate is None:
        return None
    own = own_scale(estimate, direction)
    return {
        "value": own["candidate"],
        "delta": own["delta"],
        "ci": own["ci"],
        "p_value": finite(estimate.p_drop),
    }


def _flakiness(item: Flakiness) -> dict[str, Any]:
    return {
        "metric": item.metric,
        "cases": item.cases,
        "answers": item.answers,
        "between_cases_variance": finite(item.between_cases),
        "within_cases_variance": finite(item.within_cases),
        "flips": finite(item.flips),
        "false_drops": finite(item.false_drops),
        "flaky": [{"id": c.key, "rate": finite(c.rate), "answers": c.answers} for c in item.flaky],
    }
