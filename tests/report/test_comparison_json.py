"""comparison.json keeps the contract of the design: names, scales, types, bytes."""

from __future__ import annotations

import json
import math
from typing import Any

import build
import pytest

from evalharness.core.estimates import Interval
from evalharness.core.runs import Coverage
from evalharness.report.comparison_json import comparison_document, comparison_json

METRIC_FIELDS = {
    "id", "eval", "scorer", "unit", "direction", "gated", "primary", "n", "n_missing", "baseline", "candidate",
    "delta", "ci", "bound", "p_value", "p_adjusted", "test", "max_drop", "mde", "n_for_power", "discordance",
    "status", "reason", "n_regressed", "n_fixed", "n_units", "kind", "lower_method", "margin", "problem", "p_gain",
}  # fmt: skip


def full(**changes: Any) -> Any:
    return build.verdict(
        checks=build.checks_of_every_status(),
        slice_checks=build.slice_checks(),
        changes=(
            build.change("b-2"),
            build.change("a-1"),
            build.change("c-3", regressed=False, fixed=True),
            build.change("d-4", regressed=False),
        ),
        critical=(
            build.critical("b-2"),
            build.critical("b-2", metric="routing/contains"),
        ),
        warnings=("two answers were cut",),
        **changes,
    )


def test_every_field_of_the_contract_is_there_and_no_other() -> None:
    document = json.loads(comparison_json(full()))
    assert list(document) == [
        "schema_version", "verdict", "exit_code", "seed", "alpha", "baseline", "candidate", "suite", "reasons",
        "warnings", "metrics", "slices", "flips", "critical_failures", "coverage",
    ]  # fmt: skip
    assert document["schema_version"] == 1
    assert document["verdict"] == "regression"
    assert document["exit_code"] == 1
    assert document["seed"] == 20260807
    assert document["baseline"] == {
        "name": "support-bot-1", "run_id": "sha256:" + "a" * 64, "digest": "sha256:" + "10" * 32,
    }  # fmt: skip
    assert set(document["candidate"]) == {"name", "run_id", "digest"}
    assert document["suite"] == {"name": "support", "digest": "sha256:" + "c" * 64}
    assert document["reasons"] == ["routing/exact_match fell 4.3pp, margin 2pp."]
    assert document["warnings"] == ["two answers were cut"]
    assert document["flips"] == {"regressed": ["b-2", "a-1"], "fixed": ["c-3"]}
    assert document["critical_failures"] == ["b-2"]
    assert document["coverage"]["baseline"] == {"planned": 820, "scored": 820, "failed": 0, "unscored": 0}
    for row in document["metrics"]:
        assert set(row) == METRIC_FIELDS
    for row in document["slices"]:
        assert set(row) == METRIC_FIELDS | {"slice"}
    assert [row["slice"] for row in document["slices"]][:2] == ["channel=email", "channel=chat"]
    assert [row["status"] for row in document["metrics"]] == [
        "regression", "suspect", "underpowered", "pass", "improved", "advisory", "invalid",
    ]  # fmt: skip


def test_a_metric_where_higher_is_better_is_written_as_estimated() -> None:
    row = comparison_document(full())["metrics"][0]
    assert row["baseline"] == pytest.approx(0.853)
    assert row["candidate"] == pytest.approx(0.81)
    assert row["delta"] == pytest.approx(-0.043)
    assert row["ci"] == {
        "low": pytest.approx(-0.063), "high": pytest.approx(-0.023), "level": 0.95, "method": "Tango score",
    }  # fmt: skip
    assert row["bound"] == pytest.approx(-0.0598)
    assert (row["margin"], row["max_drop"]) == ("2pp", 0.02)
    assert (row["p_value"], row["p_adjusted"], row["test"]) == (0.004, 0.016, "mid-p McNemar")
    assert (row["n"], row["n_regressed"], row["n_fixed"]) == (300, 21, 8)
    assert row["discordance"] == pytest.approx(29 / 300)


def test_a_metric_where_lower_is_better_is_turned_back_to_its_own_scale() -> None:
    row = next(r for r in comparison_document(full())["metrics"] if r["id"] == "answers/length")
    assert row["direction"] == "lower"
    assert (row["baseline"], row["candidate"]) == (pytest.approx(142.5), pytest.approx(155.7))
    assert row["delta"] == pytest.approx(13.2)
    assert row["delta"] == pytest.approx(row["candidate"] - row["baseline"])
    assert (row["ci"]["low"], row["ci"]["high"]) == (pytest.approx(7.2), pytest.approx(19.2))
    assert row["bound"] == pytest.approx(13.2 + 6.0 * 0.84)
    assert (row["margin"], row["max_drop"]) == ("5%", 7.125)


def test_a_metric_without_an_estimate_is_null_with_the_reason() -> None:
    row = next(r for r in comparison_document(full())["metrics"] if r["status"] == "invalid")
    for field in ("n", "baseline", "candidate", "delta", "ci", "bound", "p_value", "p_adjusted", "test"):
        assert row[field] is None
    assert row["problem"] == "the judge could not read 12 answers"


def test_no_time_money_or_host_fact_reaches_the_file() -> None:
    plain = comparison_json(full())
    dear = full(
        candidate=build.side(
            "candidate", "support-bot-2", facts={"cost_usd": 912.77, "wall_s": 31337.0, "calls": 9}
        )
    )
    assert comparison_json(dear) == plain


def test_equal_verdicts_give_equal_bytes() -> None:
    text = comparison_json(full())
    assert text == comparison_json(full())
    assert text.endswith("}\n") and text.isascii()


def test_infinite_and_negative_zero_values_have_a_json_form() -> None:
    odd = build.estimate(
        0.5, -0.0, lower=-math.inf, interval=Interval(low=-math.inf, high=math.inf, level=0.95, method="none")
    )
    text = comparison_json(build.verdict(checks=(build.check("underpowered", build.metric(est=odd)),)))
    row = json.loads(text, parse_constant=pytest.fail)["metrics"][0]
    assert row["bound"] is None and row["ci"]["low"] is None
    assert "-0.0" not in text


def test_strings_survive_whatever_they_hold() -> None:
    changes = tuple(build.change(f"{i}{text}") for i, text in enumerate(build.NASTY))
    document = json.loads(comparison_json(build.verdict(changes=changes)))
    assert document["flips"]["regressed"] == [f"{i}{text}" for i, text in enumerate(build.NASTY)]


def test_coverage_of_each_side_is_its_own() -> None:
    side = build.side("candidate", "c", coverage=Coverage(planned=10, scored=6, failed=3, unscored=1))
    document = comparison_document(build.verdict(candidate=side))
    assert document["coverage"]["candidate"] == {"planned": 10, "scored": 6, "failed": 3, "unscored": 1}
