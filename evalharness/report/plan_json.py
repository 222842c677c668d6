"""A plan as JSON: the document of docs/planning.md."""

from __future__ import annotations

import json
from typing import Any, Final

from evalharness.core.plans import MetricPlan, Outlook, SetCost, SideCost, SuitePlan
from evalharness.report.numbers import finite

SCHEMA_VERSION: Final = 1


def plan_json(plan: SuitePlan) -> str:
    """The document as text: ASCII, keys in a fixed order, indent 2, a final newline, never NaN."""
    return json.dumps(plan_document(plan), indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def plan_document(plan: SuitePlan) -> dict[str, Any]:
    """The document. A number that nobody knows is null; shares and chances lie in [0, 1]."""
    return {
        "schema_version": SCHEMA_VERSION,
        "suite": {"name": plan.suite, "digest": plan.suite_digest},
        "alpha": finite(plan.alpha),
        "budget": None
        if plan.budget is None
        else {"usd": finite(plan.budget.usd), "calls": plan.budget.calls, "tokens": plan.budget.tokens},
        "sides": [_side(side) for side in plan.sides],
        "judges": [{"eval": judge.eval, **_side(judge), "upper": judge.upper} for judge in plan.judges],
        "metrics": [_metric(metric) for metric in plan.metrics],
        "suite_outlooks": [
            {
                "label": one.label,
                "metrics": one.metrics,
                "deciding": one.deciding,
                "regression": finite(one.regression),
                "inconclusive": finite(one.inconclusive),
                "passed": finite(one.passed),
            }
            for one in plan.suite_outlooks
        ],
        "curve": None
        if plan.curve is None
        else {
            "metric": plan.curve.metric,
            "noise": plan.curve.noise,
            "cases": plan.curve.cases,
            "points": [
                {"cases": n, "at_margin": finite(at), "at_twice": finite(twice)}
                for n, at, twice in plan.curve.points
            ],
        },
        "problems": [str(problem) for problem in plan.problems],
        "warnings": list(plan.warnings),
        "steps": list(plan.steps),
    }


def _side(side: SideCost) -> dict[str, Any]:
    return {
        "role": side.role,
        "name": side.name,
        "repeats": side.repeats,
        "answers_from": side.answers_from,
        "stages": [
            {
                "name": stage.name,
                **_counts(stage.total),
                "usd": finite(stage.usd),
                "golden_sets": [{"golden_set": row.golden_set, **_counts(row)} for row in stage.sets],
            }
            for stage in side.stages
        ],
        "input_basis": side.input_basis,
        "output_basis": side.output_basis,
        "tokens_from": side.tokens_from,
        "priced": side.priced,
        "listed": side.listed,
        "confirming": side.confirming,
    }


def _counts(row: SetCost) -> dict[str, Any]:
    return {
        "cases": row.cases,
        "answers": row.answers,
        "stored": row.stored,
        "calls": row.calls,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
    }


def _metric(metric: MetricPlan) -> dict[str, Any]:
    return {
        "id": metric.id,
        "slice": metric.slice,
        "kind": metric.kind,
        "unit": metric.unit,
        "direction": metric.direction,
        "deciding": metric.deciding,
        "n": metric.cases,
        "n_units": metric.units,
        "repeats": {"baseline": metric.repeats[0], "candidate": metric.repeats[1]},
        "margin": metric.margin,
        "max_drop": finite(metric.max_drop),
        "level": finite(metric.level),
        "level_alone": finite(metric.level_alone),
        "outlooks": [_outlook(one) for one in metric.outlooks],
        "problem": metric.problem,
        "unknown": metric.unknown,
        "notes": list(metric.notes),
    }


def _outlook(one: Outlook) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "noise": finite(one.noise),
        "source": one.source,
        "source_text": one.source_text,
        "mde": finite(one.mde),
        "mde_alone": finite(one.mde_alone),
        "n_for_power": one.n_for_power,
        "unchanged": {
            "regression": finite(one.regression),
            "inconclusive": finite(one.inconclusive),
            "underpowered": finite(one.underpowered),
            "passed": finite(one.passed),
        },
        "regression_at_margin": finite(one.regression_at_margin),
        "regression_at_twice": finite(one.regression_at_twice),
    }
