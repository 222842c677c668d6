"""Files of retrieval: runs (what a retriever found) and qrels (what is relevant), in TREC columns or JSON.

TREC run     query Q0 document rank score tag          `q1 Q0 d7 1 14.2 bm25`
TREC qrels   query iteration document grade            `q1 0 d7 2`
BEIR qrels   query document grade, below a header      `query-id<TAB>corpus-id<TAB>score`
JSON         {query: {document: score or grade}}       as ranx writes it
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from evalharness.errors import Problem, SpecError

RUN_SUFFIXES: Final = (".trec", ".run", ".json")
"""Endings of files that hold runs; recorded outputs end otherwise."""
MAX_PROBLEMS: Final = 50
_BEIR_HEADS: Final = (b"query-id", b"query_id", b"qid")
_LONGEST_SHOWN: Final = 60


def read_run(path: Path) -> dict[str, tuple[str, ...]]:
    """Query id → document ids, best first.

    The order is by score, highest first; of equal scores, the document that stands earlier in the file comes first. The
    rank column is not read for it, as in trec_eval and ranx.

    Args:
        path: JSON where it ends in `.json`, else TREC columns.

    Raises:
        SpecError: every problem with its line (of JSON: with its query), the first 50 in words.
    """
    scores = _read_json(path, "score") if path.suffix == ".json" else _read_columns(path, _run_line, "run")
    # A stable sort keeps equal scores in the order of the file.
    return {
        query: tuple(sorted(found, key=found.__getitem__, reverse=True)) for query, found in scores.items()
    }


def read_qrels(path: Path) -> dict[str, dict[str, float]]:
    """Query id → document id → grade. A grade below 0 is read as 0: judged, and not relevant.

    Args:
        path: JSON where it ends in `.json`, else TREC or BEIR columns.

    Raises:
        SpecError: as `read_run`.
    """
    grades = (
        _read_json(path, "grade") if path.suffix == ".json" else _read_columns(path, _qrels_line, "qrels")
    )
    return {
        query: {document: max(grade, 0.0) for document, grade in judged.items()}
        for query, judged in grades.items()
    }


class _Found:
    """Problems of one file: the first ones kept, the rest counted."""

    def __init__(self, path: Path) -> None:
        relative = os.path.relpath(path)
        self.shown = str(path) if relative.startswith("..") else relative
        self.problems: list[Problem] = []
        self.total = 0

    def add(self, line: int | None, message: str, hint: str | None = None) -> None:
        self.total += 1
        if self.total <= MAX_PROBLEMS:
            self.problems.append(Problem(message, self.shown, line, hint=hint))

    def finish(self) -> None:
        """Raise SpecError when there is a problem."""
        self.problems.sort(key=lambda problem: problem.line or 0)
        if self.total > MAX_PROBLEMS:
            self.problems.append(Problem(f"and {self.total - MAX_PROBLEMS:,} more problems", self.shown))
        if self.problems:
            raise SpecError(self.problems)


class _Wrong(ValueError):
    """What is wrong with one line, and what to do."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.hint = hint
        super().__init__(message)


_Line = tuple[str, str, float]


def _read_columns(
    path: Path, take: Callable[[int, list[bytes]], _Line | None], what: str
) -> dict[str, dict[str, float]]:
    """Query → document → number, both in the order of the file."""
    found = _Found(path)
    rows: dict[str, dict[str, float]] = {}
    twice: dict[tuple[str, str], list[int]] = {}
    try:
        with open(path, "rb") as stream:
            for number, line in _lines(stream, take, found):
                query, document, value = line
                documents = rows.setdefault(query, {})
                if document in documents:
                    twice.setdefault((query, document), []).append(number)
                else:
                    documents[document] = value
            if twice:
                stream.seek(0)
                _add_repeated(_lines(stream, take, _Found(path)), twice, found)
    except OSError as error:
        raise SpecError([Problem(f"cannot read the file: {error.strerror}", found.shown)]) from None
    if not rows and not found.total:
        found.add(None, f"holds no lines of a TREC {what}")
    found.finish()
    return rows


def _lines(
    stream: Any, take: Callable[[int, list[bytes]], _Line | None], found: _Found
) -> Iterator[tuple[int, _Line]]:
    for number, raw in enumerate(stream, 1):
        if number == 1:
            if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                found.add(1, "the file is UTF-16", "save it as UTF-8")
                return
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        # Columns are parted by ASCII white space: an id may hold any other character.
        parts = raw.split()
        if not parts:
            continue
        try:
            line = take(number, parts)
        except UnicodeDecodeError as error:
            found.add(
                number, f"is not UTF-8: byte 0x{error.object[error.start]:02x}", "save the file as UTF-8"
            )
        except _Wrong as error:
            found.add(number, str(error), error.hint)
        else:
            if line is not None:
                yield number, line


def _add_repeated(
    lines: Iterator[tuple[int, _Line]], twice: Mapping[tuple[str, str], list[int]], found: _Found
) -> None:
    """Report repeated documents with the line each was first seen on, which a second reading finds."""
    first: dict[tuple[str, str], int] = {}
    for number, (query, document, _) in lines:
        if (query, document) in twice:
            first.setdefault((query, document), number)
    for (query, document), numbers in twice.items():
        for number in numbers:
            said = f"document {_shown(document)} of query {_shown(query)} is already on line {first[query, document]}"
            found.add(number, said, "keep one of them")


def _run_line(number: int, parts: list[bytes]) -> _Line:
    if len(parts) != 6:
        raise _Wrong(
            f"has {len(parts)} column{'s' if len(parts) > 1 else ''}; a line of a TREC run has 6",
            "write: query Q0 document rank score tag. Recorded outputs (JSON Lines) belong in a .jsonl file"
            if parts[0].startswith(b"{")
            else "write: query Q0 document rank score tag",
        )
    query, _, document, rank, score, _ = parts
    if not rank.lstrip(b"-").isdigit():
        raise _Wrong(
            f"the rank is {_shown(rank)}, not a whole number",
            "the order is: query Q0 document rank score tag",
        )
    return query.decode(), document.decode(), _number("score", score)


def _qrels_line(number: int, parts: list[bytes]) -> _Line | None:
    if len(parts) == 3:
        if number == 1 and parts[0].lower() in _BEIR_HEADS:
            return None
        query, document, grade = parts
    elif len(parts) == 4:
        query, _, document, grade = parts
    else:
        raise _Wrong(
            f"has {len(parts)} column{'s' if len(parts) > 1 else ''}; a line of qrels has 4, or 3 in BEIR's form",
            "write: query 0 document grade",
        )
    return query.decode(), document.decode(), _number("grade", grade)


def _number(name: str, text: bytes) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _Wrong(f"the {name} is {_shown(text)}, not a number") from None
    if not math.isfinite(value):
        raise _Wrong(f"the {name} is {_shown(text)}, which is not finite", "leave the line out")
    if b"_" in text:  # Python reads 1_000 as a number; no other tool does
        raise _Wrong(f"the {name} is {_shown(text)}, not a number")
    return value


def _read_json(path: Path, name: str) -> dict[str, dict[str, float]]:
    """Query → document → number, both in the order of the file."""
    found = _Found(path)
    data = _load_json(path, found)
    shape = f"write {{query: {{document: {name}}}}}"
    if not isinstance(data, dict) or not data:
        found.add(None, "holds no queries" if data == {} else "is not an object of queries", shape)
        data = {}
    rows: dict[str, dict[str, float]] = {}
    for query, documents in data.items():
        if not query or not isinstance(documents, dict):
            said = f"query {_shown(query)} has {_shown(documents)}, not documents with a {name} each"
            found.add(None, said if query else "a query has an empty id", shape)
            continue
        rows[query] = {}
        for document, value in documents.items():
            # A whole number of hundreds of digits is JSON and no float; 1e999 reads as infinity.
            if document and type(value) in (int, float) and abs(value) < 1e300:
                rows[query][document] = float(value)
            else:
                said = (
                    f"the {name} of document {_shown(document)} of query {_shown(query)} is {_shown(value)}"
                )
                found.add(None, said, "every document has an id and a finite number")
    found.finish()
    return rows


def _load_json(path: Path, found: _Found) -> Any:
    """The file's value; keys that stand twice go to `found`."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            for name, count in Counter(name for name, _ in pairs).items():
                if count > 1:
                    said = f"the key {_shown(name)} stands {count} times in one object"
                    found.add(None, said, "keep one of them")
        return result

    try:
        raw = path.read_bytes()
        data = json.loads(raw, object_pairs_hook=once, parse_constant=_refuse_constant)
        if b"\\ud" in raw.lower() and not _encodable(data):
            found.add(None, "holds half a character (a lone surrogate such as \\ud800)")
        return data
    except OSError as error:
        problem = Problem(f"cannot read the file: {error.strerror}", found.shown)
    except json.JSONDecodeError as error:
        several = error.msg == "Extra data"
        hint = "recorded outputs, one object a line, belong in a .jsonl file" if several else None
        problem = Problem(f"is not JSON: {error.msg}", found.shown, error.lineno, error.colno, hint)
    except UnicodeDecodeError as error:
        said = f"is not UTF-8: byte 0x{error.object[error.start]:02x}"
        problem = Problem(said, found.shown, hint="save it as UTF-8")
    except RecursionError:
        problem = Problem("is nested too deeply", found.shown)
    except ValueError as error:  # NaN, or a whole number of thousands of digits
        problem = Problem(f"is not JSON: {error}", found.shown)
    raise SpecError([problem]) from None


def _encodable(data: Any) -> bool:
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number JSON has")


def _shown(value: Any) -> str:
    """A value as short JSON, control characters escaped."""
    text = json.dumps(value.decode("utf-8", "replace") if isinstance(value, bytes) else value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
