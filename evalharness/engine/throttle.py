"""How many calls one endpoint gets at once: additive increase, multiplicative decrease, and a pace per minute."""

from __future__ import annotations

import asyncio
from collections import deque


class Throttle:
    """Slots for calls to one endpoint.

    Starts at `concurrency`. A refusal (429, 503) halves the limit and pauses new calls for as long as the server asked;
    successes raise it again by one for each round of calls. `requests_per_minute` spaces calls evenly.
    All methods belong to one event loop.
    """

    def __init__(self, concurrency: int, requests_per_minute: int | None) -> None:
        self._most = float(max(1, concurrency))
        self._limit = self._most
        self._active = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._interval = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._next_start = 0.0
        self._paused_until = 0.0
        self._last_cut = float("-inf")
        self._pace = asyncio.Lock()
        self._loop = asyncio.get_running_loop()

    @property
    def limit(self) -> int:
        """Calls allowed at once now."""
        return max(1, int(self._limit))

    def now(self) -> float:
        """The loop's clock, in seconds, as `refused` reads it."""
        return self._loop.time()

    async def acquire(self) -> None:
        """Wait for a slot, for the end of a pause and for this call's turn in the minute."""
        while self._active >= self.limit:
            turn: asyncio.Future[None] = self._loop.create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._wake()
                raise
        self._active += 1
        try:
            await self._turn()
        except BaseException:
            self.release()
            raise

    async def _turn(self) -> None:
        if not self._interval:
            while (delay := self._paused_until - self._loop.time()) > 0:
                await asyncio.sleep(delay)
            return
        # one at a time: many waiting calls must not wake each other at every start
        async with self._pace:
            while (delay := max(self._paused_until, self._next_start) - self._loop.time()) > 0:
                await asyncio.sleep(delay)
            self._next_start = self._loop.time() + self._interval

    def release(self) -> None:
        """Give a slot back."""
        self._active -= 1
        self._wake()

    def succeeded(self) -> None:
        """A call went through: allow a little more."""
        if self._limit < self._most:
            self._limit = min(self._most, self._limit + 1.0 / self._limit)
            self._wake()

    def refused(self, wait_s: float, began: float | None = None) -> bool:
        """The endpoint asked for less: halve the limit once per burst and pause. True when the limit was cut.

        Args:
            wait_s: the pause that was asked for, in seconds.
            began: when the refused call began, on the clock of `now`. A call from before the last cut is part of the
                burst that was already answered.
        """
        now = self._loop.time()
        self._paused_until = max(self._paused_until, now + wait_s)
        if (began is not None and began <= self._last_cut) or now - self._last_cut < max(1.0, wait_s):
            return False
        self._last_cut = now
        self._limit = max(1.0, self._limit / 2)
        return True

    def _wake(self) -> None:
        free = self.limit - self._active
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1
