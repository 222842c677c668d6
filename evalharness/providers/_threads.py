"""Threads that never keep the process alive."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

_Job: TypeAlias = "tuple[Callable[[], Any], asyncio.AbstractEventLoop, asyncio.Future[Any]]"


class DaemonThreads:
    """Runs blocking calls, each in a thread of its own for as long as it takes, and reuses the threads.

    `concurrent.futures` waits at exit for threads that are still busy: one function of the user's that never returns
    would keep the command from ever ending. These threads die with the process.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads = 0
        self._busy = 0

    async def run(self, call: Callable[[], Any]) -> Any:
        """The result of `call()`, or what it raised. When cancelled, the call goes on and its result is dropped."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        self._busy += 1
        if self._busy > self._threads:
            self._threads += 1
            threading.Thread(target=self._work, name=f"{self._name}-{self._threads}", daemon=True).start()
        self._jobs.put((call, loop, done))
        return await done

    def close(self) -> None:
        """Let idle threads end; busy ones end after their call."""
        for _ in range(self._threads):
            self._jobs.put(None)
        self._threads = self._busy = 0

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            call, loop, done = job
            result: Any = None
            error: BaseException | None = None
            try:
                result = call()
            except BaseException as caught:  # noqa: BLE001  handed to the caller, whatever it is
                error = caught
            try:
                loop.call_soon_threadsafe(self._settle, done, result, error)
            except RuntimeError:
                return  # the loop is closed: nobody waits for this any more

    def _settle(self, done: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        self._busy = max(0, self._busy - 1)
        if done.cancelled():
            return
        if error is None:
            done.set_result(result)
        elif isinstance(error, StopIteration):
            done.set_exception(RuntimeError("the function raised StopIteration"))
        else:
            done.set_exception(error)
