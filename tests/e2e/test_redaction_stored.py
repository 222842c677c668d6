"""`redact: {stored: true}`: planted canaries are looked for in every file under the work folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from evalharness.store.folder import load_run
from tests.e2e.conftest import Project
from tests.e2e.judged import Bench, of
from tests.servers.fixture import ModelServerHandle

KEY = "sk-proj-abcdefghij0123456789ABCDEFGH"
BY_VALUE = "correct horse, battery/staple"
NAMED = "the-gateway-s-own-login"
ORDER = "ORD-123456"
EMAIL = "jane.doe@example.com"
PHONE = "+44 20 7946 0958"
PLAIN = " ".join([KEY, BY_VALUE, ORDER, EMAIL, PHONE])
SAID = f"{NAMED} {PLAIN}"
"""With a key that is known by the candidate's file alone."""
RULES = 'redact: {emails: true, phones: true, patterns: ["ORD-[0-9]{6}"], stored: true}\n'
CANARIES = (KEY, BY_VALUE, NAMED, ORDER, EMAIL, PHONE, KEY[:20], "jane.doe", "20 7946")


def found_in(*places: Path) -> list[str]:
    """Canaries that stand in any file at these places, in plain text or as JSON and addresses write them."""
    found = []
    for place in places:
        for path in [p for p in place.rglob("*") if p.is_file()]:
            data = path.read_bytes()
            for canary in (*CANARIES, json.dumps(EMAIL).replace("@", "\\u0040")[1:-1], "battery%2Fstaple"):
                if canary.encode() in data:
                    found.append(f"{canary} in {path}")
    return found


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_SECRET", BY_VALUE)
    monkeypatch.setenv("GATEWAY_LOGIN", NAMED)


def write(
    project: Project, server: ModelServerHandle, n: int = 20, rules: str = RULES, **models: str
) -> None:
    """Two candidates that answer with canaries; the golden set holds them too, but in no target."""
    cases = [{"id": f"q{i}", "input": f"question {i} by {SAID}", "target": f"right {i}"} for i in range(n)]
    project.golden_set("questions", cases)
    project.suite(scorers="[contains, rouge_l]", gate="{max_drop: 2pp}")
    project.write("suite.yaml", (project.root / "suite.yaml").read_text() + rules)
    server.reset()
    server.answers({case["input"]: f"{case['target']}, says {SAID}" for case in cases})
    for side in ("base", "cand"):
        project.write(
            f"{side}.yaml",
            f"name: {side}\nsuite: ./suite.yaml\nprovider: openai\nmodel: '{models.get(side, 'lookup')}'\n"
            f"base_url: {server.base_url}\napi_key_env: GATEWAY_LOGIN\nlimits: {{concurrency: 4, max_retries: 0}}\n"
            f"decoding: {{max_tokens: {80 if side == 'base' else 90}}}\n",
        )


def runs(project: Project) -> list[Path]:
    return sorted(path.parent for path in project.root.glob(".evalharness/runs/*/manifest.json"))


def attempts(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "attempts.jsonl").read_text().splitlines()]


def test_no_canary_is_stored_by_any_command(project: Project, model_server: ModelServerHandle) -> None:
    write(project, model_server)
    shown = [project.run("run", "base.yaml", "--outputs", "outputs.jsonl", check=0)]
    shown.append(project.run("compare", "base.yaml", "cand.yaml", "--out", "out", "--json"))
    assert shown[-1].code in (0, 3)
    for folder in runs(project):
        shown.append(project.run("score", str(folder), check=0))
        load_run(folder)
    shown.append(project.run("report", "out"))
    shown.append(
        project.run("baseline", "bless", str(runs(project)[0]), "--as", "main", "--by", "me", check=0)
    )
    for kind in ("csv", "jsonl", "otel"):
        shown.append(project.run("export", "out", "--to", kind, "--out", f"tables-{kind}", check=0))
    shown.append(project.run("history", "--json"))
    assert (project.root / "outputs.jsonl").is_file() and (
        project.root / ".evalharness" / "cache.sqlite"
    ).is_file()
    for path in ("questions/cases.jsonl", "suite.yaml"):
        (project.root / path).unlink()
    assert not found_in(project.root)
    assert not [c for done in shown for c in CANARIES if c in done.out + done.err]


def test_errors_that_repeat_a_key_are_stored_and_told_without_it(
    project: Project, model_server: ModelServerHandle
) -> None:
    write(project, model_server, base="leak")
    done = project.run("run", "base.yaml", check=5)
    (journal,) = project.root.glob(".evalharness/runs/*/journal.jsonl")
    assert "[key]" in journal.read_text() and "[key]" in done.err
    assert not found_in(project.root / ".evalharness") and NAMED not in done.err


def test_answers_are_scored_as_they_are_stored(project: Project, model_server: ModelServerHandle) -> None:
    write(project, model_server)
    project.run("run", "base.yaml", check=0)
    (folder,) = runs(project)
    row = attempts(folder)[0]
    assert row["output"] == "right 0, says [key] [key] [key] [redacted] [email] [phone]"
    first = load_run(folder)
    project.run("score", str(folder), check=0)
    again = load_run(folder)
    assert (again.id, again.scores) == (first.id, first.scores)
    project.run("run", "base.yaml", check=0)
    assert model_server.counters()["requests"] == 20 and load_run(folder).id == first.id


def test_a_killed_run_leaves_no_canary_and_resumes_to_the_same_run(
    project: Project, model_server: ModelServerHandle
) -> None:
    write(project, model_server, base="lookup?latency_ms=60")
    command = [sys.executable, "-m", "evalharness", "run", "base.yaml"]
    process = subprocess.Popen(
        command, cwd=project.root, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    journal = ""
    while journal.count("\n") < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
        journal = "".join(p.read_text() for p in project.root.glob(".evalharness/runs/*/journal.jsonl"))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert "[email]" in journal and not found_in(project.root / ".evalharness")
    project.run("run", "base.yaml", check=0)
    (folder,) = runs(project)
    killed = load_run(folder).id
    assert not found_in(project.root / ".evalharness") and model_server.counters()["requests"] < 40
    project.run("run", "base.yaml", "--fresh", check=0)
    assert load_run(folder).id == killed


def test_what_was_stored_as_it_came_is_not_served_as_it_is(
    project: Project, model_server: ModelServerHandle
) -> None:
    write(project, model_server, rules="")
    project.run("run", "base.yaml", check=0)
    (raw,) = runs(project)
    assert EMAIL in attempts(raw)[0]["output"]
    project.write("suite.yaml", (project.root / "suite.yaml").read_text() + RULES)
    project.run("run", "base.yaml", check=0)
    (clean,) = set(runs(project)) - {raw}
    assert not found_in(clean) and model_server.counters()["requests"] == 20
    # nor is what was taken out missing from a suite that keeps it
    project.write("suite.yaml", (project.root / "suite.yaml").read_text().replace(RULES, ""))
    project.run("run", "base.yaml", check=0)
    assert EMAIL in attempts(raw)[0]["output"] and model_server.counters()["requests"] == 20
    # a run that was stored as it came is one of the other kind once it is scored so; what a candidate's file alone
    # says to be a key is known where that file is read
    project.write("suite.yaml", (project.root / "suite.yaml").read_text() + RULES)
    project.run("score", str(raw), check=0)
    assert not [text for text in found_in(raw) if NAMED not in text]


def test_both_sides_are_redacted_alike_or_not_compared(
    project: Project, model_server: ModelServerHandle
) -> None:
    write(project, model_server, rules="")
    project.run("run", "base.yaml", check=0)
    (raw,) = runs(project)
    project.write("suite.yaml", (project.root / "suite.yaml").read_text() + RULES)
    done = project.run("compare", str(raw), "cand.yaml", "--out", "out", check=0)
    assert not found_in(project.root / "out") and "no change" not in done.err
    clean = next(path for path in runs(project) if path != raw)
    project.write("suite.yaml", (project.root / "suite.yaml").read_text().replace(RULES, ""))
    done = project.run("compare", str(clean), str(raw), "--out", "out2", check=4)
    assert "were taken out of its answers before they were stored" in done.err
    (reason,) = json.loads((project.root / "out2/comparison.json").read_text())["reasons"]
    assert reason.startswith(f".evalharness/runs/{clean.name}: keys")  # wherever the project lies
    project.run("ci", "gate", str(clean), str(raw), "--out", "out3", check=4)
    assert json.loads((project.root / "out3/ci.json").read_text())["problems"] == [reason]


def test_a_key_that_was_not_known_where_a_run_was_stored_is_taken_out_when_it_is_read(
    project: Project, model_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, model_server)
    monkeypatch.delenv("SERVICE_SECRET")
    project.run("run", "base.yaml", check=0)
    assert BY_VALUE in attempts(runs(project)[0])[0]["output"]
    monkeypatch.setenv("SERVICE_SECRET", BY_VALUE)
    _, document = project.compare(check=0)
    assert {row["delta"] for row in document["metrics"]} == {0.0}
    assert not found_in(project.root / "out", project.root / ".evalharness" / "runs")


def test_judges_read_and_store_what_is_stored(project: Project, model_server: ModelServerHandle) -> None:
    bench = Bench(project, model_server)
    bench.cases(20)
    model_server.reset()
    bench.judge()
    bench.suite(more=RULES)
    bench.sides(
        *(
            [of(quality, side, i, PLAIN) for i in range(20)]
            for side, quality in (("base", 0.5), ("cand", 0.9))
        )
    )
    bench.calibrate()
    bench.compare()
    asked = json.dumps(model_server.last()["body"])
    assert "[email]" in asked and EMAIL not in asked
    assert any(project.root.rglob("judgments.jsonl"))
    assert not found_in(project.root / "out", project.root / ".evalharness")


def test_recorded_answers_and_errors_are_redacted_as_they_are_read(project: Project) -> None:
    project.golden_set("questions", [{"id": f"q{i}", "input": "a", "target": "a"} for i in range(12)])
    project.suite(scorers="[contains]")
    project.write("suite.yaml", (project.root / "suite.yaml").read_text() + RULES)
    rows = [{"id": f"q{i}", "output": f"a {PLAIN}", "contexts": [PLAIN]} for i in range(11)]
    project.candidate("base", [*rows, {"id": "q11", "error": PLAIN, "unscored": {}}])
    project.run("run", "base.yaml", check=0)
    assert not found_in(project.root / ".evalharness")
    (folder,) = runs(project)
    assert attempts(folder)[0]["contexts"] == ["[key] [key] [redacted] [email] [phone]"]


def test_results_of_other_tools_are_redacted_before_they_are_stored(project: Project) -> None:
    for side in ("base", "cand"):
        project.rows(
            f"{side}.jsonl",
            [
                {
                    "id": f"q{i}",
                    "input": f"{i} {PLAIN}",
                    "output": PLAIN,
                    "target": EMAIL,
                    "acc": float(i % 3 > 0),
                }
                for i in range(30)
            ],
        )
    project.write("suite.yaml", f"name: t\nevals:\n  - id: t\n    results: results\n{RULES}")
    done = project.run("compare", "base.jsonl", "cand.jsonl", "--suite", "suite.yaml", "--out", "out")
    assert done.code == 0, done.err
    assert any(project.root.rglob("cases.jsonl"))
    assert not found_in(project.root / "out", project.root / ".evalharness")


def test_answers_that_redaction_leaves_nothing_of_are_counted(project: Project) -> None:
    project.golden_set("questions", [{"id": f"q{i}", "input": f"question {i}"} for i in range(40)])
    project.suite(scorers="[refusal]")
    rules = "redact: {stored: true, patterns: ['(?s)Dear .*']}\n"
    project.write("suite.yaml", (project.root / "suite.yaml").read_text() + rules)
    for side, said in (("base", "Here you are."), ("cand", "I cannot help with that.")):
        rows = [{"id": f"q{i}", "output": f"Dear customer,\n{said if i else 'no'}"} for i in range(40)]
        project.candidate(side, rows)
    project.run("compare", "base.yaml", "cand.yaml", "--out", "gate")
    (told,) = [
        text
        for text in json.loads((project.root / "gate/comparison.json").read_text())["warnings"]
        if "leaves nothing" in text
    ]
    assert "of 40 of 40 baseline answers and 40 of 40 candidate answers" in told


def test_what_redaction_makes_of_a_suite_s_own_cases_is_told(project: Project) -> None:
    cases = [{"id": f"q{i}", "input": "a", "target": EMAIL if i in (3, 5) else "t"} for i in range(12)]
    project.golden_set("questions", cases)
    project.suite()
    project.write("suite.yaml", (project.root / "suite.yaml").read_text() + RULES)
    done = project.run("validate", "suite.yaml", check=0)
    assert (
        "warning: suite.yaml: golden set questions:" in done.err and "no answer can match q3, q5" in done.err
    )
    project.golden_set("questions", [{**case, "id": f"q{n} {EMAIL}"} for n, case in enumerate(cases)])
    err = project.run("validate", "suite.yaml", check=2).err
    assert "questions/cases.jsonl:1: the id 'q0 [email]' holds what `redact` takes out" in err
    assert "2 further ids" in err and EMAIL not in err
    project.golden_set("questions", cases)
    project.suite(scorers="[exact_match, pii]")
    project.write("suite.yaml", (project.root / "suite.yaml").read_text() + RULES)
    err = project.run("validate", "suite.yaml", check=2).err
    assert "suite.yaml:6: qa/pii counts email and phone in answers, and `redact` takes them out first" in err
