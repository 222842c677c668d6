"""comparison.json keeps the contract of the design: names, scales, types, bytes."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import build
import pytest
import referees

from evalharness.core.estimates import Interval
from evalharness.core.runs import Coverage
from evalharness.report.comparison_json import comparison_document, comparison_json

METRIC_FIELDS = {
    "id", "eval", "scorer", "unit", "direction", "gated", "primary", "n", "n_missing", "baseline", "candidate",
    "delta", "ci", "bound", "p_value", "p_adjusted", "test", "max_drop", "mde", "n_for_power", "discordance",
    "status", "reason", "n_regressed", "n_fixed", "n_units", "kind", "lower_method", "margin", "problem", "note",
    "p_gain", "waived",
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
        "looks", "waivers", "anchor", "flakiness", "judges",
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


def test_what_a_comparison_does_not_have_is_null() -> None:
    document = comparison_document(full())
    assert (document["looks"], document["anchor"], document["flakiness"]) == (None, None, None)
    assert document["waivers"] == []


def test_an_early_stop_says_where_why_and_what_it_saved() -> None:
    assert comparison_document(build.full_strength())["looks"] == {
        "look": 2, "of": 5, "routine": 5, "stopped": "regression", "early": True,
        "cases": {"support-answers": {"used": 120, "most": 300}, "support-routing": {"used": 280, "most": 700}},
        "answers_saved": {"baseline": 600, "candidate": 600},
    }  # fmt: skip


def test_waivers_carry_reason_and_day_and_whether_they_count() -> None:
    document = comparison_document(build.full_strength())
    assert document["waivers"] == [
        {
            "metric": "extraction/json_valid", "margin": "3pp", "max_drop": 0.03,
            "reason": "The quantised model trades this for half the latency.", "expires": "2027-03-31", "active": True,
        },
        {
            "metric": "extraction/field_f1", "margin": "3pp", "max_drop": 0.03,
            "reason": "Until the parser is mended.", "expires": "2026-06-30", "active": False,
        },
    ]  # fmt: skip
    assert [row["id"] for row in document["metrics"] if row["waived"]] == ["extraction/json_valid"]


def test_a_relative_waiver_without_an_estimate_has_no_resolved_margin() -> None:
    unknown = build.metric(
        "a/b", None, problem="no answer", waiver=build.waiver("a/b", "known", margin=build.FIVE_PERCENT)
    )
    (waiver,) = comparison_document(build.verdict(checks=(build.check("invalid", unknown),)))["waivers"]
    assert (waiver["margin"], waiver["max_drop"]) == ("5%", None)


def test_slices_that_gate_say_so() -> None:
    rows = {row["slice"]: row for row in comparison_document(build.full_strength())["slices"]}
    assert (rows["tier=free"]["gated"], rows["tier=free"]["primary"]) == (True, True)
    assert (rows["tier=free"]["status"], rows["tier=free"]["p_adjusted"]) == ("regression", 0.004)
    assert (rows["channel=chat"]["gated"], rows["channel=chat"]["status"]) == (False, "advisory")


def test_drift_is_on_the_metrics_own_scale() -> None:
    anchor = comparison_document(build.full_strength())["anchor"]
    assert (anchor["name"], anchor["run_id"]) == ("support-bot-1.0", "sha256:" + "d" * 64)
    rows = {row["id"]: row for row in anchor["metrics"]}
    match = rows["routing/exact_match"]
    assert (match["anchor"], match["exceeds"], match["margin"]) == (0.87, True, "2pp")
    assert (match["baseline"]["value"], match["candidate"]["value"]) == (0.855, 0.839)
    assert (match["candidate"]["delta"], match["candidate"]["p_value"]) == (-0.031, 0.0002)
    length = rows["answers/length"]
    assert (length["direction"], length["anchor"], length["candidate"]["value"]) == ("lower", 140.0, 145.5)
    assert (length["candidate"]["ci"]["low"], length["candidate"]["ci"]["high"]) == (1.5, 9.5)
    unknown = rows["answers/contains"]
    assert (unknown["anchor"], unknown["baseline"], unknown["candidate"]) == (None, None, None)
    assert unknown["problem"] == "the anchor was not scored by contains"


def test_every_flaky_case_is_listed() -> None:
    metrics = comparison_document(build.full_strength(flakiness=build.flakiness(700)))["flakiness"]
    assert [row["metric"] for row in metrics] == ["routing/exact_match", "extraction/json_valid"]
    assert len(metrics[0]["flaky"]) == 700
    assert metrics[0]["flaky"][0] == {"id": "route-000", "rate": 0.5, "answers": 8}
    assert (metrics[0]["within_cases_variance"], metrics[0]["false_drops"]) == (0.0151, 0.0004)


def leaves(value: dict[str, Any], prefix: str = "") -> set[str]:
    """Paths of everything that is not an object; of a list of objects, those of its entries."""
    found: set[str] = set()
    for key, inner in value.items():
        if isinstance(inner, dict):
            found |= leaves(inner, f"{prefix}{key}.")
        else:
            found.add(prefix + key)
    return found


def documented(title: str) -> set[str]:
    """The fields of one table of docs/comparison-json.md, objects left out."""
    text = (Path(__file__).parents[2] / "docs/comparison-json.md").read_text(encoding="utf-8")
    part = text.split(f"\n## {title}\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1:3] for line in part.splitlines() if line.startswith("| `")]
    return {
        field
        for names, kind in rows
        if not {"object", "objects"} & set(kind.split())
        for field in re.findall(r"`([^`]+)`", names)
    }


def test_what_looks_waivers_drift_and_flakiness_hold_is_documented_and_no_more() -> None:
    document = comparison_document(
        build.full_strength(looks=build.looks(used={"<golden set>": 4}, most={"<golden set>": 9}))
    )
    anchor, flakiness = document["anchor"], document["flakiness"]
    assert documented("looks") == leaves(document["looks"])
    assert documented("waivers[]") == {name for row in document["waivers"] for name in leaves(row)}
    assert documented("anchor") == leaves({k: v for k, v in anchor.items() if k != "metrics"})
    known = [row for row in anchor["metrics"] if row["candidate"]]
    assert documented("anchor.metrics[]") == {name for row in known for name in leaves(row)}
    assert documented("flakiness[]") == {n for row in flakiness for n in leaves(row) if n != "flaky"} | {
        f"flaky[].{name}" for row in flakiness for case in row["flaky"] for name in leaves(case)
    }


def outer(row: Any, prefix: str = "") -> set[str]:
    """The fields of an object and of the objects in it, a figure being one field."""
    found = set()
    for name, value in row.items():
        if isinstance(value, dict) and "value" not in value:
            found |= outer(value, f"{prefix}{name}.")
        else:
            found.add(f"{prefix}{name}")
    return found


def test_what_judges_hold_is_documented_and_no_more() -> None:
    two_sided, single = comparison_document(
        build.verdict(judges=(referees.judged([referees.judgment()]), referees.trusted()))
    )["judges"]
    plain = {name: value for name, value in two_sided.items() if name != "health"}
    assert documented("judges[]") | {"calibration"} == outer(plain)
    assert documented("judges[].calibration") == outer(single["calibration"])
    health = {**two_sided["health"], "criteria": single["health"]["criteria"]}
    expected = outer(health) - {"criteria", "flags"}
    expected |= {f"flips.{name}" for name in health["flips"] if name not in ("value", "low", "high", "n")}
    expected |= {
        f"{name}[].{field}" for name in ("criteria", "flags") for row in health[name] for field in row
    }
    assert documented("judges[].health") == expected


def test_a_judge_is_told_with_its_standing_and_without_money_or_texts() -> None:
    text = comparison_json(build.verdict(judges=(referees.judged([referees.judgment()]), referees.trusted())))
    first, second = json.loads(text)["judges"]
    assert first["metric"] == "answers/judge"
    assert first["standing"] == {"may_gate": False, "reasons": [referees.NEVER]}
    assert first["calibration"] is None
    assert first["health"]["flips"]["value"] == pytest.approx(0.31)
    assert first["health"]["families"]["own"] == ["candidate"]
    assert second["standing"] == {"may_gate": True, "reasons": []}
    assert second["calibration"]["agreement"] == {
        "value": pytest.approx(0.9), "low": pytest.approx(0.85), "high": pytest.approx(0.95), "n": 120,
    }  # fmt: skip
    assert second["health"]["flips"] == {"value": None, "reason": "the judge sees one answer at a time"}
    assert "1.25" not in text and "invoice" not in text
