"""Run a program that nobody trusts: contained by bubblewrap or Docker, within limits, or not at all."""

from evalharness.sandbox.find import find_sandbox
from evalharness.sandbox.limits import (
    Ended,
    Finished,
    Killed,
    Limits,
    OutOfMemory,
    Program,
    SandboxFailedError,
    SandboxUnavailableError,
    TimedOut,
    TooMuchOutput,
)
from evalharness.sandbox.process import Backend, converse, run

__all__ = [
    "Backend",
    "Ended",
    "Finished",
    "Killed",
    "Limits",
    "OutOfMemory",
    "Program",
    "SandboxFailedError",
    "SandboxUnavailableError",
    "TimedOut",
    "TooMuchOutput",
    "converse",
    "find_sandbox",
    "run",
]
