"""Answers that are code, from files to verdict: run in the sandbox, gated by pass@1 and pass@3."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from evalharness.sandbox import SandboxUnavailableError, find_sandbox
from evalharness.scorers.code import pass_at_k
from tests.e2e.conftest import Project

# Written for this test.
FUNCTIONS = {
    "add": ("def add(a, b):\n    return a + b", ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"]),
    "last": ("def last(xs):\n    return xs[-1]", ["assert last([1, 2]) == 2"]),
    "double": ("print(int(input()) * 2)", [{"stdin": "3\n", "stdout": "6\n"}, {"stdin": "0", "stdout": "0"}]),
    "even": (
        "def even(n):\n    return n % 2 == 0",
        {
            "test": "def check(candidate):\n    assert candidate(2) and not candidate(3)",
            "entry_point": "even",
        },
    ),
    "count": (
        "def count(s, c):\n    return s.count(c)",
        "def test_count():\n    assert count('abca', 'a') == 2",
    ),
}
WRONG = {
    "add": "def add(a, b):\n    return a - b",
    "last": "import sys; sys.exit(0)",
    "double": "print(6)",
    "even": "def even(n):\n    while True: pass",
    "count": "def count(s, c):",
}
SCORERS = "[syntax_valid, {{pass@1: {{{0}}}}}, {{pass@3: {{{0}}}}}, {{tests_passed: {{{0}}}}}]".format(
    "timeout_s: 1"
)


@pytest.fixture
def project_of_code(project: Project) -> Project:
    project.golden_set(
        "questions",
        [{"id": n, "input": f"Write {n}.", "target": target} for n, (_, target) in FUNCTIONS.items()],
    )
    project.suite(SCORERS)
    return project


def answers(right: dict[str, int], repeats: int) -> list[dict[str, Any]]:
    """So many right answers to each function, the first ones."""
    return [
        {
            "id": name,
            "repeat": repeat,
            "output": f"Here it is:\n```python\n{FUNCTIONS[name][0] if repeat < right[name] else WRONG[name]}\n```\n",
        }
        for name in FUNCTIONS
        for repeat in range(repeats)
    ]


def metrics(found: dict[str, Any]) -> dict[str, Any]:
    return {metric["id"]: metric for metric in found["metrics"]}


def test_two_candidates_with_repeats_are_compared(project_of_code: Project) -> None:
    try:
        find_sandbox()
    except SandboxUnavailableError as error:
        pytest.skip(f"{error} (CI runs: apt-get install bubblewrap)")
    project = project_of_code
    before = {"add": 4, "last": 4, "double": 4, "even": 4, "count": 1}
    after = {"add": 4, "last": 1, "double": 0, "even": 4, "count": 4}
    project.candidate("base", answers(before, 4))
    project.candidate("cand", answers(after, 4))
    _, found = project.compare()
    by_id = metrics(found)
    for k in (1, 3):
        metric = by_id[f"qa/pass@{k}"]
        expected = [sum(pass_at_k(4, c, k) for c in side.values()) / 5 for side in (before, after)]
        assert [metric["baseline"], metric["candidate"]] == pytest.approx(expected)
        assert metric["n"] == 5 and metric["n_missing"] == {"baseline": 0, "candidate": 0}
    # the wrong program writes "6", which one of its two tests expects
    assert by_id["qa/tests_passed"]["candidate"] == pytest.approx((1 + 0.25 + 0.5 + 1 + 1) / 5)
    assert by_id["qa/syntax_valid"]["baseline"] == pytest.approx((4 + 0.25) / 5)
    assert {side: set(ids) for side, ids in found["flips"].items()} == {
        "regressed": {"double", "last"},
        "fixed": {"count"},
    }
    page = (project.root / "out" / "report.html").read_text()
    assert "the code ended its process" in page or "SystemExit: 0" in page
    assert "wrote &#x27;6" in page or "wrote &#39;6" in page or "wrote '6" in page
    first = (project.root / "out" / "comparison.json").read_bytes()
    assert project.compare()[1] == found
    assert (project.root / "out" / "comparison.json").read_bytes() == first


def test_a_comparison_made_again_runs_nothing(
    project_of_code: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        find_sandbox()
    except SandboxUnavailableError as error:
        pytest.skip(f"{error} (CI runs: apt-get install bubblewrap)")
    project = project_of_code
    rows = answers(dict.fromkeys(FUNCTIONS, 3), 3)
    project.candidate("base", rows)
    project.candidate("cand", rows)
    _, found = project.compare()
    monkeypatch.setattr("evalharness.scorers.code._kept", {})
    monkeypatch.setenv("PATH", str(project.root))  # scores that are known need no sandbox
    assert project.compare()[1] == found


def test_without_a_sandbox_the_command_refuses(
    project_of_code: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_of_code
    rows = answers(dict.fromkeys(FUNCTIONS, 3), 3)
    rows[0]["output"] = f"open({str(project.root / 'ran')!r}, 'w')"
    project.candidate("base", rows)
    project.candidate("cand", rows)
    monkeypatch.setattr("evalharness.scorers.code._kept", {})
    monkeypatch.setenv("PATH", str(project.root))
    done = project.run("compare", "base.yaml", "cand.yaml", "--out", "out", check=2)
    assert "apt-get install bubblewrap" in done.err and "docker: python:3.12-slim" in done.err
    assert not (project.root / "out").exists() and not (project.root / "ran").exists()


def test_too_few_repeats_for_pass_at_k_are_refused_before_anything_is_run(project_of_code: Project) -> None:
    project = project_of_code
    rows = answers(dict.fromkeys(FUNCTIONS, 2), 2)
    project.candidate("base", rows)
    project.candidate("cand", rows)
    for command in (
        ("compare", "base.yaml", "cand.yaml"),
        ("run", "base.yaml"),
        ("plan", "base.yaml", "cand.yaml"),
    ):
        done = project.run(*command, check=2)
        assert "base.yaml: qa/pass@3 needs 3 answers to each case, and this run has 2 answers" in done.err
        assert "`repeats: 3`" in done.err


def test_a_missing_sandbox_is_told_before_a_model_is_asked(
    project_of_code: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_of_code
    project.suite("[pass@1]")
    project.write("asked.py", "def answer(case):\n    open('asked', 'w').close()\n    return ''\n")
    project.write("base.yaml", "name: base\nsuite: ./suite.yaml\nprovider: python\ntarget: asked:answer\n")
    monkeypatch.syspath_prepend(str(project.root))
    monkeypatch.setenv("PATH", str(project.root))
    done = project.run("run", "base.yaml", check=2)
    assert "apt-get install bubblewrap" in done.err
    assert not (project.root / "asked").exists()


def test_tests_that_cannot_run_are_refused_with_their_lines(project_of_code: Project) -> None:
    project = project_of_code
    cases = [
        {"id": "a", "input": "q", "target": "assert f() == 1"},
        {"id": "b", "input": "q", "target": "def check(candidate):\n    assert candidate()"},
        {"id": "c", "input": "q", "target": {"test": "assert f( == 1"}},
    ]
    project.golden_set("questions", cases)
    project.candidate("base", [{"id": case["id"], "output": "x"} for case in cases])
    done = project.run("validate", "base.yaml", check=2)
    assert "questions/cases.jsonl:2: case 'b' cannot be scored: test 1 runs nothing" in done.err
    assert "questions/cases.jsonl:3: case 'c' cannot be scored: test 1 is not Python" in done.err
    assert done.err.count("case 'b'") == 1  # three scorers say the same


def test_answers_the_baseline_lacks_leave_the_case_out(project_of_code: Project) -> None:
    """pass@3 cannot be told from two answers: such a case is counted as missing, never guessed."""
    try:
        find_sandbox()
    except SandboxUnavailableError as error:
        pytest.skip(f"{error} (CI runs: apt-get install bubblewrap)")
    project = project_of_code
    project.suite("[pass@1, pass@3]", gate="{max_failures: 50%}")
    rows = answers(dict.fromkeys(FUNCTIONS, 3), 3)
    lacking = [
        {**{k: v for k, v in row.items() if k != "output"}, "output": None, "error": "lost"}
        if row["id"] == "add" and row["repeat"] == 2
        else row
        for row in rows
    ]
    project.candidate("base", lacking)
    project.candidate("cand", rows)
    _, found = project.compare()
    by_id = metrics(found)
    assert by_id["qa/pass@1"]["n"] == 5 and by_id["qa/pass@3"]["n"] == 4
    assert by_id["qa/pass@3"]["n_missing"] == {"baseline": 1, "candidate": 0}
    # on the other side, the answer that is not there counts as one that does not pass
    project.candidate("base", rows)
    project.candidate("cand", lacking)
    _, found = project.compare()
    by_id = metrics(found)
    assert by_id["qa/pass@1"]["candidate"] == pytest.approx((4 + 2 / 3) / 5)
    assert by_id["qa/pass@3"]["candidate"] == 1.0
    assert json.dumps(found)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["interrupted", "killed"])
def test_no_code_goes_on_where_the_command_ends(project_of_code: Project, number: signal.Signals) -> None:
    psutil = pytest.importorskip("psutil")
    try:
        find_sandbox()
    except SandboxUnavailableError as error:
        pytest.skip(f"{error} (CI runs: apt-get install bubblewrap)")
    project = project_of_code
    project.suite("[{pass@1: {timeout_s: 300}}]")
    slow = "print('started')\nimport time\ntime.sleep(600)"
    project.candidate("base", [{"id": name, "output": slow} for name in FUNCTIONS])
    command = subprocess.Popen(
        [sys.executable, "-m", "evalharness", "run", "base.yaml"],
        cwd=project.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    until = time.monotonic() + 30
    started: list[Any] = []
    while len(started) < 3 and time.monotonic() < until:
        time.sleep(0.1)
        started = psutil.Process(command.pid).children(recursive=True)
    assert len(started) >= 3
    command.send_signal(number)
    _, said = command.communicate(timeout=20)
    assert command.returncode == (130 if number == signal.SIGTERM else -9), said
    _, alive = psutil.wait_procs(started, timeout=5)
    assert not alive
