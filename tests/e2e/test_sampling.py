"""Sequential comparisons as a user meets them: fewer calls, the same verdict again, no way to peek."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import pytest

from evalharness.analysis.looks import schedule
from evalharness.api import DEFAULT_SEED, load_suite
from tests.e2e.conftest import Project
from tests.servers.fixture import ModelServerHandle

N = 400


def spread(count: int, start: int = 0) -> set[int]:
    """So many cases, evenly over the golden set."""
    return {start + i * N // count for i in range(count)} if count else set()


def sampled(project: Project, sampling: str, regressed: int = 0, fixed: int = 0, **more: Any) -> None:
    """A project of 400 cases in looks, so many of them regressed and fixed."""
    project.binary(N, 0, 0, **more)
    wrong = {"base": spread(fixed, 3), "cand": spread(regressed)}
    assert not wrong["base"] & wrong["cand"]
    for side in ("base", "cand"):
        project.candidate(
            side, [{"id": f"q{i}", "output": "wrong" if i in wrong[side] else f"t{i}"} for i in range(N)]
        )
    text = (project.root / "suite.yaml").read_text()
    project.write("suite.yaml", f"{text}sampling: {sampling}\n")


def live(
    project: Project, server: ModelServerHandle, *, wrong: set[int], name: str = "cand", more: str = ""
) -> None:
    """A candidate behind the loopback server that answers all but `wrong` right."""
    server.answers({f"question {i}": f"t{i}" for i in range(N) if i not in wrong})
    project.write(
        f"{name}.yaml",
        f"name: {name}\nsuite: ./suite.yaml\nprovider: openai\nmodel: lookup\nbase_url: {server.base_url}\n{more}",
    )


def test_a_clear_regression_stops_at_the_first_look(project: Project) -> None:
    sampled(project, "{initial: 100, max: 400, looks: 4}", regressed=100)
    done, found = project.compare(check=1)
    looks = found["looks"]
    assert (looks["look"], looks["of"], looks["stopped"], looks["early"]) == (1, 4, "regression", True)
    assert looks["cases"] == {"questions": {"used": 100, "most": 400}}
    assert looks["answers_saved"] == {"baseline": 300, "candidate": 300}
    assert found["metrics"][0]["n"] == 100
    assert found["coverage"]["candidate"]["planned"] == 100
    assert any("exaggerate" in warning for warning in found["warnings"])
    assert "look 1 of 4" in done.out


def test_a_candidate_without_a_change_stops_when_every_metric_passed(project: Project) -> None:
    # no change at all: Tango's bound excludes 2pp from 133 cases on at the full alpha, later under the first look's
    sampled(project, "{initial: 100, max: 400, looks: 4}")
    _, found = project.compare(check=0)
    assert found["looks"]["stopped"] == "pass"
    assert 100 < found["looks"]["cases"]["questions"]["used"] < 400
    assert found["metrics"][0]["status"] == "pass"
    assert any("flatter the candidate" in warning for warning in found["warnings"])


def test_what_cannot_be_decided_uses_every_case(project: Project) -> None:
    sampled(project, "{initial: 100, max: 400, looks: 4}", regressed=18, fixed=9)
    _, found = project.compare(check=3)
    assert (found["looks"]["look"], found["looks"]["stopped"], found["looks"]["early"]) == (4, "end", False)
    assert found["metrics"][0]["status"] == "suspect"


def test_the_same_inputs_give_the_same_bytes_and_the_report_comes_again(project: Project) -> None:
    sampled(project, "{initial: 100, max: 400, looks: 4}", regressed=30, fixed=5)
    project.compare()
    first = (project.root / "out" / "comparison.json").read_bytes()
    project.compare()
    assert (project.root / "out" / "comparison.json").read_bytes() == first
    code = json.loads(first)["exit_code"]
    project.run("report", "out", "--out", "again", check=code)
    assert (project.root / "again" / "comparison.json").read_bytes() == first


def test_only_the_cases_of_the_looks_are_asked(project: Project, model_server: ModelServerHandle) -> None:
    sampled(project, "{initial: 100, max: 400, looks: 4}")
    model_server.reset()
    live(project, model_server, wrong=spread(100))
    _, found = project.compare(check=1)
    used = found["looks"]["cases"]["questions"]["used"]
    assert used == 100
    assert model_server.counters()["requests"] == used
    first = (project.root / "out" / "comparison.json").read_bytes()
    project.compare(check=1)
    assert model_server.counters()["requests"] == used
    assert (project.root / "out" / "comparison.json").read_bytes() == first
    # what was asked is kept: the whole run asks the rest only, and changes no earlier verdict
    project.run("run", "cand.yaml", check=0)
    assert model_server.counters()["requests"] == N
    project.compare(check=1)
    assert (project.root / "out" / "comparison.json").read_bytes() == first
    project.run("report", "out", "--out", "again", check=1)
    assert (project.root / "again" / "comparison.json").read_bytes() == first


def test_fresh_asks_each_case_once_over_all_looks(project: Project, model_server: ModelServerHandle) -> None:
    sampled(project, "{initial: 100, max: 400, looks: 4}", fixed=9)
    model_server.reset()
    live(project, model_server, wrong=spread(18), more="limits: {concurrency: 32}\n")
    _, found = project.compare("--fresh", check=3)
    assert found["looks"]["look"] == 4
    assert model_server.counters()["requests"] == N
    facts = json.loads((project.root / "out" / "manifest.json").read_text())["candidate"]["facts"]
    assert facts["calls"] == N
    project.compare("--fresh", check=3)
    assert model_server.counters()["requests"] == 2 * N


def test_a_stored_run_that_stopped_early_is_no_whole_run(
    project: Project, model_server: ModelServerHandle
) -> None:
    sampled(project, "{initial: 100, max: 400, looks: 4}")
    model_server.reset()
    live(project, model_server, wrong=spread(100))
    project.compare(check=1)
    folder = json.loads((project.root / "out" / "manifest.json").read_text())["candidate"]["folder"]
    project.write("suite.yaml", (project.root / "suite.yaml").read_text().split("sampling:")[0])
    done = project.run("compare", "base.yaml", folder, "--suite", "suite.yaml", "--out", "whole", check=4)
    assert "stopped early" in done.out
    # the candidate file can be asked for the rest
    _, found = project.compare(check=1)
    assert found["metrics"][0]["n"] == N and found["looks"] is None
    assert model_server.counters()["requests"] == N


def test_every_critical_case_is_asked_at_the_first_look(
    project: Project, model_server: ModelServerHandle
) -> None:
    sampled(project, "{initial: 100, max: 400, looks: 4}", cases=lambda i: {"critical": i % 40 == 0})
    model_server.reset()
    live(project, model_server, wrong={80})
    _, found = project.compare(check=1)
    assert found["critical_failures"] == ["q80"]
    assert found["looks"]["look"] == 1
    assert found["metrics"][0]["n"] == 100, "critical cases outside the sample do not move the mean"
    outside = model_server.counters()["requests"] - 2 - 100  # two more answers confirm the failure
    assert 0 < outside < 10


def test_clusters_stay_together(project: Project) -> None:
    sampled(
        project,
        "{initial: 100, max: 400, looks: 4}",
        regressed=120,
        cases=lambda i: {"cluster": f"doc{i // 8}"},
    )
    _, found = project.compare()
    metric = found["metrics"][0]
    assert metric["n"] == 8 * metric["n_units"]


def test_reserve_cases_are_asked_under_extend_only(project: Project, model_server: ModelServerHandle) -> None:
    sampled(project, "{initial: 100, max: 400, looks: 3, reserve: 150}", fixed=9)
    model_server.reset()
    live(project, model_server, wrong=spread(18))
    done, found = project.compare(check=0)
    assert found["metrics"][0]["status"] == "underpowered"
    assert found["looks"]["cases"]["questions"] == {"used": 250, "most": 400}
    assert model_server.counters()["requests"] == 250
    assert "--extend" in done.out
    _, found = project.compare("--extend")
    assert found["looks"]["cases"]["questions"]["used"] == 400
    assert model_server.counters()["requests"] == 400
    first = (project.root / "out" / "comparison.json").read_bytes()
    project.run("report", "out", "--out", "again", check=found["exit_code"])
    assert (project.root / "again" / "comparison.json").read_bytes() == first


def test_repeats_are_asked_under_extend_only(project: Project, model_server: ModelServerHandle) -> None:
    sampled(project, "{initial: 200, max: 400, looks: 2, max_repeats: 3}", fixed=9)
    model_server.reset()
    live(project, model_server, wrong=spread(18), more="decoding: {seed: 1}\n")
    _, found = project.compare(check=3)
    assert (found["looks"]["of"], found["looks"]["routine"]) == (3, 2)
    assert model_server.counters()["requests"] == N
    _, found = project.compare("--extend")
    assert found["looks"]["look"] == 3
    assert model_server.counters()["requests"] == 3 * N
    first = (project.root / "out" / "comparison.json").read_bytes()
    project.run("report", "out", "--out", "again", check=found["exit_code"])
    assert (project.root / "again" / "comparison.json").read_bytes() == first


@pytest.mark.parametrize("sampling", ["", "{initial: 100, max: 400, looks: 4}"])
def test_extend_without_anything_to_extend_by_is_refused(project: Project, sampling: str) -> None:
    if sampling:
        sampled(project, sampling)
    else:
        project.binary(N, 0, 0)
    done = project.run("compare", "base.yaml", "cand.yaml", "--extend", check=2)
    assert "nothing to extend" in done.err and "suite.yaml" in done.err


def test_an_interrupted_look_resumes(project: Project, model_server: ModelServerHandle) -> None:
    sampled(project, "{initial: 100, max: 400, looks: 4}")
    model_server.reset()
    live(project, model_server, wrong=spread(100), more="limits: {max_tokens_total: 400}\n")
    done = project.run("compare", "base.yaml", "cand.yaml", "--out", "out", check=5)
    assert "limit" in done.err or "cap" in done.err
    asked = model_server.counters()["requests"]
    assert 0 < asked < 100
    live(project, model_server, wrong=spread(100))
    project.compare(check=1)
    assert model_server.counters()["requests"] == 100


PROGRAM = """
from pathlib import Path

LOG = Path(__file__).with_name("asked.log")
WRONG = {wrong}


def reply(request):
    case = request["id"]
    with LOG.open("a") as log:
        log.write(case + "\\n")
    first = LOG.read_text().split().count(case) == 1
    return "wrong" if case in WRONG and (first or WRONG[case] == "always") else "t" + case[1:]
"""


def own_code(project: Project, wrong: dict[int, str], more: str = "") -> None:
    """A candidate in Python that answers these cases wrong, "once" or "always", and logs what it is asked."""
    project.write("bot.py", PROGRAM.replace("{wrong}", repr({f"q{i}": when for i, when in wrong.items()})))
    project.write(
        "cand.yaml", f"name: cand\nsuite: ./suite.yaml\nprovider: python\ntarget: bot:reply\n{more}"
    )


def asked(project: Project) -> list[str]:
    return (project.root / "asked.log").read_text().split()


def candidate_facts(project: Project) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project.root / "out" / "manifest.json").read_text())
    facts: dict[str, Any] = found["candidate"]["facts"]
    return facts


def test_repeats_add_to_the_answers_of_the_looks_before(
    project: Project, model_server: ModelServerHandle
) -> None:
    """Asking anew would be a second draw of the same looks, and another chance for the verdict."""
    sampled(project, "{initial: 200, max: 400, looks: 2, max_repeats: 3}", fixed=9)
    own_code(project, dict.fromkeys(spread(18), "always"))
    project.process("compare", "base.yaml", "cand.yaml", "--out", "out", "--extend")
    assert len(asked(project)) == candidate_facts(project)["calls"] == 3 * N
    live(project, model_server, wrong=spread(18), more="decoding: {seed: 1}\n")
    project.compare("--fresh", "--extend")
    assert model_server.counters()["requests"] == candidate_facts(project)["calls"] == 3 * N


def test_the_facts_of_looks_in_one_sitting_are_those_of_one_run(
    project: Project, model_server: ModelServerHandle
) -> None:
    sampled(project, "{initial: 100, max: 400, looks: 4}", fixed=9)
    live(project, model_server, wrong=spread(18))
    done, _ = project.compare(check=3)
    facts = candidate_facts(project)
    assert (facts["calls"], facts["resumed"], facts["cached"]) == (N, 0, 0)
    assert "from an earlier run" not in done.err


def test_a_failed_critical_case_is_asked_again_once_over_all_looks(project: Project) -> None:
    sampled(project, "{initial: 100, max: 400, looks: 4}", fixed=9, cases=lambda i: {"critical": i == 0})
    own_code(project, dict.fromkeys(spread(18), "always") | {0: "once"})
    done = project.process("compare", "base.yaml", "cand.yaml", "--out", "out", check=3)
    assert "look 4 of 4" in done.out and "recovered on repeats" in done.out
    assert asked(project).count("q0") == 1 + 3


@pytest.mark.parametrize("fresh", [["--fresh"], []])
def test_what_a_killed_comparison_asked_before_its_last_look_counts(
    project: Project, model_server: ModelServerHandle, fresh: list[str]
) -> None:
    sampled(project, "{initial: 100, max: 400, looks: 4}", fixed=9)
    live(project, model_server, wrong=spread(18), more="limits: {max_tokens_total: 3000, concurrency: 1}\n")
    project.run("compare", "base.yaml", "cand.yaml", "--out", "out", *fresh, check=5)
    assert 100 < model_server.counters()["requests"] < 200
    live(project, model_server, wrong=spread(18))
    project.compare(check=3)
    assert model_server.counters()["requests"] == N


def test_answers_to_critical_cases_outside_the_sample_are_not_called_saved(project: Project) -> None:
    sampled(
        project,
        "{initial: 100, max: 400, looks: 4}",
        regressed=100,
        cases=lambda i: {"critical": i % 40 == 1},
    )
    _, found = project.compare(check=1)
    planned = found["coverage"]["candidate"]["planned"]
    assert planned > 100
    assert found["looks"]["answers_saved"]["candidate"] == N - planned


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sampling: {initial: 100, max: 400, looks: 4}", "sampling: {initial: 200, max: 400, looks: 2}"),
        ("sampling: {initial: 100, max: 400, looks: 4}", ""),
        ("max_drop: 2pp", "max_drop: 20pp"),
    ],
)
def test_a_report_is_not_rendered_again_under_other_rules(project: Project, old: str, new: str) -> None:
    sampled(project, "{initial: 100, max: 400, looks: 4}", regressed=18, fixed=9, gate="{max_drop: 2pp}")
    project.compare(check=3)
    before = (project.root / "suite.yaml").read_text()
    assert old in before
    project.write("suite.yaml", before.replace(old, new))
    done = project.run("report", "out", "--out", "again", check=2)
    assert "run compare again" in done.err and "suite.yaml" in done.err
    project.write("suite.yaml", before)
    project.run("report", "out", "--out", "again", check=3)


def test_a_whole_run_stays_whole_where_a_look_asks_some_of_its_failures_again(
    project: Project, model_server: ModelServerHandle
) -> None:
    sampled(project, "{initial: 100, max: 400, looks: 4}", regressed=150)
    live(project, model_server, wrong=set(), name="base", more="limits: {max_retries: 0, concurrency: 1}\n")
    flaky = (project.root / "base.yaml").read_text().replace("lookup", "'lookup?every=150&code=400'")
    project.write("base.yaml", flaky)
    whole = json.loads(project.run("run", "base.yaml", "--json", check=0).out)
    assert (whole["coverage"]["failed"], whole["unasked"]) == (2, 0)
    project.compare(check=1)
    after = json.loads((project.root / whole["folder"] / "manifest.json").read_text())
    assert (after["coverage"]["planned"], after["unasked"]) == (N, 0)


def test_a_seed_of_ones_own_is_said_where_it_draws_the_cases(project: Project) -> None:
    """Seed after seed until one stops early with a pass is peeking; whoever reads the report must see it."""
    sampled(project, "{initial: 100, max: 400, looks: 4}")
    _, usual = project.compare(check=0)
    _, chosen = project.compare("--seed", "7", check=0)
    assert not any("--seed" in text for text in usual["warnings"])
    assert any("--seed 7 ordered the cases" in text for text in chosen["warnings"])
    first = (project.root / "out" / "comparison.json").read_bytes()
    project.run("report", "out", "--out", "again", check=0)
    assert (project.root / "again" / "comparison.json").read_bytes() == first


def test_extend_is_not_offered_where_answers_are_missing(
    project: Project, model_server: ModelServerHandle
) -> None:
    sampled(project, "{initial: 100, max: 400, looks: 4, reserve: 100}", regressed=150)
    live(project, model_server, wrong=spread(150))
    project.compare(check=1)
    folder = json.loads((project.root / "out" / "manifest.json").read_text())["candidate"]["folder"]
    done = project.run("compare", "base.yaml", folder, "--out", "other", "--seed", "7", check=4)
    out = " ".join(done.out.split())
    assert "complete it with: evalharness run" in out and "--extend" not in out


def test_a_bound_of_an_earlier_look_is_carried_over_as_the_ratio_it_is(project: Project) -> None:
    # The first look's cases are fast ones, so that in milliseconds its bound would excuse anything of the second's.
    project.golden_set("questions", [{"id": f"q{i}", "input": f"question {i}"} for i in range(200)])
    gate = "{metrics: {qa/latency_p50: {max_rise: 10%}}}"
    project.suite(scorers="[latency_p50]", gate=gate)
    text = (project.root / "suite.yaml").read_text()
    project.write("suite.yaml", f"{text}sampling: {{initial: 60, max: 200, looks: 2}}\n")
    with contextlib.chdir(project.root):
        suite = load_suite("suite.yaml")
    assert suite.sampling is not None
    first = schedule(suite, suite.sampling, (1, 1), seed=DEFAULT_SEED).looks[0].cases["questions"]
    rng = np.random.default_rng(3)
    rows: dict[str, list[dict[str, Any]]] = {"base": [], "cand": []}
    for i in range(200):
        fast = f"q{i}" in first
        typical, spread = (10.0, 0.01) if fast else (1000.0, 0.6)
        for side, slower in (("base", 1.0), ("cand", 1.098 if fast else 1.05)):
            time = slower * typical * float(np.exp(rng.normal(0, spread)))
            rows[side].append({"id": f"q{i}", "output": "text", "latency_ms": time})
    for side, outputs in rows.items():
        project.candidate(side, outputs)
    _, found = project.compare()
    metric = found["metrics"][0]
    assert metric["test"].endswith("look 2 of 2") and metric["baseline"] > 500
    assert metric["bound"] >= 0.1 * metric["baseline"]
    assert metric["status"] in ("suspect", "underpowered")
