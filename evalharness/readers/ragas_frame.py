"""Frames of Ragas: `result.to_pandas()` saved as CSV, JSON Lines, JSON or Parquet; `user_input` and its metrics.

A metric that failed is NaN there, which is a missing score here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from evalharness.core.attempts import Response
from evalharness.core.benchmarks import Results
from evalharness.core.cases import Case
from evalharness.readers._files import BadJson, parse, refuse
from evalharness.readers._frames import TABLES, columns_of, is_score, plain, read_frame
from evalharness.readers._tasks import (
    Measure,
    TaskBuilder,
    case_id,
    lines_of,
    metric_id,
    put,
    row_id,
    text_of,
)

TASK: Final = "ragas"
_OLD: Final[Mapping[str, str]] = {
    "question": "user_input",
    "answer": "response",
    "contexts": "retrieved_contexts",
    "ground_truth": "reference",
}
"""Names of Ragas before 0.2."""
_TAGS: Final[tuple[str, ...]] = ("persona_name", "query_style", "query_length", "synthesizer_name")
_GIVEN: Final = frozenset(
    (
        *_TAGS,
        *(
            "id",
            "user_input",
            "response",
            "reference",
            "retrieved_contexts",
            "reference_contexts",
            "rubrics",
            "rubric",
        ),
        *("multi_responses", "reference_tool_calls", "reference_topics", "retrieved_context_ids"),
        "reference_context_ids",
    )
)
_LOWER: Final = ("noise_sensitivity",)


class RagasFrame:
    """Reads a frame: every column that is not part of the sample is a metric, and each gates."""

    name: ClassVar[str] = "ragas"
    version: ClassVar[str] = "1"
    suffixes: ClassVar[tuple[str, ...]] = TABLES

    def reads(self, path: Path, head: bytes) -> bool:
        """A table with what a user asked and what was answered, under Ragas' names."""
        columns = set(columns_of(path, head))
        return {"user_input", "response"} <= columns or {"question", "answer", "contexts"} <= columns

    def read(self, path: Path) -> Results:
        """The whole frame.

        Raises:
            SpecError: rows are wrong, there is no metric, or one question stands twice without ids.
        """
        builder = TaskBuilder(TASK, path)
        frame = read_frame(path, builder.problems)
        old = "user_input" not in frame.columns
        rename = _OLD if old else {}
        metrics = [name for name in frame.columns if rename.get(name, name) not in _GIVEN and name.strip()]
        metrics = [
            name for name in metrics if not name.lower().startswith("unnamed") and is_score(frame, name)
        ]
        if not metrics:
            raise refuse(path, "holds no metric: no column of numbers beside the samples")
        ids = {name: metric_id(name) for name in metrics}
        for line, cells in frame.rows:
            row = {rename.get(name, name): value for name, value in cells.items()}
            scores: dict[str, float] = {}
            unscored: dict[str, str] = {}
            for name, found in ids.items():
                put(scores, unscored, found, plain(row.get(name), frame.texts))
            outcome = Response(
                text=text_of(row.get("response")),
                contexts=_texts(row.get("retrieved_contexts")),
                scores=scores,
                unscored=unscored,
            )
            about: dict[str, Any] = {name: row[name] for name in _TAGS if name in row}
            builder.add(_case(row), outcome, place=line, about=about)
        if "id" not in frame.columns:
            builder.warnings.append("rows have no id: cases go by their question and reference")
        found_task = builder.build(
            [
                Measure(id=found, lower=True if name.startswith(_LOWER) else None, headline=True)
                for name, found in ids.items()
            ]
        )
        return Results(
            tool="ragas",
            tool_version="",
            name=path.stem,
            model=None,
            identity={"tool": "ragas"},
            tasks={TASK: found_task},
            warnings=tuple(builder.warnings),
        )


def _case(row: Mapping[str, Any]) -> Case:
    asked = _read(row.get("user_input"))
    if isinstance(asked, list):  # a conversation
        turns = [item if isinstance(item, dict) else {"content": item} for item in asked]
        asked = "\n".join(
            lines_of({text_of(t.get("type", "turn")): t.get("content"), "": ""}).strip() for t in turns
        )
    reference = row.get("reference")
    case = Case(
        id=case_id(row["id"]) if "id" in row else "",
        input=text_of(asked),
        targets=(text_of(reference),) if reference not in (None, "") else (),
        contexts=_texts(row.get("reference_contexts")),
    )
    if case.id:
        return case
    return Case(id=row_id(case), input=case.input, targets=case.targets, contexts=case.contexts)


def _texts(value: Any) -> tuple[str, ...]:
    found = _read(value)
    if found in (None, ""):
        return ()
    return tuple(text_of(item) for item in found) if isinstance(found, list) else (text_of(found),)


def _read(value: Any) -> Any:
    """A cell that holds JSON as text (a frame saved as CSV may)."""
    if isinstance(value, str) and value.startswith(("[", "{")):
        try:
            return parse(value.encode("utf-8", "surrogatepass"))
        except BadJson:
            return value
    return value
