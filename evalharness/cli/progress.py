"""Progress of runs on stderr: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from evalharness.api import Attempt, Progress

_EVERY_S: Final = 15.0
_REDRAW_S: Final = 0.1


def make_progress(*, quiet: bool) -> Progress:
    """The listener that fits where stderr goes."""
    if quiet:
        from evalharness.api import Silent

        return Silent()
    return _Bar() if sys.stderr.isatty() else _Lines()


class _Lines:
    """For logs: a line at the start, then at most one every 15 seconds, and one at the end."""

    _open = 0

    def start(self, name: str, total: int, done: int) -> None:
        self._name, self._total, self._done, self._failed = name, total, done, 0
        self._spent: float | None = None
        self._began = self._last = time.monotonic()
        self._open = total - done
        if self._open:
            kept = f", {done} need no call" if done else ""
            _line(f"{name}: {self._open} calls to make{kept}")

    def advance(self, attempt: Attempt, spent_usd: float | None) -> None:
        self._done += 1
        self._failed += attempt.failed
        self._spent = spent_usd
        now = time.monotonic()
        if now - self._last >= _EVERY_S:
            self._last = now
            self._report(now)

    def note(self, text: str) -> None:
        _line(text)

    def finish(self) -> None:
        if self._open:
            self._report(None)
        self._open = 0

    def _report(self, now: float | None) -> None:
        """A line. `now` None: the run has ended, and what is left, if anything, is not on its way."""
        made = self._open - (self._total - self._done)
        left = self._total - self._done
        text = f"{self._name}: {self._done}/{self._total}"
        if self._failed:
            text += f", {self._failed} failed"
        if self._spent is not None:
            text += f", ${self._spent:.4f}"
        if left and made and now is not None:
            text += f", about {left * (now - self._began) / made:.0f} s left"
        _line(text)


class _Bar:
    """For people: a bar with the share done, time left and money spent."""

    _bar: Any = None

    def start(self, name: str, total: int, done: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._failed = 0
        self._arrived = 0
        self._drawn = time.monotonic()
        self._extra = ""
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[extra]}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(_plain(name), total=total, completed=done, extra="")
        self._bar.start()

    def advance(self, attempt: Attempt, spent_usd: float | None) -> None:
        self._failed += attempt.failed
        self._arrived += 1
        self._extra = f"{self._failed} failed " if self._failed else ""
        self._extra += f"${spent_usd:.4f}" if spent_usd is not None else ""
        now = time.monotonic()
        if now - self._drawn >= _REDRAW_S:
            # the bar is drawn ten times a second: more updates than that only cost time
            self._drawn = now
            self._update()

    def note(self, text: str) -> None:
        if self._bar is None:
            _line(text)
        else:
            self._bar.console.print(_plain(text), markup=False, highlight=False)

    def finish(self) -> None:
        if self._bar is not None:
            self._update()
            self._bar.stop()
            self._bar = None

    def _update(self) -> None:
        self._bar.update(self._task, advance=self._arrived, extra=self._extra)
        self._arrived = 0


def _line(text: str) -> None:
    # a log that nobody reads any more must not end a run
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(_plain(text) + "\n")
        sys.stderr.flush()


def _plain(text: str) -> str:
    from evalharness.api import plain, without_keys

    return plain(without_keys(text)).replace("\n", " ")
