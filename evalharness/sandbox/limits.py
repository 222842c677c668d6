"""What a contained program is given, what it may use, and how it can end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from evalharness.errors import EvalHarnessError, UsageError

MEGABYTE: Final = 1_000_000
SCRATCH: Final = "/scratch"
ENVIRONMENT: Final[Mapping[str, str]] = {
    "HOME": SCRATCH,
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "MALLOC_ARENA_MAX": "1",  # else each thread reserves address space that the limit of memory counts
    "OMP_NUM_THREADS": "1",
    "PATH": "/usr/bin:/bin",
    "PYTHONHASHSEED": "0",
    "TMPDIR": SCRATCH,
    "TZ": "UTC",
}
"""The whole environment of a contained program."""

_NOTHING: Mapping[str, Any] = {}


class SandboxUnavailableError(UsageError):
    """Nothing on this machine contains a program; says why and what to install. Nothing was run."""


class SandboxFailedError(EvalHarnessError):
    """One contained program could not be started. Says nothing of the program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one contained program may use.

    `cpu_s` is CPU time of each process, `wall_s` the time from start to end. `memory_mb` (10^6 bytes) bounds the
    address space of each process and the memory of all together; `processes` counts threads, too. `output_bytes`
    bounds each of standard output and error, `scratch_mb` the scratch folder and each file in it.
    """

    cpu_s: int = 5
    wall_s: float = 20.0
    memory_mb: int = 512
    processes: int = 32
    output_bytes: int = MEGABYTE
    scratch_mb: int = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Python source to run in an empty scratch folder.

    `main` is run as `__main__` with the name JOB bound to `job` (JSON data). `files` are written into the scratch
    folder first, bare name → text. `stdin` is what standard input then holds.
    """

    main: str
    job: Any = None
    files: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    stdin: bytes = b""

    def package(self) -> bytes:
        """All of it as it goes down standard input: ten digits of length, JSON, the program's own input."""
        text = json.dumps({"main": self.main, "job": self.job, "files": dict(self.files)}).encode()
        return b"%010d" % len(text) + text + self.stdin


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """`stdout` and `stderr` hold what was written, up to the limit; `seconds` is wall time."""

    stdout: bytes
    stderr: bytes
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(_Run):
    """It ended by itself."""

    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed(_Run):
    """It died of a signal that no limit explains: a crash of the interpreter (11), for one."""

    signal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOut(_Run):
    """It used up its CPU time or its wall time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfMemory(_Run):
    """Its processes together used more memory than allowed.

    A single process that asks for too much is told so by the system (MemoryError in Python) and ends by itself.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class TooMuchOutput(_Run):
    """It wrote more than allowed."""


Ended: TypeAlias = Finished | Killed | TimedOut | OutOfMemory | TooMuchOutput
