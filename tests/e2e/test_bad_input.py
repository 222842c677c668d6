"""Bad input on the command line: the design's exit code, a message that says what to do, never a traceback."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.e2e.conftest import Project
from tests.servers.fixture import ModelServerHandle

BOMB = (
    "a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
    "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n"
    "e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\nname: [*e, *e, *e, *e]\n"
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: cand\nprovider: replay\noutput: ./cand.jsonl\n", "did you mean"),
        ("name: !!python/object/apply:os.system ['true']\n", "tag"),
        (BOMB, "alias"),
        ("name: cand\nlimits:\n\tconcurrency: 4\n", "tab"),
        ("name: [cand]\nprovider: replay\noutputs: ./cand.jsonl\n", "name"),
        ("name: cand\nname: twice\nprovider: replay\noutputs: ./cand.jsonl\n", "name"),
        ("name: cand\nprovider: replay\noutputs: ../../etc/passwd\n", "working directory"),
        ("name: cand\nprovider: replay\noutputs: ./nowhere.jsonl\n", "nowhere.jsonl"),
        (
            "name: cand\nprovider: openai\nmodel: m\napi_key_env: sk-proj-abcdefghijklmnopqrstuvwx123456\n",
            "variable",
        ),
        ("", "empty"),
        ("- a\n- b\n", "mapping"),
    ],
    ids=[
        "unknown-key",
        "tag",
        "bomb",
        "tab",
        "type",
        "duplicate",
        "escape",
        "absent",
        "key",
        "empty",
        "list",
    ],
)
def test_candidate_files(project: Project, text: str, says: str) -> None:
    project.binary(120, 0, 0)
    project.write("cand.yaml", text)
    for command in (["compare", "base.yaml", "cand.yaml"], ["validate", "cand.yaml"]):
        done = project.run(*command, check=2)
        assert "cand.yaml" in done.err and says in done.err.lower()
        assert "sk-proj" not in done.err


@pytest.mark.parametrize(
    ("gate", "says"),
    [
        ("{max_drop: 2}", "2pp"),
        ("{max_drop: 0.02}", "pp"),
        ("{max_drop: -2pp}", "max_drop"),
        ("{max_drop: 0pp}", "max_drop"),
        ("{alpha: 0.7}", "alpha"),
        ("{primary: [qa/exact_mach]}", "did you mean"),
        ("{on_inconclusive: ignore}", "block"),
        ("{metrics: {qa/exact_match: {max_rise: 2pp}}}", "max_drop"),
    ],
)
def test_gates(project: Project, gate: str, says: str) -> None:
    project.binary(120, 0, 0, gate=gate)
    assert says in project.run("compare", "base.yaml", "cand.yaml", check=2).err


def test_every_problem_in_every_file_at_once(project: Project) -> None:
    project.binary(120, 0, 0, scorers="[exact_mach]", gate="{max_drop: 2}")
    project.write("cand.yaml", "name: cand\nprovidr: replay\noutputs: ./cand.jsonl\nsuite: ./suite.yaml\n")
    err = project.run("validate", "base.yaml", "cand.yaml", check=2).err
    assert "exact_match" in err and "providr" in err and "2pp" in err
    assert "suite.yaml:" in err and "cand.yaml:" in err


def test_empty_suite(project: Project) -> None:
    project.binary(120, 0, 0)
    project.write("suite.yaml", "name: empty\nevals: []\n")
    assert "suite.yaml" in project.run("compare", "base.yaml", "cand.yaml", check=2).err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"id": "q0", "output": "t', "cut off"),
        (b'{"id": "q1", "output": "again"}\n', "q1"),
        (b'{"id": "x", "output": "\x00"}\n', "NUL"),
        (b'{"id": "x", "output": "\xff\xfe"}\n', "UTF-8"),
        (b'{"id": "x", "outputt": "a"}\n', "output"),
        (b'["x"]\n', "object"),
        (b'{"id": 7, "output": "a"}\n', "id"),
        (b'{"id": "x", "output": "a", "latency_ms": NaN}\n', "NaN"),
    ],
    ids=["truncated", "duplicate", "nul", "encoding", "key", "list", "integer-id", "nan"],
)
def test_recorded_outputs(project: Project, line: bytes, says: str) -> None:
    project.binary(120, 0, 0)
    path = project.root / "cand.jsonl"
    path.write_bytes(path.read_bytes() + line)
    err = project.run("compare", "base.yaml", "cand.yaml", check=2).err
    assert "cand.jsonl:121" in err and says in err


def test_byte_order_mark_crlf_and_a_ten_megabyte_line_are_fine(project: Project) -> None:
    project.binary(120, 0, 0)
    rows = [json.loads(line) for line in (project.root / "cand.jsonl").read_text().splitlines()]
    rows[3]["output"] = "long " * 2_000_000
    text = "\r\n".join(json.dumps(row) for row in rows) + "\r\n"
    project.write("cand.jsonl", b"\xef\xbb\xbf" + text.encode())
    done, found = project.compare()
    assert done.code in (0, 3) and found["coverage"]["candidate"]["scored"] == 120
    assert (project.root / "out" / "report.html").stat().st_size < 5_000_000


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"id": "q0", "input": "again", "target": "t"}', "q0"),
        ('{"input": "no id", "target": "t"}', "id"),
        ('{"id": "", "input": "x", "target": "t"}', "id"),
        ('{"id": "new", "input": "x", "targett": "t"}', "target"),
        ('{"id": "new", "input": 5, "target": "t"}', "input"),
    ],
)
def test_golden_set_lines(project: Project, line: str, says: str) -> None:
    project.binary(120, 0, 0)
    path = project.root / "questions" / "cases.jsonl"
    path.write_text(path.read_text() + line + "\n")
    err = project.run("compare", "base.yaml", "cand.yaml", check=2).err
    assert "cases.jsonl:121" in err and says in err


def test_a_golden_set_edited_under_its_lock(project: Project) -> None:
    project.binary(120, 0, 0)
    project.run("golden", "lock", "questions", check=0)
    project.compare(check=0)
    path = project.root / "questions" / "cases.jsonl"
    path.write_text(path.read_text().replace("question 5", "question five"))
    err = project.run("compare", "base.yaml", "cand.yaml", check=2).err
    assert "version" in err and "golden lock" in err
    assert project.run("golden", "lock", "questions", check=2).err
    card = project.root / "questions" / "card.yaml"
    card.write_text(card.read_text().replace("version: 1.0.0", "version: 1.0.1"))
    project.run("golden", "lock", "questions", check=0)
    project.compare(check=0)


def test_a_scorer_that_raises_is_counted_not_fatal(project: Project) -> None:
    project.binary(120, 0, 0, scorers="[exact_match, {recorded: {name: quality}}]")
    _, found = project.compare(check=4)  # nothing was recorded under that name
    metric = next(m for m in found["metrics"] if "recorded" in m["id"] or "quality" in m["id"])
    assert metric["status"] == "invalid" and metric["n_missing"]["candidate"] == 120


def live(project: Project, server: ModelServerHandle, model: str, extra: str = "") -> None:
    """The candidate asks the server instead of replaying."""
    project.write(
        "cand.yaml",
        f"name: live\nsuite: ./suite.yaml\nprovider: openai\nmodel: {model}\nbase_url: {server.base_url}\n"
        f"limits: {{max_retries: 1, timeout_s: 1, concurrency: 20}}\n{extra}",
    )


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("rate-limited-once?retry_after=0.05", 0),
        ("every-tenth", 4),
        ("always-500", 5),
        ("hang", 5),
        ("close", 5),
        ("html", 5),
        ("no-choices", 5),
        ("wrong-key", 5),
        ("no-such-model", 5),
    ],
)
def test_servers(project: Project, model_server: ModelServerHandle, model: str, code: int) -> None:
    project.golden_set(
        "questions",
        [{"id": f"q{i}", "input": f"question {i}", "target": f"question {i}"} for i in range(150)],
    )
    project.suite()
    project.candidate("base", [{"id": f"q{i}", "output": f"question {i}"} for i in range(150)])
    live(project, model_server, model)
    done, found = project.compare(check=code)
    if code == 5:
        assert "run the same command again" in done.err
        assert not found
    if code == 4:
        assert found["coverage"]["candidate"]["failed"] >= 10


def test_no_server_at_all(project: Project) -> None:
    project.binary(120, 0, 0)
    project.write(
        "cand.yaml",
        "name: live\nsuite: ./suite.yaml\nprovider: openai\nmodel: m\nbase_url: http://127.0.0.1:9/v1\n"
        "limits: {max_retries: 0}\n",
    )
    assert "connect" in project.run("compare", "base.yaml", "cand.yaml", check=5).err.lower()


def test_a_prompt_that_fits_no_case_is_said_in_a_few_lines(project: Project) -> None:
    project.binary(120, 0, 0)
    project.write(
        "cand.yaml",
        "name: live\nsuite: ./suite.yaml\nprovider: openai\nmodel: m\nbase_url: http://127.0.0.1:9/v1\n"
        'prompt: {user: "{{ input }} {{ tags.tone }}"}\n',
    )
    lines = project.run("run", "cand.yaml", check=2).err.splitlines()
    assert len(lines) < 15
    assert lines[0].startswith("error: cand.yaml: prompt.user cannot be filled for case ")
    assert "`tags` has no 'tone'" in lines[0] and "default(" in lines[0]


def test_a_missing_key_names_the_variable(project: Project) -> None:
    project.binary(120, 0, 0)
    project.write(
        "cand.yaml", "name: live\nsuite: ./suite.yaml\nprovider: openai\nmodel: gpt-4.1-mini-2025-04-14\n"
    )
    done = project.run("compare", "base.yaml", "cand.yaml", check=2)
    assert "OPENAI_API_KEY" in done.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["compar", "a", "b"], "did you mean compare"),
        (["compare", "base.yaml"], "CAND"),
        (["compare", "base.yaml", "cand.yaml", "--sede", "1"], "--seed"),
        (["compare", "base.yaml", "candidate.yaml"], "cand.yaml"),
        (["score", "nowhere"], "nowhere"),
        (["report", "questions"], "compare"),
        (["schema", "suit"], "suite"),
        (["golden", "check", "nowhere"], "nowhere"),
    ],
)
def test_command_lines(project: Project, arguments: list[str], says: str) -> None:
    project.binary(120, 0, 0)
    assert says in project.run(*arguments, check=2).err


def test_an_interrupt_that_python_would_drop_is_heard() -> None:
    told = """
import time
from evalharness.cli.main import _hear_lost_interrupts, main
import evalharness.cli.main as cli

class Dropped:
    def __del__(self):
        raise KeyboardInterrupt

def work(arguments):
    Dropped()
    time.sleep(20)
    return 0

cli._dispatch = work
main([])
"""
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, timeout=60)
    assert done.returncode == 130 and "interrupted" in done.stderr and "Traceback" not in done.stderr
