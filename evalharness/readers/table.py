"""Any CSV, TSV, JSON Lines, JSON list or Parquet file: a mapping says which column is what.

Without one, columns go by their usual names, and every other column of numbers is a metric.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from evalharness.core.attempts import Failure, Response, Usage
from evalharness.core.benchmarks import Results
from evalharness.core.cases import Case
from evalharness.errors import UsageError
from evalharness.readers._files import Problems, refuse
from evalharness.readers._frames import TABLES, Frame, columns_of, is_score, plain, read_frame
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

TASK: Final = "results"
_USUAL: Final[Mapping[str, tuple[str, ...]]] = {
    "id": ("id", "case_id", "question_id", "sample_id", "doc_id", "example_id", "test_id", "key"),
    "input": ("input", "question", "prompt", "query", "user_input", "instruction"),
    "output": ("output", "response", "completion", "prediction", "model_output", "actual_output", "answer"),
    "target": ("target", "expected", "expected_output", "reference", "gold", "ground_truth", "label"),
    "repeat": ("repeat", "epoch"),
    "error": ("error",),
    "cluster": ("cluster",),
    "model": ("model",),
    "latency_ms": ("latency_ms",),
    "input_tokens": ("input_tokens", "prompt_tokens"),
    "output_tokens": ("output_tokens", "completion_tokens"),
    "contexts": ("contexts", "retrieved_contexts"),
}
_ROLES: Final = tuple(_USUAL)
_KINDS: Final = ("score", "tag")


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which column is what: `roles` by role, `scores` and `tags` by name. `nested`: a column of named scores."""

    roles: Mapping[str, str]
    scores: Mapping[str, str]
    tags: Mapping[str, str]
    nested: bool = False


class Table:
    """Reads a table. `mapping` is `{role: column}` with the roles `id`, `input`, `output`, `target` and so on,
    `score:NAME` and `tag:NAME`; None: the usual names.
    """

    name: ClassVar[str] = "table"
    version: ClassVar[str] = "1"
    suffixes: ClassVar[tuple[str, ...]] = TABLES

    def __init__(self, mapping: Mapping[str, str] | None = None) -> None:
        """Check the roles.

        Raises:
            UsageError: one is not known.
        """
        self._mapping = dict(mapping) if mapping is not None else None
        for role in self._mapping or ():
            kind, _, name = role.partition(":")
            if role not in _ROLES and (kind not in _KINDS or not name.strip()):
                near = difflib.get_close_matches(role, [*_ROLES, "score:NAME", "tag:NAME"], n=1, cutoff=0.4)
                hint = (
                    f"did you mean {near[0]}?"
                    if near
                    else f"known: {', '.join(_ROLES)}, score:NAME, tag:NAME"
                )
                raise UsageError(f"--map: {role!r} is nothing a row has; {hint}")

    def reads(self, path: Path, head: bytes) -> bool:
        """Anything that has columns."""
        return bool(columns_of(path, head))

    def read(self, path: Path) -> Results:
        """The whole table.

        Raises:
            SpecError: rows are wrong, a column of the mapping is not there, or there is no score.
        """
        builder = TaskBuilder(TASK, path)
        frame = read_frame(path, builder.problems)
        columns = _usual(frame) if self._mapping is None else _mapped(frame, self._mapping, builder.problems)
        builder.problems.finish()
        if not columns.roles.keys() & {"id", "input", "target"}:
            hint = "name it: evalharness import FILE --map id=COLUMN,score:NAME=COLUMN"
            raise refuse(
                path, "no column says which case a row is: none is called id, input or the like", hint
            )
        names: dict[str, None] = {}
        models: dict[str, None] = {}
        for line, row in frame.rows:
            case = _case(row, columns)
            outcome, found = _outcome(row, columns, frame.texts)
            names |= dict.fromkeys(found)
            if isinstance(outcome, Response) and outcome.model:
                models.setdefault(outcome.model)
            repeat = number(plain(row.get(columns.roles.get("repeat", ""), 0), frame.texts))
            place = int(repeat) if isinstance(repeat, float) and repeat.is_integer() else -1
            about = {name: row[column] for name, column in columns.tags.items() if column in row}
            builder.add(case, outcome, place=line, repeat=place, about=about)
        if frame.rows and not names:
            hint = "name its columns: evalharness import FILE --map score:accuracy=COLUMN"
            raise refuse(path, "holds no score: no column of numbers", hint)
        if "id" not in columns.roles:
            builder.warnings.append("rows have no id: cases go by their input, target and the like")
        found_task = builder.build([Measure(id=name, headline=True) for name in names])
        model = next(iter(models)) if len(models) == 1 else None
        return Results(
            tool="table",
            tool_version="",
            name=path.stem,
            model=model,
            identity={"tool": "table", "model": model},
            tasks={TASK: found_task},
            warnings=tuple(builder.warnings),
        )


def parse_mapping(text: str) -> dict[str, str]:
    """`id=question_id,score:accuracy=acc` as a mapping from role to column.

    Raises:
        UsageError: a part is not written so, or a role stands twice.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        role, equals, column = part.partition("=")
        role, column = role.strip(), column.strip()
        if not equals or not role or not column:
            raise UsageError(
                f"--map: {part.strip()!r} is not ROLE=COLUMN; write id=question_id,score:accuracy=acc"
            )
        if role in found:
            raise UsageError(f"--map: {role!r} stands twice")
        found[role] = column
    return found


def _usual(frame: Frame) -> _Columns:
    lowered = {name.lower().strip(): name for name in reversed(frame.columns)}
    roles: dict[str, str] = {}
    for role, usual in _USUAL.items():
        for name in usual:
            if name in lowered and lowered[name] not in roles.values():
                roles[role] = lowered[name]
                break
    rest = [name for name in frame.columns if name not in roles.values() and name.strip()]
    nested = "scores" in rest and not frame.texts
    scores = {metric_id(name.removeprefix("score:")): name for name in rest if is_score(frame, name)}
    tags = {name.removeprefix("tag:"): name for name in rest if name not in scores.values()}
    return _Columns(roles, scores, tags, nested)


def _mapped(frame: Frame, mapping: Mapping[str, str], problems: Problems) -> _Columns:
    roles: dict[str, str] = {}
    named: dict[str, dict[str, str]] = {kind: {} for kind in _KINDS}
    for role, column in mapping.items():
        if column not in frame.columns:
            near = difflib.get_close_matches(column, frame.columns, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"columns: {', '.join(frame.columns[:20])}"
            problems.add(f"has no column {column!r}, which --map names for {role}", 1, hint)
            continue
        kind, colon, name = role.partition(":")
        if colon:
            named[kind][metric_id(name) if kind == "score" else name] = column
        else:
            roles[role] = column
    return _Columns(roles, named["score"], named["tag"])


def _case(row: Mapping[str, Any], columns: _Columns) -> Case:
    def cell(role: str) -> Any:
        return row.get(columns.roles.get(role, ""))

    target, cluster = cell("target"), cell("cluster")
    targets = target if isinstance(target, list) else [target]
    name = case_id(cell("id")) if "id" in columns.roles else ""
    case = Case(
        id=name,
        input=text_of(cell("input")),
        targets=tuple(_target(item) for item in targets if item not in (None, "")),
        cluster=text_of(cluster) if cluster not in (None, "") else None,
    )
    if "id" in columns.roles:
        return case
    return Case(id=row_id(case), input=case.input, targets=case.targets, cluster=case.cluster)


def _target(value: Any) -> Any:
    return identity_of(value) if isinstance(value, int | float | dict) else text_of(value)


def _outcome(row: Mapping[str, Any], columns: _Columns, texts: bool) -> tuple[Response | Failure, list[str]]:
    def cell(role: str) -> Any:
        return row.get(columns.roles.get(role, ""))

    values = {name: row.get(column) for name, column in columns.scores.items()}
    nested = row.get("scores") if columns.nested else None
    if isinstance(nested, dict):
        values |= {metric_id(text_of(name)): value for name, value in nested.items()}
    if cell("error") not in (None, "", False):
        return Failure(kind="recorded", message=text_of(cell("error"))[:500]), list(values)
    scores: dict[str, float] = {}
    unscored: dict[str, str] = {}
    for name, value in values.items():
        put(scores, unscored, name, plain(value, texts))
    counts = [number(plain(cell(role), texts)) for role in ("input_tokens", "output_tokens")]
    known = [int(count) if isinstance(count, float) and count >= 0 else None for count in counts]
    took = number(plain(cell("latency_ms"), texts))
    contexts = cell("contexts")
    outcome = Response(
        text=text_of(cell("output")),
        model=text_of(cell("model")) or None,
        usage=None if known == [None, None] else Usage(known[0], known[1]),
        latency_ms=took if isinstance(took, float) and took >= 0 else None,
        contexts=tuple(text_of(item) for item in contexts) if isinstance(contexts, list) else (),
        scores=scores,
        unscored=unscored,
    )
    return outcome, list(values)
