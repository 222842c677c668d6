"""Making the calls of a plan: concurrency, retries, pauses, deadlines, caps, and one place where a run stops early."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, get_args

import numpy as np

from evalharness.core.attempts import Attempt, Failure, FailureKind, Response
from evalharness.core.candidates import Limits, Price
from evalharness.core.protocols import Provider, Request
from evalharness.engine.throttle import Throttle
from evalharness.errors import BudgetError, CallError, EvalHarnessError, ProviderError

_FIRST_DELAY_S: Final = 0.5
_LONGEST_DELAY_S: Final = 30.0
LONGEST_WAIT_S: Final = 300.0
"""A server that asks for a longer wait than this is treated as unavailable."""
BREAK_AFTER: Final = 10
"""Endpoint failures in a row, each after all its retries, that stop a run."""

_KINDS: Final = frozenset(get_args(FailureKind))
_ENDPOINT_KINDS: Final = frozenset({"timeout", "rate_limited", "server", "connection", "bad_response"})


@dataclass(slots=True)
class Spending:
    """Calls, tokens and money of this execution (cached and resumed attempts cost nothing and are not in it)."""

    price: Price | None
    calls: int = 0
    tries: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usage_unknown: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def usd(self) -> float | None:
        """Money spent, None where no price was stated."""
        if self.price is None:
            return None
        return cost_usd(self.price, self.input_tokens, self.output_tokens)

    def add(self, response: Response) -> None:
        """Account for one answer."""
        usage = response.usage
        if usage is None or usage.input_tokens is None or usage.output_tokens is None:
            self.usage_unknown += 1
        if usage is not None:
            self.input_tokens += usage.input_tokens or 0
            self.output_tokens += usage.output_tokens or 0


def cost_usd(price: Price, input_tokens: int, output_tokens: int) -> float:
    """US dollars at a stated price."""
    return (input_tokens * price.input_per_million + output_tokens * price.output_per_million) / 1e6


class Execution:
    """One pass over requests against one provider. `sink` gets every attempt as it arrives."""

    def __init__(
        self,
        provider: Provider,
        limits: Limits,
        price: Price | None,
        sink: Callable[[Request, Attempt], None],
        note: Callable[[str], None],
        rng: np.random.Generator,
    ) -> None:
        self._provider = provider
        self._limits = limits
        self._sink = sink
        self._note = note
        self._rng = rng
        self.spending = Spending(price)
        self._succeeded = 0
        self._in_a_row = 0
        # `_stop` lets calls under way finish (they are paid for); `_halt` cuts them off
        self._stop: EvalHarnessError | None = None
        self._halt = asyncio.Event()
        self._last_failure: CallError | None = None

    async def run(self, requests: Sequence[Request]) -> None:
        """Ask every request.

        Raises:
            ProviderError: the endpoint is unusable (wrong key, unknown model, `BREAK_AFTER` failures in a row, not one
                answer). BudgetError: a cap was reached. Everything collected has reached the sink before.
        """
        if self._provider.recorded:
            for request in requests:
                await self._ask_recorded(request)
            return
        throttle = Throttle(self._limits.concurrency, self._limits.requests_per_minute)
        queue = iter(requests)
        workers = min(self._limits.concurrency, len(requests))
        tasks = [asyncio.create_task(self._work(queue, throttle)) for _ in range(workers)]
        halt = asyncio.create_task(self._halt.wait())
        try:
            pending: set[asyncio.Task[object]] = {halt, *tasks}
            while len(pending) > 1 and not halt.done():
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done - {halt}:
                    task.result()
        finally:
            for task in (halt, *tasks):
                task.cancel()
            await asyncio.gather(halt, *tasks, return_exceptions=True)
        if self._stop is not None:
            raise self._stop
        if requests and not self._succeeded:
            raise ProviderError(
                f"not one of {len(requests)} calls got an answer ({_counted(self.spending.failures)}); "
                f"last: {self._last_failure}; check the endpoint and run the same command again"
            )

    async def _ask_recorded(self, request: Request) -> None:
        try:
            outcome: Response | Failure = await self._provider.complete(
                request, timeout_s=self._limits.timeout_s
            )
        except CallError as error:
            outcome = _failure(error, 1)
        self._sink(request, _attempt(request, outcome))

    async def _work(self, queue: Iterator[Request], throttle: Throttle) -> None:
        for request in queue:
            self._check_caps()
            if self._stop is not None:
                return
            outcome = await self._ask(request, throttle)
            if outcome is None:
                return
            self._sink(request, _attempt(request, outcome))

    def _check_caps(self) -> None:
        spent, limits = self.spending, self._limits
        if limits.max_cost_usd is not None and (spent.usd or 0.0) >= limits.max_cost_usd:
            self._stop = BudgetError(
                f"the spend cap of ${limits.max_cost_usd:g} is reached (${spent.usd or 0.0:.4f} spent, "
                f"{spent.calls} calls); what was collected is kept; raise limits.max_cost_usd and run again to resume"
            )
        total = spent.input_tokens + spent.output_tokens
        if limits.max_tokens_total is not None and total >= limits.max_tokens_total:
            self._stop = BudgetError(
                f"the cap of {limits.max_tokens_total} tokens is reached ({total} used, {spent.calls} calls); "
                "what was collected is kept; raise limits.max_tokens_total and run again to resume"
            )

    async def _ask(self, request: Request, throttle: Throttle) -> Response | Failure | None:
        """One request with its retries. None: the run was stopped meanwhile and this request stays open."""
        tries = 0
        while True:
            await throttle.acquire()
            try:
                if self._stop is not None:
                    return None
                tries += 1
                self.spending.tries += 1
                response = await self._provider.complete(request, timeout_s=self._limits.timeout_s)
            except CallError as error:
                failure = error
            else:
                throttle.succeeded()
                self._succeeded += 1
                self._in_a_row = 0
                self.spending.calls += 1
                self.spending.add(response)
                return response
            finally:
                throttle.release()
            self._last_failure = failure
            wait = self._wait(failure, tries)
            if wait is None:
                return self._give_up(failure, tries)
            if failure.kind in ("rate_limited", "server") and throttle.refused(failure.retry_after_s or 0.0):
                self._note(f"{failure}; now {throttle.limit} calls at once")
            await asyncio.sleep(wait)

    def _wait(self, failure: CallError, tries: int) -> float | None:
        """Seconds before the next try, None when there is to be none.

        What the server asks for, else exponential backoff with equal jitter: half fixed, half uniform at random.
        """
        if not failure.retryable or failure.fatal or tries > self._limits.max_retries:
            return None
        if failure.retry_after_s is not None:
            if failure.retry_after_s > LONGEST_WAIT_S:
                return None
            # a little jitter, or every refused call comes back in the same instant
            return failure.retry_after_s + float(self._rng.uniform(0.0, 0.25))
        delay = min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0 ** (tries - 1))
        return float(delay * self._rng.uniform(0.5, 1.0))

    def _give_up(self, failure: CallError, tries: int) -> Failure | None:
        self.spending.calls += 1
        self.spending.failures[failure.kind] += 1
        if failure.fatal:
            self._halt.set()
            self._stop = self._stop or ProviderError(
                f"{failure}; every further call would fail the same way, so the run stopped; "
                "what was collected is kept; mend it and run the same command again"
            )
            return None
        if failure.kind in _ENDPOINT_KINDS:
            self._in_a_row += 1
            if self._in_a_row >= BREAK_AFTER:
                self._halt.set()
                self._stop = self._stop or ProviderError(
                    f"{self._in_a_row} calls in a row failed after {tries} tries each; last: {failure}; "
                    "what was collected is kept; run the same command again to resume"
                )
        return _failure(failure, tries)


def _attempt(request: Request, outcome: Response | Failure) -> Attempt:
    return Attempt(
        golden_set=request.golden_set, case_id=request.case.id, repeat=request.repeat, outcome=outcome
    )


def _failure(error: CallError, tries: int) -> Failure:
    kind = error.kind if error.kind in _KINDS else "bad_response"
    return Failure(kind=kind, message=str(error), tries=tries)  # type: ignore[arg-type]


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
