"""The sandbox of this machine, and a short way to run a program in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from evalharness.sandbox import (
    Backend,
    Ended,
    Finished,
    Limits,
    Program,
    SandboxUnavailableError,
    find_sandbox,
    run,
)

LIMITS = Limits(cpu_s=3, wall_s=15.0, memory_mb=256, processes=16, output_bytes=100_000, scratch_mb=4)


@pytest.fixture(scope="session")
def sandbox() -> Backend:
    try:
        return find_sandbox()
    except SandboxUnavailableError as error:
        pytest.skip(f"{error} (CI runs: apt-get install bubblewrap)")


@pytest.fixture(scope="session")
def contained(sandbox: Backend) -> Callable[..., Ended]:
    """contained(source, job=None, limits=LIMITS, **program) → how it ended"""

    def go(source: str, job: Any = None, limits: Limits = LIMITS, **more: Any) -> Ended:
        return run(sandbox, Program(main=source, job=job, **more), limits)

    return go


@pytest.fixture(scope="session")
def output(contained: Callable[..., Ended]) -> Callable[..., str]:
    """output(source, job=None) → what it printed, asserting that it ended well"""

    def go(source: str, job: Any = None, **more: Any) -> str:
        ended = contained(source, job, **more)
        assert isinstance(ended, Finished) and ended.code == 0, ended
        return ended.stdout.decode().strip()

    return go
