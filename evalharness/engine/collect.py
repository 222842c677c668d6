"""Suite × Candidate → Run: plan, resume, call, score, store.

Only the calls themselves run in an event loop. Everything else is plain code, so that Ctrl-C is heard at once and a
wait for another process can be ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from evalharness.core.attempts import Attempt, Response
from evalharness.core.candidates import AGAIN, Candidate
from evalharness.core.protocols import Provider, Request
from evalharness.core.runs import AttemptKey, Run
from evalharness.core.suites import Suite
from evalharness.engine.benchmarking import Bench, run_benchmarks
from evalharness.engine.build import build_run, plugin_rows, scorer_names, totals
from evalharness.engine.execute import Execution
from evalharness.engine.loop import run_sync
from evalharness.engine.plan import Asked, Plan, cache_key, cache_keys, make_plan
from evalharness.engine.progress import Progress, Silent
from evalharness.engine.ready import refuse_few_repeats, refuse_shallow, refuse_unready
from evalharness.engine.resume import (
    Leftover,
    answers_of,
    facts_of_part,
    from_cache,
    loads_before,
    summed,
)
from evalharness.engine.scoring import build_scorers
from evalharness.engine.sink import CacheWriter, FullKey, Sink, key_of
from evalharness.engine.spending import Purse
from evalharness.errors import EvalHarnessError, PluginError, ProviderError, StoreError, UsageError
from evalharness.plugins import Registry
from evalharness.redaction import Arrival, secret_values
from evalharness.store.cache import ResponseCache
from evalharness.store.folder import (
    Store,
    changed_files,
    drop_journal,
    is_run_folder,
    locked,
    read_manifest,
    save_run,
)
from evalharness.store.journal import NAME as JOURNAL
from evalharness.store.journal import Journal

if TYPE_CHECKING:
    import numpy as np

_SPENT: Final = ("calls", "tries", "wall_s", "spent_input_tokens", "spent_output_tokens", "spent_usd")
_PROVIDER_NEEDS = ("name", "version", "recorded", "cacheable", "open", "complete", "close")


@dataclass(frozen=True, slots=True, kw_only=True)
class Collecting:
    """How to collect a run.

    `fresh` asks everything again: no stored attempt and no cached response is used. `now` is the time of the run's
    start as ISO text, kept in the manifest only. `version` is this package's. `purse` is what the command may spend,
    None where there is no budget. `environ` holds the keys that a suite may want taken out of answers before they are
    stored: under names that say so, and those that files name (`named`).
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

    def arrival(self, suite: Suite, candidate: Candidate | None = None) -> Arrival:
        """What becomes of answers on their way in."""
        if not suite.redact.stored:
            return Arrival(suite.redact)
        own = candidate.api_key_env if candidate is not None else None
        return Arrival(suite.redact, secret_values(self.environ, self.named | ({own} if own else set())))


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
    job = _Job(suite, candidate, provider, registry, how, how.arrival(suite, candidate))
    how.store.prepare()
    warnings: list[str] = []
    attempts: dict[FullKey, Attempt] = {}
    if provider.recorded:
        # A recording answers for nothing but itself: its repeats and ids are known once it is read.
        plan, warnings = run_sync(_read(job, attempts))
    else:
        plan = job.plan(candidate.repeats or 1)
    folder = how.store.run_folder(candidate.name, plan.digest)
    with locked(folder, lambda: how.progress.note(f"waiting for another process on {folder}")):
        facts: dict[str, Any] = {"calls": 0}
        if not provider.recorded:
            with _telling_of_fresh(job):
                facts = _ask_open(job, plan, folder, attempts, asked, known, earlier)
        made_calls = bool(facts["calls"])
        loads = {candidate.limits.concurrency} if made_calls else set[int]()
        if known is not None:
            facts = summed(known.manifest["facts"], facts, (*_SPENT, "resumed", "cached"))
            loads |= set(known.manifest["facts"].get("concurrency", ()))
        elif provider.cacheable and not how.fresh:
            facts = summed(facts_of_part(folder, plan), facts, _SPENT)
            loads |= loads_before(folder, plan)
        if loads:
            facts = {**facts, "concurrency": sorted(loads)}
        if suite.benchmark_sets and is_run_folder(folder):  # what a tool said of an earlier part of this run
            told = read_manifest(folder)["facts"].get("benchmarks", {})
            facts["benchmarks"] = {**told, **facts.get("benchmarks", {})}
        if hasattr(provider, "facts") and is_run_folder(folder):
            told = read_manifest(folder)["facts"]
            facts = {**{key: told[key] for key in ("provider",) if key in told}, **facts}
        run = _assemble(job, plan, attempts, facts, warnings)
        _store(folder, run, made_calls=made_calls)
    return run, folder


@contextlib.contextmanager
def _telling_of_fresh(job: _Job) -> Iterator[None]:
    """Add to an error that says what resumes a run that --fresh, in the same command, does not."""
    try:
        yield
    except ProviderError as error:
        if not job.how.fresh:
            raise
        # a candidate beside itself has a run of its own under --fresh alone
        twice = job.candidate.name.endswith(AGAIN)
        told = "--fresh asks everything again" + ("" if twice else ", so leave it out then")
        raise type(error)(f"{error}; {told}") from error


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


def answers_there(
    suite: Suite, candidate: Candidate, repeats: int, registry: Registry, how: Collecting
) -> dict[FullKey, Attempt]:
    """The attempts a candidate has without a call: a recording's, else those stored for so many repeats.

    Nothing is written.

    Raises:
        SpecError, StoreError: the recording or what is stored cannot be read.
    """
    provider = make_provider(candidate, registry)
    job = _Job(suite, candidate, provider, registry, how, how.arrival(suite, candidate))
    if provider.recorded:
        found: dict[FullKey, Attempt] = {}
        run_sync(_read(job, found))
        return found
    plan = job.plan(repeats)
    folder = how.store.run_folder(candidate.name, plan.digest)
    stored = Leftover.read(folder, plan, provider, fresh=False).attempts()
    return {key: job.arrive.attempt(attempt) for key, attempt in stored.items()}


@dataclass(frozen=True, slots=True)
class _Job:
    """One candidate on one suite, with all that it takes to ask it."""

    suite: Suite
    candidate: Candidate
    provider: Provider
    registry: Registry
    how: Collecting
    arrive: Arrival

    def plan(self, repeats: int) -> Plan:
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


async def _read(job: _Job, attempts: dict[FullKey, Attempt]) -> tuple[Plan, list[str]]:
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


def _ask_open(
    job: _Job,
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
    left = Leftover.read(folder, plan, provider, fresh=how.fresh)
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
                contextlib.closing(Journal(folder / JOURNAL, plan=plan.digest, fresh=left.fresh))
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
                facts = summed(facts, run_benchmarks(bench, by_tools, attempts), _SPENT) | {
                    name: facts[name] for name in ("resumed", "cached")
                }
    return facts


async def _call(
    job: _Job,
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


def _assemble(
    job: _Job,
    plan: Plan,
    collected: Mapping[FullKey, Attempt],
    facts: Mapping[str, Any],
    warnings: list[str],
) -> Run:
    suite, candidate, provider, how = job.suite, job.candidate, job.provider, job.how
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
        job.registry,
        name=candidate.name,
        repeats=plan.repeats,
        about={
            "candidate": {
                "digest": candidate.digest,
                "provider": candidate.provider,
                "model": candidate.model,
                "path": candidate.path,
                "decoding": dict(candidate.decoding),
                "price": asdict(candidate.price) if candidate.price is not None else None,
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
            "plugins": plugin_rows([("providers", candidate.provider), *scorer_names(suite)], job.registry),
        },
        kept=how.store.scores,
        arrive=job.arrive,
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
