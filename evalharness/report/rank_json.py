"""ranking.json: the document of docs/ranking.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from evalharness.analysis.ranking import Entry, Pair, RankedMetric, Ranking
from evalharness.analysis.ranking_grid import Curve, Grid
from evalharness.analysis.ranking_picture import Picture
from evalharness.analysis.ranking_value import Value
from evalharness.core.estimates import LEVEL
from evalharness.report.numbers import finite
from evalharness.report.rank_view import RankReport

SCHEMA_VERSION: Final = 1
_INDEX: Final = ("dimension", "index_mib", "documents", "documents_embedded", "embed_s", "document_tokens")
_FACTS: Final = ("latency_p50_ms", "latency_p95_ms", "input_tokens", "output_tokens", "cost_usd")


def rank_json(report: RankReport) -> str:
    """The document as text: ASCII, keys in a fixed order, indent 2, a final newline, never NaN."""
    return json.dumps(rank_document(report), indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def rank_document(report: RankReport) -> dict[str, Any]:
    """The document. A number that nobody knows is null."""
    ranking = report.ranking
    return {
        "schema_version": SCHEMA_VERSION,
        "suite": {"name": ranking.suite, "digest": ranking.suite_digest},
        "seed": ranking.seed,
        "alpha": finite(ranking.alpha),
        "level": LEVEL,
        "family": ranking.family,
        "candidates": [_candidate(entry) for entry in ranking.entries],
        "metrics": [_metric(ranking, metric) for metric in ranking.metrics],
        "grids": [_grid(ranking, grid) for grid in report.grids],
        "curves": [_curve(ranking, curve) for curve in report.curves],
        "pictures": [_picture(picture) for picture in report.pictures],
        "warnings": list(ranking.warnings),
    }


def _candidate(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "provider": entry.provider,
        "model": entry.model,
        "run_id": entry.run_id,
        "digest": entry.digest,
        "repeats": entry.repeats,
        **_known(entry.index, _INDEX),
        **_known(entry.facts, _FACTS),
    }


def _known(facts: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: facts.get(key) for key in keys}


def _value(value: Value) -> dict[str, Any]:
    return {
        "value": finite(value.value),
        "low": finite(value.low),
        "high": finite(value.high),
        "method": value.method,
        "n": value.n,
    }


def _metric(ranking: Ranking, metric: RankedMetric) -> dict[str, Any]:
    names = [entry.name for entry in ranking.entries]
    return {
        "id": metric.id,
        "unit": metric.unit,
        "direction": metric.direction,
        "n": metric.n,
        "n_left_out": metric.n_left_out,
        "candidates": [
            {
                "name": names[place],
                **_value(metric.values[place]),
                "n_worst": metric.n_worst[place],
                "better_than": [names[other] for other in metric.beats(place)],
            }
            for place in metric.order
        ],
        "pairs": [_pair(names, pair) for pair in metric.pairs],
    }


def _pair(names: list[str], pair: Pair) -> dict[str, Any]:
    return {
        "first": names[pair.first],
        "second": names[pair.second],
        "delta": finite(pair.delta),
        "low": finite(pair.low),
        "high": finite(pair.high),
        "method": pair.method,
        "test": pair.test,
        "p_value": finite(pair.p_value),
        "p_adjusted": finite(pair.p_adjusted),
        "wins": pair.wins,
        "ties": pair.ties,
        "losses": pair.losses,
        "better": None if pair.better is None else names[pair.better],
        "problem": pair.problem,
    }


def _grid(ranking: Ranking, grid: Grid) -> dict[str, Any]:
    return {
        "metric": grid.metric,
        "unit": grid.unit,
        "keys": list(grid.keys),
        "rows": list(grid.rows),
        "columns": list(grid.columns),
        "n_untagged": grid.n_untagged,
        "candidates": [
            {"name": entry.name, "cells": [[_value(cell) for cell in row] for row in cells]}
            for entry, cells in zip(ranking.entries, grid.cells, strict=True)
        ],
    }


def _curve(ranking: Ranking, curve: Curve) -> dict[str, Any]:
    entry = next(entry for entry in ranking.entries if entry.name == curve.candidate)
    size, full = entry.index.get("index_mib"), curve.points[0].dimension
    return {
        "candidate": curve.candidate,
        "metric": curve.metric,
        "unit": curve.unit,
        "direction": curve.direction,
        "points": [
            {
                "dimension": point.dimension,
                "index_mib": finite(None if size is None else size * point.dimension / full),
                **_value(point.value),
                "delta": finite(point.pair.delta) if point.pair else None,
                "delta_low": finite(point.pair.low) if point.pair else None,
                "delta_high": finite(point.pair.high) if point.pair else None,
                "p_value": finite(point.pair.p_value) if point.pair else None,
                "p_adjusted": finite(point.pair.p_adjusted) if point.pair else None,
                "worse": point.pair is not None and point.pair.better == 0,
            }
            for point in curve.points
        ],
    }


def _picture(picture: Picture) -> dict[str, Any]:
    return {
        "candidate": picture.candidate,
        "method": picture.method,
        "explained": finite(picture.explained),
        "groups": list(picture.groups),
        "n_queries": picture.n_queries,
        "n_documents": picture.n_documents,
    }
