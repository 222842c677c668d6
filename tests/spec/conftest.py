"""A small project on disk that each test bends in one place."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from evalharness.content import PathPolicy
from evalharness.errors import Problem, SpecError
from evalharness.plugins import Registry, default_registry

CARD = """name: set
version: "1"
task: Answer.
licence: CC0-1.0
provenance: written for a test
reviewed: {by: nobody}
"""
SUITE = """name: s
evals:
  - id: e
    golden_set: ./set
    scorers: [exact_match]
"""
CANDIDATE = """name: c
suite: ./suite.yaml
provider: replay
outputs: ./out.jsonl
"""


class Project:
    """Files below one folder, which is the working directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = PathPolicy(root)
        self.registry: Registry = default_registry(third_party=False)

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    def cases(self, rows: Sequence[Any], name: str = "set") -> Path:
        if not (self.root / name / "card.yaml").exists():
            self.write(f"{name}/card.yaml", CARD.replace("name: set", f"name: {name}"))
        text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
        self.write(f"{name}/cases.jsonl", text)
        return self.root / name


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A candidate, its suite, a golden set of two cases and recorded outputs, all right."""
    monkeypatch.chdir(tmp_path)
    made = Project(tmp_path)
    made.cases([{"id": "a", "input": "one", "target": "x"}, {"id": "b", "input": "two", "target": "y"}])
    made.write("suite.yaml", SUITE)
    made.write("c.yaml", CANDIDATE)
    made.write("out.jsonl", '{"id": "a", "output": "x"}\n{"id": "b", "output": "y"}\n')
    return made


Failing = Callable[[Callable[[], object]], tuple[Problem, ...]]


@pytest.fixture
def failing() -> Failing:
    """Call something that must raise SpecError; gives its problems."""

    def call(action: Callable[[], object]) -> tuple[Problem, ...]:
        with pytest.raises(SpecError) as caught:
            action()
        assert caught.value.exit_code == 2
        return caught.value.problems

    return call
