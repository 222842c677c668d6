"""comparison.json: the machine's copy of a verdict. Equal verdicts give equal bytes; no times, no money, no host."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, Final

from evalharness.core.comparisons import Side
from evalharness.core.estimates import PairedEstimate
from evalharness.core.runs import Coverage
from evalharness.core.scores import Direction
from evalharness.core.verdicts import Check, Verdict

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
    }


def finite(number: float | None) -> float | None:
    """The number to 12 significant digits and without negative zero, None when it has no finite value.

    The digits beyond depend on the processor (its vector units sum in another order); equal inputs give equal bytes.
    """
    return None if number is None or not math.isfinite(number) else float(f"{number:.12g}") + 0.0


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
        "mde": finite(metric.mde),
        "n_for_power": metric.n_for_power,
        "n_regressed": None if estimate is None else estimate.n_regressed,
        "n_fixed": None if estimate is None else estimate.n_fixed,
        "discordance": None if estimate is None else finite(estimate.discordance),
        "status": check.status,
        "reason": check.reason,
        "problem": metric.problem,
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
