"""Files that somebody else wrote, read with a limit on everything that could be large, deep or damaged."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

from evalharness.errors import Problem, SpecError

MOST_BYTES: Final = 1_000_000_000
"""Of a JSON file, which is held whole."""
MOST_LINE_BYTES: Final = 256_000_000
"""Of one line of a JSONL file."""
MAX_PROBLEMS: Final = 50
_NESTED: Final = "is nested too deeply"


def shown(path: Path) -> str:
    """A file as its user would type it: relative where it lies below the working directory."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def refuse(path: Path, message: str, hint: str | None = None, line: int | None = None) -> SpecError:
    """The error for one problem of a file."""
    return SpecError([Problem(message, shown(path), line, hint=hint)])


class Problems:
    """Problems of one file: the first ones in words, the rest counted."""

    def __init__(self, path: Path) -> None:
        self._shown = shown(path)
        self._kept: list[Problem] = []
        self._total = 0

    def add(self, message: str, line: int | None = None, hint: str | None = None) -> None:
        self._total += 1
        if self._total <= MAX_PROBLEMS:
            self._kept.append(Problem(message, self._shown, line, hint=hint))

    def finish(self) -> None:
        """Raise SpecError where there are any."""
        if self._total > MAX_PROBLEMS:
            self._kept.append(Problem(f"and {self._total - MAX_PROBLEMS:,} more problems", self._shown))
        if self._kept:
            raise SpecError(self._kept)


class BadJson(ValueError):
    """What is wrong with a JSON text, in words."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.hint = hint
        super().__init__(message)


def parse(data: bytes) -> Any:
    """JSON as tools write it: NaN and infinities are read, and become missing scores later.

    Raises:
        BadJson: it is none, or nested too deeply.
    """
    from pydantic_core import from_json

    try:
        return from_json(data, cache_strings="keys")
    except ValueError:
        pass  # slower, but it reads half a surrogate pair and says better what is wrong
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        _refuse_encoding(data, error)
    except RecursionError:
        raise BadJson(_NESTED, "no tool writes such a file") from None
    except json.JSONDecodeError as error:
        if error.pos >= len(error.doc.rstrip()) - 1 or error.msg.startswith("Unterminated string"):
            raise BadJson(
                "ends in the middle of a JSON value", "it looks truncated: write it again"
            ) from None
        where = f"line {error.lineno} column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        raise BadJson(f"is not JSON: {error.msg} at {where}") from None
    except ValueError:
        raise BadJson("holds a whole number of thousands of digits") from None


def _refuse_encoding(data: bytes, error: UnicodeDecodeError) -> NoReturn:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise BadJson("is UTF-16", "save it as UTF-8") from None
    raise BadJson(f"is not UTF-8 (byte 0x{data[error.start]:02x})", "save it as UTF-8") from None


def read_bytes(path: Path, limit: int | None = None) -> bytes:
    """A whole file of at most `limit` bytes (None: MOST_BYTES).

    Raises:
        SpecError: it cannot be read, is empty or too large.
    """
    limit = MOST_BYTES if limit is None else limit
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise refuse(path, f"cannot be read: {error.strerror or error}") from None
    if len(data) > limit:
        raise refuse(path, f"is larger than {limit // 1_000_000:,} MB", "split it, or write it as JSON Lines")
    if not data.strip():
        raise refuse(path, "is empty")
    return data


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object that a file holds.

    Raises:
        SpecError: it holds none.
    """
    try:
        found = parse(read_bytes(path))
    except BadJson as error:
        raise refuse(path, str(error), error.hint) from None
    if not isinstance(found, dict):
        raise refuse(path, f"holds {a(found)} where an object is needed")
    return found


def read_lines(path: Path, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of each line of a JSONL file; what is wrong with others goes to `problems`.

    Raises:
        SpecError: the file cannot be read, is empty or UTF-16.
    """
    number = 0
    try:
        with path.open("rb") as stream:
            while raw := stream.readline(MOST_LINE_BYTES + 1):
                number += 1
                if number == 1 and raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                    raise refuse(path, "is UTF-16", "save it as UTF-8", 1)
                if len(raw) > MOST_LINE_BYTES:
                    raise refuse(
                        path, f"has a line of more than {MOST_LINE_BYTES // 1_000_000} MB", None, number
                    )
                raw = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
                if not raw.strip():
                    continue
                try:
                    value = parse(raw)
                except BadJson as error:
                    problems.add(str(error), number, error.hint)
                    continue
                if isinstance(value, dict):
                    yield number, value
                else:
                    problems.add(f"is {a(value)}, not an object", number)
    except OSError as error:
        raise refuse(path, f"cannot be read: {error.strerror or error}") from None
    if not number:
        raise refuse(path, "is empty")


def head_object(head: bytes) -> bytes:
    """The first line of a file that may be JSONL, without a byte order mark."""
    return head.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0]


def a(value: Any) -> str:
    """A JSON value's kind with its article."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
