"""How many calls an endpoint gets at once, and how fast."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from evalharness.engine.throttle import Throttle


def test_no_more_calls_at_once_than_allowed() -> None:
    most = now = 0

    async def call(throttle: Throttle) -> None:
        nonlocal most, now
        await throttle.acquire()
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1
        throttle.release()

    async def work() -> None:
        throttle = Throttle(4, None)
        await asyncio.gather(*(call(throttle) for _ in range(50)))

    asyncio.run(work())
    assert most == 4


def test_a_burst_of_refusals_halves_once_and_successes_win_the_way_back() -> None:
    async def work() -> list[int]:
        throttle = Throttle(16, None)
        began = throttle.now()
        await asyncio.sleep(0.01)
        limits = [throttle.refused(0.0, began) for _ in range(10)].count(True)
        seen = [limits, throttle.limit]
        # a slow call of the same burst is refused much later: still the same message
        throttle._last_cut -= 60
        began -= 120
        seen += [int(throttle.refused(0.0, began)), throttle.limit]
        # a call that began after the cut and is refused: a new message
        throttle._last_cut -= 60
        seen += [int(throttle.refused(0.0, throttle.now())), throttle.limit]
        for _ in range(200):
            throttle.succeeded()
        return [*seen, throttle.limit]

    assert asyncio.run(work()) == [1, 8, 0, 8, 1, 4, 16]


def test_the_limit_never_falls_below_one() -> None:
    async def work() -> int:
        throttle = Throttle(2, None)
        for _ in range(5):
            throttle._last_cut = float("-inf")
            throttle.refused(0.0)
        await throttle.acquire()
        return throttle.limit

    assert asyncio.run(work()) == 1


def test_requests_per_minute_spaces_the_starts() -> None:
    async def work() -> list[float]:
        throttle = Throttle(50, 60 * 100)  # one each 10 ms
        starts: list[float] = []

        async def call() -> None:
            await throttle.acquire()
            starts.append(throttle.now())
            throttle.release()

        await asyncio.gather(*(call() for _ in range(20)))
        return starts

    starts = asyncio.run(work())
    gaps = [b - a for a, b in itertools.pairwise(starts)]
    assert min(gaps) > 0.008
    assert starts[-1] - starts[0] >= 0.19


def test_waiting_for_a_turn_costs_no_time_of_the_processor() -> None:
    """A thousand calls wait for a pace of ten a second: they must not wake each other at every start."""

    async def work() -> None:
        throttle = Throttle(1000, 60 * 1000)
        await asyncio.gather(*(throttle.acquire() for _ in range(600)))

    before = time.process_time()
    asyncio.run(work())
    assert time.process_time() - before < 0.35


@pytest.mark.parametrize("per_minute", [None, 6000])
def test_a_pause_holds_every_call_that_has_not_started(per_minute: int | None) -> None:
    async def work() -> float:
        throttle = Throttle(4, per_minute)
        throttle.refused(0.15)
        began = throttle.now()
        await asyncio.gather(*(throttle.acquire() for _ in range(2)))
        return throttle.now() - began

    assert 0.15 <= asyncio.run(work()) < 0.6


def test_a_cancelled_wait_gives_its_slot_to_the_next() -> None:
    async def work() -> bool:
        throttle = Throttle(1, None)
        await throttle.acquire()
        first = asyncio.create_task(throttle.acquire())
        second = asyncio.create_task(throttle.acquire())
        await asyncio.sleep(0)
        throttle.release()
        first.cancel()
        await asyncio.wait([first])
        await asyncio.wait_for(second, 1)
        return first.cancelled()

    assert asyncio.run(work())
