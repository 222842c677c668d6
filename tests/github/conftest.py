"""The server as a process, clean for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.github.runner import ROOT, GitHub
from tests.servers.fixture import running_server


@pytest.fixture(scope="session")
def _github_process() -> Iterator[GitHub]:
    with running_server(script=ROOT / "tests" / "servers" / "github_server.py") as handle:
        yield GitHub(handle)


@pytest.fixture
def github(_github_process: GitHub) -> GitHub:
    _github_process.seed()
    return _github_process
