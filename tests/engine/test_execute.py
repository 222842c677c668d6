"""Calls: retries, waits, deadlines, caps, and where a run stops early."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from evalharness.core.attempts import Response, Usage
from evalharness.core.candidates import Price
from evalharness.core.protocols import Request
from evalharness.core.suites import Budget
from evalharness.engine import execute as module
from evalharness.engine.spending import Purse
from evalharness.errors import BudgetError, CallError, ProviderError, UsageError
from tests.engine.support import Behaviour, echo, execute

PRICE = Price(input_per_million=100_000.0, output_per_million=0.0)  # 10 tokens in: one dollar a call


def failing(*errors: CallError, then: Behaviour = echo) -> Behaviour:
    """Each case fails with these errors in turn, then goes on as `then`."""
    seen: Counter[str] = Counter()

    async def behave(request: Request, number: int) -> Response:
        seen[request.case.id] += 1
        if seen[request.case.id] <= len(errors):
            raise errors[seen[request.case.id] - 1]
        return await then(request, number)

    return behave


def always(error: CallError) -> Behaviour:
    async def behave(request: Request, number: int) -> Response:
        raise error

    return behave


def for_cases(bad: Behaviour, *ids: str) -> Behaviour:
    async def behave(request: Request, number: int) -> Response:
        return await (bad if request.case.id in ids else echo)(request, number)

    return behave


def again(kind: str = "server", wait: float | None = 0.0) -> CallError:
    return CallError(kind, "busy", retryable=True, retry_after_s=wait)


def test_a_passing_fault_is_tried_again_and_leaves_no_trace() -> None:
    done = execute(failing(again()), 3)
    assert sorted(done.texts) == ["question 0", "question 1", "question 2"]
    assert done.error is None and done.log["calls"] == 6
    assert done.execution.spending.tries == 6 and done.execution.spending.calls == 3


def test_retries_end_and_the_failure_says_how_many_tries_it_took() -> None:
    done = execute(for_cases(always(again("rate_limited")), "q1"), 3, max_retries=2)
    assert done.error is None
    (failure,) = done.failures
    assert (failure.kind, failure.tries, failure.message) == ("rate_limited", 3, "busy")


def test_what_cannot_help_is_not_tried_again() -> None:
    done = execute(for_cases(always(CallError("bad_request", "too long")), "q1"), 3, max_retries=5)
    assert done.log["q1"] == 1
    assert [f.kind for f in done.failures] == ["bad_request"]


def test_the_wait_that_the_server_asks_for_is_kept() -> None:
    began = time.perf_counter()
    done = execute(failing(again("rate_limited", 0.3)), 1)
    assert len(done.texts) == 1
    assert 0.3 <= time.perf_counter() - began < 1.0


def test_refused_calls_do_not_come_back_in_the_same_instant() -> None:
    times: list[float] = []

    async def behave(request: Request, number: int) -> Response:
        if number <= 8:
            raise again("connection", None)
        times.append(time.perf_counter())
        return await echo(request, number)

    execute(behave, 8, concurrency=8)
    assert max(times) - min(times) > 0.02


def test_a_wait_over_five_minutes_is_not_waited() -> None:
    began = time.perf_counter()
    done = execute(for_cases(always(again("rate_limited", 3600.0)), "q1"), 3, max_retries=5)
    assert time.perf_counter() - began < 2
    assert done.log["q1"] == 1
    assert "3600 s" in done.failures[0].message and "300 s" in done.failures[0].message


def test_a_wrong_key_stops_at_once_and_keeps_what_was_collected() -> None:
    async def behave(request: Request, number: int) -> Response:
        if number > 5:
            raise CallError("auth", "HTTP 401: wrong key", fatal=True)
        return await echo(request, number)

    done = execute(behave, 100, concurrency=1)
    assert isinstance(done.error, ProviderError) and done.error.exit_code == 5
    assert "wrong key" in str(done.error) and "run the same command again" in str(done.error)
    assert len(done.texts) == 5 and done.log["calls"] == 6


def test_ten_endpoint_failures_in_a_row_stop_the_run() -> None:
    async def behave(request: Request, number: int) -> Response:
        if number > 20:
            raise CallError("server", "HTTP 500", retryable=True, retry_after_s=0.0)
        return await echo(request, number)

    done = execute(behave, 200, concurrency=2, max_retries=0)
    assert isinstance(done.error, ProviderError) and "10 calls in a row" in str(done.error)
    assert len(done.texts) == 20 and done.log["calls"] <= 34


def test_calls_that_waited_for_the_budget_began_when_they_were_sent() -> None:
    """31 of 32 workers wait for the first answer. What they are told after it counts: the endpoint is down now."""

    async def behave(request: Request, number: int) -> Response:
        await asyncio.sleep(0.001)
        if number > 1:
            raise again("connection", 0.001)
        return await echo(request, number)

    purse = Purse(Budget(tokens=10_000))
    done = execute(behave, 200, concurrency=32, max_retries=1, purse=purse)
    assert isinstance(done.error, ProviderError) and "10 calls in a row" in str(done.error)
    assert len(done.failures) < 20


def test_failures_of_single_cases_do_not_stop_a_run() -> None:
    async def behave(request: Request, number: int) -> Response:
        if int(request.case.id[1:]) % 3 == 0:
            raise CallError("server", "HTTP 500")
        return await echo(request, number)

    done = execute(behave, 90, concurrency=1)
    assert done.error is None
    assert len(done.failures) == 30 and len(done.texts) == 60


def test_refusals_of_the_content_are_no_fault_of_the_endpoint() -> None:
    bad = for_cases(always(CallError("filtered", "declined")), *(f"q{i}" for i in range(20)))
    done = execute(bad, 25, concurrency=1)
    assert done.error is None and len(done.failures) == 20


def test_not_one_answer_is_a_provider_failure() -> None:
    done = execute(always(CallError("bad_request", "no")), 5)
    assert isinstance(done.error, ProviderError)
    assert "5 bad_request" in str(done.error) and len(done.failures) == 5


def test_a_run_that_has_answers_may_end_with_cases_that_always_fail() -> None:
    bad = always(CallError("filtered", "declined"))
    assert execute(bad, 2, earlier=[Response(text="a")]).error is None
    gone = always(CallError("connection", "refused"))
    assert isinstance(execute(gone, 2, earlier=[Response(text="a")]).error, ProviderError)


def test_the_cap_on_money_stops_the_run_and_calls_under_way_finish() -> None:
    async def behave(request: Request, number: int) -> Response:
        await asyncio.sleep(0.02 if number <= 4 else 0.2)
        return await echo(request, number)

    done = execute(behave, 100, concurrency=4, price=PRICE, max_cost_usd=4.0)
    assert isinstance(done.error, BudgetError) and done.error.exit_code == 5
    assert "max_cost_usd" in str(done.error)
    # 4 dollars are reached after 4 calls; none begins after that, none that began is cut off
    assert done.log["calls"] == len(done.texts) <= 7


def test_the_cap_on_tokens_holds_over_every_execution_of_the_run() -> None:
    earlier = [Response(text="a", usage=Usage(10, 2))] * 5  # 60 tokens
    done = execute(echo, 50, concurrency=1, max_tokens_total=84, earlier=earlier)
    assert isinstance(done.error, BudgetError) and "84 used" in str(done.error)
    assert len(done.texts) == 2
    nothing = execute(echo, 50, max_tokens_total=60, earlier=earlier)
    assert isinstance(nothing.error, BudgetError) and nothing.log["calls"] == 0


def test_a_cap_met_by_the_last_call_is_no_error() -> None:
    assert execute(echo, 5, concurrency=1, max_tokens_total=60).error is None


def test_a_cap_ends_a_run_that_waits_to_try_again() -> None:
    async def behave(request: Request, number: int) -> Response:
        if request.case.id == "q0":
            raise again("connection", 200.0)
        await asyncio.sleep(0.01)
        return await echo(request, number)

    began = time.perf_counter()
    done = execute(behave, 50, concurrency=2, max_tokens_total=60)
    assert isinstance(done.error, BudgetError)
    assert time.perf_counter() - began < 2
    assert not done.failures  # it stays open: it may still succeed


def test_a_cap_that_cannot_be_measured_is_not_ignored() -> None:
    async def behave(request: Request, number: int) -> Response:
        return Response(text="no usage")

    done = execute(behave, 50, concurrency=1, max_tokens_total=1_000_000)
    assert isinstance(done.error, BudgetError) and "cannot be held" in str(done.error)
    assert done.log["calls"] == 1
    assert execute(behave, 50).execution.spending.usage_unknown == 50


def test_an_exception_of_a_third_party_costs_its_case_only() -> None:
    async def broken(request: Request, number: int) -> Response:
        raise KeyError("choices")

    done = execute(for_cases(broken, "q1"), 4)
    assert done.error is None and len(done.texts) == 3
    assert done.failures[0].message == "the provider raised KeyError: 'choices'"


def test_a_provider_that_returns_something_else_costs_its_case_only() -> None:
    async def wrong(request: Request, number: int) -> Response:
        return "just text"  # type: ignore[return-value]

    done = execute(for_cases(wrong, "q1"), 4)
    assert done.error is None and "returned str" in done.failures[0].message


def test_an_error_of_ours_ends_the_run_as_itself() -> None:
    async def behave(request: Request, number: int) -> Response:
        raise UsageError("the adapter is gone")

    assert isinstance(execute(behave).error, UsageError)


def test_a_provider_that_hangs_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEADLINE_GRACE_S", 0.05)

    async def hang(request: Request, number: int) -> Response:
        await asyncio.sleep(60)
        raise AssertionError

    done = execute(for_cases(hang, "q1"), 3, timeout_s=0.1, max_retries=0)
    assert done.error is None and [f.kind for f in done.failures] == ["timeout"]


def test_a_provider_that_cancels_its_own_call_does_not_cancel_the_run() -> None:
    async def behave(request: Request, number: int) -> Response:
        raise asyncio.CancelledError

    done = execute(for_cases(behave, "q1"), 3, max_retries=0)
    assert done.error is None and [f.kind for f in done.failures] == ["connection"]


def test_a_refused_burst_slows_the_run_down_with_one_note() -> None:
    most = now = 0

    async def behave(request: Request, number: int) -> Response:
        nonlocal most, now
        if number <= 16:
            await asyncio.sleep(0.01)
            raise again("rate_limited", 0.01)
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.1)
        now -= 1
        return await echo(request, number)

    done = execute(behave, 40, concurrency=16)
    assert len(done.texts) == 40
    assert len(done.notes) == 1 and "now 8 calls at once" in done.notes[0]
    assert 8 <= most < 16


def test_a_limit_that_nobody_explains_costs_time_and_no_case() -> None:
    """429 without Retry-After above 50 calls a second: cases that were not refused yet wait for those that were."""
    recent: list[float] = []

    async def behave(request: Request, number: int) -> Response:
        now = time.perf_counter()
        recent[:] = [t for t in recent if t > now - 1]
        if len(recent) >= 50:
            raise again("rate_limited", None)
        recent.append(now)
        return await echo(request, number)

    done = execute(behave, 150, concurrency=64, max_retries=5)
    assert done.error is None and not done.failures and len(done.texts) == 150


def test_thousands_of_workers_end_in_good_time() -> None:
    async def behave(request: Request, number: int) -> Response:
        await asyncio.sleep(0.05)
        return await echo(request, number)

    before = time.process_time()
    done = execute(behave, 5000, concurrency=5000)
    assert len(done.texts) == 5000
    assert time.process_time() - before < 4
