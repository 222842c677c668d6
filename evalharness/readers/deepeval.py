"""DeepEval's test runs: `.deepeval/.latest_run_full.json`, `.latest_test_run.json`, `test_run_*.json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from evalharness.core.attempts import Response
from evalharness.core.benchmarks import Results
from evalharness.core.cases import Case
from evalharness.readers._files import a, read_object, refuse
from evalharness.readers._tasks import (
    Measure,
    TaskBuilder,
    case_id,
    identity_of,
    metric_id,
    number,
    put,
    row_id,
    text_of,
)

_PASSED: Final = "passed"
_LOWER: Final = frozenset(("bias", "toxicity", "hallucination", "misuse"))
"""Metrics whose score must not exceed their threshold, as DeepEval has them."""
_NOTHING: Final[Mapping[str, Any]] = {}


class DeepEval:
    """Reads a test run: whether a test passed is the headline, each metric's score stands beside it."""

    name: ClassVar[str] = "deepeval"
    version: ClassVar[str] = "1"
    suffixes: ClassVar[tuple[str, ...]] = (".json",)

    def reads(self, path: Path, head: bytes) -> bool:
        """JSON with test cases that have metrics' data."""
        return b'"testCases"' in head and (b'"metricsData"' in head or b'"testRunData"' in head)

    def read(self, path: Path) -> Results:
        """The whole run.

        Raises:
            SpecError: it is none, or one test case stands twice.
        """
        whole = read_object(path)
        run = _mapping(whole.get("testRunData")) or whole
        cases = run.get("testCases")
        if not isinstance(cases, list):
            raise refuse(path, f"testCases is {a(cases)}, not a list", "it is no test run of DeepEval")
        if run.get("conversationalTestCases"):
            raise refuse(
                path, "holds conversations, which have no single answer", "export their turns as test cases"
            )
        task = text_of(run.get("datasetAlias")) or "deepeval"
        builder = TaskBuilder(" ".join(task.split()), path)
        rows = [(place, row) for place, row in enumerate(cases, 1) if isinstance(row, dict)]
        if len(rows) != len(cases):
            builder.problems.add("testCases holds what is no object")
        counts = Counter(text_of(row.get("name")) for _, row in rows)
        named = all(name and count == 1 for name, count in counts.items())
        if rows and not named:
            builder.warnings.append("names of test cases are missing or stand twice: cases go by their input")
        directions = _directions(rows)
        for place, row in rows:
            case = _case(text_of(row.get("name")), row)
            if not named:
                case = Case(id=row_id(case), input=case.input, targets=case.targets, contexts=case.contexts)
            about = _mapping(row.get("metadata"))
            builder.add(case, _response(row), place=f"test case {place}", about=about)
        measures = [Measure(id=name, lower=lower) for name, lower in directions.items()]
        found = builder.build([Measure(id=_PASSED, lower=False, headline=True), *measures])
        settings = run.get("hyperparameters")
        model = _mapping(settings).get("model")
        return Results(
            tool="deepeval",
            tool_version="",
            name=path.stem.lstrip("."),
            model=model if isinstance(model, str) else None,
            identity=identity_of(
                {"tool": "deepeval", "hyperparameters": settings, "prompts": run.get("prompts")}
            ),
            tasks={builder.name: found},
            warnings=tuple(builder.warnings),
            facts={"identifier": text_of(run.get("identifier"))},
        )


def _case(name: str, row: Mapping[str, Any]) -> Case:
    expected = row.get("expectedOutput")
    return Case(
        id=case_id(name),
        input=text_of(row.get("input")),
        targets=(text_of(expected),) if expected not in (None, "") else (),
        contexts=_texts(row.get("context")),
    )


def _response(row: Mapping[str, Any]) -> Response:
    scores: dict[str, float] = {}
    unscored: dict[str, str] = {}
    metrics = _metrics(row)
    erred = [data for data in metrics if data.get("error") or data.get("score") is None]
    if erred:  # DeepEval counts a test whose judge failed as failed; whose fault it was nobody knows
        unscored[_PASSED] = f"a metric failed: {text_of(erred[0].get('error'))[:200] or 'it has no score'}"
    else:
        put(scores, unscored, _PASSED, row.get("success") if isinstance(row.get("success"), bool) else None)
    for data in metrics:
        name = metric_id(text_of(data.get("name")))
        if data.get("error"):
            unscored[name] = f"the metric failed: {text_of(data['error'])[:200]}"
        else:
            put(scores, unscored, name, data.get("score"))
    took = number(row.get("completionTime"))
    return Response(
        text=text_of(row.get("actualOutput")),
        contexts=_texts(row.get("retrievalContext")),
        latency_ms=took * 1000 if isinstance(took, float) and took >= 0 else None,
        scores=scores,
        unscored=unscored,
    )


def _directions(rows: Sequence[tuple[int, Mapping[str, Any]]]) -> dict[str, bool | None]:
    """Metrics by id, with whether less is better: a score that fails above its threshold says so."""
    found: dict[str, bool | None] = {}
    for _, row in rows:
        for data in _metrics(row):
            name = metric_id(text_of(data.get("name")))
            known = found.setdefault(name, True if name.lower() in _LOWER else None)
            score, threshold, success = (data.get(key) for key in ("score", "threshold", "success"))
            if not isinstance(score, float | int) or not isinstance(threshold, float | int):
                continue
            if known is None and score != threshold and isinstance(success, bool):
                found[name] = success == (score < threshold)
    return found


def _metrics(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = row.get("metricsData")
    return [data for data in found if isinstance(data, dict)] if isinstance(found, list) else []


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(text_of(item) for item in value) if isinstance(value, list) else ()


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else _NOTHING
