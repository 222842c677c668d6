"""Suite × Candidate → Run: plan, resume, call, score, store.

Only the calls themselves run in an event loop. Everything else is plain code, so that Ctrl-C is heard at once and a
wait for another process can be ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import platform
import sys
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from evalharness.core.attempts import Attempt, Response
from evalharness.core.candidates import Candidate
from evalharness.core.protocols import Provider, Request
from evalharness.core.runs import AttemptKey, Run
from evalharness.core.suites import Suite
from evalharness.engine.build import build_run, plugin_rows, scorer_names, totals
from evalharness.engine.execute import Execution
from evalharness.engine.plan import Plan, cache_key, make_plan
from evalharness.engine.progress import Progress, Silent
from evalharness.engine.sink import CacheWriter, FullKey, Sink, key_of
from evalharness.errors import EvalHarnessError, PluginError, StoreError, UsageError
from evalharness.plugins import Registry
from evalharness.store.cache import ResponseCache
from evalharness.store.files import read_lines
from evalharness.store.folder import (
    ATTEMPTS,
    Store,
    changed_files,
    drop_journal,
    is_run_folder,
    locked,
    read_manifest,
    save_run,
)
from evalharness.store.journal import NAME as JOURNAL
from evalharness.store.journal import Journal, Recovered, read_journal
from evalharness.store.records import attempt_from_row

if TYPE_CHECKING:
    import numpy as np

_T = TypeVar("_T")
Asked: TypeAlias = Mapping[str, Collection[str]]
"""Golden set → ids of the cases to ask."""
_SPENT: Final = ("calls", "tries", "wall_s", "spent_input_tokens", "spent_output_tokens", "spent_usd")
_PROVIDER_NEEDS = ("name", "version", "recorded", "cacheable", "open", "complete", "close")


@dataclass(frozen=True, slots=True, kw_only=True)
class Collecting:
    """How to collect a run.

    `fresh` asks everything again: no stored attempt and no cached response is used. `now` is the time of the run's
    start as ISO text, kept in the manifest only. `version` is this package's.
    """

    store: Store
    seed: int
    fresh: bool = False
    now: str = ""
    version: str = ""
    progress: Progress = field(default_factory=Silent)


def collect(
    suite: Suite,
    candidate: Candidate,
    registry: Registry,
    how: Collecting,
    *,
    asked: Asked | None = None,
    known: Run | None = None,
    earlier: Sequence[Attempt] = (),
) -> tuple[Run, Path]:
    """Answer and score a suite with one candidate, and store the run.

    Attempts made before (a killed run, an identical earlier run, the response cache) cost no call; failed ones are
    asked again. A second process on the same run waits for the first and finds its answers.

    Args:
        suite: what is asked; the plan, and with it the run folder, is always that of the whole suite.
        candidate: who is asked.
        registry: where its provider is found.
        how: store, seed and the like.
        asked: the cases to ask of each golden set, None for all. Answers to others that are stored stay in the run.
        known: the same candidate's run of a moment ago, for fewer cases or repeats. Its answers count whatever
            `how.fresh` says and the provider is, and what they took is part of what this run took.
        earlier: of other runs that count towards the same caps, and show that the endpoint answers.

    Returns:
        The run and its folder.

    Raises:
        ProviderError, BudgetError: with everything collected kept. StoreError: the folder cannot be written.
        UsageError: the candidate cannot be asked (no key, a missing library, a broken plugin).
    """
    if candidate.limits.max_cost_usd is not None and candidate.price is None:
        raise UsageError(
            f"{candidate.path or candidate.name}: limits.max_cost_usd needs a price; "
            "add `price: {input_per_million: …, output_per_million: …}`"
        )
    provider = make_provider(candidate, registry)
    how.store.prepare()
    warnings: list[str] = []
    attempts: dict[FullKey, Attempt] = {}
    if provider.recorded:
        # A recording answers for nothing but itself: its repeats and ids are known once it is read.
        plan, warnings = run_sync(_read(suite, candidate, provider, how, attempts))
    else:
        plan = _plan(suite, candidate, provider, candidate.repeats or 1)
    folder = how.store.run_folder(candidate.name, plan.digest)
    with locked(folder, lambda: how.progress.note(f"waiting for another process on {folder}")):
        facts: dict[str, Any] = {"calls": 0}
        if not provider.recorded:
            facts = _ask_open(plan, candidate, provider, how, folder, attempts, asked, known, earlier)
        made_calls = bool(facts["calls"])
        if known is not None:
            facts = _summed(known.manifest["facts"], facts, (*_SPENT, "resumed", "cached"))
        elif provider.cacheable and not how.fresh:
            facts = _summed(_facts_of_part(folder, plan), facts, _SPENT)
        run = _assemble(suite, candidate, provider, plan, attempts, facts, warnings, registry, how)
        _store(folder, run, made_calls=made_calls)
    return run, folder


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


def make_provider(candidate: Candidate, registry: Registry) -> Provider:
    """The provider of a candidate, not opened.

    Raises:
        PluginError: it cannot be made, or is none. UsageError: the candidate does not suit it.
    """
    try:
        provider: Provider = registry.load("providers", candidate.provider)(candidate)
    except EvalHarnessError:
        raise
    except Exception as error:
        raise PluginError(
            f"provider {candidate.provider!r} cannot be made: {type(error).__name__}: {error}"
        ) from error
    missing = [name for name in _PROVIDER_NEEDS if not hasattr(provider, name)]
    if missing:
        raise PluginError(f"provider {candidate.provider!r} is not a provider: it lacks {', '.join(missing)}")
    return provider


def _plan(suite: Suite, candidate: Candidate, provider: Provider, repeats: int) -> Plan:
    return make_plan(
        suite, candidate, repeats=repeats, recorded=provider.recorded, provider_version=provider.version
    )


def answers_there(
    suite: Suite, candidate: Candidate, repeats: int, registry: Registry, how: Collecting
) -> dict[FullKey, Attempt]:
    """The attempts a candidate has without a call: a recording's, else those stored for so many repeats.

    Nothing is written.

    Raises:
        SpecError, StoreError: the recording or what is stored cannot be read.
    """
    provider = make_provider(candidate, registry)
    if provider.recorded:
        found: dict[FullKey, Attempt] = {}
        run_sync(_read(suite, candidate, provider, how, found))
        return found
    plan = _plan(suite, candidate, provider, repeats)
    folder = how.store.run_folder(candidate.name, plan.digest)
    journaled = read_journal(folder / JOURNAL, plan.digest)
    usable = provider.cacheable and not (journaled.fresh and bool(journaled.attempts))
    return stored_attempts(folder, plan, journaled, finished=usable)


async def _read(
    suite: Suite,
    candidate: Candidate,
    provider: Provider,
    how: Collecting,
    attempts: dict[FullKey, Attempt],
) -> tuple[Plan, list[str]]:
    """Fill `attempts` from a recording; returns the plan and what a user should know."""

    def keep(request: Request, attempt: Attempt) -> None:
        attempts[key_of(request)] = attempt

    await provider.open()
    try:
        own = provider.repeats() if hasattr(provider, "repeats") else 1
        plan = _plan(suite, candidate, provider, candidate.repeats or own)
        execution = Execution(provider, candidate.limits, None, keep, how.progress.note, _rng(how, plan))
        await execution.run(plan.requests)
        return plan, _unknown_ids(provider, suite)
    finally:
        await _close(provider, how)


def _ask_open(
    plan: Plan,
    candidate: Candidate,
    provider: Provider,
    how: Collecting,
    folder: Path,
    attempts: dict[FullKey, Attempt],
    asked: Asked | None,
    known: Run | None,
    earlier: Sequence[Attempt],
) -> dict[str, Any]:
    """Fill `attempts`: from what is stored, from the cache, and by asking for the rest.

    Returns:
        Facts for the manifest.
    """
    if how.fresh:
        drop_journal(folder)  # the finished run stays until there is a new one
    journaled = read_journal(folder / JOURNAL, plan.digest)
    # a run that was to use nothing stored stays so when it is resumed
    fresh = how.fresh or (journaled.fresh and bool(journaled.attempts))
    usable = provider.cacheable and not fresh
    attempts.update(stored_attempts(folder, plan, journaled, finished=usable, asked=asked))
    before = _answers_of(known, plan)
    resumed = sum(isinstance(a.outcome, Response) for key, a in attempts.items() if key not in before)
    attempts.update(before)
    stored = len(attempts)
    cache: ResponseCache | None = None
    writer: CacheWriter | None = None
    try:
        wanted = _wanted(plan, asked)
        open_requests = [r for r in wanted if key_of(r) not in attempts]
        if provider.cacheable and (open_requests or journaled.attempts):
            cache = ResponseCache(how.store.cache_path, replace=fresh)
            touched = open_requests if not journaled.attempts else plan.requests
            keys = {key_of(r): cache_key(candidate, r, provider.version) for r in touched}
            writer = CacheWriter(cache, keys, how.progress.note)
            _remember(journaled, attempts, writer)
            if not fresh:
                open_requests = _from_cache(open_requests, cache, keys, attempts)
        facts: dict[str, Any] = {"calls": 0, "resumed": resumed, "cached": len(attempts) - stored}
        if open_requests:
            if resumed:
                how.progress.note(f"{candidate.name}: {resumed} answers kept from an earlier run")
            journal = Journal(folder / JOURNAL, plan=plan.digest, fresh=fresh)
            with contextlib.closing(journal):
                if not usable:  # a resumed run reads the journal alone, and must find these there
                    for attempt in before.values():
                        journal.append(attempt)
                facts |= run_sync(
                    _call(
                        open_requests,
                        len(wanted),
                        attempts,
                        candidate,
                        provider,
                        how,
                        plan,
                        journal,
                        writer,
                        earlier,
                    )
                )
        return facts
    finally:
        if cache is not None and writer is not None:
            writer.flush()
            cache.close()


async def _call(
    requests: list[Request],
    wanted: int,
    attempts: dict[FullKey, Attempt],
    candidate: Candidate,
    provider: Provider,
    how: Collecting,
    plan: Plan,
    journal: Journal,
    cache: CacheWriter | None,
    earlier: Sequence[Attempt],
) -> dict[str, Any]:
    """Ask `requests`, the open ones of `wanted`."""
    loop = asyncio.get_running_loop()
    await provider.open()
    try:
        before = [*attempts.values(), *earlier]
        # bound late: the sink asks for the execution's spending, the execution for the sink
        sink = Sink(attempts, journal, cache, how.progress, lambda: execution.spending.usd)
        execution = Execution(
            provider,
            candidate.limits,
            candidate.price,
            sink,
            how.progress.note,
            _rng(how, plan),
            answered_before=sum(isinstance(a.outcome, Response) for a in before),
        )
        spent = execution.spending
        # what this run paid for before counts towards its caps; what the cache gave does not
        spent.add_earlier(a.outcome for a in before if not a.cached and isinstance(a.outcome, Response))
        started = loop.time()
        try:
            how.progress.start(candidate.name, wanted, wanted - len(requests))
            await execution.run(requests)
        finally:
            how.progress.finish()
        wall_s = loop.time() - started
    finally:
        await _close(provider, how)
    return {
        "calls": spent.calls,
        "tries": spent.tries,
        "wall_s": round(wall_s, 3),
        "spent_input_tokens": spent.input_tokens,
        "spent_output_tokens": spent.output_tokens,
        "spent_usd": spent.usd,
    }


async def _close(provider: Provider, how: Collecting) -> None:
    try:
        await provider.close()
    except Exception as error:  # noqa: BLE001 - the answers are there; a plugin that cannot tidy up does not undo them
        how.progress.note(f"provider {provider.name!r} did not close well: {type(error).__name__}: {error}")


def stored_attempts(
    folder: Path, plan: Plan, journaled: Recovered, *, finished: bool, asked: Asked | None = None
) -> dict[FullKey, Attempt]:
    """Responses an earlier run of the same plan left: its finished attempts and its journal.

    Failures are not answers: what is `asked` now (None: everything) is asked again. Those of other cases stay, so that
    a whole run remains one.

    `finished` False: only the journal counts. So it is for a provider that cannot be cached, whose finished runs are
    made anew and whose unfinished ones are resumed, and for a run that was to use nothing stored.
    """
    found = _finished(folder, plan, bool(journaled.attempts)) if finished else []
    found += journaled.attempts
    planned = {key_of(r) for r in plan.requests}
    elsewhere = planned - {key_of(r) for r in _wanted(plan, asked)}
    kept: dict[FullKey, Attempt] = {}
    for attempt in found:
        key = (attempt.golden_set, attempt.case_id, attempt.repeat)
        if isinstance(attempt.outcome, Response):
            if key in planned:
                kept[key] = attempt
        elif key in elsewhere:
            kept.setdefault(key, attempt)
    return kept


def _answers_of(run: Run | None, plan: Plan) -> dict[FullKey, Attempt]:
    """The responses of a run that this plan asks for too."""
    if run is None:
        return {}
    wanted = {key_of(r) for r in plan.requests}
    return {
        (name, *key): attempt
        for name, group in run.attempts.items()
        for key, attempt in group.items()
        if (name, *key) in wanted and isinstance(attempt.outcome, Response)
    }


def _finished(folder: Path, plan: Plan, interrupted: bool) -> list[Attempt]:
    """The attempts of a stored run; none where they are damaged: ask again rather than trust them.

    `interrupted`: a journal beside them says that storing them again was cut short, so the manifest may be older.
    """
    if not is_run_folder(folder):
        return []
    try:
        manifest = read_manifest(folder)
        if manifest["plan"] != plan.digest:
            return []
        if ATTEMPTS in changed_files(folder, manifest) and not interrupted:
            return []
        return [attempt_from_row(row) for row in read_lines(folder / ATTEMPTS)]
    except (StoreError, KeyError, TypeError, AttributeError):
        return []


def _wanted(plan: Plan, asked: Asked | None) -> list[Request]:
    """The requests of the plan that are to be answered now."""
    if asked is None:
        return list(plan.requests)
    return [r for r in plan.requests if r.case.id in asked[r.golden_set]]


def _facts_of_part(folder: Path, plan: Plan) -> Mapping[str, Any]:
    """The facts of a stored run of this plan that asked a part of it: what it cost is part of the whole's cost."""
    if not is_run_folder(folder):
        return {}
    try:
        manifest = read_manifest(folder)
    except StoreError:
        return {}
    return manifest["facts"] if manifest["plan"] == plan.digest and manifest.get("unasked") else {}


def _summed(earlier: Mapping[str, Any], facts: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The facts with these ones, such as calls, tokens, time and money, added to those of an earlier run."""
    for name in names:
        before, now = earlier.get(name), facts.get(name)
        if before is not None or now is not None:
            facts[name] = round((before or 0) + (now or 0), 6)
    return facts


def _remember(journaled: Recovered, attempts: Mapping[FullKey, Attempt], writer: CacheWriter) -> None:
    """Hand what a killed run had not yet committed to the cache."""
    for attempt in journaled.attempts:
        key = (attempt.golden_set, attempt.case_id, attempt.repeat)
        if key in attempts and isinstance(attempt.outcome, Response):
            writer.put(key, attempt.outcome)


def _from_cache(
    requests: list[Request],
    cache: ResponseCache,
    keys: Mapping[FullKey, str],
    attempts: dict[FullKey, Attempt],
) -> list[Request]:
    """Answer from the cache what it knows; returns the requests that stay open."""
    known = cache.get_many([keys[key_of(r)] for r in requests])
    still_open = []
    for request in requests:
        response = known.get(keys[key_of(request)])
        if response is None:
            still_open.append(request)
            continue
        attempts[key_of(request)] = Attempt(
            golden_set=request.golden_set,
            case_id=request.case.id,
            repeat=request.repeat,
            outcome=response,
            cached=True,
        )
    return still_open


def _assemble(
    suite: Suite,
    candidate: Candidate,
    provider: Provider,
    plan: Plan,
    collected: Mapping[FullKey, Attempt],
    facts: Mapping[str, Any],
    warnings: list[str],
    registry: Registry,
    how: Collecting,
) -> Run:
    attempts: dict[str, dict[AttemptKey, Attempt]] = {g.name: {} for g in suite.golden_sets}
    for request in plan.requests:
        found = collected.get(key_of(request))
        if found is not None:
            attempts[request.golden_set][request.case.id, request.repeat] = found
    sums = totals(attempts, candidate)
    if provider.recorded and not sums["usage_known"]:
        # a recording without usage never set out to tell it
        del sums["usage_known"], sums["usage_unknown"]
    return build_run(
        suite,
        attempts,
        registry,
        name=candidate.name,
        repeats=plan.repeats,
        about={
            "candidate": {
                "digest": candidate.digest,
                "provider": candidate.provider,
                "model": candidate.model,
                "path": candidate.path,
                "decoding": dict(candidate.decoding),
                # False: the same digest does not mean the same code answered (a recording's holds its content)
                "cacheable": provider.cacheable or provider.recorded,
            },
            "plan": plan.digest,
            "unasked": len(plan.requests) - len(collected),
            "seed": how.seed,
            "warnings": warnings,
            "facts": {**facts, **sums},
            "environment": {
                "started": how.now,
                "evalharness": how.version,
                "python": platform.python_version(),
                "platform": sys.platform,
            },
            "plugins": plugin_rows([("providers", candidate.provider), *scorer_names(suite)], registry),
        },
    )


def _store(folder: Path, run: Run, *, made_calls: bool) -> None:
    """Write the run, unless the folder holds the very same and no call was made: then its facts are the truer ones."""
    if not made_calls and is_run_folder(folder):
        with contextlib.suppress(StoreError):
            manifest = read_manifest(folder)
            if manifest["run_id"] == run.id and not changed_files(folder, manifest):
                drop_journal(folder)
                return
    save_run(folder, run)


def _unknown_ids(provider: Provider, suite: Suite) -> list[str]:
    ids = getattr(provider, "ids", None)
    if ids is None:
        return []
    found = []
    named = getattr(provider, "golden_sets", None)
    strange = sorted(named() - {golden_set.name for golden_set in suite.golden_sets}) if named else []
    if strange:
        found.append(
            f"recorded rows for golden sets that suite {suite.name} does not have are not used: "
            + ", ".join(strange[:5])
        )
    known = {case.id for golden_set in suite.golden_sets for case in golden_set.cases}
    unknown = sorted(ids() - known)
    if unknown:
        shown = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
        counted = "1 recorded id is" if len(unknown) == 1 else f"{len(unknown)} recorded ids are"
        found.append(f"{counted} in no golden set of suite {suite.name} and not used: {shown}")
    return found


def _rng(how: Collecting, plan: Plan) -> np.random.Generator:
    import numpy as np

    return np.random.default_rng([how.seed, int(plan.digest[-8:], 16)])
