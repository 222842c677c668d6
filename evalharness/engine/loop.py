"""A coroutine run to its end from plain code."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


def run_sync(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end, also where a loop already runs in this thread (a notebook)."""
    box: list[_T] = []
    started: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = []

    async def boxed() -> None:
        started.append((asyncio.get_running_loop(), asyncio.current_task()))
        # asyncio.run makes the repr of its finished task, result included: seconds for a run of 100,000 answers
        box.append(await work)

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(boxed())
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
