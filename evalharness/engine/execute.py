"""Making the calls of a plan: concurrency, retries, pauses, deadlines, caps, and one place where a run stops early."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, get_args

from evalharness.core.attempts import Attempt, Failure, FailureKind, Response
from evalharness.core.candidates import Limits, Price
from evalharness.core.protocols import Provider, Request
from evalharness.core.suites import Redaction
from evalharness.engine.spending import Hold, Purse, Spending
from evalharness.engine.throttle import Throttle
from evalharness.errors import BudgetError, CallError, EvalHarnessError, ProviderError
from evalharness.redaction import Arrival

if TYPE_CHECKING:
    import numpy as np

_FIRST_DELAY_S: Final = 0.5
_LONGEST_DELAY_S: Final = 30.0
_LONGEST_PAUSE_S: Final = 2.0
LONGEST_WAIT_S: Final = 300.0
"""A server that asks for a longer wait than this is treated as unavailable."""
BREAK_AFTER: Final = 10
"""Endpoint failures in a row, each after all its retries, that stop a run."""
DEADLINE_GRACE_S: Final = 5.0
"""A provider holds `timeout_s` itself; one that overruns it by this much is cut off. One that says `queues = True`
(a local model that answers in batches) is not: its calls wait for each other, and the wait is not the call's."""
_RECORDED_AT_ONCE: Final = 1000

_KINDS: Final = frozenset(get_args(FailureKind))
_ENDPOINT_KINDS: Final = frozenset({"timeout", "rate_limited", "server", "connection", "bad_response"})
_BUSY_KINDS: Final = frozenset({"rate_limited", "server"})


class Execution:
    """One pass over requests against one provider. `sink` gets every attempt as it arrives.

    `answered_before` is the number of answers the run already has: a run that has answers may end with failures only.
    `purse` is asked before every try; None: there is no budget. `arrive` is what becomes of answers and errors before
    anything else sees them; None: nothing.
    """

    def __init__(
        self,
        provider: Provider,
        limits: Limits,
        price: Price | None,
        sink: Callable[[Request, Attempt], None],
        note: Callable[[str], None],
        rng: np.random.Generator,
        *,
        answered_before: int = 0,
        purse: Purse | None = None,
        arrive: Arrival | None = None,
    ) -> None:
        self._provider = provider
        self._arrive = arrive or Arrival(Redaction())
        self._limits = limits
        self._sink = sink
        self._note = note
        self._rng = rng
        self._price = price
        self._purse = purse
        self.spending = Spending(price)
        self._answered_before = answered_before
        self._succeeded = 0
        self._in_a_row = 0
        self._last_success = float("-inf")
        self._deadline_s = None if getattr(provider, "queues", False) else limits.timeout_s + DEADLINE_GRACE_S
        self._stop: Exception | None = None
        # `_stopping` lets calls under way finish (they are paid for); `_halted` cuts them off
        self._stopping = asyncio.Event()
        self._halted = asyncio.Event()
        self._settled = asyncio.Event()
        """Set, and replaced, when a call gives back what the budget held for it."""
        self._calling: set[asyncio.Task[Any] | None] = set()
        self._last_failure: CallError | None = None

    async def run(self, requests: Sequence[Request]) -> None:
        """Ask every request.

        Raises:
            ProviderError: the endpoint is unusable (wrong key, unknown model, `BREAK_AFTER` failures in a row, not one
                answer). BudgetError: a cap was reached. Everything collected has reached the sink before.
        """
        if self._provider.recorded:
            await self._read(requests)
            return
        if not requests:
            return
        throttle = Throttle(self._limits.concurrency, self._limits.requests_per_minute)
        queue = iter(requests)
        workers = [
            asyncio.create_task(self._work(queue, throttle))
            for _ in range(min(self._limits.concurrency, len(requests)))
        ]
        everyone = asyncio.create_task(_all(workers))
        stopping = asyncio.create_task(self._stopping.wait())
        halted = asyncio.create_task(self._halted.wait())
        try:
            await asyncio.wait((everyone, stopping, halted), return_when=asyncio.FIRST_COMPLETED)
            for worker in workers:
                if worker not in self._calling:
                    worker.cancel()  # no effect on those that are done; the others only wait for a turn or a retry
            await asyncio.wait((everyone, halted), return_when=asyncio.FIRST_COMPLETED)
        finally:
            tasks = (everyone, stopping, halted, *workers)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._stop is not None:
            raise self._stop
        self._check_answers(len(requests))

    async def one(self, request: Request, throttle: Throttle) -> Attempt:
        """Ask one request as it comes, of a tool that decides what to ask. Nothing reaches the sink.

        Raises:
            ProviderError, BudgetError: as `run` does, also for requests that wait when another one meets the cause.
        """
        asking = asyncio.create_task(self._ask(request, throttle))
        stopping = asyncio.create_task(self._stopping.wait())
        halted = asyncio.create_task(self._halted.wait())
        try:
            await asyncio.wait((asking, stopping), return_when=asyncio.FIRST_COMPLETED)
            if asking in self._calling:  # it is paid for; only a cause that every call meets cuts it off
                await asyncio.wait((asking, halted), return_when=asyncio.FIRST_COMPLETED)
            outcome = asking.result() if asking.done() else None
        except EvalHarnessError as error:
            self._end(error, at_once=True)
            raise
        finally:
            for task in (asking, stopping, halted):
                task.cancel()
            await asyncio.gather(asking, stopping, halted, return_exceptions=True)
        if outcome is None:
            raise self._stop or ProviderError("the run was stopped")
        return _attempt(request, outcome)

    def _check_answers(self, asked: int) -> None:
        failures = self.spending.failures
        # Cases that always fail must not make a run unusable that has answers, but a dead endpoint must.
        if self._succeeded or (self._answered_before and failures.keys() - {"connection"}):
            return
        raise ProviderError(
            f"not one of {asked} calls got an answer ({_counted(failures)}); last: {self._last_failure}; "
            "what was collected before is kept; mend the cause and run the same command again"
        )

    async def _read(self, requests: Sequence[Request]) -> None:
        for number, request in enumerate(requests, 1):
            try:
                given: Response | CallError = await self._provider.complete(
                    request, timeout_s=self._limits.timeout_s
                )
            except CallError as error:
                given = error
            except EvalHarnessError:
                raise
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything; the case keeps the reason
                given = _raised(error, self._arrive)
            outcome = self._in(given)
            kept = _failure(outcome, 1) if isinstance(outcome, CallError) else outcome
            self._sink(request, _attempt(request, kept))
            if number % _RECORDED_AT_ONCE == 0:
                await asyncio.sleep(0)  # so that Ctrl-C is heard: reading never waits by itself

    async def _work(self, queue: Iterator[Request], throttle: Throttle) -> None:
        try:
            for request in queue:
                if self._stop is not None:
                    return
                outcome = await self._ask(request, throttle)
                if outcome is None:
                    return
                self._sink(request, _attempt(request, outcome))
        except Exception as error:  # noqa: BLE001 - handed to `run`, which raises it once every worker has ended
            self._end(error, at_once=True)

    def _end(self, error: Exception, *, at_once: bool) -> None:
        """End the run with `error`, the first one given. Calls under way may finish unless `at_once`."""
        self._stop = self._stop or error
        self._stopping.set()
        if at_once:
            self._halted.set()

    def _check_caps(self) -> None:
        spent, limits = self.spending, self._limits
        if limits.max_cost_usd is None and limits.max_tokens_total is None:
            return
        if limits.max_cost_usd is not None and spent.run_usd >= limits.max_cost_usd:
            error = (
                f"the spend cap of ${limits.max_cost_usd:g} is reached (${spent.run_usd:.4f} spent); "
                "what was collected is kept; raise limits.max_cost_usd and run again to resume"
            )
        elif limits.max_tokens_total is not None and spent.run_tokens >= limits.max_tokens_total:
            error = (
                f"the cap of {limits.max_tokens_total} tokens is reached ({spent.run_tokens} used); "
                "what was collected is kept; raise limits.max_tokens_total and run again to resume"
            )
        elif spent.usage_unknown and not spent.usage_known:
            error = (
                "a cap is set and the endpoint does not say how many tokens its answers took, so the cap cannot be "
                "held; what was collected is kept; remove limits.max_cost_usd and limits.max_tokens_total to go on"
            )
        else:
            return
        self._end(BudgetError(error), at_once=False)

    async def _ask(self, request: Request, throttle: Throttle) -> Response | Failure | None:
        """One request with its retries. None: the run was stopped meanwhile and this request stays open."""
        tries = 0
        first: float | None = None
        while True:
            await throttle.acquire()
            try:
                if tries == 0:  # not before: other calls may have ended while this one waited for its turn
                    self._check_caps()
                hold = await self._set_aside(request)
                if self._stop is not None:
                    return None
                began = throttle.now()  # not before: a wait for the budget is not the endpoint's
                first = began if first is None else first
                tries += 1
                self.spending.tries += 1
                outcome = None
                try:
                    outcome = await self._try(request)
                finally:
                    self._put_back(hold, outcome)
            finally:
                throttle.release()
            if isinstance(outcome, Response):
                throttle.succeeded()
                self._succeeded += 1
                self._in_a_row = 0
                self._last_success = throttle.now()
                self.spending.calls += 1
                self.spending.add(outcome)
                return outcome
            self._last_failure = outcome
            wait = self._wait(outcome, tries)
            if outcome.retryable and outcome.kind in _BUSY_KINDS:
                self._slow_down(outcome, wait, throttle, began)
            if wait is None:
                return self._give_up(outcome, tries, first)
            if self._stopping.is_set():
                return None
            await asyncio.sleep(wait)

    async def _set_aside(self, request: Request) -> Hold | None:
        """What the budget holds back for a call; none where there is no budget, or it does not cover the call."""
        if self._purse is None:
            return None
        while self._stop is None:
            try:
                hold = self._purse.admit(request, self._price)
            except BudgetError as error:
                self._end(error, at_once=False)
                return None
            if hold is not None:
                return hold
            await self._settled.wait()
        return None

    def _put_back(self, hold: Hold | None, outcome: Response | CallError | None) -> None:
        if self._purse is not None and hold is not None:
            self._purse.settle(hold, outcome, self._price)
            self._settled.set()
            self._settled = asyncio.Event()

    async def _try(self, request: Request) -> Response | CallError:
        return self._in(await self._tried(request))

    def _in(self, outcome: Response | CallError) -> Response | CallError:
        """What a call gave, as it may be kept and told. Nothing behind this line sees it otherwise."""
        return (
            self._arrive.error(outcome) if isinstance(outcome, CallError) else self._arrive.response(outcome)
        )

    async def _tried(self, request: Request) -> Response | CallError:
        """One call, every outcome typed. A provider of a third party may do anything but end the run."""
        limit = self._limits.timeout_s
        task = asyncio.current_task()
        self._calling.add(task)
        try:
            async with asyncio.timeout(self._deadline_s):
                response: Any = await self._provider.complete(request, timeout_s=limit)
        except CallError as error:
            return error
        except EvalHarnessError:
            raise
        except TimeoutError:
            return CallError("timeout", f"no complete answer within {limit:g} s", retryable=True)
        except asyncio.CancelledError:
            if task is None or task.cancelling():
                raise
            return CallError("connection", "the provider cancelled the call itself", retryable=True)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything; the case keeps the reason
            return _raised(error, self._arrive)
        finally:
            self._calling.discard(task)
        text: Any = getattr(response, "text", None)
        if isinstance(response, Response) and isinstance(text, str):
            return response
        what = f"{type(response).__name__} with {type(text).__name__} as its text"
        return CallError("bad_response", f"the provider returned {what}; a Response with a text is needed")

    def _slow_down(self, failure: CallError, wait: float | None, throttle: Throttle, began: float) -> None:
        """Fewer calls at once, and a pause for all: as long as the server asked, else as this call waits (up to 2 s).

        Without the pause, calls that have not been refused yet would use up the tries of those that have.
        """
        pause = min(wait or 0.0, _LONGEST_PAUSE_S)
        if failure.retry_after_s is not None and wait is not None:
            pause = failure.retry_after_s
        elif failure.kind != "rate_limited":
            pause = 0.0
        if throttle.refused(pause, began):
            self._note(f"{failure}; now {throttle.limit} calls at once")

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

    def _give_up(self, failure: CallError, tries: int, began: float) -> Failure | None:
        self.spending.calls += 1
        self.spending.failures[failure.kind] += 1
        if failure.fatal:
            self._end(
                ProviderError(
                    f"{failure}; every further call would fail the same way, so the run stopped; "
                    "what was collected is kept; mend it and run the same command again"
                ),
                at_once=True,
            )
            return None
        # Retries make failures arrive late and together: only a request begun after the last success says that the
        # endpoint is down now.
        if failure.kind in _ENDPOINT_KINDS and began > self._last_success:
            self._in_a_row += 1
            if self._in_a_row >= BREAK_AFTER:
                self._end(
                    ProviderError(
                        f"{self._in_a_row} calls in a row failed for good; last, after {tries} "
                        f"{'try' if tries == 1 else 'tries'}: {failure}{_asked_wait(failure)}; "
                        "what was collected is kept; run the same command again to resume"
                    ),
                    at_once=True,
                )
        return _failure(failure, tries)


async def _all(tasks: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks)


def _attempt(request: Request, outcome: Response | Failure) -> Attempt:
    return Attempt(
        golden_set=request.golden_set, case_id=request.case.id, repeat=request.repeat, outcome=outcome
    )


def _raised(error: Exception, arrive: Arrival) -> CallError:
    said = arrive.plain(str(error))[:200]
    return CallError("bad_response", f"the provider raised {type(error).__name__}: {said}")


def _failure(error: CallError, tries: int) -> Failure:
    kind = error.kind if error.kind in _KINDS else "bad_response"
    return Failure(kind=kind, message=str(error) + _asked_wait(error), tries=tries)  # type: ignore[arg-type]


def _asked_wait(error: CallError) -> str:
    wait = error.retry_after_s
    if wait is None or wait <= LONGEST_WAIT_S:
        return ""
    return f" (it asks to wait {wait:.0f} s; the longest wait is {LONGEST_WAIT_S:.0f} s)"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
