"""Attempts → Run: scored, counted, with everything the manifest says."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from evalharness.core.attempts import Attempt, Failure, Response
from evalharness.core.benchmarks import Task, TaskMetric
from evalharness.core.candidates import Candidate, Price
from evalharness.core.cases import Card, GoldenSet
from evalharness.core.runs import AttemptKey, Run, count_coverage
from evalharness.core.suites import ScorerSpec, Suite
from evalharness.engine.ready import refuse_few_repeats
from evalharness.engine.scoring import build_scorers, metric_sets, score_attempts
from evalharness.engine.spending import cost_usd, tokens_of
from evalharness.errors import InvalidComparisonError, StoreError
from evalharness.plugins import Registry
from evalharness.redaction import Arrival
from evalharness.store.folder import (
    ATTEMPTS,
    SCHEMA_VERSION,
    changed_files,
    content_id,
    read_attempts,
    read_cases,
    read_manifest,
    refuse_edited,
)
from evalharness.store.scores import ScoreCache


def build_run(
    suite: Suite,
    attempts: Mapping[str, Mapping[AttemptKey, Attempt]],
    registry: Registry,
    *,
    name: str,
    repeats: int,
    about: Mapping[str, Any],
    kept: ScoreCache | None,
    arrive: Arrival,
) -> Run:
    """Score attempts and put the run together.

    `about` is what the manifest says beside identity and counts; `kept` what batch scorers said before; `arrive` what
    became of the attempts, and becomes of all else that is stored.

    Raises:
        UsageError: a scorer needs what is not there (a library, a sandbox).
    """
    scorers = build_scorers(suite, registry)
    refuse_few_repeats(scorers, repeats, name)
    price = about["candidate"].get("price")
    scores = score_attempts(
        suite,
        attempts,
        scorers,
        price=Price(**price) if price is not None else None,
        kept=kept,
        arrive=arrive,
    )
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
        "coverage": count_coverage(attempts, scores, sets).row(),
        **about,
        **{name: arrive.plain(about[name]) for name in ("facts", "warnings") if name in about},
    }
    if suite.redact.stored:
        manifest["redacted"] = {"kinds": list(suite.redact.kinds), "patterns": list(suite.redact.patterns)}
    brought = suite.benchmark_sets
    if brought:
        manifest["tasks"] = {item.id: task_row(item.task) for item in suite.evals if item.task is not None}
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
        cases={g.name: g.cases for g in suite.golden_sets if g.name in brought},
    )


def task_row(task: Task) -> dict[str, Any]:
    """What another tool brought, as manifest.json holds it; the cases lie beside it."""
    card = task.golden_set.card
    return {
        "golden_set": card.name,
        "digest": task.golden_set.digest,
        "version": card.version,
        "task": card.task,
        "metrics": [
            {
                "name": metric.scorer.name,
                "id": metric.scorer.id,
                "params": dict(metric.scorer.params),
                "advisory": metric.advisory,
            }
            for metric in task.metrics
        ],
    }


def task_of(folder: Path, row: Mapping[str, Any], name: str) -> Task:
    """The inverse of `task_row`, with the cases of the run folder; its golden set is called `name`.

    Raises:
        StoreError: damaged.
    """
    try:
        return Task(
            golden_set=GoldenSet(
                card=Card(name=name, version=row["version"], task=row["task"]),
                cases=read_cases(folder)[row["golden_set"]],
                digest=row["digest"],
            ),
            metrics=tuple(
                TaskMetric(
                    scorer=ScorerSpec(name=m["name"], id=m["id"], params=m["params"]), advisory=m["advisory"]
                )
                for m in row["metrics"]
            ),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{folder}: damaged run folder ({error!r}); delete it and run the candidate again"
        ) from error


def rescore_folder(
    folder: Path,
    suite: Suite,
    registry: Registry,
    kept: ScoreCache | None = None,
    *,
    arrive: Arrival | None = None,
    carried: Collection[str] = (),
) -> Run:
    """The run of a folder, its stored answers scored with `suite`. Nothing is written but to `kept`.

    `arrive` is what becomes of answers in this suite; None: what its `redact` says by itself. `carried`: golden sets
    that changed and ask nothing that the run did not answer.

    Raises:
        StoreError: damaged folder. InvalidComparisonError: the answers belong to other golden sets.
    """
    manifest = read_manifest(folder)
    refuse_other_sets(folder, manifest, suite, carried)
    refuse_redacted(folder, manifest, suite)
    arrive = arrive or Arrival(suite.redact)
    if ATTEMPTS in changed_files(folder, manifest):
        raise refuse_edited(folder, ATTEMPTS)
    stored: dict[tuple[str, str, int], Attempt] = {}
    try:
        for attempt in read_attempts(folder):
            stored[attempt.golden_set, attempt.case_id, attempt.repeat] = arrive.attempt(attempt)
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{folder}: damaged {ATTEMPTS} ({error!r}); run the candidate again") from error
    attempts: dict[str, dict[AttemptKey, Attempt]] = {}
    for golden_set in suite.golden_sets:
        group = attempts[golden_set.name] = {}
        for case in golden_set.cases:
            for repeat in range(manifest["repeats"]):
                found = stored.get((golden_set.name, case.id, repeat))
                if found is None and manifest.get("unasked"):
                    continue  # a sequential comparison stopped before it
                if found is None:
                    raise StoreError(
                        f"{folder}: {ATTEMPTS} has no answer to {case.id!r}; run the candidate again"
                    )
                group[case.id, repeat] = found
    about: dict[str, Any] = {
        k: manifest[k]
        for k in ("candidate", "plan", "unasked", "seed", "warnings", "facts", "environment")
        if k in manifest
    }
    about["plugins"] = [row for row in manifest["plugins"] if row.get("kind") != "scorers"]
    about["plugins"] += plugin_rows(scorer_names(suite), registry)
    return build_run(
        suite,
        attempts,
        registry,
        name=manifest["name"],
        repeats=manifest["repeats"],
        about=about,
        kept=kept,
        arrive=arrive,
    )


def refuse_other_sets(
    folder: Path, manifest: Mapping[str, Any], suite: Suite, carried: Collection[str] = ()
) -> None:
    """Refuse a run unless it answered the golden sets of a suite as they are now, but for those `carried`.

    Raises:
        InvalidComparisonError: it answered others; names them.
    """
    answered = manifest["golden_sets"]
    changed = [
        g.name for g in suite.golden_sets if answered.get(g.name) != g.digest and g.name not in carried
    ]
    if changed:
        raise InvalidComparisonError(
            f"{folder}: its answers are not to this version of golden set {', '.join(changed)}; "
            "run the candidate again on this suite"
        )


def refuse_redacted(folder: Path, manifest: Mapping[str, Any], suite: Suite) -> None:
    """Refuse a run of whose answers more was taken out than this suite takes out of the other side's.

    Raises:
        InvalidComparisonError: says what.
    """
    rules = manifest.get("redacted")
    if not isinstance(rules, Mapping):
        return
    told = [*rules.get("kinds", ()), *rules.get("patterns", ())]
    here = {*suite.redact.kinds, *suite.redact.patterns}
    if suite.redact.stored and here >= set(told):
        return
    raise InvalidComparisonError(
        f"{folder}: keys{''.join(f', {name}' for name in told)} were taken out of its answers before they were stored, "
        f"and suite {suite.name} keeps them in others (`redact`, `stored`); run the candidate again on this suite"
    )


def totals(attempts: Mapping[str, Mapping[AttemptKey, Attempt]], candidate: Candidate) -> dict[str, Any]:
    """Tokens, price and latency of all answers of the run, whoever paid for them and when.

    `usage_unknown` counts the answers whose tokens nobody told: they are not in the sums.
    """
    latencies: list[float] = []
    tokens_in = tokens_out = known = answers = 0
    for group in attempts.values():
        for attempt in group.values():
            outcome = attempt.outcome
            if isinstance(outcome, Failure):
                continue
            answers += 1
            if outcome.latency_ms is not None:
                latencies.append(outcome.latency_ms)
            more_in, more_out, told = tokens_of(outcome)
            tokens_in += more_in
            tokens_out += more_out
            known += told
    found: dict[str, Any] = {"usage_known": known, "usage_unknown": answers - known}
    if known:
        found |= {"input_tokens": tokens_in, "output_tokens": tokens_out}
        if candidate.price is not None:
            found["cost_usd"] = round(cost_usd(candidate.price, tokens_in, tokens_out), 6)
            if candidate.price.listed:
                found["prices"] = f"list prices of {candidate.price.listed}"
    if latencies:
        import numpy as np

        p50, p95 = np.quantile(latencies, [0.5, 0.95])
        found |= {"latency_p50_ms": round(float(p50), 1), "latency_p95_ms": round(float(p95), 1)}
    return found


def plugin_rows(names: Iterable[tuple[str, str]], registry: Registry) -> list[dict[str, Any]]:
    """What answers or scores, by (kind, name), with where it comes from and its version."""
    rows = []
    for kind, name in names:
        entry = registry.entry(kind, name)
        rows.append(
            {
                "kind": kind,
                "name": name,
                "target": entry.target,
                "origin": entry.origin,
                "version": getattr(registry.load(kind, name), "version", None),
            }
        )
    return rows


def scorer_names(suite: Suite) -> list[tuple[str, str]]:
    """The scorers of a suite as `plugin_rows` takes them, sorted."""
    return sorted({("scorers", spec.name) for item in suite.evals for spec in item.scorers})
