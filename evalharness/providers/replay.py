"""Provider `replay`: recorded outputs, read from JSON Lines, or what a retriever found, read from a run file.

One object a line, as the file formats page says:

    {"id": case id, "output": str, "repeat": 0, "error": null, "contexts": [str], "scores": {name: number},
     "usage": {"input_tokens": int, "output_tokens": int}, "latency_ms": 12, "model": str, "finish_reason": str,
     "golden_set": str, "ranking": [document id, best first], "unscored": {name: why a score is missing}}

Only `id` and one of `output`, `ranking` and `error` are needed. A row with an `error` is a failed case whatever
`output` says. `golden_set` tells apart an id that two golden sets use; a row without it answers for every set that has
the id.

A run file (`.trec`, `.run`, `.json`) gives a ranking for each of its queries; `store.rankings` has its form.
"""

from __future__ import annotations

import difflib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, NoReturn, TypeAlias

from evalharness.core.attempts import Attempt, Failure, Response, Usage
from evalharness.core.candidates import Candidate
from evalharness.core.protocols import Request
from evalharness.errors import CallError, Problem, SpecError
from evalharness.store.files import atomic_writer
from evalharness.store.rankings import RUN_SUFFIXES, read_run
from evalharness.store.records import response_to_row

MAX_PROBLEMS: Final = 50
MAX_REPEATS: Final = 1000
"""As many as a candidate may ask for: one row with a repeat of a billion would plan a billion answers a case."""
_SHOWN_CHARACTERS: Final = 60

_Key: TypeAlias = "str | tuple[str, int, str | None]"
# A bare string is a response that has nothing but its text: most files hold only those, and it takes a fifth of the
# memory of the object.
_Entry: TypeAlias = "str | Response | _Recorded"


class _Recorded(str):
    """The text of a recorded error."""

    __slots__ = ()


class Replay:
    """Answers with what a file says. `candidate.options["outputs"]` is the file's absolute path."""

    name: ClassVar[str] = "replay"
    version: ClassVar[str] = "1"
    recorded: ClassVar[bool] = True
    cacheable: ClassVar[bool] = False

    def __init__(self, candidate: Candidate) -> None:
        self._path = Path(candidate.options["outputs"])
        self._rows: dict[_Key, _Entry] = {}
        self._repeats = 1

    async def open(self) -> None:
        """Read the whole file.

        Raises:
            SpecError: the file is missing or wrong; every problem with its line, the first 50 in words.
        """
        if self._path.suffix in RUN_SUFFIXES:
            run = read_run(self._path)
            self._rows = {query: Response(text="", ranking=ranking) for query, ranking in run.items()}
        else:
            self._rows, self._repeats = _read(self._path)

    def repeats(self) -> int:
        """The highest `repeat` in the file plus one."""
        return self._repeats

    def ids(self) -> set[str]:
        """Every case id in the file."""
        return {key if isinstance(key, str) else key[0] for key in self._rows}

    def golden_sets(self) -> set[str]:
        """Every golden set that a row names."""
        return {key[2] for key in self._rows if not isinstance(key, str) and key[2] is not None}

    async def complete(self, request: Request, *, timeout_s: float) -> Response:
        """The recorded response.

        Raises:
            CallError: `absent` where the file has no such row, `recorded` where the row says the call failed.
        """
        rows, case_id, repeat = self._rows, request.case.id, request.repeat
        entry = rows.get((case_id, repeat, request.golden_set))
        if entry is None:
            entry = rows.get(case_id) if repeat == 0 else rows.get((case_id, repeat, None))
        if entry is None:
            raise CallError("absent", f"no recorded output for case {case_id!r}, repeat {repeat}")
        if isinstance(entry, Response):
            return entry
        if isinstance(entry, _Recorded):
            raise CallError("recorded", str(entry))
        return Response(text=entry)

    async def close(self) -> None:
        """Let go of the rows."""
        self._rows = {}


def write_outputs(path: Path | str, attempts: Iterable[Attempt]) -> None:
    """Write attempts as a file that `replay` reads back to the same responses, atomically.

    A failure becomes a row with `error`: its kind and message as text.

    Raises:
        StoreError: the file cannot be written.
    """
    with atomic_writer(Path(path)) as stream:
        for attempt in attempts:
            stream.write(_dump(_row(attempt)) + "\n")


def _dump(row: Mapping[str, Any]) -> str:
    text = json.dumps(row, ensure_ascii=False, allow_nan=False)
    # Half of a surrogate pair (an answer cut inside an emoji) has no UTF-8 form; its JSON escape does.
    return text if text.isascii() or _encodable(text) else json.dumps(row, allow_nan=False)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _row(attempt: Attempt) -> dict[str, Any]:
    row: dict[str, Any] = {"id": attempt.case_id, "golden_set": attempt.golden_set, "repeat": attempt.repeat}
    outcome = attempt.outcome
    if isinstance(outcome, Failure):
        return row | {"output": None, "error": f"{outcome.kind}: {outcome.message}"}
    return row | response_to_row(outcome)


# --- reading -----------------------------------------------------------------------------------------------------


def _shown_path(path: Path) -> str:
    """The path as the user would type it: relative where it lies below the working directory."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)


class _Found:
    """Problems of one file: the first ones kept, the rest counted."""

    def __init__(self, shown: str) -> None:
        self.shown = shown
        self.problems: list[Problem] = []
        self.total = 0

    def add(self, line: int | None, message: str, hint: str | None = None) -> None:
        self.total += 1
        if self.total <= MAX_PROBLEMS:
            self.problems.append(Problem(message, self.shown, line, hint=hint))

    def error(self) -> SpecError:
        problems = list(self.problems)
        if self.total > MAX_PROBLEMS:
            problems.append(Problem(f"and {self.total - MAX_PROBLEMS} more problems", self.shown))
        return SpecError(problems)


def _read(path: Path) -> tuple[dict[_Key, _Entry], int]:
    """Every row by key, and the number of repeats.

    A key is the bare id for repeat 0 without a golden set, else (id, repeat, golden set).
    """
    found = _Found(_shown_path(path))
    rows: dict[_Key, _Entry] = {}
    repeated: dict[_Key, list[int]] = {}
    repeats = 1
    try:
        with open(path, "rb") as stream:
            for number, row in _objects(stream, found):
                output, case_id = row.get("output"), row.get("id")
                key: _Key
                entry: _Entry
                if len(row) == 2 and type(output) is str and type(case_id) is str and case_id:
                    key, entry = case_id, output
                else:
                    problems = _problems(row)
                    if problems:
                        for message, hint in problems:
                            found.add(number, message, hint)
                        continue
                    key, entry = _key(row), _entry(row)
                    repeats = max(repeats, row.get("repeat", 0) + 1)
                if key in rows:
                    repeated.setdefault(key, []).append(number)
                else:
                    rows[key] = entry
            if repeated:
                stream.seek(0)
                _add_duplicates(stream, repeated, found)
    except OSError as error:
        hint = "name the JSONL file under `outputs`"
        raise SpecError(
            [Problem(f"cannot read the file: {error.strerror}", found.shown, hint=hint)]
        ) from None
    if not rows and not found.total:
        found.add(None, "holds no outputs", 'write one {"id": …, "output": …} a line')
    if found.total:
        raise found.error()
    return rows, repeats


def _objects(stream: Iterable[bytes], found: _Found) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of every line that holds one; what is wrong with the others goes to `found`."""
    decode = _DECODER.decode
    for number, raw in enumerate(stream, 1):
        if number == 1:
            if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                found.add(1, "the file is UTF-16", "save it as UTF-8")
                return
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        try:
            row = decode(raw.decode())
        except (ValueError, RecursionError) as error:
            if raw.strip():
                found.add(number, *_why_unreadable(raw, error))
            continue
        if type(row) is dict:
            yield number, row
        else:
            hint = (
                "write one object a line, not a list" if type(row) is list else 'write {"id": …, "output": …}'
            )
            found.add(number, f"is {_shown(row)}, not an object", hint)


def _why_unreadable(raw: bytes, error: Exception) -> tuple[str, str]:
    """Message and hint for a line that is no JSON. `json` accepts no NUL, so that case is among these."""
    whole = raw.endswith(b"\n")
    if b"\0" in raw:
        return (
            f"holds a NUL byte at byte {raw.index(0)} of the line",
            "the file is damaged or not text; write it again",
        )
    if isinstance(error, UnicodeDecodeError):
        byte = raw[error.start]
        if not whole and error.reason == "unexpected end of data":
            return _cut_off()
        return f"is not UTF-8: byte 0x{byte:02x} at byte {error.start} of the line", "save the file as UTF-8"
    if isinstance(error, RecursionError):
        return "is nested too deeply", "write output as a string"
    if isinstance(error, json.JSONDecodeError):
        if not whole:
            return _cut_off()
        return f"is not JSON: {error.msg} at column {error.colno}", "write one JSON object a line"
    hint = "leave the value out, or record the case with an `error`"
    if "digits" in str(error):  # Python reads no whole number of more than 4,300 digits
        return "holds a whole number of thousands of digits", hint
    return f"is not JSON: {error}", hint


def _cut_off() -> tuple[str, str]:
    return (
        "the last line is cut off",
        "the file was not written to its end; write it again, or delete this line",
    )


def _add_duplicates(stream: Iterable[bytes], repeated: Mapping[_Key, list[int]], found: _Found) -> None:
    """Report repeated keys with the line each was first seen on, which a second reading finds."""
    first: dict[_Key, int] = {}
    for number, row in _objects(stream, _Found(found.shown)):
        if not _problems(row) and (key := _key(row)) in repeated and key not in first:
            first[key] = number
    for key, numbers in repeated.items():
        case_id, repeat, golden_set = (key, 0, None) if isinstance(key, str) else key
        where = f", golden set {golden_set!r}" if golden_set is not None else ""
        for number in numbers:
            found.add(
                number,
                f"case {_shown(case_id)}, repeat {repeat}{where} is already on line {first[key]}",
                'keep one of them, or number them with "repeat"',
            )


def _key(row: Mapping[str, Any]) -> _Key:
    repeat, golden_set = row.get("repeat", 0), row.get("golden_set")
    return row["id"] if repeat == 0 and golden_set is None else (row["id"], repeat, golden_set)


def _entry(row: Mapping[str, Any]) -> _Entry:
    error = row.get("error")
    if error is not None:
        return _Recorded(error)
    usage = row.get("usage")
    scores = row.get("scores")
    return Response(
        text=row.get("output") or "",
        model=row.get("model"),
        finish_reason=row.get("finish_reason"),
        usage=None if usage is None else Usage(usage.get("input_tokens"), usage.get("output_tokens")),
        latency_ms=row.get("latency_ms"),
        contexts=tuple(row.get("contexts") or ()),
        scores={name: float(value) for name, value in scores.items()} if scores else {},
        unscored=row.get("unscored") or {},
        ranking=tuple(row.get("ranking") or ()),
    )


# --- checking ----------------------------------------------------------------------------------------------------


def _number(value: Any) -> bool:
    # 1e999 is valid JSON and reads as infinity; a whole number of 400 digits has no float at all.
    return (type(value) is int and abs(value) < 10**300) or (type(value) is float and math.isfinite(value))


def _text_or_null(value: Any) -> bool:
    return value is None or type(value) is str


_CHECKS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "id": (lambda v: type(v) is str and bool(v), "a string that is not empty"),
    "output": (_text_or_null, "a string or null"),
    "repeat": (
        lambda v: type(v) is int and 0 <= v < MAX_REPEATS,
        f"a whole number from 0 to {MAX_REPEATS - 1}",
    ),
    "error": (lambda v: v is None or (type(v) is str and bool(v)), "null or what went wrong"),
    "contexts": (
        lambda v: v is None or (type(v) is list and all(type(c) is str for c in v)),
        "a list of strings",
    ),
    "scores": (
        lambda v: v is None or (type(v) is dict and all(type(s) is bool or _number(s) for s in v.values())),
        "an object of finite numbers; leave out a score that is missing",
    ),
    "usage": (lambda v: v is None or type(v) is dict, "an object with input_tokens and output_tokens"),
    "latency_ms": (lambda v: v is None or (_number(v) and v >= 0), "milliseconds, a number from 0"),
    "model": (_text_or_null, "a string or null"),
    "finish_reason": (_text_or_null, "a string or null"),
    "golden_set": (_text_or_null, "the golden set's name"),
    "ranking": (
        lambda v: (
            v is None or (type(v) is list and all(type(d) is str and d for d in v) and len(set(v)) == len(v))
        ),
        "a list of document ids, best first, each once",
    ),
    "unscored": (
        lambda v: v is None or (type(v) is dict and all(type(why) is str and why for why in v.values())),
        "an object of reasons by score",
    ),
}
_TOKENS: Final = ("input_tokens", "output_tokens")
_MOST_TOKENS: Final = 2**53  # beyond, sums and prices in floats are no longer exact


def _problems(row: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """(message, hint) for everything wrong with one row."""
    problems: list[tuple[str, str | None]] = []
    for name, value in row.items():
        check = _CHECKS.get(name)
        if check is None:
            problems.append((f"unknown key {_shown(name)}", _did_you_mean(name, _CHECKS)))
        elif not check[0](value):
            problems.append(_wrong(name, value, check[1]))
        elif name == "usage" and value:
            problems += _usage_problems(value)
    if problems and any(name not in _CHECKS for name in row):
        return problems  # a misspelt key is one problem, not a missing key as well
    if "id" not in row:
        problems.append(("id is missing", "every row names its case"))
    if row.get("error") is None and row.get("output") is None and row.get("ranking") is None:
        said = "missing" if "output" not in row else "null"
        hint = 'write the text, or say why there is none in "error"; an empty answer is ""'
        problems.append((f"output is {said} and error is null", hint))
    return problems


def _wrong(name: str, value: Any, wanted: str) -> tuple[str, str]:
    if name == "id" and type(value) is int:
        return f"id is the number {value}", f'ids are strings: write "id": "{value}"'
    if name == "output" and value is not None:
        return f"output is {_shown(value)}, not a string", "quote it: JSON in an output is text too"
    if name in ("scores", "contexts") and value:
        items = value.items() if type(value) is dict else enumerate(value) if type(value) is list else ()
        for key, item in items:
            if not (type(item) is str if name == "contexts" else type(item) is bool or _number(item)):
                return f"{name}[{_shown(key)}] is {_shown(item)}", f"{name} must be {wanted}"
    return f"{name} is {_shown(value)}", f"{name} must be {wanted}"


def _usage_problems(usage: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    for name, value in usage.items():
        if name not in _TOKENS:
            yield f"unknown key {_shown(name)} in usage", _did_you_mean(name, _TOKENS)
        elif value is not None and not (type(value) is int and 0 <= value <= _MOST_TOKENS):
            yield f"usage.{name} is {_shown(value)}", f"usage.{name} must be a whole number from 0, or null"


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, tuple(known), n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"


def _shown(value: Any) -> str:
    """A value as short JSON, control characters escaped."""
    text = json.dumps(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
