"""`evalharness compare` from files to exit code."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.e2e.conftest import Project
from tests.servers.fixture import ModelServerHandle

FIELDS = {
    "schema_version", "verdict", "exit_code", "seed", "baseline", "candidate", "suite", "reasons", "warnings",
    "metrics",
    "slices", "flips", "critical_failures", "coverage",
}  # fmt: skip


@pytest.mark.parametrize(
    ("n", "regressed", "fixed", "verdict", "code", "status"),
    [
        (1000, 90, 30, "regression", 1, "regression"),
        (200, 12, 6, "inconclusive", 3, "suspect"),
        (300, 20, 15, "pass", 0, "underpowered"),
        (1000, 10, 60, "pass", 0, "improved"),
        (1000, 5, 5, "pass", 0, "pass"),
    ],
)
def test_verdicts_and_exit_codes(
    project: Project, n: int, regressed: int, fixed: int, verdict: str, code: int, status: str
) -> None:
    project.binary(n, regressed, fixed)
    done, found = project.compare(check=code)
    assert set(found) >= FIELDS
    assert (found["verdict"], found["exit_code"]) == (verdict, code)
    metric = found["metrics"][0]
    assert metric["status"] == status
    assert metric["delta"] == pytest.approx((fixed - regressed) / n)
    assert metric["discordance"] == pytest.approx((fixed + regressed) / n)
    assert len(found["flips"]["regressed"]) == regressed and len(found["flips"]["fixed"]) == fixed
    assert verdict.upper() in done.out.upper()
    assert {p.name for p in (project.root / "out").iterdir()} >= {
        "comparison.json", "report.html", "summary.md", "junit.xml",
    }  # fmt: skip


def test_the_same_inputs_give_the_same_bytes(project: Project) -> None:
    project.binary(300, 20, 15, scorers="[exact_match, rouge_l, macro_f1]")
    project.compare()
    first = (project.root / "out" / "comparison.json").read_bytes()
    shutil.rmtree(project.root / ".evalharness")
    project.compare()
    assert (project.root / "out" / "comparison.json").read_bytes() == first
    copy = Project(project.root / "elsewhere")
    copy.root.mkdir()
    for name in ("suite.yaml", "base.yaml", "cand.yaml", "base.jsonl", "cand.jsonl", "questions"):
        source = project.root / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, copy.root / name)
    copy.compare()
    assert (copy.root / "out" / "comparison.json").read_bytes() == first


def test_missing_answers_count_against_the_candidate(project: Project) -> None:
    project.binary(1000, 0, 0)
    rows = (project.root / "cand.jsonl").read_text().splitlines(keepends=True)
    project.write("cand.jsonl", "".join(rows[8:]))  # 0.8% are missing: allowed, and worth their worst score
    _, found = project.compare()
    metric = found["metrics"][0]
    assert metric["n"] == 1000
    assert metric["n_missing"] == {"baseline": 0, "candidate": 8}
    assert metric["delta"] < 0
    assert found["coverage"]["candidate"]["failed"] == 8


def test_more_than_one_per_cent_missing_is_invalid_unless_allowed(project: Project) -> None:
    project.binary(1000, 0, 0)
    rows = (project.root / "cand.jsonl").read_text().splitlines(keepends=True)
    project.write("cand.jsonl", "".join(rows[11:]))
    _, found = project.compare(check=4)
    assert found["verdict"] == "invalid"
    assert "11 of 1,000 candidate answers" in found["reasons"][0]
    project.suite(gate="{max_failures: 2%}")
    assert project.compare()[1]["verdict"] != "invalid"


def test_a_missing_baseline_answer_leaves_the_pair_and_never_credits_the_candidate(project: Project) -> None:
    project.binary(1000, 0, 0)
    rows = (project.root / "base.jsonl").read_text().splitlines(keepends=True)
    project.write("base.jsonl", "".join(rows[:-5]))
    _, found = project.compare()
    metric = found["metrics"][0]
    assert (metric["n"], metric["delta"]) == (995, 0.0)
    assert metric["n_missing"]["baseline"] == 5


def test_recorded_errors_are_failures(project: Project) -> None:
    project.binary(100, 0, 0)
    rows = [json.loads(line) for line in (project.root / "cand.jsonl").read_text().splitlines()]
    for row in rows[:5]:
        row["output"], row["error"] = "", "timeout"
    project.rows("cand.jsonl", rows)
    _, found = project.compare(check=4)
    assert found["coverage"]["candidate"]["failed"] == 5


def test_ids_that_differ_between_the_sides(project: Project) -> None:
    project.binary(200, 0, 0)
    rows = [json.loads(line) for line in (project.root / "cand.jsonl").read_text().splitlines()]
    project.rows("cand.jsonl", [{**row, "id": "other-" + row["id"]} for row in rows])
    _, found = project.compare(check=4)
    assert found["coverage"]["candidate"]["failed"] == 200
    assert any("200 recorded ids are in no golden set" in w for w in found["warnings"])


def test_a_critical_case_is_a_second_gate(project: Project) -> None:
    project.binary(1000, 1, 40, cases=lambda i: {"critical": i == 0})
    _, found = project.compare(check=1)
    assert found["critical_failures"] == ["q0"]
    assert "q0" in found["reasons"][0] and found["metrics"][0]["status"] in ("pass", "improved")


def test_repeats_are_averaged_inside_a_case(project: Project) -> None:
    project.golden_set(
        "questions", [{"id": f"q{i}", "input": f"question {i}", "target": "yes"} for i in range(120)]
    )
    project.suite()
    for side, wrong in (("base", 0), ("cand", 1)):
        project.candidate(
            side,
            [
                {"id": f"q{i}", "repeat": k, "output": "no" if k < wrong and i % 2 else "yes"}
                for i in range(120)
                for k in range(4)
            ],
        )
    _, found = project.compare()
    metric = found["metrics"][0]
    assert metric["n"] == 120  # cases, not 480 rows
    assert metric["delta"] == pytest.approx(-0.125)
    assert "McNemar" not in metric["test"]


def test_cases_that_belong_together_are_tested_by_cluster(project: Project) -> None:
    project.binary(400, 60, 10, cases=lambda i: {"cluster": f"doc{i // 40}"})
    _, found = project.compare()
    metric = found["metrics"][0]
    assert "cluster" in metric["test"]
    assert metric["n"] == 400 and metric["n_units"] == 10


def test_slices_are_reported_and_do_not_gate(project: Project) -> None:
    project.binary(1000, 30, 30, cases=lambda i: {"tags": {"channel": "email" if i < 30 else "chat"}})
    _, found = project.compare(check=0)
    email = next(s for s in found["slices"] if s["slice"] == "channel=email")
    assert email["delta"] == -1.0 and email["n"] == 30
    assert email["status"] == "advisory" and email["gated"] is False


def test_lower_is_better_metrics_are_reported_on_their_own_scale(project: Project) -> None:
    project.golden_set(
        "questions", [{"id": f"q{i}", "input": f"question {i}", "target": "yes"} for i in range(500)]
    )
    project.suite(scorers="[refusal]")
    project.candidate("base", [{"id": f"q{i}", "output": "yes"} for i in range(500)])
    project.candidate(
        "cand",
        [
            {"id": f"q{i}", "output": "I'm sorry, but I can't help with that." if i < 50 else "yes"}
            for i in range(500)
        ],
    )
    _, found = project.compare(check=1)
    metric = found["metrics"][0]
    assert metric["direction"] == "lower"
    assert (metric["baseline"], metric["candidate"], metric["delta"]) == pytest.approx((0.0, 0.1, 0.1))
    assert metric["ci"]["low"] > 0.02 and metric["bound"] > metric["delta"]


def test_nothing_gated_is_invalid(project: Project) -> None:
    project.binary(200, 0, 0, gate="{metrics: {qa/exact_match: advisory}}")
    _, found = project.compare(check=4)
    assert "nothing is gated" in found["reasons"][0]


def test_no_baseline(project: Project) -> None:
    project.binary(200, 0, 0)
    done = project.run("compare", "main", "cand.yaml", check=4)
    assert "there is no baseline 'main'" in done.err


def test_json_on_stdout_is_the_file(project: Project) -> None:
    project.binary(200, 0, 0)
    done, found = project.compare("--json")
    assert json.loads(done.out) == found


def test_run_folders_can_be_compared_and_rescored_without_calls(project: Project) -> None:
    project.binary(300, 30, 5)
    folders = [
        json.loads(project.run("run", f"{side}.yaml", "--json", check=0).out)["folder"]
        for side in ("base", "cand")
    ]
    done = project.run("compare", *folders, "--out", "again", check=1)
    for side in ("base", "cand"):
        (project.root / f"{side}.jsonl").unlink()
    project.suite(scorers="[{contains: {id: exact_match}}]")
    done = project.run("score", folders[0], check=0)
    assert "300 of 300 scored" in done.out
    project.run("compare", *folders, "--out", "third", check=1)


def test_runs_on_another_golden_set_are_incomparable(project: Project) -> None:
    project.binary(200, 0, 0)
    folder = json.loads(project.run("run", "base.yaml", "--json", check=0).out)["folder"]
    cases = (project.root / "questions" / "cases.jsonl").read_text()
    project.write("questions/cases.jsonl", cases.replace('question 1"', 'another question"'))
    done = project.run("compare", folder, "cand.yaml", "--out", "out", check=4)
    assert "another version of golden set" in done.out
    assert "golden set" in project.run("score", folder, check=4).err


@pytest.mark.parametrize("stored_first", [True, False])
@pytest.mark.parametrize("extra", ["", "sampling: {initial: 20, looks: 2}\n"])
def test_a_stored_run_of_other_questions_is_refused_before_anybody_is_asked(
    project: Project, model_server: ModelServerHandle, stored_first: bool, extra: str
) -> None:
    project.binary(40, 0, 0)
    project.write("suite.yaml", (project.root / "suite.yaml").read_text() + extra)
    folder = json.loads(project.run("run", "base.yaml", "--json", check=0).out)["folder"]
    cases = (project.root / "questions" / "cases.jsonl").read_text()
    project.write("questions/cases.jsonl", cases.replace('question 1"', 'another question"'))
    live = f"name: live\nsuite: ./suite.yaml\nprovider: openai\nmodel: answer\nbase_url: {model_server.base_url}\n"
    project.write("live.yaml", live)
    sides = [folder, "live.yaml"] if stored_first else ["live.yaml", folder]
    done = project.run("compare", *sides, "--out", "out", check=4)
    role = "baseline" if stored_first else "candidate"
    assert f"the {role} run 'base' answered another version of golden set 'questions'" in done.err
    assert model_server.counters()["requests"] == 0


def test_reports_are_rendered_again_from_stored_runs(project: Project) -> None:
    project.binary(300, 30, 5)
    project.compare(check=1)
    before = (project.root / "out" / "comparison.json").read_bytes()
    for side in ("base", "cand"):
        (project.root / f"{side}.jsonl").unlink()
    (project.root / "out" / "report.html").unlink()
    project.run("report", "out", check=1)
    assert (project.root / "out" / "comparison.json").read_bytes() == before
    assert (project.root / "out" / "report.html").stat().st_size > 1000


def test_a_report_rendered_from_another_folder_says_where_to_stand(project: Project) -> None:
    project.binary(120, 0, 0)
    project.compare()
    (project.root / "elsewhere").mkdir()
    (project.root / "out").rename(project.root / "elsewhere" / "out")
    there = Project(project.root / "elsewhere")
    assert "run this where compare ran" in there.run("report", "out", check=2).err


def test_outputs_of_a_run_can_be_replayed(project: Project) -> None:
    project.binary(150, 10, 5)
    project.run("run", "cand.yaml", "--outputs", "recorded.jsonl", check=0)
    project.write(
        "replayed.yaml", "name: cand\nsuite: ./suite.yaml\nprovider: replay\noutputs: ./recorded.jsonl\n"
    )
    done = project.run("compare", "cand.yaml", "replayed.yaml", "--out", "out")
    found = json.loads((project.root / "out" / "comparison.json").read_text())
    assert found["metrics"][0]["delta"] == 0.0 and not found["flips"]["regressed"]
    assert done.code == 0


def test_a_comparison_that_fails_leaves_no_old_verdict_behind(project: Project) -> None:
    project.binary(1000, 5, 5)
    project.compare(check=0)
    project.write("cand.yaml", "name: cand\nprovider: nobody\n")
    _, found = project.compare(check=2)
    assert not found and not (project.root / "out" / "junit.xml").exists()


def test_out_never_touches_a_folder_that_is_not_a_report(project: Project) -> None:
    project.binary(200, 0, 0)
    folder = json.loads(project.run("run", "base.yaml", "--json", check=0).out)["folder"]
    before = (project.root / folder / "manifest.json").read_bytes()
    assert "--out" in project.run("compare", "base.yaml", "cand.yaml", "--out", folder, check=2).err
    project.compare()
    assert "--out" in project.run("report", "out", "--out", folder, check=2).err
    assert (project.root / folder / "manifest.json").read_bytes() == before


def test_what_a_comparison_took_lies_beside_it_and_not_in_it(project: Project) -> None:
    project.binary(200, 0, 0)
    _, found = project.compare()
    manifest = json.loads((project.root / "out" / "manifest.json").read_text())
    assert manifest["candidate"]["run_id"] == found["candidate"]["run_id"]
    assert manifest["candidate"]["facts"]["calls"] == 0 and "environment" in manifest["baseline"]
    assert "environment" not in json.dumps(found)


def test_a_baseline_that_cannot_fall_is_said(project: Project) -> None:
    project.binary(200, 0, 0)
    rows = [json.loads(line) for line in (project.root / "base.jsonl").read_text().splitlines()]
    project.rows("base.jsonl", [{**row, "output": "wrong"} for row in rows])
    _, found = project.compare(check=0)
    assert any("no drop could ever be seen" in w for w in found["warnings"])
    project.binary(200, 0, 0)
    assert not any("no drop could ever be seen" in w for w in project.compare()[1]["warnings"])


def test_a_flipped_case_is_shown_by_an_answer_that_did_what_most_did(project: Project) -> None:
    project.binary(150, 0, 0)
    answers = ("unsure", "t3", "t3", "t3")  # most of the baseline's repeats are right, its first is not
    rows = [
        {"id": f"q{i}", "repeat": repeat, "output": answers[repeat] if i == 3 else f"t{i}"}
        for i in range(150)
        for repeat in range(4)
    ]
    project.candidate("base", rows)
    project.candidate("cand", [{"id": f"q{i}", "output": "wrong" if i == 3 else f"t{i}"} for i in range(150)])
    project.compare()
    summary = (project.root / "out" / "summary.md").read_text(encoding="utf-8")
    assert "was `t3`, now `wrong`" in summary


def test_a_report_of_an_earlier_version_is_made_again_under_the_same_gate(project: Project) -> None:
    """The digest of the rules was written by a version that knew no labels of pairs."""
    project.binary(150, 0, 0, gate="{metrics: {qa/exact_match: {max_drop: 3pp}}}")
    project.compare()
    place = project.root / "out" / "manifest.json"
    manifest = json.loads(place.read_text())
    manifest["rules"] = "sha256:5445d62446e61e056b40a9b0d99be5cc96cbb88a11148a068c1c3a1085ce6627"
    place.write_text(json.dumps(manifest))
    project.run("report", "out", check=0)
    project.suite(gate="{metrics: {qa/exact_match: {max_drop: 4pp}}}")
    assert "its gate or sampling are not those" in project.run("report", "out", check=2).err
