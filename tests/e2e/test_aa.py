"""A candidate compared with itself: how much it moves when nothing changed."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from tests.e2e.conftest import Project
from tests.servers.fixture import ModelServerHandle

N = 200
SHARE, RATE = 0.3, 0.6


def live(project: Project, server: ModelServerHandle, model: str, more: str = "", **suite: Any) -> None:
    """One candidate behind the loopback server; `base.yaml` in a project of N cases."""
    project.binary(N, 0, 0, **suite)
    server.reset()
    server.answers({f"question {i}": f"t{i}" for i in range(N)})
    project.write(
        "base.yaml",
        f"name: base\nsuite: ./suite.yaml\nprovider: openai\nmodel: {model}\nbase_url: {server.base_url}\n{more}",
    )


def against_itself(project: Project, *extra: str, check: int | None = None) -> dict[str, Any]:
    project.run("compare", "base.yaml", "base.yaml", "--out", "out", *extra, check=check)
    found: dict[str, Any] = json.loads((project.root / "out" / "comparison.json").read_text())
    return found


FLAKY = f"flaky?share={SHARE}&rate={RATE}"


def test_a_flaky_candidate_shows_how_flaky_it_is(project: Project, model_server: ModelServerHandle) -> None:
    live(project, model_server, FLAKY)
    found = against_itself(project, "--fresh")
    assert model_server.counters()["requests"] == 2 * N
    assert (found["baseline"]["name"], found["candidate"]["name"]) == ("base", "base-again")
    assert found["baseline"]["run_id"] != found["candidate"]["run_id"]
    assert len(list((project.root / ".evalharness" / "runs").iterdir())) == 2
    flaky = found["flakiness"][0]
    flips = found["flips"]["regressed"] + found["flips"]["fixed"]
    assert (flaky["metric"], flaky["cases"], flaky["answers"]) == ("qa/exact_match", N, 2)
    assert flaky["flips"] == pytest.approx(len(flips) / N)
    # two answers of a flaky case differ with chance 2 · 0.6 · 0.4; the band is four standard errors wide
    expected = SHARE * 2 * RATE * (1 - RATE)
    assert abs(flaky["flips"] - expected) < 4 * math.sqrt(expected / N)
    assert flaky["within_cases_variance"] == pytest.approx(flaky["flips"] / 2)
    assert {case["id"] for case in flaky["flaky"]} == set(flips)
    assert {case["rate"] for case in flaky["flaky"]} == {0.5}
    assert 0.02 < flaky["false_drops"] < 0.5
    # listed, never dropped
    assert found["metrics"][0]["n"] == N


def test_the_flaky_cases_are_told_where_the_verdict_is_read(
    project: Project, model_server: ModelServerHandle
) -> None:
    live(project, model_server, FLAKY)
    found = against_itself(project, "--fresh")
    worst = found["flakiness"][0]["flaky"][0]["id"]
    for name in ("report.html", "summary.md"):
        assert worst in (project.root / "out" / name).read_text()


def test_more_repeats_see_more_of_it_and_make_false_drops_rarer(
    project: Project, model_server: ModelServerHandle
) -> None:
    live(project, model_server, FLAKY)
    once = against_itself(project, "--fresh")["flakiness"][0]
    live(project, model_server, FLAKY, "repeats: 4\n")
    often = against_itself(project, "--fresh")["flakiness"][0]
    assert often["answers"] == 8
    assert often["false_drops"] < once["false_drops"]
    # of 8 answers with a chance of 0.6 nearly every flaky case shows both kinds; of 2, half do
    assert len(often["flaky"]) > 1.3 * len(once["flaky"])
    rates = [abs(case["rate"] - 0.5) for case in often["flaky"]]
    assert rates == sorted(rates)
    assert 0.3 < sum(case["rate"] for case in often["flaky"]) / len(rates) < 0.8


def test_a_steady_candidate_is_told_to_be_steady(project: Project, model_server: ModelServerHandle) -> None:
    live(project, model_server, "lookup")
    found = against_itself(project, "--fresh", check=0)
    flaky = found["flakiness"][0]
    assert (flaky["flips"], flaky["within_cases_variance"], flaky["false_drops"], flaky["flaky"]) == (
        0,
        0,
        0,
        [],
    )
    assert not any("very same answers" in warning for warning in found["warnings"])


def test_without_fresh_the_same_answers_are_not_taken_for_two_runs(
    project: Project, model_server: ModelServerHandle
) -> None:
    live(project, model_server, FLAKY)
    found = against_itself(project, check=0)
    assert model_server.counters()["requests"] == N
    assert found["flakiness"] is None
    assert any("--fresh" in warning for warning in found["warnings"])
    assert found["metrics"][0]["delta"] == 0


def test_the_same_candidate_under_another_name_is_not_taken_for_two_runs_either(
    project: Project, model_server: ModelServerHandle
) -> None:
    live(project, model_server, FLAKY)
    text = (project.root / "base.yaml").read_text()
    project.write("cand.yaml", text.replace("name: base", "name: cand"))
    _, found = project.compare()
    assert model_server.counters()["requests"] == N
    assert found["flakiness"] is None and any("--fresh" in warning for warning in found["warnings"])
    _, found = project.compare("--fresh")
    assert model_server.counters()["requests"] == 3 * N
    assert found["candidate"]["name"] == "cand" and found["flakiness"][0]["flips"] > 0


def test_a_fixed_seed_leaves_the_noise_of_the_endpoint_alone(
    project: Project, model_server: ModelServerHandle
) -> None:
    live(project, model_server, FLAKY, "decoding: {seed: 7}\n")
    found = against_itself(project, "--fresh")
    assert found["flakiness"][0]["flips"] == 0
    assert any("decoding.seed is fixed" in warning for warning in found["warnings"])


def test_the_pair_is_stored_and_renders_again(project: Project, model_server: ModelServerHandle) -> None:
    live(project, model_server, FLAKY)
    against_itself(project, "--fresh")
    first = (project.root / "out" / "comparison.json").read_bytes()
    asked = model_server.counters()["requests"]
    project.run("report", "out")
    assert (project.root / "out" / "comparison.json").read_bytes() == first
    runs = sorted((project.root / ".evalharness" / "runs").iterdir())
    project.run("compare", *map(str, runs), "--out", "pair")
    again = json.loads((project.root / "pair" / "comparison.json").read_text())
    assert again["flakiness"] == json.loads(first)["flakiness"]
    assert model_server.counters()["requests"] == asked


def test_the_pair_is_made_anew_each_time_and_the_first_run_may_stay(
    project: Project, model_server: ModelServerHandle
) -> None:
    live(project, model_server, FLAKY)
    one = against_itself(project, "--fresh")
    other = against_itself(project, "--fresh")
    assert model_server.counters()["requests"] == 4 * N
    assert {one["baseline"]["run_id"], one["candidate"]["run_id"]}.isdisjoint(
        {other["baseline"]["run_id"], other["candidate"]["run_id"]}
    )
    runs = project.root / ".evalharness" / "runs"
    (again,) = runs.glob("base-again-*")
    project.run("compare", str(again), "base.yaml", "--fresh", "--out", "third")
    assert json.loads((project.root / "third" / "comparison.json").read_text())["flakiness"]


def test_code_of_the_users_own_is_asked_twice_without_fresh(project: Project) -> None:
    project.binary(N, 0, 0)
    project.write(
        "app.py",
        """
from pathlib import Path

def answer(case):
    seen = Path("seen.txt")
    with seen.open("a") as log:
        log.write("x")
    number = seen.stat().st_size
    return "wrong" if number > 200 and case["id"] in ("q1", "q2", "q3") else "t" + case["id"][1:]
""",
    )
    project.write(
        "base.yaml",
        "name: base\nsuite: ./suite.yaml\nprovider: python\ntarget: app:answer\nlimits: {concurrency: 1}\n",
    )
    found = against_itself(project)
    assert (project.root / "seen.txt").stat().st_size == 2 * N
    assert [case["id"] for case in found["flakiness"][0]["flaky"]] == ["q1", "q2", "q3"]
    assert found["flips"]["regressed"] == ["q1", "q2", "q3"]


def test_looks_measure_on_the_cases_they_used(project: Project, model_server: ModelServerHandle) -> None:
    live(project, model_server, "flaky?share=0.02&rate=0.5")
    text = (project.root / "suite.yaml").read_text()
    project.write("suite.yaml", f"{text}gate: {{max_drop: 20pp}}\nsampling: {{initial: 50, looks: 3}}\n")
    found = against_itself(project, "--fresh")
    used = found["looks"]["cases"]["questions"]["used"]
    assert used < N and found["flakiness"][0]["cases"] == used == found["metrics"][0]["n"]
    assert model_server.counters()["requests"] == 2 * used


def test_failed_answers_are_no_flakes(project: Project, model_server: ModelServerHandle) -> None:
    live(project, model_server, "lookup?every=20&code=400", gate="{max_failures: 10%}")
    found = against_itself(project, "--fresh")
    assert found["coverage"]["baseline"]["failed"] == N // 20
    assert found["flakiness"][0]["cases"] == N - N // 20
    assert found["flakiness"][0]["flaky"] == []


def test_two_different_candidates_have_no_flakiness(project: Project) -> None:
    project.binary(N, 10, 5)
    assert project.compare()[1]["flakiness"] is None


def test_recordings_of_one_candidate_are_two_candidates_and_only_compared(project: Project) -> None:
    project.binary(N, 5, 5)
    _, found = project.compare()
    assert found["flakiness"] is None and found["metrics"][0]["discordance"] == 10 / N
