"""Benchmarks asked through the engine: another tool words the prompts, and limits, retries, caps and cache hold.

The tool runs in the caller's thread, which Ctrl-C reaches; the calls run in an event loop of a thread beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from evalharness._canon import digest
from evalharness.core.attempts import Attempt, Failure, Response
from evalharness.core.benchmarks import Task, Work
from evalharness.core.candidates import Candidate
from evalharness.core.protocols import Provider, Request
from evalharness.core.suites import Suite
from evalharness.engine.execute import Execution
from evalharness.engine.plan import cache_key, cache_keys
from evalharness.engine.prepare import make_benchmark
from evalharness.engine.progress import Progress
from evalharness.engine.sink import FullKey, key_of
from evalharness.engine.spending import Purse
from evalharness.engine.throttle import Throttle
from evalharness.errors import EvalHarnessError, PluginError
from evalharness.plugins import Registry
from evalharness.redaction import Arrival
from evalharness.store.cache import ResponseCache
from evalharness.store.files import slug
from evalharness.store.journal import Journal

if TYPE_CHECKING:
    import numpy as np

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What running benchmarks takes.

    `cache` is the response cache's file, None where no answer of this candidate may be reused; `fresh`: it is written
    and not read. `folder` is the run folder. `before` are the answers the run has, which count towards its caps.
    `arrive` is what becomes of answers before the tool or the journal sees them.
    """

    suite: Suite
    candidate: Candidate
    provider: Provider
    registry: Registry
    journal: Journal
    folder: Path
    cache: Path | None
    fresh: bool
    progress: Progress
    rng: np.random.Generator
    before: Sequence[Attempt] = ()
    purse: Purse | None = None
    arrive: Arrival


def run_benchmarks(
    bench: Bench, requests: Sequence[Request], attempts: dict[FullKey, Attempt]
) -> dict[str, Any]:
    """Answer `requests`, all of benchmarks' cases, into `attempts`.

    Returns:
        Facts for the manifest: calls, tokens, money, and under `benchmarks` what each tool said.

    Raises:
        UsageError: the candidate does not suit a benchmark, or a tool is not installed. ProviderError, BudgetError: as
            `Execution.run` does. PluginError: the tool failed. What was kept before is in the journal.
    """
    lock = threading.Lock()
    told: dict[str, Any] = {}
    with _loop() as call, _logs(bench) as folder:
        line = call(_Line.opened(bench, call))
        try:
            for item in bench.suite.evals:
                wanted = [r for r in requests if r.golden_set == item.golden_set.name]
                if item.benchmark is None or item.task is None or not wanted:
                    continue
                open_keys = {key_of(r) for r in wanted}
                logs = folder / "benchmarks" / slug(item.id)
                logs.mkdir(parents=True, exist_ok=True)
                bench.progress.start(f"{bench.candidate.name} {item.id}", len(wanted), 0)

                def keep(attempt: Attempt, open_keys: set[FullKey] = open_keys) -> None:
                    key = (attempt.golden_set, attempt.case_id, attempt.repeat)
                    with lock:
                        if key not in open_keys:
                            return  # twice, or nothing that was asked for
                        open_keys.discard(key)
                        attempt = bench.arrive.attempt(attempt)
                        bench.journal.append(attempt)
                        attempts[key] = attempt
                        bench.progress.advance(attempt, line.execution.spending.usd)

                work = _work(bench, item.task, wanted, logs, line, keep)
                try:
                    runner = item.benchmark.runner
                    said = _run(bench, runner, make_benchmark(item.benchmark, bench.registry).run, work)
                    kept = folder == bench.folder
                    told[item.id] = {k: v for k, v in said.items() if kept or k != "logs"}
                finally:
                    bench.progress.finish()
                for golden_set, case_id, repeat in sorted(open_keys):
                    keep(
                        Attempt(
                            golden_set=golden_set,
                            case_id=case_id,
                            repeat=repeat,
                            outcome=Failure(kind="absent", message=f"{item.benchmark.runner} gave no result"),
                        )
                    )
        finally:
            call(line.closed())
    return {**line.execution.spending.facts(), "benchmarks": told}


@contextlib.contextmanager
def _logs(bench: Bench) -> Iterator[Path]:
    """Where tools write their own logs: in the run folder, or nowhere that stays where answers are stored redacted.

    A log holds the tool's own questions and answers as they are.
    """
    if not bench.suite.redact.stored:
        yield bench.folder
        return
    with tempfile.TemporaryDirectory(prefix="evalharness-logs-") as folder:
        yield Path(folder)


def _run(
    bench: Bench, runner: str, run: Callable[[Work], Mapping[str, Any]], work: Work
) -> Mapping[str, Any]:
    try:
        return run(work)
    except EvalHarnessError:
        raise
    except Exception as error:
        cause = _cause(error)
        if cause is not None:
            raise cause from error
        raise PluginError(
            f"benchmark {runner} failed on {bench.candidate.name}: {type(error).__name__}: {str(error)[:500]}; "
            "what was collected is kept"
        ) from error


def _cause(error: BaseException | None) -> EvalHarnessError | None:
    """The engine's own error that a tool wrapped in one of its, if it did."""
    for _ in range(20):
        if error is None or isinstance(error, EvalHarnessError):
            return error
        inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None
        error = inner or error.__cause__ or error.__context__
    return None


def _work(
    bench: Bench,
    task: Task,
    wanted: Sequence[Request],
    folder: Path,
    line: _Line,
    keep: Callable[[Attempt], None],
) -> Work:
    def ask(requests: Sequence[Request]) -> list[Attempt]:
        asked = [line.submit(request) for request in requests]
        try:
            return [future.result() for future in asked]
        finally:
            for future in asked:
                future.cancel()

    return Work(
        candidate=bench.candidate,
        task=task,
        requests=wanted,
        folder=folder,
        ask=ask,
        submit=line.submit,
        keep=keep,
        note=bench.progress.note,
    )


class _Line:
    """The way from a tool to the candidate. Made, used and closed in the loop's thread but for `submit`."""

    def __init__(self, bench: Bench, call: Call) -> None:
        self._bench = bench
        self._call = call
        self._throttle = Throttle(
            bench.candidate.limits.concurrency, bench.candidate.limits.requests_per_minute
        )
        self._opening = asyncio.Lock()
        self._open = False
        self._cache: ResponseCache | None = None
        self.execution = Execution(
            bench.provider,
            bench.candidate.limits,
            bench.candidate.price,
            lambda request, attempt: None,
            bench.progress.note,
            bench.rng,
            answered_before=sum(isinstance(a.outcome, Response) for a in bench.before),
            purse=bench.purse,
            arrive=bench.arrive,
        )
        self.execution.spending.add_earlier(
            a.outcome for a in bench.before if not a.cached and isinstance(a.outcome, Response)
        )

    @classmethod
    async def opened(cls, bench: Bench, call: Call) -> _Line:
        """A line, whose provider is opened by the first request: a tool may load a local model itself."""
        return cls(bench, call)

    def submit(self, request: Request) -> Future[Attempt]:
        """The attempt to come, from any thread."""
        return self._call.later(self._one(request))

    async def _one(self, request: Request) -> Attempt:
        bench = self._bench
        key = call_key(bench.candidate, request, bench.provider.version)
        keys = cache_keys(key, bench.suite.redact.identity)
        async with self._opening:
            if not self._open:
                if self._bench.cache is not None:
                    self._cache = ResponseCache(self._bench.cache, replace=self._bench.fresh)
                await self._bench.provider.open()
                self._open = True
        if self._cache is not None and not self._bench.fresh:
            found = self._cache.get_many(keys)
            known = next((found[key] for key in keys if key in found), None)
            if known is not None:
                return Attempt(
                    golden_set=request.golden_set,
                    case_id=request.case.id,
                    repeat=request.repeat,
                    outcome=bench.arrive.response(known),
                    cached=True,
                )
        attempt = await self.execution.one(request, self._throttle)
        if self._cache is not None and isinstance(attempt.outcome, Response):
            self._cache.put(keys[0], attempt.outcome)
            self._cache.flush()
        return attempt

    async def closed(self) -> None:
        """Close the provider and the cache."""
        if not self._open:
            return
        if self._cache is not None:
            self._cache.close()
        try:
            await self._bench.provider.close()
        except Exception as error:  # noqa: BLE001 - the answers are there; a plugin that cannot tidy up does not undo them
            self._bench.progress.note(
                f"provider {self._bench.provider.name!r} did not close well: {type(error).__name__}: {error}"
            )


def call_key(candidate: Candidate, request: Request, provider_version: str) -> str:
    """The identity of one call a tool makes: unlike a plan's requests, each may have its own decoding and wish."""
    return digest(
        [
            cache_key(candidate, request, provider_version),
            request.golden_set,
            dict(request.decoding),
            request.want,
            request.continuation,
            request.schema,
        ]
    )


class Call:
    """Runs coroutines in a loop of another thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __call__(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self.later(work).result()

    def later(self, work: Coroutine[Any, Any, _T]) -> Future[_T]:
        """Start it; from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)


@contextlib.contextmanager
def _loop() -> Iterator[Call]:
    """A running event loop in a thread; what still runs at the end is cancelled."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="evalharness calls", daemon=True)
    thread.start()
    try:
        yield Call(loop)
    finally:

        async def end() -> None:
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await loop.shutdown_asyncgens()

        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(end(), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        if not thread.is_alive():
            loop.close()
