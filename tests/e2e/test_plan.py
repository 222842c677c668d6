"""`evalharness plan`: cost and power before any call, with nothing sent and nothing written."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Project
from tests.servers.fixture import ModelServerHandle


def plan(project: Project, *arguments: str, check: int = 0) -> dict[str, Any]:
    done = project.run("plan", *arguments, "--json", check=check)
    found: dict[str, Any] = json.loads(done.out)
    return found


def live(
    project: Project, server: ModelServerHandle, n: int = 40, more: str = "", name: str = "live"
) -> None:
    """A candidate behind the loopback server, `<name>.yaml`, on a suite of n cases."""
    project.binary(n, 0, 0)
    project.write(
        f"{name}.yaml",
        f"name: {name}\nsuite: ./suite.yaml\nprovider: openai\nmodel: echo\nbase_url: {server.base_url}\n{more}",
    )


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder, with its time and content."""
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def total(found: dict[str, Any], role: str = "baseline", stage: int = 0) -> dict[str, Any]:
    side = next(side for side in found["sides"] if side["role"] == role)
    counts: dict[str, Any] = side["stages"][stage]
    return counts


def test_recorded_sides_cost_nothing_and_nothing_is_written(project: Project) -> None:
    project.binary(400, 10, 6)
    before = tree(project.root)
    done = project.run("plan", "base.yaml", "cand.yaml", check=0)
    assert tree(project.root) == before
    assert not (project.root / ".evalharness").exists()
    assert "recording, no calls" in done.out
    assert "qa/exact_match" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    found = plan(project, "base.yaml", "cand.yaml")
    for role in ("baseline", "candidate"):
        assert {k: total(found, role)[k] for k in ("answers", "stored", "calls", "usd")} == {
            "answers": 400, "stored": 400, "calls": 0, "usd": 0.0,
        }  # fmt: skip


def test_a_baseline_alone_can_be_planned(project: Project) -> None:
    project.binary(400, 0, 0)
    assert [side["role"] for side in plan(project, "base.yaml")["sides"]] == ["baseline"]


def test_a_suite_that_cannot_see_twice_its_margin_is_an_error_that_says_what_would_do(
    project: Project,
) -> None:
    project.binary(60, 0, 0)
    done = project.run("plan", "base.yaml", check=2)
    assert "60 cases" in done.err
    assert "suite.yaml: qa/exact_match could see drops of" in done.err
    assert "MDE" in done.out  # the tables come first
    needed = re.search(r"about ([\d,]+) cases", done.err)
    margin = re.search(r"a margin of ([\d.]+)pp", done.err)
    assert needed is not None
    assert margin is not None
    cases = int(needed[1].replace(",", ""))
    project.binary(cases - 1, 0, 0)
    project.run("plan", "base.yaml", check=2)
    project.binary(cases, 0, 0)
    project.run("plan", "base.yaml", check=0)
    project.binary(60, 0, 0, gate=f"{{max_drop: {margin[1]}pp}}")
    project.run("plan", "base.yaml", check=0)


def test_with_known_churn_a_suite_is_refused_for_what_it_would_miss(project: Project) -> None:
    project.binary(300, 0, 0)
    project.run("plan", "base.yaml", check=0)
    done = project.run("plan", "base.yaml", "--churn", "20%", check=2)
    needed = re.search(r"about ([\d,]+) cases", done.err)
    assert needed is not None
    project.binary(int(needed[1].replace(",", "")), 0, 0)
    project.run("plan", "base.yaml", "--churn", "20%", check=0)


def test_unknown_churn_is_shown_as_several_guesses_and_the_command_that_measures_it(
    project: Project, model_server: ModelServerHandle
) -> None:
    live(project, model_server, 200)
    found = plan(project, "live.yaml")
    outlooks = found["metrics"][0]["outlooks"]
    assert [(one["noise"], one["source"]) for one in outlooks] == [
        (0.02, "assumed"), (0.05, "assumed"), (0.1, "assumed"), (0.2, "assumed"),
    ]  # fmt: skip
    assert [one["label"] for one in found["suite_outlooks"]] == [
        "churn 2%",
        "churn 5%",
        "churn 10%",
        "churn 20%",
    ]
    assert any("evalharness compare live.yaml live.yaml --fresh" in step for step in found["steps"])


def test_the_chances_are_those_of_the_documented_simulation(project: Project) -> None:
    """docs/gate.md, 500 cases with 10% churn: 5% regression, 4% inconclusive, 51% underpowered, 40% pass."""
    project.binary(500, 0, 0)
    found = plan(project, "base.yaml", "--churn", "10%", check=2)
    (one,) = found["metrics"][0]["outlooks"]
    unchanged = {name: round(100 * chance) for name, chance in one["unchanged"].items()}
    assert unchanged == {"regression": 5, "inconclusive": 4, "underpowered": 51, "passed": 40}
    assert one["regression_at_margin"] == pytest.approx(0.36, abs=0.005)
    assert one["regression_at_twice"] == pytest.approx(0.775, abs=0.01)
    assert (one["source"], one["noise"]) == ("given", 0.1)


def test_several_primaries_make_each_harder_to_confirm(project: Project) -> None:
    project.binary(400, 0, 0, scorers="[exact_match, {numeric: {}}]")
    found = plan(project, "base.yaml", "--churn", "2%")
    assert [metric["level"] for metric in found["metrics"]] == [0.025, 0.025]
    one = found["metrics"][0]["outlooks"][0]
    assert one["mde"] > one["mde_alone"]
    project.binary(
        400, 0, 0, scorers="[exact_match, {numeric: {}}]", gate="{metrics: {qa/numeric: advisory}}"
    )
    (metric,) = plan(project, "base.yaml", "--churn", "2%")["metrics"]
    assert metric["level"] == 0.05
    assert metric["outlooks"][0]["mde"] == metric["outlooks"][0]["mde_alone"]


def test_stored_and_cached_answers_are_counted_and_the_rest_are_calls(
    project: Project, model_server: ModelServerHandle
) -> None:
    live(project, model_server, 150)
    found = plan(project, "live.yaml")
    assert (total(found)["stored"], total(found)["calls"]) == (0, 150)
    assert model_server.counters()["requests"] == 0
    assert not (project.root / ".evalharness").exists()
    project.run("run", "live.yaml", check=0)
    assert model_server.counters()["requests"] == 150
    before = tree(project.root / ".evalharness")
    found = plan(project, "live.yaml")
    assert (total(found)["stored"], total(found)["calls"], total(found)["usd"]) == (150, 0, 0.0)
    # another name is another run folder; the cache still knows the answers
    live(project, model_server, 150, name="renamed")
    assert (total(plan(project, "renamed.yaml"))["stored"]) == 150
    live(project, model_server, 150, "repeats: 3\n")
    found = plan(project, "live.yaml")
    assert [total(found)[k] for k in ("answers", "stored", "calls")] == [450, 150, 300]
    assert total(plan(project, "live.yaml", "--fresh"))["calls"] == 450
    assert tree(project.root / ".evalharness") == before
    assert model_server.counters()["requests"] == 150
    # the promise holds: the run makes exactly the calls that were told
    project.run("run", "live.yaml", check=0)
    assert model_server.counters()["requests"] == 450


def test_an_interrupted_run_is_counted_from_its_journal(
    project: Project, model_server: ModelServerHandle
) -> None:
    live(project, model_server, 150, "limits: {max_tokens_total: 400, concurrency: 1}\n")
    project.run("run", "live.yaml", check=5)
    made = model_server.counters()["requests"]
    assert 0 < made < 150
    for path in (project.root / ".evalharness").glob("cache.sqlite*"):
        path.unlink()
    found = plan(project, "live.yaml")
    assert total(found)["stored"] == made
    assert total(found)["calls"] == 150 - made
    assert not list((project.root / ".evalharness").glob("cache.sqlite*"))


def test_tokens_are_a_labelled_guess_and_unknown_output_is_never_zero(
    project: Project, model_server: ModelServerHandle
) -> None:
    price = "price: {input_per_million: 2, output_per_million: 10}\n"
    live(project, model_server, 150, price)
    found = plan(project, "live.yaml")
    side = found["sides"][0]
    assert (side["input_basis"], side["output_basis"]) == ("text", "unknown")
    characters = sum(len(f"question {i}") for i in range(150))
    assert total(found)["input_tokens"] == pytest.approx(characters / 4, abs=1)
    assert (total(found)["output_tokens"], total(found)["usd"]) == (None, None)
    done = project.run("plan", "live.yaml", check=0)
    assert "unknown" in done.out
    assert "rough estimate" in done.out
    live(project, model_server, 150, price + "decoding: {max_tokens: 20}\n")
    found = plan(project, "live.yaml")
    assert found["sides"][0]["output_basis"] == "limit"
    assert total(found)["output_tokens"] == 150 * 20
    assert total(found)["usd"] == pytest.approx((total(found)["input_tokens"] * 2 + 3000 * 10) / 1e6)


def test_without_a_price_the_price_is_unknown(project: Project, model_server: ModelServerHandle) -> None:
    live(project, model_server, 150, "decoding: {max_tokens: 20}\n")
    found = plan(project, "live.yaml")
    assert (total(found)["usd"], found["sides"][0]["priced"]) == (None, False)
    assert "price: unknown" in project.run("plan", "live.yaml").out


def test_tokens_come_from_earlier_answers_where_there_are_any(
    project: Project, model_server: ModelServerHandle
) -> None:
    live(project, model_server, 150, "price: {input_per_million: 2, output_per_million: 10}\n")
    manifest = json.loads(project.run("run", "live.yaml", "--json", check=0).out)
    facts = manifest["facts"]
    found = plan(project, "live.yaml", "--fresh")
    assert found["sides"][0]["input_basis"] == "history"
    assert total(found)["input_tokens"] == facts["input_tokens"]
    assert total(found)["output_tokens"] == facts["output_tokens"]
    assert total(found)["usd"] == pytest.approx(facts["cost_usd"], rel=1e-3)
    assert "150 earlier answers of live" in found["sides"][0]["tokens_from"]


def test_a_cap_that_would_stop_the_run_is_told(project: Project, model_server: ModelServerHandle) -> None:
    live(
        project,
        model_server,
        150,
        "price: {input_per_million: 2, output_per_million: 1000}\n"
        "decoding: {max_tokens: 100}\nlimits: {max_cost_usd: 0.5}\n",
    )
    assert any("max_cost_usd" in text for text in plan(project, "live.yaml")["warnings"])


def test_critical_cases_may_cost_more_calls(project: Project, model_server: ModelServerHandle) -> None:
    live(project, model_server, 150)
    project.binary(150, 0, 0, cases=lambda i: {"critical": i < 4})
    found = plan(project, "base.yaml", "live.yaml")
    # three answers each, the first being there already
    assert [side["confirming"] for side in found["sides"]] == [0, 8]


def test_a_stored_run_as_baseline_costs_nothing(project: Project, model_server: ModelServerHandle) -> None:
    live(project, model_server, 150)
    folder = json.loads(project.run("run", "live.yaml", "--json", check=0).out)["folder"]
    found = plan(project, folder, "base.yaml")
    assert found["sides"][0]["answers_from"] == "stored run"
    assert total(found)["calls"] == 0
    project.binary(151, 0, 0)
    done = project.run("plan", folder, "base.yaml", check=4)
    assert "not to this version" in done.err


def test_looks_are_a_range_of_calls(project: Project, model_server: ModelServerHandle) -> None:
    live(project, model_server, 300)
    suite = (project.root / "suite.yaml").read_text()
    project.write(
        "suite.yaml", suite + "sampling: {initial: 50, max: 250, looks: 5, reserve: 50, max_repeats: 2}\n"
    )
    project.write("whole.yaml", suite)
    found = plan(project, "live.yaml", "--churn", "2%")
    stages = found["sides"][0]["stages"]
    assert [(s["name"], s["calls"]) for s in stages] == [
        ("first look", 50), ("routine", 200), ("extended", 500),
    ]  # fmt: skip
    assert found["metrics"][0]["n"] == 200
    # What --extend may spend is not there for the routine looks: alpha · t², and half of that before the repeats.
    assert found["metrics"][0]["level_alone"] == pytest.approx(0.05 * (200 / 250) ** 2 / 2)
    whole = plan(project, "live.yaml", "--suite", "whole.yaml", "--churn", "2%")["metrics"][0]["outlooks"][0]
    looked = found["metrics"][0]["outlooks"][0]
    assert looked["mde"] > whole["mde"]
    assert looked["unchanged"]["passed"] < whole["unchanged"]["passed"]
    text = project.run("plan", "live.yaml", "--churn", "2%").out
    assert "first look" in text
    assert "with --extend" in text
    assert "at 0.016 (the rest of alpha 0.05 is kept for --extend)" in " ".join(text.split())


def test_a_comparison_told_of_gives_its_churn(project: Project) -> None:
    project.binary(400, 30, 10)
    project.compare(check=1)
    found = plan(project, "base.yaml", "--from", "out")
    (one,) = found["metrics"][0]["outlooks"]
    # 40 cases changed and the mean moved by 20 of them
    assert (one["source"], one["noise"]) == ("comparison", pytest.approx(20 / 400))
    assert any("two candidates" in note for note in found["metrics"][0]["notes"])
    assert "out" in one["source_text"]


def test_a_comparison_in_reports_is_found_by_itself(project: Project) -> None:
    project.binary(400, 6, 6)
    project.run("compare", "base.yaml", "cand.yaml", check=0)
    (one,) = plan(project, "base.yaml")["metrics"][0]["outlooks"]
    assert (one["source"], one["noise"]) == ("comparison", 0.03)
    assert "reports/base-vs-cand" in one["source_text"]
    # what is said on the command line comes first, for what it tells
    (one,) = plan(project, "base.yaml", "--churn", "1%")["metrics"][0]["outlooks"]
    assert (one["source"], one["noise"]) == ("given", 0.01)
    # a report of another version of the cases tells nothing by itself
    project.binary(401, 6, 6)
    assert len(plan(project, "base.yaml")["metrics"][0]["outlooks"]) == 4


def test_a_comparison_in_looks_gives_its_churn_and_spread(project: Project) -> None:
    """The report of a suite with `sampling` tells as much of the noise as one without."""
    project.binary(400, 20, 20, scorers="[exact_match, rouge_l]")
    project.run("compare", "base.yaml", "cand.yaml", "--out", "whole", check=0)
    whole = plan(project, "base.yaml", "--from", "whole", check=2)["metrics"]
    suite = (project.root / "suite.yaml").read_text()
    project.write("suite.yaml", suite + "sampling: {initial: 100, looks: 4}\n")
    project.run("compare", "base.yaml", "cand.yaml", "--out", "looks", check=0)
    assert json.loads((project.root / "looks" / "comparison.json").read_text())["looks"]["look"] == 4
    looks = plan(project, "base.yaml", "--from", "looks", check=2)["metrics"]
    for alone, looked in zip(whole, looks, strict=True):
        assert looked["outlooks"][0]["source"] == "comparison"
        assert looked["outlooks"][0]["noise"] == pytest.approx(alone["outlooks"][0]["noise"], rel=0.01)


def test_stored_runs_are_laid_side_by_side(project: Project) -> None:
    project.binary(400, 6, 6)
    folders = [
        json.loads(project.run("run", f"{name}.yaml", "--json", check=0).out)["folder"]
        for name in ("base", "cand")
    ]
    (one,) = plan(project, "base.yaml")["metrics"][0]["outlooks"]
    assert (one["source"], one["noise"]) == ("comparison", 0.03)
    (one,) = plan(project, "base.yaml", "--from", folders[0], "--from", folders[1])["metrics"][0]["outlooks"]
    assert (one["source"], one["noise"]) == ("comparison", 0.03)


def test_two_runs_of_one_candidate_are_preferred_and_called_so(
    project: Project, model_server: ModelServerHandle
) -> None:
    live(project, model_server, 400)
    model_server.answers({f"question {i}": f"t{i}" for i in range(400)})
    text = (project.root / "live.yaml").read_text()
    project.write("live.yaml", text.replace("model: echo", "model: flaky?share=0.1&rate=0.5"))
    project.run("compare", "live.yaml", "live.yaml", "--fresh", "--out", "aa")
    flips = json.loads((project.root / "aa/comparison.json").read_text())["flips"]
    changed = len(flips["regressed"]) + len(flips["fixed"])
    assert changed
    project.run("compare", "base.yaml", "cand.yaml")
    for more in ([], ["--from", "aa"]):
        done = project.run("plan", "live.yaml", *more, "--json")
        (one,) = json.loads(done.out)["metrics"][0]["outlooks"]
        assert (one["source"], one["noise"]) == ("A/A", pytest.approx(changed / 400))
        assert one["source_text"].startswith("A/A")


def test_a_steady_candidate_that_was_asked_twice_has_no_churn(
    project: Project, model_server: ModelServerHandle
) -> None:
    live(project, model_server, 150)
    project.run("compare", "live.yaml", "live.yaml", "--fresh")
    metric = plan(project, "live.yaml")["metrics"][0]
    assert [(one["source"], one["noise"]) for one in metric["outlooks"]] == [("A/A", 0.0)]
    assert any("a real change will move some" in note for note in metric["notes"])


def test_answers_compared_with_themselves_tell_nothing(project: Project) -> None:
    project.binary(200, 0, 0)
    project.run("compare", "base.yaml", "base.yaml", "--out", "out")
    assert "shows no churn" in project.run("plan", "base.yaml", "--from", "out", check=2).err


FRACTIONS = "[{'recorded:score': {unit: fraction, direction: higher, low: 0, high: 1}}]"


def fractions(project: Project, n: int, gate: str = "") -> None:
    """Two recorded candidates whose scores move by up to 0.2 either way on every case."""
    project.binary(n, 0, 0, scorers=FRACTIONS, gate=gate)
    for side, step in (("base", 0), ("cand", 7)):
        rows = [
            {"id": f"q{i}", "output": "x", "scores": {"score": 0.4 + ((i * 13 + step * i) % 21) / 100}}
            for i in range(n)
        ]
        project.candidate(side, rows)


def test_a_fractional_metric_needs_history_and_then_agrees_with_the_comparison(project: Project) -> None:
    fractions(project, 300)
    metric = plan(project, "base.yaml", "--churn", "5%")["metrics"][0]
    assert metric["outlooks"] == []
    assert "only earlier runs tell" in metric["unknown"]
    project.run("compare", "base.yaml", "cand.yaml")
    told = json.loads((project.root / "reports/base-vs-cand/comparison.json").read_text())["metrics"][0]
    (from_report,) = plan(project, "base.yaml")["metrics"][0]["outlooks"]
    assert from_report["kind"] == "sd"
    assert from_report["mde"] == pytest.approx(told["mde"], rel=0.01)
    assert from_report["n_for_power"] == pytest.approx(told["n_for_power"], rel=0.02)
    # the stored runs themselves say the same as the report that was made of them
    os.rename(project.root / "reports", project.root / "elsewhere")
    (from_runs,) = plan(project, "base.yaml")["metrics"][0]["outlooks"]
    assert from_runs["noise"] == pytest.approx(from_report["noise"], rel=1e-9)


def test_a_relative_margin_is_unknown_until_a_baseline_is(project: Project) -> None:
    project.binary(400, 4, 4, gate="{max_drop: 5%}")
    found = plan(project, "base.yaml")
    metric = found["metrics"][0]
    assert metric["max_drop"] is None
    assert metric["outlooks"][0]["unchanged"]["passed"] is None
    assert any("relative" in note for note in metric["notes"])
    assert "unknown" in project.run("plan", "base.yaml", check=0).out
    project.run("compare", "base.yaml", "cand.yaml")
    told = json.loads((project.root / "reports/base-vs-cand/comparison.json").read_text())["metrics"][0]
    assert plan(project, "base.yaml")["metrics"][0]["max_drop"] == pytest.approx(told["max_drop"])


def test_a_gating_slice_is_planned_with_its_own_cases(project: Project) -> None:
    project.binary(
        400,
        0,
        0,
        cases=lambda i: {"tags": {"language": "de" if i < 60 else "en"}},
        gate="{slices: [{metric: qa/exact_match, slice: language=de, max_drop: 2pp}]}",
    )
    found = plan(project, "base.yaml", check=2)
    whole, part = found["metrics"]
    assert (whole["slice"], part["slice"]) == (None, "language=de")
    assert (whole["n"], part["n"]) == (400, 60)
    assert whole["level"] == part["level"] == 0.025
    assert whole["problem"] is None
    assert "qa/exact_match [language=de]" in part["problem"]


def test_secondary_metrics_are_shown_and_are_no_error(project: Project) -> None:
    project.binary(
        60, 0, 0, scorers="[exact_match, {numeric: {}}]", gate="{primary: [qa/numeric], max_drop: 20pp}"
    )
    suite = (project.root / "suite.yaml").read_text()
    project.write(
        "suite.yaml",
        suite.replace("max_drop: 20pp", "max_drop: 20pp, metrics: {qa/exact_match: {max_drop: 1pp}}"),
    )
    found = plan(project, "base.yaml", check=0)
    assert {metric["id"]: metric["deciding"] for metric in found["metrics"]} == {
        "qa/exact_match": False, "qa/numeric": True,
    }  # fmt: skip


def test_clusters_are_counted_and_said(project: Project) -> None:
    project.binary(400, 0, 0, cases=lambda i: {"cluster": f"doc{i // 10}"})
    metric = plan(project, "base.yaml")["metrics"][0]
    assert (metric["n"], metric["n_units"]) == (400, 40)
    assert any("clusters" in note for note in metric["notes"])


def test_the_plot_shows_power_rising_with_cases(project: Project) -> None:
    project.binary(400, 0, 0)
    found = plan(project, "base.yaml", "--churn", "3%")
    points = found["curve"]["points"]
    assert (points[0]["cases"], points[-1]["cases"]) == (100, 1600)
    for name in ("at_margin", "at_twice"):
        powers = [point[name] for point in points]
        assert powers[-1] > powers[0]
    assert all(point["at_twice"] > point["at_margin"] for point in points)
    text = project.run("plan", "base.yaml", "--churn", "3%").out
    assert "Power of qa/exact_match, churn 3%" in text
    assert "planned: 400" in text


def test_every_problem_of_the_command_line_is_told_at_once(project: Project) -> None:
    project.binary(200, 0, 0)
    project.write("empty/comparison.json", "{}")
    folder = json.loads(project.run("run", "base.yaml", "--json", check=0).out)["folder"]
    done = project.run(
        "plan", "base.yaml", "--churn", "3", "--from", "nowhere", "--from", "empty", "--from", folder, check=2
    )
    assert "--churn '3'" in done.err
    assert "'nowhere' does not exist" in done.err
    assert "not a comparison.json" in done.err
    assert "1 run folder" in done.err
    assert "4 problems" in done.err
    assert done.out == ""


@pytest.mark.parametrize("share", ["-1%", "100%", "120%", "ten", "", "1e1%"])
def test_a_churn_that_is_no_share_is_refused(project: Project, share: str) -> None:
    project.binary(200, 0, 0)
    assert "is not a share" in project.run("plan", "base.yaml", "--churn", share, check=2).err


def test_a_report_of_other_metrics_is_refused(project: Project) -> None:
    project.binary(200, 3, 3, scorers="[numeric]")
    project.compare()
    project.binary(200, 3, 3)
    assert "no metric of suite" in project.run("plan", "base.yaml", "--from", "out", check=2).err


def test_damaged_history_is_no_history(project: Project) -> None:
    project.binary(200, 3, 3)
    project.write("reports/old/comparison.json", "[1, 2")
    project.write("reports/odd/comparison.json", "[]")
    project.write(".evalharness/runs/broken/manifest.json", "{}")
    project.write(".evalharness/runs/broken/attempts.jsonl", "")
    assert len(plan(project, "base.yaml")["metrics"][0]["outlooks"]) == 4


def test_a_damaged_cache_is_an_error_that_says_what_to_do(
    project: Project, model_server: ModelServerHandle
) -> None:
    live(project, model_server, 150)
    project.write(".evalharness/cache.sqlite", "no database at all, but long enough to be read as one" * 20)
    assert "delete the file" in project.run("plan", "live.yaml", check=2).err


def test_nothing_gated_cannot_be_planned(project: Project) -> None:
    project.binary(200, 0, 0, gate="{metrics: {qa/exact_match: advisory}}")
    done = project.run("plan", "base.yaml", check=2)
    assert "nothing is gated" in done.err


def test_the_same_plan_is_the_same_text(project: Project) -> None:
    project.binary(300, 5, 5)
    project.run("compare", "base.yaml", "cand.yaml")
    first = project.run("plan", "base.yaml", "cand.yaml", "--json")
    assert project.run("plan", "base.yaml", "cand.yaml", "--json").out == first.out


def test_long_names_and_large_numbers_fit_a_narrow_terminal(
    project: Project, model_server: ModelServerHandle
) -> None:
    scorers = "[exact_match, {'recorded:a-rather-long-name-for-a-metric-of-this-suite': {kind: binary}}]"
    live(
        project,
        model_server,
        1500,
        "repeats: 40\ndecoding: {max_tokens: 4000}\n",
        name="a-candidate-" + "x" * 40,
    )
    project.suite(scorers=scorers)
    done = project.run("plan", "a-candidate-" + "x" * 40 + ".yaml", check=0)
    tables = done.out.split("Power of")[0]
    assert max(map(len, tables.splitlines())) <= 80
    assert "-of-this-suite" in done.out
    assert "≤240.00M" in done.out


def test_where_less_is_better_the_plan_is_the_same(project: Project) -> None:
    score = "[{'recorded:toxic': {unit: fraction, direction: %s, kind: binary}}]"
    found = []
    for direction, key in (("higher", "max_drop"), ("lower", "max_rise")):
        project.binary(
            300, 0, 0, scorers=score % direction, gate=f"{{metrics: {{'qa/recorded:toxic': {{{key}: 2pp}}}}}}"
        )
        found.append(plan(project, "base.yaml", "--churn", "2%")["metrics"][0]["outlooks"])
    assert found[0] == found[1]


def test_the_users_own_code_is_neither_run_nor_taken_as_stored(project: Project) -> None:
    project.binary(150, 0, 0)
    project.write(
        "app.py", "open('ran', 'w').close()\n\ndef answer(case):\n    return 't' + case['id'][1:]\n"
    )
    project.write("own.yaml", "name: own\nsuite: ./suite.yaml\nprovider: python\ntarget: app:answer\n")
    assert total(plan(project, "own.yaml"))["calls"] == 150
    assert not (project.root / "ran").exists()
    project.run("run", "own.yaml", check=0)
    # the code may have changed under its name, so a run asks it again
    assert total(plan(project, "own.yaml"))["calls"] == 150
