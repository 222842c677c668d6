"""Suite × Candidate → Run: plan, resume, call, score, store."""

from __future__ import annotations

import contextlib
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evalharness.core.attempts import Attempt
from evalharness.core.candidates import AGAIN, Candidate
from evalharness.core.runs import AttemptKey, Run
from evalharness.core.suites import Suite
from evalharness.engine.asking import SPENT, Collecting, Job, ask_open, read_recording
from evalharness.engine.build import build_run, plugin_rows, scorer_names, totals
from evalharness.engine.loop import run_sync
from evalharness.engine.plan import Asked, Plan
from evalharness.engine.resume import Leftover, facts_of_part, loads_before, summed
from evalharness.engine.sink import FullKey, key_of
from evalharness.errors import ProviderError, StoreError, UsageError
from evalharness.plugins import Registry
from evalharness.store.folder import (
    changed_files,
    drop_journal,
    is_run_folder,
    locked,
    read_manifest,
    save_run,
)


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
    job = Job.of(suite, candidate, registry, how)
    provider = job.provider
    how.store.prepare()
    warnings: list[str] = []
    attempts: dict[FullKey, Attempt] = {}
    if provider.recorded:
        # A recording answers for nothing but itself: its repeats and ids are known once it is read.
        plan, warnings = run_sync(read_recording(job, attempts))
    else:
        plan = job.plan(candidate.repeats or 1)
    folder = how.store.run_folder(candidate.name, plan.digest)
    with locked(folder, lambda: how.progress.note(f"waiting for another process on {folder}")):
        facts: dict[str, Any] = {"calls": 0}
        if not provider.recorded:
            with _telling_of_fresh(job):
                facts = ask_open(job, plan, folder, attempts, asked, known, earlier)
        made_calls = bool(facts["calls"])
        loads = {candidate.limits.concurrency} if made_calls else set[int]()
        if known is not None:
            facts = summed(known.manifest["facts"], facts, (*SPENT, "resumed", "cached"))
            loads |= set(known.manifest["facts"].get("concurrency", ()))
        elif provider.cacheable and not how.fresh:
            facts = summed(facts_of_part(folder, plan), facts, SPENT)
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
def _telling_of_fresh(job: Job) -> Iterator[None]:
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


def answers_there(
    suite: Suite, candidate: Candidate, repeats: int, registry: Registry, how: Collecting
) -> dict[FullKey, Attempt]:
    """The attempts a candidate has without a call: a recording's, else those stored for so many repeats.

    Nothing is written.

    Raises:
        SpecError, StoreError: the recording or what is stored cannot be read.
    """
    job = Job.of(suite, candidate, registry, how)
    provider = job.provider
    if provider.recorded:
        found: dict[FullKey, Attempt] = {}
        run_sync(read_recording(job, found))
        return found
    plan = job.plan(repeats)
    folder = how.store.run_folder(candidate.name, plan.digest)
    stored = Leftover.read(folder, plan, provider, fresh=False, commit=how.commit).attempts()
    return {key: job.arrive.attempt(attempt) for key, attempt in stored.items()}


def _assemble(
    job: Job,
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
