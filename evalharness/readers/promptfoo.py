"""promptfoo's results JSON (`promptfoo eval -o results.json`), version 3: one side of it, a provider with a prompt.

A case is a test: its variables, and what is asserted of the answer. The prompt is the side's, so two sides may word it
as they like.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from evalharness._canon import digest
from evalharness.core.attempts import Failure, Response, Usage
from evalharness.core.benchmarks import Results
from evalharness.core.cases import Case
from evalharness.errors import UsageError
from evalharness.readers._files import a, read_object, refuse, shown
from evalharness.readers._tasks import (
    Measure,
    TaskBuilder,
    case_id,
    identity_of,
    lines_of,
    metric_id,
    number,
    put,
    same_text,
    text_of,
)

TASK: Final = "promptfoo"
_PASS: Final = "pass"
_SCORE: Final = "score"
_ERRORED: Final = 2
"""`failureReason` of a test that got no answer."""
_HIDDEN: Final = "_"
_NOTHING: Final[Mapping[str, Any]] = {}
_Column = tuple[str, int]
"""Provider and prompt's place."""


class Promptfoo:
    """Reads one provider with one prompt; `part` says which of several: `PROVIDER` or `PROVIDER#PROMPT`."""

    name: ClassVar[str] = "promptfoo"
    version: ClassVar[str] = "1"
    suffixes: ClassVar[tuple[str, ...]] = (".json",)

    def __init__(self, part: str | None = None) -> None:
        self._part = part

    def reads(self, path: Path, head: bytes) -> bool:
        """JSON with an eval's id and results, or rows that name their test and prompt."""
        return b'"promptIdx"' in head or (
            re.search(rb'"evalId"\s*:', head) is not None and b'"results"' in head
        )

    def read(self, path: Path) -> Results:
        """One side of the file.

        Raises:
            SpecError: it is no results file of version 3. UsageError: it has several sides, and `part` names none.
        """
        whole = read_object(path)
        results = _mapping(whole.get("results"))
        rows = results.get("results")
        if results.get("version") != 3 or not isinstance(rows, list):
            hint = "write it with promptfoo 0.100 or later: promptfoo eval -o results.json"
            raise refuse(
                path, f"is no results file of promptfoo of version 3 ({results.get('version')!r})", hint
            )
        builder = TaskBuilder(TASK, path)
        sound = []
        for place, row in enumerate(rows, 1):
            if (
                isinstance(row, dict)
                and type(row.get("promptIdx")) is int
                and type(row.get("testIdx")) is int
            ):
                sound.append((f"result {place}", row))
            else:
                builder.problems.add(f"result {place}: is {a(row)} without testIdx and promptIdx")
        builder.problems.finish()
        columns = list(dict.fromkeys(_column(row) for _, row in sound))
        column = self._column(path, columns)
        chosen = [(place, row) for place, row in sound if _column(row) == column]
        chosen.sort(key=lambda item: item[1]["testIdx"])
        names = _add(builder, chosen)
        found = builder.build(
            [Measure(id=name, lower=known, headline=name == _PASS) for name, known in names.items()]
        )
        first = chosen[0][1]
        return Results(
            tool="promptfoo",
            tool_version=text_of(_mapping(whole.get("metadata")).get("promptfooVersion")),
            name=path.stem if len(columns) == 1 else f"{path.stem}@{column[0]}#{column[1]}",
            model=column[0],
            identity=identity_of(
                {"tool": "promptfoo", "provider": _provider(first), "prompt": _prompt(results, first)}
            ),
            tasks={TASK: found},
            warnings=tuple(builder.warnings),
            facts={"eval": text_of(whole.get("evalId")), "side": f"{column[0]}#{column[1]}"},
        )

    def _column(self, path: Path, columns: Sequence[_Column]) -> _Column:
        if not columns:
            raise refuse(path, "holds no results")
        provider, _, place = (self._part or "").partition("#")
        fits = [
            column
            for column in columns
            if self._part is None
            or (column[0] == provider and place in ("", str(column[1])))
            or column[0] == self._part
        ]
        if len(fits) == 1:
            return fits[0]
        ways = ", ".join(f"{shown(path)}@{name}#{at}" for name, at in sorted(columns)[:12])
        what = f"{self._part!r} is none of its sides" if self._part and not fits else "it holds several sides"
        raise UsageError(f"{shown(path)}: {what}, one for each provider and prompt; name one: {ways}")


def _column(row: Mapping[str, Any]) -> _Column:
    return _provider_name(row), row["promptIdx"]


def _provider_name(row: Mapping[str, Any]) -> str:
    about = _provider(row)
    return text_of(about.get("label")) or text_of(about.get("id")) or "unknown"


def _provider(row: Mapping[str, Any]) -> Mapping[str, Any]:
    about = row.get("provider")
    return about if isinstance(about, dict) else {"id": about}


def _prompt(results: Mapping[str, Any], row: Mapping[str, Any]) -> Any:
    """The prompt before its variables are filled in."""
    prompts = results.get("prompts")
    place = row["promptIdx"]
    if isinstance(prompts, list) and 0 <= place < len(prompts):
        return _mapping(prompts[place]).get("raw")
    return _mapping(row.get("prompt")).get("label")


def _add(builder: TaskBuilder, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, bool | None]:
    """Add the rows of one side; returns its metrics, each with whether less is better.

    One test that stands several times was repeated, where all were, and else is several tests.
    """
    tests: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    twins: dict[str, dict[str, None]] = {}
    for place, row in rows:
        name = _name(row)
        asserted = same_text(_asserted(row))
        twins.setdefault(name, {}).setdefault(asserted)
        tests.setdefault(f"{name}\0{list(twins[name]).index(asserted)}", []).append((place, row))
    repeated = len({len(group) for group in tests.values()}) == 1
    names: dict[str, bool | None] = {_PASS: False, _SCORE: False}
    for key, group in tests.items():
        name, _, twin = key.partition("\0")
        for occurrence, (place, row) in enumerate(group):
            number_ = int(twin) if repeated else int(twin) + occurrence
            own = name if not number_ else f"{name}#{number_ + 1}"
            outcome, found = _outcome(row)
            for metric in found:
                names.setdefault(metric, None)
            about = {k: v for k, v in _about(row).items() if not k.startswith(_HIDDEN)}
            builder.add(
                _case(own, row), outcome, place=place, repeat=occurrence if repeated else 0, about=about
            )
    return names


def _about(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return _mapping(_test(row).get("metadata"))


def _test(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return _mapping(row.get("testCase"))


def _vars(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return _mapping(row.get("vars")) or _mapping(_test(row).get("vars"))


def _name(row: Mapping[str, Any]) -> str:
    """The test's own id, else one made of its variables: a test keeps it wherever it stands in the list."""
    own = _about(row).get("id", _vars(row).get("id"))
    if isinstance(own, int | str) and text_of(own).strip():
        return case_id(own)
    return f"test-{digest(identity_of(_vars(row)))[7:19]}"


def _asserted(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = _test(row).get("assert")
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _case(name: str, row: Mapping[str, Any]) -> Case:
    """What `equals` is the accepted answer; other assertions are shown in its place, as the tool words them."""
    asserted = _asserted(row)
    equal = [item.get("value") for item in asserted if item.get("type") == "equals"]
    if len(asserted) == len(equal) == 1 and isinstance(equal[0], str):
        targets = [equal[0]]
    else:
        targets = [_worded(item) for item in asserted]
    description = _test(row).get("description")
    question = lines_of(_vars(row)) if _vars(row) else text_of(description)
    return Case(id=name, input=question, targets=tuple(text for text in targets if text))


def _worded(asserted: Mapping[str, Any]) -> str:
    """An assertion with all that decides it: `contains: refund (metric: helpful)`."""
    rest = {key: value for key, value in asserted.items() if key not in ("type", "value")}
    more = "; ".join(f"{key}: {text_of(value)}" for key, value in rest.items())
    return f"{text_of(asserted.get('type'))}: {text_of(asserted.get('value'))}" + (
        f" ({more})" if more else ""
    )


def _outcome(row: Mapping[str, Any]) -> tuple[Response | Failure, list[str]]:
    """What came of a test, and the names of the metrics it has beside pass and score."""
    response = _mapping(row.get("response"))
    error = row.get("error")
    if row.get("failureReason") == _ERRORED or (response.get("error") and "output" not in response):
        return Failure(kind="recorded", message=text_of(error or response.get("error"))[:500] or "error"), []
    scores: dict[str, float] = {}
    unscored: dict[str, str] = {}
    if _grader_failed(_mapping(row.get("gradingResult"))):
        unscored = dict.fromkeys((_PASS, _SCORE), "the grader failed")
    else:
        put(scores, unscored, _PASS, row.get("success") if isinstance(row.get("success"), bool) else None)
        put(scores, unscored, _SCORE, row.get("score"))
    names = []
    for given, value in _mapping(row.get("namedScores")).items():
        name = metric_id(given)
        name = name if name not in (_PASS, _SCORE) else f"{name}_named"
        put(scores, unscored, name, value)
        names.append(name)
    usage = _mapping(row.get("tokenUsage"))
    counts = [usage.get(name) for name in ("prompt", "completion")]
    known = [count if type(count) is int and count >= 0 else None for count in counts]
    took = number(row.get("latencyMs"))
    outcome = Response(
        text=text_of(response.get("output")),
        usage=Usage(known[0], known[1]) if any(known) else None,
        latency_ms=took if isinstance(took, float) and took >= 0 else None,
        scores=scores,
        unscored=unscored,
    )
    return outcome, names


def _grader_failed(grading: Mapping[str, Any]) -> bool:
    parts = grading.get("componentResults")
    return any(
        _mapping(_mapping(part).get("metadata")).get("graderError")
        for part in [grading, *(parts if isinstance(parts, list) else [])]
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else _NOTHING
