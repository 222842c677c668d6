"""What is exported, as rows of plain values: a score each, and a compared metric each. Texts are redacted here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from evalharness.core.attempts import Attempt, Failure
from evalharness.core.runs import Run
from evalharness.core.scores import Metric, Score, Scored
from evalharness.core.suites import Suite
from evalharness.redaction import Redactor

_NOTHING: Mapping[str, Any] = {}

Kind: TypeAlias = Literal["text", "number", "integer", "boolean", "tags"]

SCORE_COLUMNS: Final[Mapping[str, Kind]] = {
    "side": "text",
    "candidate": "text",
    "run_id": "text",
    "golden_set": "text",
    "case_id": "text",
    "repeat": "integer",
    "metric": "text",
    "unit": "text",
    "status": "text",
    "value": "number",
    "reason": "text",
    "tags": "tags",
}
"""Columns of a table of scores. `status` is scored, unscored or failed; exactly the first has a `value`, the others a
`reason`."""

COMPARISON_COLUMNS: Final[Mapping[str, Kind]] = {
    "metric": "text",
    "slice": "text",
    "kind": "text",
    "unit": "text",
    "direction": "text",
    "gated": "boolean",
    "primary": "boolean",
    "n": "integer",
    "missing_baseline": "integer",
    "missing_candidate": "integer",
    "baseline": "number",
    "candidate": "number",
    "delta": "number",
    "ci_low": "number",
    "ci_high": "number",
    "ci_level": "number",
    "ci_method": "text",
    "bound": "number",
    "p_value": "number",
    "p_adjusted": "number",
    "test": "text",
    "max_drop": "number",
    "mde": "number",
    "n_for_power": "integer",
    "status": "text",
    "reason": "text",
    "verdict": "text",
    "exit_code": "integer",
    "suite": "text",
    "suite_digest": "text",
    "baseline_name": "text",
    "baseline_run": "text",
    "candidate_name": "text",
    "candidate_run": "text",
}
"""Columns of a table of compared metrics and slices, with comparison.json's meanings; `slice` is empty for a metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One run of what is exported. `side` is "run", "baseline" or "candidate"; `tags` by golden set and case id."""

    side: str
    run: Run
    tags: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """One metric of one attempt; `score` is None where the attempt failed and nothing reads failures."""

    part: Part
    case_id: str
    metric: str
    attempt: Attempt
    score: Score | None
    tags: Mapping[str, str]

    @property
    def status(self) -> Literal["scored", "unscored", "failed"]:
        """Whether there is a value, and else why not."""
        if isinstance(self.score, Scored):
            return "scored"
        return "failed" if self.attempt.failed else "unscored"

    @property
    def reason(self) -> str | None:
        """Why there is no value; None where there is one."""
        if isinstance(self.score, Scored):
            return None
        outcome = self.attempt.outcome
        if isinstance(outcome, Failure):
            return f"{outcome.kind}: {outcome.message}"
        return self.score.reason if self.score is not None else "no score is stored"


def tags_of(run: Run, suite: Suite) -> tuple[dict[str, dict[str, Mapping[str, str]]], list[str]]:
    """Tags by golden set and case id, and what to say of golden sets that are no longer what the run answered."""
    found: dict[str, dict[str, Mapping[str, str]]] = {}
    told = []
    for golden_set in suite.golden_sets:
        name = golden_set.name
        if name in run.cases or name not in run.golden_sets:
            continue
        if run.golden_sets[name] == golden_set.digest:
            found[name] = {case.id: case.tags for case in golden_set.cases}
        else:
            told.append(
                f"{run.name}: golden set {name!r} has changed since, and its rows have no tags: they would be those of "
                "other cases"
            )
    for name, cases in run.cases.items():
        found[name] = {case.id: case.tags for case in cases}
    return found, told


def score_rows(parts: Sequence[Part], redactor: Redactor) -> Iterator[ScoreRow]:
    """Every planned attempt with every metric of its golden set, side by side, in plan order. Texts are redacted."""
    for part in parts:
        run = part.run
        by_set: dict[str, list[str]] = {}
        for metric, golden_set in run.manifest["metrics"].items():
            by_set.setdefault(golden_set, []).append(metric)
        for golden_set, group in run.attempts.items():
            tags = part.tags.get(golden_set, _NOTHING)
            for (case_id, repeat), attempt in group.items():
                shown = redactor.text(case_id)
                labels = redactor.all(tags.get(case_id, _NOTHING))
                for metric in by_set.get(golden_set, ()):
                    yield ScoreRow(
                        part=part,
                        case_id=shown,
                        metric=metric,
                        attempt=attempt,
                        score=run.scores[metric].get((case_id, repeat)),
                        tags=labels,
                    )


def score_values(
    rows: Iterator[ScoreRow], metrics: Mapping[str, Metric], redactor: Redactor
) -> Iterator[dict[str, Any]]:
    """Rows of `SCORE_COLUMNS`. `metrics` by id, for their units."""
    for row in rows:
        reason = row.reason
        yield {
            "side": row.part.side,
            "candidate": redactor.text(row.part.run.name),
            "run_id": row.part.run.id,
            "golden_set": row.attempt.golden_set,
            "case_id": row.case_id,
            "repeat": row.attempt.repeat,
            "metric": row.metric,
            "unit": metrics[row.metric].unit if row.metric in metrics else None,
            "status": row.status,
            "value": row.score.value if isinstance(row.score, Scored) else None,
            "reason": None if reason is None else redactor.text(reason),
            "tags": dict(row.tags),
        }


def comparison_values(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of `COMPARISON_COLUMNS` from a comparison.json: its metrics, then its slices."""
    whole = {
        "verdict": document["verdict"],
        "exit_code": document["exit_code"],
        "suite": document["suite"]["name"],
        "suite_digest": document["suite"]["digest"],
        "baseline_name": document["baseline"]["name"],
        "baseline_run": document["baseline"]["run_id"],
        "candidate_name": document["candidate"]["name"],
        "candidate_run": document["candidate"]["run_id"],
    }
    same = (
        "kind", "unit", "direction", "gated", "primary", "n", "baseline", "candidate", "delta", "bound", "p_value",
        "p_adjusted", "test", "max_drop", "mde", "n_for_power", "status", "reason",
    )  # fmt: skip
    for metric in (*document["metrics"], *document["slices"]):
        interval = metric.get("ci") or {}
        missing = metric.get("n_missing") or {}
        yield {
            "metric": metric["id"],
            "slice": metric.get("slice"),
            "missing_baseline": missing.get("baseline"),
            "missing_candidate": missing.get("candidate"),
            "ci_low": interval.get("low"),
            "ci_high": interval.get("high"),
            "ci_level": interval.get("level"),
            "ci_method": interval.get("method"),
            **{key: metric.get(key) for key in same},
            **whole,
        }
