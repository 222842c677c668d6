"""Attempts, scores and cases as JSON rows, the same in the journal, the run folder and the cache."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from evalharness._canon import canonical_json, digest_lines
from evalharness.core.attempts import Attempt, Failure, Response, Usage
from evalharness.core.cases import Case, Message
from evalharness.core.scores import Score, Scored, Unscored


def response_to_row(response: Response) -> dict[str, Any]:
    """A response as JSON data; fields that hold nothing are left out."""
    row: dict[str, Any] = {"output": response.text}
    if response.model is not None:
        row["model"] = response.model
    if response.finish_reason is not None:
        row["finish_reason"] = response.finish_reason
    if response.usage is not None:
        row["usage"] = {
            "input_tokens": response.usage.input_tokens,
            "output_tokens": response.usage.output_tokens,
        }
    if response.latency_ms is not None:
        row["latency_ms"] = response.latency_ms
    if response.contexts:
        row["contexts"] = list(response.contexts)
    if response.scores:
        row["scores"] = dict(response.scores)
    if response.unscored:
        row["unscored"] = dict(response.unscored)
    if response.ranking:
        row["ranking"] = list(response.ranking)
    return row


def response_from_row(row: Mapping[str, Any]) -> Response:
    """The inverse of response_to_row. Raises KeyError, TypeError or AttributeError on rows of another shape."""
    usage = row.get("usage")
    return Response(
        text=_text(row["output"]),
        model=row.get("model"),
        finish_reason=row.get("finish_reason"),
        usage=Usage(usage.get("input_tokens"), usage.get("output_tokens")) if usage else None,
        latency_ms=row.get("latency_ms"),
        contexts=tuple(row.get("contexts", ())),
        scores=row.get("scores", {}),
        unscored=row.get("unscored", {}),
        ranking=tuple(row.get("ranking", ())),
    )


def attempt_to_row(attempt: Attempt) -> dict[str, Any]:
    """An attempt as JSON data. A failure has `failure` in place of `output`."""
    row: dict[str, Any] = {"golden_set": attempt.golden_set, "id": attempt.case_id, "repeat": attempt.repeat}
    if attempt.cached:
        row["cached"] = True
    outcome = attempt.outcome
    if isinstance(outcome, Failure):
        row["failure"] = {"kind": outcome.kind, "message": outcome.message, "tries": outcome.tries}
    else:
        row.update(response_to_row(outcome))
    return row


def attempt_from_row(row: Mapping[str, Any]) -> Attempt:
    """The inverse of attempt_to_row. Raises KeyError, TypeError or AttributeError on rows of another shape."""
    failure = row.get("failure")
    repeat = row["repeat"]
    if type(repeat) is not int:
        raise TypeError(f"repeat is {type(repeat).__name__}, not a whole number")
    return Attempt(
        golden_set=_text(row["golden_set"]),
        case_id=_text(row["id"]),
        repeat=repeat,
        cached=row.get("cached", False),
        outcome=Failure(**failure) if failure is not None else response_from_row(row),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where a text is needed")
    return value


def score_to_value(score: Score) -> Any:
    """A score as JSON data: a bare number where that says it all."""
    if isinstance(score, Unscored):
        return {"unscored": score.reason}
    if not score.stats and not score.detail:
        return score.value
    value: dict[str, Any] = {"value": score.value}
    if score.stats:
        value["stats"] = dict(score.stats)
    if score.detail:
        value["detail"] = dict(score.detail)
    return value


def score_from_value(value: Any) -> Score:
    """The inverse of score_to_value."""
    if not isinstance(value, Mapping):
        return Scored(value)
    if "unscored" in value:
        return Unscored(value["unscored"])
    return Scored(value["value"], value.get("stats", {}), value.get("detail", {}))


def case_to_row(case: Case) -> dict[str, Any]:
    """A case as a line of cases.jsonl; fields that hold nothing are left out."""
    row: dict[str, Any] = {"id": case.id}
    if case.input is not None:
        row["input"] = case.input
    if case.messages:
        row["messages"] = [{"role": m.role, "content": m.content} for m in case.messages]
    if case.targets:
        row["target"] = list(case.targets)
    for name in ("choices", "contexts"):
        if getattr(case, name):
            row[name] = list(getattr(case, name))
    for name in ("relevant", "tags", "human"):
        if getattr(case, name):
            row[name] = dict(getattr(case, name))
    if case.cluster is not None:
        row["cluster"] = case.cluster
    if case.critical:
        row["critical"] = True
    return row


def case_from_row(row: Mapping[str, Any], line: int = 0) -> Case:
    """The inverse of case_to_row. Raises KeyError, TypeError or AttributeError on rows of another shape."""
    return Case(
        id=_text(row["id"]),
        input=row.get("input"),
        messages=tuple(Message(_text(m["role"]), _text(m["content"])) for m in row.get("messages", ())),
        targets=tuple(row.get("target", ())),
        choices=tuple(row.get("choices", ())),
        contexts=tuple(row.get("contexts", ())),
        relevant=row.get("relevant", {}),
        cluster=row.get("cluster"),
        tags=row.get("tags", {}),
        critical=bool(row.get("critical", False)),
        human=row.get("human", {}),
        line=line,
    )


def digest_of_cases(cases: Iterable[Case]) -> str:
    """The digest of cases that no cases.jsonl holds: of every field of every case in order."""
    return digest_lines(canonical_json(case_to_row(case)) for case in cases)
