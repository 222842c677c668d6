"""A small project in an empty folder, and the command line run as a user runs it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from evalharness.cli.main import run
from tests.servers.fixture import _model_server_process, model_server

__all__ = ["_model_server_process", "model_server"]


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str


class Project:
    """Files of a user: golden sets, a suite, two recorded candidates."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def rows(self, name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
        return self.write(name, "".join(json.dumps(row) + "\n" for row in rows))

    def golden_set(self, name: str, cases: Sequence[Mapping[str, Any]]) -> None:
        self.write(f"{name}/card.yaml", f"name: {name}\nversion: 1.0.0\ntask: demonstration\n")
        self.rows(f"{name}/cases.jsonl", cases)

    def suite(self, scorers: str = "[exact_match]", gate: str = "", golden_set: str = "questions") -> None:
        self.write(
            "suite.yaml",
            f"name: project\nevals:\n  - id: qa\n    golden_set: ./{golden_set}\n    scorers: {scorers}\n"
            + (f"gate: {gate}\n" if gate else ""),
        )

    def candidate(self, name: str, outputs: Sequence[Mapping[str, Any]]) -> None:
        self.rows(f"{name}.jsonl", outputs)
        self.write(
            f"{name}.yaml", f"name: {name}\nsuite: ./suite.yaml\nprovider: replay\noutputs: ./{name}.jsonl\n"
        )

    def binary(
        self,
        n: int,
        regressed: int,
        fixed: int,
        *,
        cases: Callable[[int], Mapping[str, Any]] | None = None,
        **suite: str,
    ) -> None:
        """A project whose single metric has so many regressed and fixed cases; 80% of the others are right."""
        extra = cases or (lambda i: {})
        self.golden_set(
            "questions",
            [{"id": f"q{i}", "input": f"question {i}", "target": f"t{i}", **extra(i)} for i in range(n)],
        )
        self.suite(**suite)
        moved = regressed + fixed

        def right(i: int, side: str) -> bool:
            if i < regressed:
                return side == "base"
            if i < moved:
                return side == "cand"
            return (i - moved) % 5 != 0

        for side in ("base", "cand"):
            self.candidate(
                side, [{"id": f"q{i}", "output": f"t{i}" if right(i, side) else "wrong"} for i in range(n)]
            )

    def run(self, *arguments: str, check: int | None = None) -> Done:
        """`evalharness …` in the project's folder. In this process: starting one costs more than the work."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.chdir(self.root), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(list(arguments))
        return self._done(Done(code, out.getvalue(), err.getvalue()), check)

    def process(
        self, *arguments: str, check: int | None = None, env: Mapping[str, str] | None = None
    ) -> Done:
        """`evalharness …` as its own process, exactly as a shell runs it."""
        done = subprocess.run(
            [sys.executable, "-m", "evalharness", *arguments],
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, **(env or {})},
        )
        return self._done(Done(done.returncode, done.stdout, done.stderr), check)

    @staticmethod
    def _done(done: Done, check: int | None) -> Done:
        assert "Traceback" not in done.err, done.err
        if check is not None:
            assert done.code == check, f"exit {done.code}\n{done.out}\n{done.err}"
        return done

    def compare(self, *extra: str, check: int | None = None) -> tuple[Done, dict[str, Any]]:
        """`compare base.yaml cand.yaml --out out`, and the comparison.json it wrote."""
        done = self.run("compare", "base.yaml", "cand.yaml", "--out", "out", *extra, check=check)
        path = self.root / "out" / "comparison.json"
        return done, json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)
