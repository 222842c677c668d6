"""The `model_server` fixture: the test server as a real process. Import it into a conftest to use it.

from tests.servers.fixture import model_server  # or load_fixture, where tests is not importable
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent / "model_server.py"


@dataclass(frozen=True)
class ModelServerHandle:
    """A running server. `base_url` is for the OpenAI SDK, `root_url` for the Anthropic SDK."""

    root_url: str
    pid: int

    @property
    def base_url(self) -> str:
        return self.root_url + "/v1"

    def counters(self) -> dict[str, Any]:
        return self._json("/_counters")

    def last(self) -> dict[str, Any]:
        return self._json("/_last")

    def reset(self) -> None:
        self._json("/_reset", {})

    def answers(self, table: Mapping[str, str]) -> None:
        """What the model `lookup` says to each question."""
        self._json("/_answers", dict(table))

    def truth(self, table: Mapping[str, float | Mapping[str, float]]) -> None:
        """How good texts are, all in all or by criterion, to the judges that go by the truth."""
        self._json("/_truth", dict(table))

    def _json(self, path: str, data: Any = None) -> dict[str, Any]:
        body = None if data is None else json.dumps(data).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(self.root_url + path, data=body), timeout=10) as response:
            result: dict[str, Any] = json.load(response)
        return result


@contextmanager
def running_server(*args: str, script: Path = SCRIPT) -> Iterator[ModelServerHandle]:
    """Start `model_server.py`, or another script here, with `args`, wait until it listens, stop it at the end."""
    command = [sys.executable, str(script), "--port", "0", "--exit-with-stdin", *args]
    # Standard input is held open: should this process be killed, the server sees it close and stops too.
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        line = process.stdout.readline().decode()
        if not line.startswith("PORT "):
            raise RuntimeError(f"the test server did not start: {line!r}")
        yield ModelServerHandle(f"http://127.0.0.1:{int(line.split()[1])}", process.pid)
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


@pytest.fixture(scope="session")
def _model_server_process() -> Iterator[ModelServerHandle]:
    with running_server() as handle:
        yield handle


@pytest.fixture
def model_server(_model_server_process: ModelServerHandle) -> ModelServerHandle:
    """A running server with its counters at zero."""
    _model_server_process.reset()
    return _model_server_process
