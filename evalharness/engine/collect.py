"""Suite × Candidate → Run: plan, resume, call, score, store."""

from __future__ import annotations

import asyncio
import platform
import sys
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from evalharness.core.attempts import Attempt, Failure, Response
from evalharness.core.candidates import Candidate
from evalharness.core.protocols import Provider, Request
from evalharness.core.runs import AttemptKey, Run
from evalharness.core.suites import Suite
from evalharness.engine.execute import Execution, cost_usd
from evalharness.engine.plan import Plan, cache_key, make_plan
from evalharness.engine.progress import Progress, Silent
from evalharness.engine.scoring import build_scorers, coverage, coverage_row, metric_sets, score_attempts
from evalharness.errors import InvalidComparisonError, StoreError, UsageError
from evalharness.plugins import Registry
from evalharness.store.cache import ResponseCache
from evalharness.store.files import read_lines
from evalharness.store.folder import (
    SCHEMA_VERSION,
    Store,
    content_id,
    is_run_folder,
    locked,
    read_manifest,
    save_run,
)
from evalharness.store.journal import Journal, read_journal
from evalharness.store.records import attempt_from_row

_T = TypeVar("_T")
_FullKey = tuple[str, str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Collecting:
    """How to collect a run.

    `fresh` asks everything again: no stored attempt and no cached response is used. `now` is the time of the run as
    ISO text, kept in the manifest only. `version` is this package's.
    """

    store: Store
    seed: int
    fresh: bool = False
    now: str = ""
    version: str = ""
    progress: Progress = field(default_factory=Silent)


def collect(suite: Suite, candidate: Candidate, registry: Registry, how: Collecting) -> tuple[Run, Path]:
    """Answer and score a suite with one candidate, and store the run.

    Attempts made before (a killed run, an identical earlier run, the response cache) cost no call; failed ones are
    asked again.

    Returns:
        The run and its folder.

    Raises:
        ProviderError, BudgetError: with everything collected kept. StoreError: the folder cannot be written.
    """
    if candidate.limits.max_cost_usd is not None and candidate.price is None:
        raise UsageError(
            f"{candidate.path or candidate.name}: limits.max_cost_usd needs a price; "
            "add `price: {input_per_million: …, output_per_million: …}`"
        )
    provider: Provider = registry.load("providers", candidate.provider)(candidate)
    how.store.prepare()
    return run_sync(_collect(suite, candidate, provider, registry, how))


def run_sync(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end, also where a loop already runs in this thread (a notebook)."""
    box: list[_T] = []

    async def boxed() -> None:
        # asyncio.run makes the repr of its finished task, result included: seconds for a run of 100,000 answers
        box.append(await work)

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(boxed())
        return box[0]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(asyncio.run, boxed()).result()
    return box[0]


async def _collect(
    suite: Suite, candidate: Candidate, provider: Provider, registry: Registry, how: Collecting
) -> tuple[Run, Path]:
    # A recording answers for nothing but itself, so its repeats and its ids are read before the plan is made.
    if provider.recorded:
        await provider.open()
    repeats = candidate.repeats or (provider.repeats() if hasattr(provider, "repeats") else 1)
    plan = make_plan(suite, candidate, repeats=repeats, recorded=provider.recorded)
    folder = how.store.run_folder(candidate.name, plan.digest)
    try:
        if provider.recorded:
            warnings = _unknown_ids(provider, suite)
            with locked(folder, lambda: how.progress.note(f"waiting for another process on {folder}")):
                attempts, facts = await _read_recorded(plan, candidate, provider, how)
                facts["warnings"] = warnings
                return _finish(suite, candidate, plan, attempts, facts, registry, how, folder), folder
        with locked(folder, lambda: how.progress.note(f"waiting for another process on {folder}")):
            attempts, facts = await _ask_open(plan, candidate, provider, how, folder)
            return _finish(suite, candidate, plan, attempts, facts, registry, how, folder), folder
    finally:
        if provider.recorded:
            await provider.close()


async def _read_recorded(
    plan: Plan, candidate: Candidate, provider: Provider, how: Collecting
) -> tuple[dict[_FullKey, Attempt], dict[str, Any]]:
    attempts: dict[_FullKey, Attempt] = {}

    def sink(request: Request, attempt: Attempt) -> None:
        attempts[request.golden_set, request.case.id, request.repeat] = attempt

    execution = Execution(provider, candidate.limits, None, sink, how.progress.note, _rng(how, plan))
    await execution.run(plan.requests)
    return attempts, {"calls": 0}


async def _ask_open(
    plan: Plan, candidate: Candidate, provider: Provider, how: Collecting, folder: Path
) -> tuple[dict[_FullKey, Attempt], dict[str, Any]]:
    """Ask what no stored attempt answers, journaling each answer as it arrives."""
    journal_path = folder / "journal.jsonl"
    if how.fresh:
        _discard(folder)
    attempts = {} if how.fresh else _stored(folder, provider, plan)
    resumed = len(attempts)
    cache = ResponseCache(how.store.cache_path) if provider.cacheable else None
    try:
        open_requests = [r for r in plan.requests if _key(r) not in attempts]
        keys = {_key(r): cache_key(candidate, r) for r in open_requests} if cache is not None else {}
        if cache is not None and not how.fresh:
            known = cache.get_many(keys.values())
            for request in open_requests:
                response = known.get(keys[_key(request)])
                if response is not None:
                    attempts[_key(request)] = _attempt(request, response, cached=True)
            open_requests = [r for r in open_requests if _key(r) not in attempts]
        cached = len(attempts) - resumed
        facts: dict[str, Any] = {"calls": 0, "resumed": resumed, "cached": cached}
        how.progress.start(candidate.name, len(plan.requests), len(attempts))
        try:
            if open_requests:
                if resumed:
                    how.progress.note(f"{candidate.name}: {resumed} answers kept from an earlier run")
                facts.update(
                    await _call(
                        open_requests, attempts, candidate, provider, how, plan, journal_path, cache, keys
                    )
                )
        finally:
            how.progress.finish()
    finally:
        if cache is not None:
            cache.close()
    return attempts, facts


async def _call(
    requests: list[Request],
    attempts: dict[_FullKey, Attempt],
    candidate: Candidate,
    provider: Provider,
    how: Collecting,
    plan: Plan,
    journal_path: Path,
    cache: ResponseCache | None,
    keys: Mapping[_FullKey, str],
) -> dict[str, Any]:
    journal = Journal(journal_path)

    def sink(request: Request, attempt: Attempt) -> None:
        attempts[_key(request)] = attempt
        journal.append(attempt)
        if cache is not None and isinstance(attempt.outcome, Response):
            cache.put(keys[_key(request)], attempt.outcome)
        how.progress.advance(attempt, execution.spending.usd)

    loop = asyncio.get_running_loop()
    try:
        await provider.open()
        execution = Execution(
            provider, candidate.limits, candidate.price, sink, how.progress.note, _rng(how, plan)
        )
        started = loop.time()
        try:
            await execution.run(requests)
        finally:
            await provider.close()
    finally:
        journal.close()
    spent = execution.spending
    return {
        "calls": spent.calls,
        "tries": spent.tries,
        "wall_s": round(loop.time() - started, 3),
        "spent_input_tokens": spent.input_tokens,
        "spent_output_tokens": spent.output_tokens,
        "spent_usd": spent.usd,
        "usage_unknown": spent.usage_unknown,
    }


def _stored(folder: Path, provider: Provider, plan: Plan) -> dict[_FullKey, Attempt]:
    """Responses an earlier run of the same plan left: its finished attempts and its journal. Failures are not answers.

    A finished run of a provider that cannot be cached is made anew; an unfinished one is resumed.
    """
    found: list[Attempt] = []
    if is_run_folder(folder) and provider.cacheable:
        try:
            found.extend(attempt_from_row(row) for row in read_lines(folder / "attempts.jsonl"))
        except (StoreError, KeyError, TypeError, AttributeError):
            found.clear()  # damaged: ask again rather than trust it
    found.extend(read_journal(folder / "journal.jsonl"))
    wanted = {_key(r) for r in plan.requests}
    kept: dict[_FullKey, Attempt] = {}
    for attempt in found:
        key = (attempt.golden_set, attempt.case_id, attempt.repeat)
        if key in wanted and isinstance(attempt.outcome, Response):
            kept[key] = attempt
    return kept


def _discard(folder: Path) -> None:
    for name in ("manifest.json", "journal.jsonl"):
        (folder / name).unlink(missing_ok=True)


def _finish(
    suite: Suite,
    candidate: Candidate,
    plan: Plan,
    collected: Mapping[_FullKey, Attempt],
    facts: Mapping[str, Any],
    registry: Registry,
    how: Collecting,
    folder: Path,
) -> Run:
    attempts: dict[str, dict[AttemptKey, Attempt]] = {g.name: {} for g in suite.golden_sets}
    for request in plan.requests:
        attempts[request.golden_set][request.case.id, request.repeat] = collected[_key(request)]
    run = build_run(
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
            },
            "plan": plan.digest,
            "seed": how.seed,
            "warnings": facts.get("warnings", []),
            "facts": {**{k: v for k, v in facts.items() if k != "warnings"}, **_totals(attempts, candidate)},
            "environment": {
                "finished": how.now,
                "evalharness": how.version,
                "python": platform.python_version(),
                "platform": sys.platform,
            },
            "plugins": _plugins(suite, candidate, registry),
        },
    )
    # Re-reading a recording that was stored before changes nothing: leave the folder as it is.
    if is_run_folder(folder) and read_manifest(folder).get("run_id") == run.id and not facts.get("calls"):
        return run
    save_run(folder, run)
    return run


def build_run(
    suite: Suite,
    attempts: Mapping[str, Mapping[AttemptKey, Attempt]],
    registry: Registry,
    *,
    name: str,
    repeats: int,
    about: Mapping[str, Any],
) -> Run:
    """Score attempts and put the run together. `about` is what the manifest says beside identity and counts."""
    scorers = build_scorers(suite, registry)
    scores = score_attempts(suite, attempts, scorers)
    sets = metric_sets(suite)
    candidate_digest = about["candidate"]["digest"]
    golden_sets = {g.name: g.digest for g in suite.golden_sets}
    run_id = content_id(candidate_digest, suite.digest, attempts, scores)
    models = sorted(
        {
            a.outcome.model
            for g in attempts.values()
            for a in g.values()
            if isinstance(a.outcome, Response) and a.outcome.model
        }
    )
    manifest: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "name": name,
        "suite": {"name": suite.name, "digest": suite.digest, "path": suite.path},
        "golden_sets": golden_sets,
        "metrics": sets,
        "repeats": repeats,
        "models_returned": models,
        "coverage": coverage_row(coverage(attempts, scores, sets)),
        **about,
    }
    return Run(
        id=run_id,
        name=name,
        candidate_digest=candidate_digest,
        suite_name=suite.name,
        suite_digest=suite.digest,
        golden_sets=golden_sets,
        repeats=repeats,
        attempts=attempts,
        scores=scores,
        manifest=manifest,
    )


def rescore_folder(folder: Path, suite: Suite, registry: Registry) -> Run:
    """The run of a folder, its stored answers scored with `suite`. Nothing is written.

    Raises:
        StoreError: damaged folder. InvalidComparisonError: the answers belong to other golden sets.
    """
    manifest = read_manifest(folder)
    wanted = {g.name: g.digest for g in suite.golden_sets}
    changed = [name for name, found in wanted.items() if manifest["golden_sets"].get(name) != found]
    if changed:
        raise InvalidComparisonError(
            f"{folder}: its answers are not to this version of golden set {', '.join(changed)}; "
            "run the candidate again on this suite"
        )
    attempts: dict[str, dict[AttemptKey, Attempt]] = {name: {} for name in wanted}
    try:
        for row in read_lines(folder / "attempts.jsonl"):
            attempt = attempt_from_row(row)
            if attempt.golden_set in attempts:
                attempts[attempt.golden_set][attempt.case_id, attempt.repeat] = attempt
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{folder}: damaged attempts.jsonl ({error!r}); run the candidate again") from error
    for golden_set in suite.golden_sets:
        for case in golden_set.cases:
            for repeat in range(manifest["repeats"]):
                if (case.id, repeat) not in attempts[golden_set.name]:
                    raise StoreError(
                        f"{folder}: attempts.jsonl has no answer to {case.id!r}; run the candidate again"
                    )
    about = {
        k: manifest[k] for k in ("candidate", "plan", "seed", "warnings", "facts", "environment", "plugins")
    }
    return build_run(
        suite, attempts, registry, name=manifest["name"], repeats=manifest["repeats"], about=about
    )


def _totals(attempts: Mapping[str, Mapping[AttemptKey, Attempt]], candidate: Candidate) -> dict[str, Any]:
    """Tokens, price and latency of all answers of the run, whoever paid for them and when."""
    latencies: list[float] = []
    tokens_in = tokens_out = known = 0
    for group in attempts.values():
        for attempt in group.values():
            outcome = attempt.outcome
            if isinstance(outcome, Failure):
                continue
            if outcome.latency_ms is not None:
                latencies.append(outcome.latency_ms)
            usage = outcome.usage
            if usage is not None and usage.input_tokens is not None and usage.output_tokens is not None:
                known += 1
                tokens_in += usage.input_tokens
                tokens_out += usage.output_tokens
    totals: dict[str, Any] = {}
    if known:
        totals |= {"input_tokens": tokens_in, "output_tokens": tokens_out, "usage_known": known}
        if candidate.price is not None:
            totals["cost_usd"] = round(cost_usd(candidate.price, tokens_in, tokens_out), 6)
    if latencies:
        p50, p95 = np.quantile(latencies, [0.5, 0.95])
        totals |= {"latency_p50_ms": round(float(p50), 1), "latency_p95_ms": round(float(p95), 1)}
    return totals


def _plugins(suite: Suite, candidate: Candidate, registry: Registry) -> list[dict[str, Any]]:
    names = [("providers", candidate.provider)]
    names += sorted({("scorers", s.name) for e in suite.evals for s in e.scorers})
    rows = []
    for kind, name in names:
        entry = registry.entry(kind, name)
        rows.append(
            {
                "kind": kind,
                "name": name,
                "target": entry.target,
                "origin": entry.origin,
                "version": registry.load(kind, name).version,
            }
        )
    return rows


def _unknown_ids(provider: Provider, suite: Suite) -> list[str]:
    ids = getattr(provider, "ids", None)
    if ids is None:
        return []
    known = {case.id for golden_set in suite.golden_sets for case in golden_set.cases}
    unknown = sorted(ids() - known)
    if not unknown:
        return []
    shown = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
    return [
        f"{len(unknown)} recorded ids are in no golden set of suite {suite.name} and are not used: {shown}"
    ]


def _rng(how: Collecting, plan: Plan) -> np.random.Generator:
    return np.random.default_rng([how.seed, int(plan.digest[-8:], 16)])


def _key(request: Request) -> _FullKey:
    return request.golden_set, request.case.id, request.repeat


def _attempt(request: Request, response: Response, *, cached: bool) -> Attempt:
    return Attempt(
        golden_set=request.golden_set,
        case_id=request.case.id,
        repeat=request.repeat,
        outcome=response,
        cached=cached,
    )
