"""Calls of other libraries that may never end, waited for as long as their answer is worth."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

T = TypeVar("T")


def begun(call: Callable[[], T]) -> Future[T]:
    """What `call` gives or raises, to come. It runs in a thread of its own, which does not keep the process alive."""
    answer: Future[T] = Future()

    def work() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            answer.set_exception(error)

    threading.Thread(target=work, daemon=True, name="evalharness-waited-for").start()
    return answer


def within(seconds: float, call: Callable[[], T]) -> T:
    """What `call` gives within so many seconds. After that it goes on, and nobody waits for it.

    Raises:
        TimeoutError: nothing by then. And as `call` does.
    """
    answer = begun(call)
    if not wait([answer], seconds).done:  # `answer.result` cannot tell its own timeout from the call's
        raise TimeoutError(f"no answer within {seconds:g} seconds")
    return answer.result()
