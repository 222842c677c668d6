"""An answer's code against a case's tests, in a sandbox: what came of it."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from evalharness.sandbox import (
    Backend,
    Ended,
    Finished,
    Killed,
    Limits,
    OutOfMemory,
    Program,
    TimedOut,
    TooMuchOutput,
    converse,
    run,
)
from evalharness.scorers._code_cases import Streams, TestCode, Tests

Word: TypeAlias = Literal[
    "passed",  # every test
    "failed",  # an assertion, or another output than expected
    "error",  # the code, or a test that used it, raised
    "ended",  # the code ended its process before the tests were through
    "timeout",  # CPU or wall time
    "memory",
    "output",  # wrote more than allowed
    "crashed",  # a signal that no limit explains
    "no code",
]
_LINES: Final = 5
_CHARACTERS: Final = 1000
_WHY: Final = 500


@dataclass(frozen=True, slots=True)
class Job:
    """What is run: hashable, so that the same code with the same tests is run once."""

    code: str
    tests: Tests
    shared: bool
    limits: Limits


@dataclass(frozen=True, slots=True)
class Outcome:
    """`why` is the first thing that went wrong, `failed` the tests that did not pass, of `total`."""

    word: Word
    total: int
    failed: tuple[str, ...] = ()
    why: str = ""
    stderr: str = ""


def run_job(backend: Backend, job: Job, stop: threading.Event) -> Outcome:
    """Run it.

    Raises:
        SandboxFailedError: a sandbox did not start; says nothing of the code.
    """
    if not job.code.strip():
        return Outcome("no code", len(job.tests.names), job.tests.names, "the answer holds no code")
    if isinstance(job.tests, Streams):
        return _streams(backend, job, job.tests, stop)
    return _tested(backend, job, job.tests, stop)


def _streams(backend: Backend, job: Job, tests: Streams, stop: threading.Event) -> Outcome:
    """Each test runs the program anew. After one that hit a limit the others are not run: they would, too."""
    failed: list[str] = []
    first = Outcome("passed", len(tests.pairs))
    for place, (name, (given, expected)) in enumerate(zip(tests.names, tests.pairs, strict=True)):
        program = Program(main=job.code, stdin=given.encode("utf-8", "surrogatepass"))
        ended = run(backend, program, job.limits, stop)
        found = _ended(ended)
        if found is None and _lines(ended.stdout.decode("utf-8", "replace")) != _lines(expected):
            found = (
                "failed",
                f"{name}: wrote {_shown(ended.stdout)}, not {_shown(expected.encode('utf-8', 'replace'))}",
            )
        if found is None:
            continue
        failed.append(name)
        if first.word == "passed":
            first = replace(first, word=found[0], why=_plain(found[1])[:_WHY], stderr=_tail(ended.stderr))
        if found[0] in ("timeout", "memory", "output"):
            failed += tests.names[place + 1 :]
            break
    return replace(first, failed=tuple(failed))


def _tested(backend: Backend, job: Job, tests: TestCode, stop: threading.Event) -> Outcome:
    token = secrets.token_hex(16)
    runner = {
        "blocks": [asdict(block) for block in tests.blocks],
        "setup": tests.setup,
        "entry_point": tests.entry_point,
        "shared": job.shared,
        "token": token,
    }
    files = {"answer.py": job.code}
    if job.shared:
        tester = run(backend, Program(main=_text("tests"), job=runner, files=files), job.limits, stop)
        answer, report = tester, tester.stdout
    else:
        tester, answer = converse(
            backend,
            Program(main=_text("peer", "tests"), job=runner),
            Program(main=_text("peer", "answer"), files=files),
            job.limits,
            stop,
        )
        report = tester.stderr
    return _read(_rows(report), tests, token, tester, answer)


def _read(
    rows: Sequence[dict[str, Any]], tests: TestCode, token: str, tester: Ended, answer: Ended
) -> Outcome:
    """The outcome from what the tests said, and from how the processes ended where they said less than everything."""
    names = tests.names
    passed = {str(row["test"]) for row in rows if row.get("kind") == "passed"}
    wrong = next((row for row in rows if row.get("kind") in ("failed", "error", "ended")), None)
    refused = next((str(row["refused"]) for row in rows if "refused" in row), None)
    through = any(row.get("done") == token for row in rows)
    failed = tuple(name for name in names if name not in passed)
    stderr = _tail(answer.stderr)
    if through and wrong is None and not failed and isinstance(tester, Finished) and not tester.code:
        return Outcome("passed", len(names), stderr=stderr)
    word: Word
    if isinstance(tester, TimedOut):
        word, why = "timeout", "the time is up"
    elif isinstance(tester, OutOfMemory | TooMuchOutput):
        found = _ended(tester)
        word, why = found or ("error", "")
    elif refused is not None:
        word, why = _loading(refused, answer)
    elif wrong is not None and wrong["kind"] == "ended":
        word, why = _ended(answer) or ("ended", "the code ended its process before the tests were through")
    elif wrong is not None:
        word, why = wrong["kind"], str(wrong["why"])
        word = "memory" if why.startswith("MemoryError") else word
    else:
        word, why = _ended(answer) or _ended(tester) or ("ended", "the tests were not run to their end")
    if not through and not failed:
        failed = names[-1:]
    return Outcome(word, len(names), failed, _plain(why)[:_WHY], stderr)


def _loading(refused: str, answer: Ended) -> tuple[Word, str]:
    """Why the code could not be loaded."""
    if refused.startswith("MemoryError"):
        return "memory", refused
    if refused.startswith("SystemExit") or "process ended" in refused:
        found = _ended(answer)
        return found if found is not None and found[0] != "error" else ("ended", refused)
    return "error", refused


def _ended(ended: Ended) -> tuple[Word, str] | None:
    """What a process's end says against it; None for an orderly one."""
    if isinstance(ended, TimedOut):
        return "timeout", "the time is up"
    if isinstance(ended, OutOfMemory):
        return "memory", "the memory is used up"
    if isinstance(ended, TooMuchOutput):
        return "output", "it wrote more than allowed"
    if isinstance(ended, Killed):
        return "crashed", f"it was ended by signal {ended.signal}"
    if ended.code == 0:
        return None
    said = _tail(ended.stderr).splitlines()
    last = said[-1] if said else f"it ended with exit code {ended.code}"
    return "memory" if last.startswith("MemoryError") else "error", last


def _rows(report: bytes) -> list[dict[str, Any]]:
    found = []
    for line in report.decode("utf-8", "replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            found.append(row)
    return found


def _lines(text: str) -> list[str]:
    """What is compared of a program's output: neither white space at the ends of lines nor empty lines at the end."""
    return "\n".join(line.rstrip() for line in text.split("\n")).rstrip().split("\n")


def _shown(text: bytes) -> str:
    short = text[:80].decode("utf-8", "replace")
    return repr(short + ("…" if len(text) > len(short.encode()) else ""))


def _tail(text: bytes) -> str:
    """The last lines, fit to be shown: no control characters, bounded."""
    return "\n".join(_plain(text[-4000:].decode("utf-8", "replace")).strip().splitlines()[-_LINES:])[
        -_CHARACTERS:
    ]


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)


@cache
def _text(*names: str) -> str:
    """The programs that run inside, one after the other."""
    return "\n".join(
        Path(__file__).with_name(f"_code_{name}.py").read_text(encoding="utf-8") for name in names
    )
