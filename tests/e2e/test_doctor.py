"""`doctor`: what would stop tonight's gate is found now, and no key is ever printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Project
from tests.servers.fixture import ModelServerHandle

SECRET = "sk-proj-canary-0123456789abcdefghij"


def write(tmp_path: Path, url: str) -> Project:
    project = Project(tmp_path)
    project.golden_set(
        "questions", [{"id": f"q{i}", "input": f"question {i}", "target": "a"} for i in range(30)]
    )
    project.suite()
    project.write(
        "base.yaml",
        f"name: base\nsuite: ./suite.yaml\nprovider: openai\nmodel: lookup\nbase_url: {url}\napi_key_env: TEST_KEY\n",
    )
    return project


def found(project: Project, *arguments: str, code: int) -> dict[tuple[str, str], list[dict[str, Any]]]:
    done = project.run("doctor", *arguments, "--json", check=code)
    assert SECRET not in done.out + done.err
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in json.loads(done.out)["findings"]:
        rows.setdefault((row["area"], row["state"]), []).append(row)
    return rows


def test_a_bare_machine_is_looked_at(tmp_path: Path) -> None:
    done = Project(tmp_path).run("doctor", check=0)
    assert "GiB free" in done.out and "nothing would stop the gate" in done.out
    assert not (tmp_path / ".evalharness").exists()


def test_a_key_and_a_server_that_are_there(
    tmp_path: Path, model_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", SECRET)
    rows = found(write(tmp_path, model_server.base_url), "base.yaml", code=0)
    said = [row["text"] for row in rows["candidates", "ok"]]
    assert said[0] == "a key is in TEST_KEY" and said[1].endswith("answers")
    assert any("30 cases" in row["text"] for row in rows["power", "warning"])
    assert any("not locked" in row["text"] for row in rows["suite", "warning"])
    assert model_server.counters()["requests"] == 0


def test_a_missing_key_and_a_dead_server_are_problems(tmp_path: Path) -> None:
    rows = found(write(tmp_path, "http://127.0.0.1:9/v1"), "base.yaml", code=2)
    assert [(row["text"], row["fix"]) for row in rows["candidates", "problem"]] == [
        ("no key in TEST_KEY", "set TEST_KEY"),
        ("127.0.0.1:9 does not answer: ConnectError", "start the server, or mend base_url"),
    ]


def test_wrong_files_are_told_all_at_once_and_nothing_else_is_tried(tmp_path: Path) -> None:
    project = write(tmp_path, "http://127.0.0.1:9/v1")
    project.write("suite.yaml", (tmp_path / "suite.yaml").read_text().replace("exact_match", "exact_mtch"))
    rows = found(project, "base.yaml", code=2)
    (row,) = rows["files", "problem"]
    assert row["about"] == "suite.yaml" and "exact_mtch" in row["text"]
    assert ("candidates", "problem") not in rows


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("store", "a file")
    rows = found(project, "--store", "store", code=2)
    assert rows["surroundings", "problem"][0]["about"] == "store"


def test_only_what_there_is_to_do(tmp_path: Path) -> None:
    done = write(tmp_path, "http://127.0.0.1:9/v1").run("doctor", "base.yaml", "--problems", check=2)
    assert "✓" not in done.out and "✗ base: no key in TEST_KEY" in done.out
