"""A coroutine run to its end from plain code."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


def run_sync(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end, also where a loop already runs in this thread (a notebook)."""
    box: list[_T] = []
    started: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = []

    async def boxed() -> None:
        _end_calmly()
        started.append((asyncio.get_running_loop(), asyncio.current_task()))
        # asyncio.run makes the repr of its finished task, result included: seconds for a run of 100,000 answers
        box.append(await work)

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        before = signal.getsignal(signal.SIGTERM)
        try:
            asyncio.run(boxed())
        finally:
            if signal.getsignal(signal.SIGTERM) is not before:  # a loop that closes leaves the system's own
                signal.signal(signal.SIGTERM, before)
        return box[0]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=1) as pool:
        thread = pool.submit(asyncio.run, boxed())
        try:
            thread.result()
        except KeyboardInterrupt:
            # The stop button reaches this thread only; without this the pool would wait for the whole run.
            for loop, task in started:
                if task is not None:
                    with contextlib.suppress(RuntimeError):
                        loop.call_soon_threadsafe(task.cancel)
            raise
    return box[0]


def _end_calmly() -> None:
    """Where SIGTERM is to end the program as Ctrl-C does, let it cancel the work as Ctrl-C does in a loop.

    Python's handler would raise in the middle of whatever callback runs, which then tells of it in a traceback.
    """
    ctrl_c = signal.getsignal(signal.SIGINT)
    if signal.getsignal(signal.SIGTERM) is signal.default_int_handler and isinstance(
        ctrl_c, functools.partial
    ):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)
