"""Contained processes: started, fed, watched against their limits, and ended with all that they started."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import FileIO
from typing import Final, Literal, Protocol, TypeAlias

from evalharness.sandbox.limits import (
    MEGABYTE,
    Ended,
    Finished,
    Killed,
    Limits,
    OutOfMemory,
    Program,
    SandboxFailedError,
    TimedOut,
    TooMuchOutput,
)

_LOOK_S: Final = 0.05
"""How often the memory of a program and the clock are looked at."""
_END_S: Final = 10.0
"""How long the system may take to end what was killed."""
_GRACE_S: Final = 0.5
_MARK: Final = b"\x06"
_CHUNK: Final = 1 << 16

_Limit: TypeAlias = Literal["time", "memory", "output"]


class Backend(Protocol):
    """A way to contain programs, proven to work on this machine."""

    @property
    def name(self) -> str: ...

    def start(self, limits: Limits, *, stdin: int, stdout: int, stderr: int) -> Started:
        """Start the boot program, which reads a `Program.package` from `stdin`; the descriptors stay the caller's.

        Raises:
            SandboxFailedError: it cannot be started.
        """
        ...


@dataclass(frozen=True, slots=True)
class Started:
    """A process of a backend.

    `kill` ends it with all it started. `memory` is what they use together in bytes, None where the backend
    bounds it.
    """

    popen: subprocess.Popen[bytes]
    kill: Callable[[], None]
    memory: Callable[[], int] | None


@dataclass(slots=True, eq=False)
class _Part:
    """One contained program of a session."""

    started: Started
    out: bytearray = field(default_factory=bytearray)
    err: bytearray = field(default_factory=bytearray)
    hit: _Limit | None = None

    def alive(self) -> bool:
        return self.started.popen.poll() is None

    def ended(self, seconds: float) -> Ended:
        """How it ended. Raises SandboxFailedError where it never began."""
        code = self.started.popen.returncode
        if not self.err.startswith(_MARK):
            said = bytes(self.err[-500:]).decode("utf-8", "replace").strip()
            raise SandboxFailedError(f"the sandbox did not start (exit {code}): {said or 'it said nothing'}")
        out, err = bytes(self.out), bytes(self.err[len(_MARK) :])
        number = -code if code < 0 else code - 128 if code > 128 else 0
        if self.hit == "time" or (self.hit is None and number == signal.SIGXCPU):
            return TimedOut(stdout=out, stderr=err, seconds=seconds)
        if self.hit == "memory":
            return OutOfMemory(stdout=out, stderr=err, seconds=seconds)
        if self.hit == "output":
            return TooMuchOutput(stdout=out, stderr=err, seconds=seconds)
        if number:
            return Killed(stdout=out, stderr=err, seconds=seconds, signal=number)
        return Finished(stdout=out, stderr=err, seconds=seconds, code=code)


def run(backend: Backend, program: Program, limits: Limits, stop: threading.Event | None = None) -> Ended:
    """Run one program to its end.

    Args:
        backend: from `find_sandbox`.
        program: what to run.
        limits: what it may use.
        stop: where set, the program is ended at once (as killed by a signal).

    Raises:
        SandboxFailedError: it could not be started.
    """
    with _Session(limits, stop) as session:
        out_r, out_w = session.pipe()
        with out_w:
            part = session.start(backend, session.sealed(program.package()), out_w)
        session.collect(part, part.out, out_r)
        session.watch(part)
        return part.ended(session.seconds)


def converse(
    backend: Backend,
    leader: Program,
    partner: Program,
    limits: Limits,
    stop: threading.Event | None = None,
) -> tuple[Ended, Ended]:
    """Run two programs, each in a sandbox of its own, the output of each being the input of the other.

    The session lasts until the leader ends; a partner that still runs then is killed. Both have the limits, and neither
    can reach the other but through these two pipes. The leader must not write before the partner wrote to it.

    Raises:
        SandboxFailedError: one of them could not be started.
    """
    with _Session(limits, stop) as session:
        (leader_r, leader_w), (partner_r, partner_w) = session.pipe(), session.pipe()
        with leader_r, leader_w, partner_r, partner_w:  # closed here, so that each sees the end of the other
            first = session.start(backend, leader_r, partner_w)
            session.feed(
                leader_w, leader.package()
            )  # before the partner, who writes to the same end, is there
            second = session.start(backend, partner_r, leader_w)
            session.feed(partner_w, partner.package())
        session.watch(first, second)
        return first.ended(session.seconds), second.ended(session.seconds)


class _Session:
    """Programs that run together under one clock. Leaves no process and no descriptor behind."""

    def __init__(self, limits: Limits, stop: threading.Event | None) -> None:
        self.limits = limits
        self.seconds = 0.0
        self._began = time.monotonic()
        self._stop = stop or threading.Event()
        self._parts: list[_Part] = []
        self._open = contextlib.ExitStack()
        self._selector = self._open.enter_context(selectors.DefaultSelector())

    def __enter__(self) -> _Session:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._end()
        finally:
            self._open.close()

    def pipe(self) -> tuple[FileIO, FileIO]:
        """The end to read and the end to write, closed with the session at the latest."""
        reading, writing = os.pipe()
        ends = FileIO(reading, "rb"), FileIO(writing, "wb")
        for end in ends:
            self._open.enter_context(end)
        return ends

    def sealed(self, content: bytes) -> FileIO:
        """A file in memory that nobody can change: a program reads it at its own pace."""
        if sys.platform == "linux":
            file = FileIO(os.memfd_create("stdin", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "wb+")
        else:  # Docker's programs get a copy
            with tempfile.TemporaryFile() as held:
                file = FileIO(os.dup(held.fileno()), "wb+")
        self._open.enter_context(file)
        view = memoryview(content)
        while view:
            view = view[file.write(view) :]
        file.seek(0)
        if sys.platform == "linux":
            seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
        return file

    def start(self, backend: Backend, stdin: FileIO, stdout: FileIO) -> _Part:
        err_r, err_w = self.pipe()
        with err_w:
            started = backend.start(
                self.limits, stdin=stdin.fileno(), stdout=stdout.fileno(), stderr=err_w.fileno()
            )
        part = _Part(started)
        self._parts.append(part)
        self.collect(part, part.err, err_r)
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # to wake up when it ends; the clock does it, too
                ended = self._open.enter_context(FileIO(os.pidfd_open(started.popen.pid)))
                self._selector.register(ended, selectors.EVENT_READ)
        return part

    def collect(self, part: _Part, into: bytearray, pipe: FileIO) -> None:
        """What comes out of `pipe` goes `into` the part's store from now on."""
        self._selector.register(pipe, selectors.EVENT_READ, (part, into))

    def feed(self, pipe: FileIO, content: bytes) -> None:
        """Write all of it. A program that is gone does not read the rest; how it ended is seen later."""
        view = memoryview(content)
        os.set_blocking(pipe.fileno(), False)
        try:
            while view:
                _, ready, _ = select.select([], [pipe], [], self._left())
                if not ready:
                    return  # out of time, which `watch` sees at once
                view = view[pipe.write(view) or 0 :]
        except BrokenPipeError:
            pass
        finally:
            os.set_blocking(
                pipe.fileno(), True
            )  # the setting belongs to the program that inherits this end, too

    def watch(self, leader: _Part, *others: _Part) -> None:
        """Wait until the leader ends or a limit is hit; then end everything and read what was still to come."""
        while leader.alive() and not self._stop.is_set():
            self._read(_LOOK_S)
            if not self._left():
                for part in self._parts:
                    part.hit = part.hit or "time"
            self._look_at_memory()
            if any(part.hit for part in self._parts):
                break
        # What the partner did in its last moment says why the leader gave up on it.
        if not leader.alive() and others and not leader.hit:
            self._grace(others)
        self.seconds = time.monotonic() - self._began
        self._end()

    def _grace(self, parts: Sequence[_Part]) -> None:
        """A partner that closed its output is about to end; its exit status says why."""
        until = time.monotonic() + _GRACE_S
        while any(part.alive() for part in parts) and time.monotonic() < until:
            self._read(_GRACE_S / 10)

    def _left(self) -> float:
        return max(self._began + self.limits.wall_s - time.monotonic(), 0.0)

    def _read(self, timeout: float) -> bool:
        """Read what is there; False when no pipe is open any more."""
        if not self._selector.get_map():
            time.sleep(timeout)
            return False
        for key, _ in self._selector.select(timeout):
            if key.data is None:
                self._selector.unregister(key.fileobj)
                continue
            part, into = key.data
            chunk = os.read(key.fd, _CHUNK)
            if not chunk:
                self._selector.unregister(key.fileobj)
            most = self.limits.output_bytes + (len(_MARK) if into is part.err else 0)
            if len(into) + len(chunk) > most:
                part.hit = part.hit or "output"
            into += chunk[: most - len(into)]
        return True

    def _look_at_memory(self) -> None:
        for part in self._parts:
            memory = part.started.memory
            if memory is not None and memory() > self.limits.memory_mb * MEGABYTE:
                part.hit = part.hit or "memory"

    def _end(self) -> None:
        """End every process of the session, and read what they had written."""
        for part in self._parts:
            part.started.kill()
        until = time.monotonic() + _END_S
        for part in self._parts:
            with contextlib.suppress(subprocess.TimeoutExpired):
                part.started.popen.wait(timeout=max(until - time.monotonic(), 0))
        # A pipe ends when the last process that holds it is gone.
        while self._selector.get_map() and time.monotonic() < until:
            self._read(_LOOK_S)
        if self._selector.get_map() or any(part.alive() for part in self._parts):
            raise SandboxFailedError("a contained program could not be ended")
