"""Asking one candidate: what is stored, what the cache has, and calls for the rest.

Only the calls themselves run in an event loop. Everything else is plain code, so that Ctrl-C is heard at once and a
wait for another process can be ended.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from evalharness.core.attempts import Attempt, Response
from evalharness.core.candidates import Candidate
from evalharness.core.protocols import Provider, Request
from evalharness.core.runs import Run
from evalharness.core.suites import Suite
from evalharness.engine.benchmarking import Bench, run_benchmarks
from evalharness.engine.execute import Execution
from evalharness.engine.loop import run_sync
from evalharness.engine.plan import Asked, Plan, cache_key, cache_keys, make_plan
from evalharness.engine.progress import Progress, Silent
from evalharness.engine.ready import refuse_few_repeats, refuse_shallow, refuse_unready
from evalharness.engine.resume import Leftover, answers_of, from_cache, journal_mark, summed
from evalharness.engine.scoring import build_scorers
from evalharness.engine.sink import CacheWriter, FullKey, Sink, key_of
from evalharness.engine.spending import Purse
from evalharness.errors import EvalHarnessError, PluginError, UsageError
from evalharness.plugins import Registry
from evalharness.redaction import Arrival, secret_values
from evalharness.store.cache import ResponseCache
from evalharness.store.folder import Store, drop_journal
from evalharness.store.journal import NAME as JOURNAL
from evalharness.store.journal import Journal

if TYPE_CHECKING:
    import numpy as np

SPENT: Final = ("calls", "tries", "wall_s", "spent_input_tokens", "spent_output_tokens", "spent_usd")
"""Facts of a run that sum over its executions."""
_PROVIDER_NEEDS = ("name", "version", "recorded", "cacheable", "open", "complete", "close")


@dataclass(frozen=True, slots=True, kw_only=True)
class Collecting:
    """How to collect a run.

    `fresh` asks everything again: no stored attempt and no cached response is used. `now` is the time of the run's
    start as ISO text, kept in the manifest only. `version` is this package's. `purse` is what the command may spend,
    None where there is no budget. `environ` holds the keys that a suite may want taken out of answers before they are
    stored: under names that say so, and those that files name (`named`). `commit` holds the user's own code, "" where
    that is not known: what an unfinished run of another one left is not taken up.
    """

    store: Store
    seed: int
    fresh: bool = False
    now: str = ""
    version: str = ""
    progress: Progress = field(default_factory=Silent)
    purse: Purse | None = None
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    named: frozenset[str] = frozenset()
    commit: str = ""

    def arrival(self, suite: Suite, candidate: Candidate | None = None) -> Arrival:
        """What becomes of answers on their way in."""
        if not suite.redact.stored:
            return Arrival(suite.redact)
        own = candidate.api_key_env if candidate is not None else None
        return Arrival(suite.redact, secret_values(self.environ, self.named | ({own} if own else set())))


def refuse_unpriced(candidate: Candidate, purse: Purse | None) -> None:
    """Refuse to spend from a budget in money on calls whose price is not known.

    Raises:
        UsageError: says what to state.
    """
    if purse is not None and purse.budget.usd is not None and candidate.price is None:
        raise UsageError(
            f"{purse.where}: budget.usd is set, and what {candidate.name} costs is not known; add `price: "
            "{input_per_million: …, output_per_million: …}` to its file (0 where it costs nothing)"
        )


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


@dataclass(frozen=True, slots=True)
class Job:
    """One candidate on one suite, with all that it takes to ask it."""

    suite: Suite
    candidate: Candidate
    provider: Provider
    registry: Registry
    how: Collecting
    arrive: Arrival

    @classmethod
    def of(cls, suite: Suite, candidate: Candidate, registry: Registry, how: Collecting) -> Job:
        """The job of asking a candidate, its provider not opened. Raises as `make_provider` does."""
        provider = make_provider(candidate, registry)
        return cls(suite, candidate, provider, registry, how, how.arrival(suite, candidate))

    def plan(self, repeats: int) -> Plan:
        """The plan of all cases. Raises UsageError or SpecError where the candidate cannot answer the suite."""
        name = self.candidate.path or self.candidate.name
        scorers = build_scorers(self.suite, self.registry)
        refuse_few_repeats(scorers, repeats, name)
        refuse_shallow(scorers, self.provider, name)
        return make_plan(
            self.suite,
            self.candidate,
            repeats=repeats,
            recorded=self.provider.recorded,
            likelihoods=getattr(self.provider, "log_likelihoods", False),
            provider_version=self.provider.version,
        )

    def rng(self, plan: Plan) -> np.random.Generator:
        """For the jitter of retries."""
        import numpy as np

        return np.random.default_rng([self.how.seed, int(plan.digest[-8:], 16)])


async def read_recording(job: Job, attempts: dict[FullKey, Attempt]) -> tuple[Plan, list[str]]:
    """Fill `attempts` from a recording; returns the plan and what a user should know."""
    provider, candidate = job.provider, job.candidate

    def keep(request: Request, attempt: Attempt) -> None:
        attempts[key_of(request)] = attempt

    await provider.open()
    try:
        own = provider.repeats() if hasattr(provider, "repeats") else 1
        plan = job.plan(candidate.repeats or own)
        execution = Execution(
            provider, candidate.limits, None, keep, job.how.progress.note, job.rng(plan), arrive=job.arrive
        )
        await execution.run(plan.requests)
        return plan, _unknown_ids(provider, job.suite)
    finally:
        await _close(provider, job.how)


def ask_open(
    job: Job,
    plan: Plan,
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
    candidate, provider, how = job.candidate, job.provider, job.how
    if how.fresh:
        drop_journal(folder)  # the finished run stays until there is a new one
    left = Leftover.read(folder, plan, provider, fresh=how.fresh, commit=how.commit)
    attempts.update({key: job.arrive.attempt(a) for key, a in left.attempts(asked).items()})
    before = answers_of(known, plan)
    resumed = sum(isinstance(a.outcome, Response) for key, a in attempts.items() if key not in before)
    attempts.update(before)
    stored = len(attempts)
    wanted = plan.wanted(asked)
    brought = job.suite.benchmark_sets
    open_requests = [r for r in wanted if key_of(r) not in attempts and r.golden_set not in brought]
    by_tools = [r for r in wanted if key_of(r) not in attempts and r.golden_set in brought]
    prepare = getattr(provider, "prepare", None)
    # also where the cache has every answer: what is refused is not scored
    if prepare is not None and open_requests:
        cases = {(r.golden_set, r.case.id): r.case for r in plan.requests if r.golden_set not in brought}
        prepare(list(cases.values()), how.store.root, fresh=left.fresh)
    with contextlib.ExitStack() as opened:
        writer: CacheWriter | None = None
        if provider.cacheable and (open_requests or left.journaled.attempts):
            cache = opened.enter_context(
                contextlib.closing(ResponseCache(how.store.cache_path, replace=left.fresh))
            )
            touched = plan.requests if left.journaled.attempts else open_requests
            # tools' own calls are cached one by one
            touched = [r for r in touched if r.golden_set not in brought]
            keys = {
                key_of(r): cache_keys(cache_key(candidate, r, provider.version), plan.redacted)
                for r in touched
            }
            writer = CacheWriter(cache, {key: own for key, (own, *_) in keys.items()}, how.progress.note)
            opened.callback(writer.flush)
            left.remember({key: a for key, a in attempts.items() if key[0] not in brought}, writer)
            if not left.fresh:
                open_requests = from_cache(open_requests, cache, keys, attempts, job.arrive)
        facts: dict[str, Any] = {"calls": 0, "resumed": resumed, "cached": len(attempts) - stored}
        if open_requests or by_tools:
            refuse_unready(job.suite, job.registry)
            if resumed:
                how.progress.note(f"{candidate.name}: {resumed} answers kept from an earlier run")
            journal = opened.enter_context(
                contextlib.closing(
                    Journal(folder / JOURNAL, plan=journal_mark(plan, provider, how.commit), fresh=left.fresh)
                )
            )
            if not left.usable:  # a resumed run reads the journal alone, and must find these there
                for attempt in before.values():
                    journal.append(attempt)
            refuse_unpriced(candidate, how.purse)
            if open_requests:
                total = len(wanted) - len(by_tools)
                facts |= run_sync(_call(job, plan, open_requests, total, attempts, journal, writer, earlier))
            if by_tools:
                bench = Bench(
                    suite=job.suite,
                    candidate=candidate,
                    provider=make_provider(candidate, job.registry),
                    registry=job.registry,
                    journal=journal,
                    folder=folder,
                    cache=how.store.cache_path if provider.cacheable else None,
                    fresh=left.fresh,
                    progress=how.progress,
                    rng=job.rng(plan),
                    before=[*attempts.values(), *earlier],
                    purse=how.purse,
                    arrive=job.arrive,
                )
                facts = summed(facts, run_benchmarks(bench, by_tools, attempts), SPENT) | {
                    name: facts[name] for name in ("resumed", "cached")
                }
    return facts


async def _call(
    job: Job,
    plan: Plan,
    requests: Sequence[Request],
    wanted: int,
    attempts: dict[FullKey, Attempt],
    journal: Journal,
    cache: CacheWriter | None,
    earlier: Sequence[Attempt],
) -> dict[str, Any]:
    """Ask `requests`, the open ones of `wanted`."""
    candidate, provider, progress = job.candidate, job.provider, job.how.progress
    loop = asyncio.get_running_loop()
    await provider.open()
    try:
        before = [*attempts.values(), *earlier]
        # bound late: the sink asks for the execution's spending, the execution for the sink
        sink = Sink(attempts, journal, cache, progress, lambda: execution.spending.usd)
        execution = Execution(
            provider,
            candidate.limits,
            candidate.price,
            sink,
            progress.note,
            job.rng(plan),
            answered_before=sum(isinstance(a.outcome, Response) for a in before),
            purse=job.how.purse,
            arrive=job.arrive,
        )
        spent = execution.spending
        # what this run paid for before counts towards its caps; what the cache gave does not
        spent.add_earlier(a.outcome for a in before if not a.cached and isinstance(a.outcome, Response))
        started = loop.time()
        try:
            progress.start(candidate.name, wanted, wanted - len(requests))
            await execution.run(requests)
        finally:
            progress.finish()
        wall_s = loop.time() - started
    finally:
        await _close(provider, job.how)
    return {**spent.facts(), "wall_s": round(wall_s, 3), **_told_by(provider)}


def _told_by(provider: Provider) -> dict[str, Any]:
    """What a provider says of itself for the manifest, under "provider"; nothing where it says nothing."""
    facts = getattr(provider, "facts", None)
    told = facts() if facts is not None else {}
    return {"provider": told} if told else {}


async def _close(provider: Provider, how: Collecting) -> None:
    try:
        await provider.close()
    except Exception as error:  # noqa: BLE001 - the answers are there; a plugin that cannot tidy up does not undo them
        how.progress.note(f"provider {provider.name!r} did not close well: {type(error).__name__}: {error}")


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
