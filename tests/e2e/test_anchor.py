"""Small steps add up: both sides against the anchor; and baselines with more repeats than the candidate."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.e2e.conftest import Project
from tests.servers.fixture import ModelServerHandle

N = 1000


def releases(project: Project, wrong: Mapping[str, Sequence[int]], **suite: Any) -> None:
    """Recorded candidates by name, each wrong on these cases."""
    project.binary(N, 0, 0, **suite)
    for name, cases in wrong.items():
        bad = set(cases)
        project.candidate(
            name, [{"id": f"q{i}", "output": "wrong" if i in bad else f"t{i}"} for i in range(N)]
        )


STEPS = {"release": range(100), "base": range(115), "cand": range(130)}


def test_steps_within_the_margin_that_add_up_are_seen(project: Project) -> None:
    releases(project, STEPS)
    done, found = project.compare("--anchor", "release.yaml", check=0)
    assert found["verdict"] == "pass"
    anchor = found["anchor"]
    assert anchor["name"] == "release"
    (drift,) = anchor["metrics"]
    assert drift["id"] == "qa/exact_match" and drift["anchor"] == pytest.approx(0.9)
    assert drift["baseline"]["delta"] == pytest.approx(-0.015)
    assert drift["candidate"]["delta"] == pytest.approx(-0.03)
    assert drift["candidate"]["ci"]["high"] < 0 and drift["candidate"]["p_value"] < 0.001
    assert drift["exceeds"] is True
    assert any("since the anchor release" in warning for warning in found["warnings"])
    assert "release" in done.out
    for name in ("report.html", "summary.md"):
        assert "release" in (project.root / "out" / name).read_text()


def test_the_anchor_does_not_move_the_verdict(project: Project) -> None:
    releases(project, STEPS)
    _, alone = project.compare()
    _, beside = project.compare("--anchor", "release.yaml")
    for key in set(alone) - {"anchor", "warnings"}:
        assert alone[key] == beside[key], key
    assert alone["anchor"] is None


@pytest.mark.parametrize(
    ("fixed", "regressed", "delta", "exceeds"),
    [(14, 34, -0.02, True), (15, 34, -0.019, False), (100, 120, -0.02, False)],
    ids=["exactly the margin", "less than the margin", "no more than noise"],
)
def test_what_counts_as_drift(
    project: Project, fixed: int, regressed: int, delta: float, exceeds: bool
) -> None:
    wrong = range(100)
    before, after = range(100, 100 + fixed), range(100 + fixed, 100 + fixed + regressed)
    releases(project, {"release": [*wrong, *before], "base": wrong, "cand": [*wrong, *after]})
    _, found = project.compare("--anchor", "release.yaml")
    (drift,) = found["anchor"]["metrics"]
    assert drift["candidate"]["delta"] == pytest.approx(delta)
    assert drift["exceeds"] is exceeds
    assert any("since the anchor" in warning for warning in found["warnings"]) is exceeds


def test_only_gated_metrics_drift_and_lower_is_better_keeps_its_own_scale(project: Project) -> None:
    releases(
        project, STEPS, scorers="[exact_match, refusal, length]", gate="{metrics: {qa/length: advisory}}"
    )
    rows = [json.loads(line) for line in (project.root / "cand.jsonl").read_text().splitlines()]
    for row in rows[500:540]:
        row["output"] = "I'm sorry, but I can't help with that."
    project.rows("cand.jsonl", rows)
    _, found = project.compare("--anchor", "release.yaml")
    drift = {row["id"]: row for row in found["anchor"]["metrics"]}
    assert set(drift) == {"qa/exact_match", "qa/refusal"}
    assert drift["qa/refusal"]["candidate"]["delta"] == pytest.approx(0.04)
    assert drift["qa/refusal"]["exceeds"] is True
    assert any("qa/refusal has risen by" in warning for warning in found["warnings"])


def test_a_relative_margin_is_of_the_anchors_value(project: Project) -> None:
    # 4% of the baseline's 0.50 would be 0.020, of the anchor's 0.90 it is 0.036
    releases(
        project,
        {"release": range(100), "base": range(500), "cand": range(130)},
        gate="{max_drop: 4%}",
    )
    _, found = project.compare("--anchor", "release.yaml")
    (drift,) = found["anchor"]["metrics"]
    assert drift["candidate"]["delta"] == pytest.approx(-0.03) and drift["exceeds"] is False


def test_a_stored_run_is_an_anchor_and_the_report_renders_again_without_files(project: Project) -> None:
    releases(project, STEPS)
    folder = json.loads(project.run("run", "release.yaml", "--json", check=0).out)["folder"]
    project.compare("--anchor", folder, check=0)
    first = (project.root / "out" / "comparison.json").read_bytes()
    for name in STEPS:
        (project.root / f"{name}.jsonl").unlink()
    project.run("report", "out", check=0)
    assert (project.root / "out" / "comparison.json").read_bytes() == first
    manifest = json.loads((project.root / "out" / "manifest.json").read_text())
    assert manifest["anchor"]["folder"] == folder
    assert manifest["anchor"]["run_id"] == json.loads(first)["anchor"]["run_id"]
    shutil.rmtree(project.root / folder)
    assert "is not there" in project.run("report", "out", check=2).err


def test_an_anchor_that_was_replaced_is_not_taken_for_the_one_of_the_report(project: Project) -> None:
    releases(project, STEPS)
    project.compare("--anchor", "release.yaml", check=0)
    folder = (
        project.root / json.loads((project.root / "out" / "manifest.json").read_text())["anchor"]["folder"]
    )
    other = json.loads(project.run("run", "cand.yaml", "--json", check=0).out)["folder"]
    shutil.rmtree(folder)
    shutil.copytree(project.root / other, folder)
    done = project.run("report", "out", check=2)
    assert "no longer those of the anchor" in done.err


def test_an_anchor_that_is_the_baseline_is_asked_once(
    project: Project, model_server: ModelServerHandle
) -> None:
    project.binary(150, 0, 0)
    model_server.answers({f"question {i}": f"t{i}" for i in range(150)})
    project.write(
        "base.yaml",
        f"name: base\nsuite: ./suite.yaml\nprovider: openai\nmodel: lookup\nbase_url: {model_server.base_url}\n",
    )
    _, found = project.compare("--anchor", "base.yaml", "--fresh")
    assert model_server.counters()["requests"] == 150
    assert found["anchor"]["run_id"] == found["baseline"]["run_id"]
    assert found["anchor"]["metrics"][0]["baseline"]["delta"] == 0


def test_no_such_anchor(project: Project) -> None:
    releases(project, STEPS)
    done = project.run("compare", "base.yaml", "cand.yaml", "--anchor", "v1", "--out", "out", check=4)
    assert "there is no anchor 'v1'" in done.err and "run folder" in done.err
    told = json.loads((project.root / "out" / "comparison.json").read_text())
    assert told["verdict"] == "invalid" and "there is no anchor 'v1'" in told["reasons"][0]


def test_an_anchor_on_other_cases_is_refused_before_anything_is_asked(
    project: Project, model_server: ModelServerHandle
) -> None:
    releases(project, STEPS)
    folder = json.loads(project.run("run", "release.yaml", "--json", check=0).out)["folder"]
    cases = (project.root / "questions" / "cases.jsonl").read_text()
    project.write("questions/cases.jsonl", cases.replace('question 1"', 'another question"'))
    project.write(
        "cand.yaml",
        f"name: cand\nsuite: ./suite.yaml\nprovider: openai\nmodel: lookup\nbase_url: {model_server.base_url}\n",
    )
    done = project.run("compare", "base.yaml", "cand.yaml", "--anchor", folder, check=4)
    assert "the anchor run 'release' answered another version of golden set 'questions'" in done.err
    assert "--anchor" in done.err
    assert model_server.counters()["requests"] == 0


def test_new_answers_are_not_stored_over_the_anchor(
    project: Project, model_server: ModelServerHandle
) -> None:
    releases(project, STEPS)
    project.write(
        "release.yaml",
        f"name: release\nsuite: ./suite.yaml\nprovider: openai\nmodel: lookup\nbase_url: {model_server.base_url}\n",
    )
    folder = json.loads(project.run("run", "release.yaml", "--json", check=0).out)["folder"]
    asked = model_server.counters()["requests"]
    arguments = ("compare", "base.yaml", "release.yaml", "--anchor", folder, "--fresh")
    assert "would replace the run" in project.run(*arguments, check=2).err
    assert model_server.counters()["requests"] == asked


def test_in_looks_the_anchor_is_held_against_the_same_cases(
    project: Project, model_server: ModelServerHandle
) -> None:
    project.binary(400, 0, 0, cases=lambda i: {"critical": i == 3})
    for name, every in (("base", 10), ("cand", 3)):
        project.candidate(
            name, [{"id": f"q{i}", "output": "wrong" if i % every == 0 else f"t{i}"} for i in range(400)]
        )
    text = (project.root / "suite.yaml").read_text()
    project.write("suite.yaml", f"{text}sampling: {{initial: 100, looks: 4}}\n")
    model_server.answers({f"question {i}": f"t{i}" for i in range(400)})
    project.write(
        "release.yaml",
        f"name: release\nsuite: ./suite.yaml\nprovider: openai\nmodel: lookup\nbase_url: {model_server.base_url}\n",
    )
    _, found = project.compare("--anchor", "release.yaml", check=1)
    used = found["looks"]["cases"]["questions"]["used"]
    assert used < 400
    assert model_server.counters()["requests"] == used
    first = (project.root / "out" / "comparison.json").read_bytes()
    project.run("report", "out", check=1)
    assert (project.root / "out" / "comparison.json").read_bytes() == first
    # an anchor that was asked these cases only cannot stand for all of them; one that was asked all gives the same
    part = json.loads((project.root / "out" / "manifest.json").read_text())["anchor"]["folder"]
    sampled = (project.root / "suite.yaml").read_text()
    project.write("suite.yaml", text)
    done = project.run("compare", "base.yaml", "cand.yaml", "--anchor", part, "--out", "all", check=4)
    assert "the anchor run 'release' was asked" in done.err
    project.write("suite.yaml", sampled)
    whole = json.loads(project.run("run", "release.yaml", "--json", check=0).out)["folder"]
    project.compare("--anchor", whole, check=1)
    assert json.loads((project.root / "out" / "comparison.json").read_text()) == json.loads(first)


def test_an_anchor_that_lacks_too_many_answers_is_no_drift_and_says_so(project: Project) -> None:
    releases(project, STEPS)
    rows = (project.root / "release.jsonl").read_text().splitlines(keepends=True)
    project.write("release.jsonl", "".join(rows[50:]))
    _, found = project.compare("--anchor", "release.yaml", check=0)
    (drift,) = found["anchor"]["metrics"]
    assert drift["exceeds"] is False
    assert "50 of 1,000 anchor answers" in drift["problem"]


def repeated(project: Project, repeats: Mapping[str, int], cases: int = 300) -> None:
    """Recordings with several answers to a case; every sixth case of the candidate is wrong in its first answer."""
    project.binary(cases, 0, 0)
    for name, count in repeats.items():
        rows = []
        for i in range(cases):
            for k in range(count):
                wrong = (i + k) % 8 == 0 if name == "base" else i % 6 == 0 and k == 0
                rows.append({"id": f"q{i}", "repeat": k, "output": "wrong" if wrong else f"t{i}"})
        project.candidate(name, rows)


def test_a_baseline_of_eight_answers_against_a_candidate_of_one(project: Project) -> None:
    repeated(project, {"base": 8, "cand": 1})
    _, found = project.compare()
    metric = found["metrics"][0]
    assert metric["n"] == 300 and metric["baseline"] == pytest.approx(7 / 8)
    assert metric["candidate"] == pytest.approx(250 / 300)
    assert metric["status"] in ("suspect", "regression") and "McNemar" not in metric["test"]
    assert any("repeats differ (8 and 1)" in warning for warning in found["warnings"])


def test_more_answers_of_the_baseline_make_the_bound_sharper(project: Project) -> None:
    widths = {}
    for count in (1, 8):
        repeated(project, {"base": count, "cand": 1})
        metric = project.compare()[1]["metrics"][0]
        widths[count] = metric["ci"]["high"] - metric["ci"]["low"]
    assert widths[8] < 0.9 * widths[1]
