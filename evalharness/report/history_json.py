"""A history as JSON."""

from __future__ import annotations

import json
from typing import Any

from evalharness.core.histories import History, MetricHistory, Point
from evalharness.report.numbers import finite


def history_json(history: History) -> str:
    """The text of a history, schema version 1: keys in a fixed order, ASCII, never NaN."""
    document = {
        "schema_version": 1,
        "kind": "history",
        "suite": history.suite,
        "runs": history.runs,
        "reports": history.reports,
        "metrics": [_metric(metric) for metric in history.metrics],
        "skipped": [{"place": place, "why": why} for place, why in history.skipped],
        "warnings": list(history.warnings),
    }
    return json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def _metric(metric: MetricHistory) -> dict[str, Any]:
    return {
        "id": metric.metric,
        "unit": metric.unit,
        "direction": metric.direction,
        "left_out": metric.left_out,
        "segments": [
            {
                "number": segment.number,
                "name": segment.name,
                "suite_digest": segment.suite_digest,
                "golden_set": segment.golden_set,
                "current": segment.current,
                "apart": segment.apart,
            }
            for segment in metric.segments
        ],
        "points": [_point(point) for point in metric.points],
    }


def _point(point: Point) -> dict[str, Any]:
    since = point.since
    return {
        "when": point.when.isoformat(timespec="seconds"),
        "name": point.name,
        "run_id": point.run_id,
        "source": point.source,
        "place": point.place,
        "segment": point.segment,
        "value": finite(point.value),
        "n": point.n,
        "missing": point.missing,
        "against": point.against,
        "anchor": point.anchor,
        "since_anchor": None
        if since is None
        else {
            "anchor": since.anchor,
            "n": since.n,
            "delta": finite(since.delta),
            "ci": {
                "low": finite(since.low),
                "high": finite(since.high),
                "level": 0.95,
                "method": since.method,
            },
            "p_drop": finite(since.p_drop),
            "exceeds": since.exceeds,
        },
        "problem": point.problem,
    }
