"""Result files of other tools as the two sides of a comparison."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Project
from tests.readers.tools import QUESTIONS, inspect_logs, lm_eval_samples, log_of


def table(project: Project, name: str, rows: list[dict[str, Any]]) -> None:
    project.rows(name, rows)


def answers(n: int, right: Callable[[int], bool], **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "id": f"q{i}",
            "input": f"question {i}",
            "output": "a",
            "target": "a",
            "acc": float(right(i)),
            **more,
        }
        for i in range(n)
    ]


def compare(project: Project, base: str, cand: str, *extra: str, check: int) -> tuple[str, dict[str, Any]]:
    done = project.run("compare", base, cand, "--out", "out", *extra, check=check)
    path = project.root / "out" / "comparison.json"
    return done.out + done.err, json.loads(path.read_text()) if path.exists() else {}


def rerendered(project: Project, check: int) -> None:
    """`report` comes to the same bytes from the stored runs, after the files are gone."""
    before = (project.root / "out" / "comparison.json").read_bytes()
    project.run("report", "out", check=check)
    assert (project.root / "out" / "comparison.json").read_bytes() == before


# --- files of the tools themselves -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("inspect_ai")
    return inspect_logs(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("lm_eval")
    return lm_eval_samples(tmp_path_factory.getbasetemp())


def take(project: Project, logs: Path, *names: str) -> None:
    for name in names:
        shutil.copy(log_of(logs, name), project.root / f"{name}.eval")


def test_two_inspect_logs(project: Project, logs: Path) -> None:
    take(project, logs, "base", "candidate")
    _, found = compare(project, "base.eval", "candidate.eval", check=1)
    gated = {m["id"]: m["status"] for m in found["metrics"] if m["gated"]}
    assert gated == {"sums/match": "regression"}
    lost = {f"{i}" for i in range(1, QUESTIONS + 1) if i % 6 == 0 and i % 5}
    assert {name.split("/")[-1] for name in found["flips"]["regressed"]} == lost
    assert (found["baseline"]["name"], found["candidate"]["name"]) == ("base", "candidate")
    assert {s["slice"] for s in found["slices"]} >= {"parity=even", "parity=odd"}
    (project.root / "base.eval").unlink()
    rerendered(project, 1)


def test_a_log_against_itself_passes_in_the_same_bytes(project: Project, logs: Path) -> None:
    take(project, logs, "base")
    shutil.copy(project.root / "base.eval", project.root / "again.eval")
    _, first = compare(project, "base.eval", "again.eval", check=0)
    project.run("compare", "base.eval", "again.eval", "--out", "out2", check=0)
    assert (project.root / "out2" / "comparison.json").read_text() == (
        project.root / "out" / "comparison.json"
    ).read_text()
    assert first["metrics"][0]["delta"] == 0


def test_a_suite_judges_the_answers_of_a_log(project: Project, logs: Path) -> None:
    take(project, logs, "base", "candidate")
    project.write(
        "suite.yaml",
        "name: own\nevals:\n  - id: numbers\n    results: sums\n    scorers: [exact_match, 'recorded:match']\n"
        "gate: {max_drop: 20pp, metrics: {numbers/exact_match: advisory}}\n",
    )
    _, found = compare(project, "base.eval", "candidate.eval", "--suite", "suite.yaml", check=0)
    metrics = {m["id"]: m for m in found["metrics"]}
    assert metrics["numbers/exact_match"]["delta"] == metrics["numbers/match"]["delta"] < -0.1
    rerendered(project, 0)


def test_a_suite_that_names_another_task(project: Project, logs: Path) -> None:
    take(project, logs, "base", "candidate")
    project.write("suite.yaml", "name: own\nevals: [{id: numbers, results: sum}]\n")
    told, _ = compare(project, "base.eval", "candidate.eval", "--suite", "suite.yaml", check=2)
    assert "reads the task 'sum', which the baseline base.eval lacks; did you mean sums?" in told


def test_a_suite_over_a_golden_set_is_no_suite_for_a_log(project: Project, logs: Path) -> None:
    take(project, logs, "base", "candidate")
    project.golden_set("questions", [{"id": "1", "input": "q", "target": "a"}])
    project.suite()
    told, _ = compare(project, "base.eval", "candidate.eval", "--suite", "suite.yaml", check=2)
    assert "asks a golden set" in told and "results: TASK" in told and "provider: replay" in told


def test_another_version_of_the_task_is_refused(project: Project, logs: Path) -> None:
    take(project, logs, "base", "version")
    told, found = compare(project, "base.eval", "version.eval", check=4)
    assert "version: 1 and 2" in told
    assert found["verdict"] == "invalid" and "version: 1 and 2" in " ".join(found["reasons"])


def test_cases_that_the_candidate_lacks_are_no_pass(project: Project, logs: Path) -> None:
    take(project, logs, "base", "short")
    told, found = compare(project, "base.eval", "short.eval", check=4)
    assert found["coverage"]["candidate"]["failed"] == QUESTIONS - 60
    assert "40 cases are on the other side only" in " ".join(told.split())
    rerendered(project, 4)


def test_a_log_that_broke_off_is_no_pass(project: Project, logs: Path) -> None:
    take(project, logs, "broken")
    shutil.copy(project.root / "broken.eval", project.root / "base.eval")
    told, _ = compare(project, "base.eval", "broken.eval", check=4)
    assert "planned samples are not in the log" in " ".join(told.split())


def test_lm_eval_folders_and_files(project: Project, samples: Path) -> None:
    shutil.copytree(samples / "base" / "known", project.root / "base")
    shutil.copytree(samples / "candidate" / "known", project.root / "candidate")
    _, found = compare(project, "base", "candidate", check=1)
    metrics = {m["id"]: m for m in found["metrics"]}
    assert metrics["choices/acc"]["status"] == "regression" and metrics["choices/acc"]["gated"]
    assert (
        metrics["texts/exact_match"]["status"] != "regression"
        and not metrics["texts/exact_match.loose"]["gated"]
    )
    assert metrics["documents/word_perplexity"]["direction"] == "lower"
    assert metrics["documents/word_perplexity"]["delta"] > 0
    rerendered(project, 1)
    (one,) = (project.root / "candidate").glob("samples_choices_*")
    told, _ = compare(project, "base", f"candidate/{one.name}", check=4)
    assert "has no results of" in told and "texts" in told and "documents" in told


def test_a_perplexity_gates_where_a_suite_says_by_how_much(project: Project, samples: Path) -> None:
    shutil.copytree(samples / "base" / "known", project.root / "base")
    shutil.copytree(samples / "candidate" / "known", project.root / "candidate")
    project.write(
        "suite.yaml",
        "name: own\nevals: [{id: lm, results: documents, scorers: ['recorded:word_perplexity']}]\n"
        "gate: {metrics: {lm/word_perplexity: {max_rise: 5%}}}\n",
    )
    _, found = compare(project, "base", "candidate", "--suite", "suite.yaml", check=1)
    assert [m["id"] for m in found["metrics"]] == ["lm/word_perplexity"]


# --- what is compared --------------------------------------------------------------------------------------------


def test_tables_pair_by_id(project: Project) -> None:
    table(project, "base.jsonl", answers(200, lambda i: i % 5 != 0))
    table(project, "cand.jsonl", answers(200, lambda i: i % 5 != 0 and i % 7 != 0)[::-1])
    _, found = compare(project, "base.jsonl", "cand.jsonl", check=1)
    assert found["metrics"][0]["n"] == 200 and found["metrics"][0]["unit"] == "fraction"
    rerendered(project, 1)


def test_a_case_that_asks_something_else_is_refused(project: Project) -> None:
    rows = answers(50, lambda i: True)
    table(project, "base.jsonl", rows)
    table(project, "cand.jsonl", [{**row, "input": "other"} if row["id"] == "q7" else row for row in rows])
    told, _ = compare(project, "base.jsonl", "cand.jsonl", check=4)
    assert "1 case asks something else" in told and "q7" in told


def test_a_side_of_zeros_and_ones_does_not_make_another_metric(project: Project) -> None:
    table(project, "base.jsonl", answers(60, lambda i: i % 2 == 0))
    half = answers(60, lambda i: i % 2 == 0)
    half[0]["acc"] = 0.5
    table(project, "cand.jsonl", half)
    _, found = compare(project, "base.jsonl", "cand.jsonl", check=0)
    assert found["metrics"][0]["kind"] == "bounded" and found["coverage"]["candidate"]["unscored"] == 0


def test_a_metric_that_the_candidate_lacks_is_no_pass(project: Project) -> None:
    table(project, "base.jsonl", answers(60, lambda i: True, f1=1.0))
    table(project, "cand.jsonl", answers(60, lambda i: True))
    told, found = compare(project, "base.jsonl", "cand.jsonl", check=4)
    assert "results/f1" in told and "nothing to compare" in told
    assert {m["id"] for m in found["metrics"]} == {"results/acc", "results/f1"}


def test_a_metric_that_only_the_candidate_has_does_not_gate(project: Project) -> None:
    table(project, "base.jsonl", answers(60, lambda i: True))
    table(project, "cand.jsonl", answers(60, lambda i: True, f1=1.0))
    _, found = compare(project, "base.jsonl", "cand.jsonl", check=0)
    assert [m["gated"] for m in found["metrics"]] == [True, False]


def test_repeats_may_differ(project: Project) -> None:
    table(project, "base.jsonl", answers(60, lambda i: i % 3 != 0))
    twice = [{**row, "repeat": k} for row in answers(60, lambda i: i % 3 != 0) for k in (0, 1)]
    table(project, "cand.jsonl", twice)
    _, found = compare(project, "base.jsonl", "cand.jsonl", check=0)
    assert found["metrics"][0]["delta"] == 0 and any("repeats differ" in text for text in found["warnings"])


def test_a_direction_that_nobody_told(project: Project) -> None:
    for name, value in (("base", 0.1), ("cand", 0.9)):
        rows = answers(60, lambda i: True)
        table(project, f"{name}.jsonl", [{**row, "toxicity": value + i / 1000} for i, row in enumerate(rows)])
    _, found = compare(project, "base.jsonl", "cand.jsonl", check=0)
    assert not next(m for m in found["metrics"] if m["id"] == "results/toxicity")["gated"]
    hint = '[{"recorded:toxicity": {direction: lower}}]'
    assert hint in " ".join(found["warnings"])
    project.write(
        "suite.yaml", f"name: own\nevals:\n  - id: safe\n    results: results\n    scorers: {hint}\n"
    )
    _, found = compare(project, "base.jsonl", "cand.jsonl", "--suite", "suite.yaml", check=1)
    assert found["metrics"][0]["direction"] == "lower"


def test_two_tools_meet_under_a_suite_alone(project: Project) -> None:
    table(project, "base.jsonl", answers(60, lambda i: True))
    rows = [{"user_input": f"question {i}", "response": "a", "id": f"q{i}", "acc": 1} for i in range(60)]
    table(project, "cand.jsonl", rows)
    told, _ = compare(project, "base.jsonl", "cand.jsonl", check=2)
    assert "a file of table" in told and "one of ragas" in told and "--suite" in told


def test_a_candidate_to_be_asked_and_a_log_do_not_meet(project: Project) -> None:
    project.binary(20, 0, 0)
    table(project, "base.csv.jsonl", answers(20, lambda i: True))
    told, _ = compare(project, "base.csv.jsonl", "cand.yaml", check=2)
    assert "their cases are not the same" in told
    done = project.run("plan", "base.csv.jsonl", "cand.yaml", check=2)
    assert "evalharness import" in done.err


def test_files_of_one_name_are_told_apart(project: Project) -> None:
    for name in ("main", "branch"):
        table(project, f"{name}/run.jsonl", answers(60, lambda i: True))
    _, found = compare(project, "main/run.jsonl", "branch/run.jsonl", check=0)
    assert (found["baseline"]["name"], found["candidate"]["name"]) == ("main-run", "branch-run")


def test_ids_reach_the_report_escaped(project: Project) -> None:
    evil = "<img src=x onerror=alert(1)>"
    for name, right in (("base", 1), ("cand", 0)):
        rows = answers(40, lambda i: True)
        rows[3] |= {
            "id": evil,
            "input": f"{evil}=cmd|' /C calc'!A0",
            "acc": right,
            "output": "<script>alert(2)</script>",
        }
        table(project, f"{name}.jsonl", rows)
    project.run("compare", "base.jsonl", "cand.jsonl", "--out", "out")
    page = (project.root / "out" / "report.html").read_text()
    assert evil not in page and "<script>alert(2)" not in page and "&lt;img src=x" in page


def test_two_sides_of_one_promptfoo_file(project: Project) -> None:
    source = Path(__file__).parents[1] / "readers" / "data" / "promptfoo-0.121.20.json"
    shutil.copy(source, project.root / "out.json")
    told, _ = compare(project, "out.json", "out.json", check=2)
    assert "out.json@echo#0" in told
    told, found = compare(project, "out.json@echo#0", "out.json@flip#2", check=4)
    assert "recorded as failed" in " ".join(told.split()), "one test of four got no answer"
    assert (found["baseline"]["name"], found["candidate"]["name"]) == ("out@echo#0", "out@flip#2")


# --- import ------------------------------------------------------------------------------------------------------


def test_import_makes_runs_and_a_suite_to_begin_with(project: Project) -> None:
    table(project, "base.jsonl", answers(100, lambda i: i % 5 != 0))
    table(project, "cand.jsonl", answers(90, lambda i: i % 5 != 0))
    done = project.run("import", "base.jsonl", "cand.jsonl", "--write-suite", "suite.yaml", "--json", check=0)
    base, cand = json.loads(done.out)
    assert base["tasks"][0]["metrics"] == [
        {
            "id": "results/acc",
            "direction": "higher",
            "kind": "binary",
            "unit": "fraction",
            "gates": True,
            "why": "",
        }
    ]
    assert base["coverage"]["scored"] == 100 and base["suite"] == "suite.yaml"
    text = (project.root / "suite.yaml").read_text()
    assert 'results: "results"' in text and "results/acc: higher is better, 0 or 1; gates" in text
    _, found = compare(project, base["folder"], cand["folder"], check=4)
    assert found["coverage"]["candidate"]["failed"] == 10, "the runs meet over the cases of both"
    rerendered(project, 4)
    project.write("suite.yaml", text + "  max_failures: 20%\n")
    _, found = compare(project, base["folder"], "cand.jsonl", check=1)
    assert found["suite"]["name"] == "results"
    project.run("score", base["folder"], check=0)
    assert project.run("import", "base.jsonl", "--write-suite", "suite.yaml").code == 2


def test_import_a_table_with_a_mapping_under_a_name(project: Project) -> None:
    for name, wrong in (("a", 0), ("b", 30)):
        rows = [f"{i};x;{int(i >= wrong)}" for i in range(100)]
        project.write(f"{name}.csv", "\n".join(["nr;said;right", *rows]) + "\n")
        words = (
            "--map",
            "id=nr,output=said,score:ok=right",
            "--as",
            f"model {name}",
            "--out",
            f"runs/{name}",
        )
        done = project.run("import", f"{name}.csv", *words, check=0)
        assert f"runs/{name}" in done.out and "results/ok: higher is better, binary; gates" in done.out
    _, found = compare(project, "runs/a", "runs/b", check=1)
    assert (found["baseline"]["name"], found["candidate"]["name"]) == ("model a", "model b")
    again = project.run("import", "b.csv", "--map", "id=nr,score:ok=right", "--out", "runs/a", check=2)
    assert "holds another run" in again.err


def test_import_says_what_it_cannot_do(project: Project) -> None:
    project.write("a.txt", "x")
    project.write("a.csv", "id,acc\n1,1\n")
    project.write("nothing.json", "")
    os.mkfifo(project.root / "pipe.json")
    for words, told in (
        (("a.txt",), "no reader knows this file"),
        (("nothing.json",), "nothing.json: is empty"),
        (("pipe.json",), "pipe.json: is no regular file; write it to a file first"),
        (("b.csv",), "did you mean a.csv"),
        (("a.csv", "a.txt", "--as", "x"), "go with one file"),
        (("a.csv", "--suite", "s", "--write-suite", "t"), "give one of them"),
        (("a.csv", "--map", "nr"), "ROLE=COLUMN"),
    ):
        assert told in project.run("import", *words, check=2).err
