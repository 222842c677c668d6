"""JSON texts and files of one JSON value a line, read strictly: what is wrong with a line, in words.

Whoever reads such a file checks its lines one by one and raises BadLine; every problem is told, with its line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

from evalharness.errors import Problem

MAX_SHOWN: Final = 50
"""Problems of one file that are told in words."""

_Line = TypeVar("_Line")


class BadLine(ValueError):
    """A line that is not the JSON object it should be; the message says why, `hint` what to do."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.hint = hint
        super().__init__(message)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadLine(f"the key {twice!r} stands twice in one object", "remove one of them")
    return result


def _constant(text: str) -> Any:
    raise BadLine(f"{text} is not JSON", "leave the value out where there is none")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


def parse_json(text: str, *, last: bool = False) -> Any:
    """Strict JSON: no repeated keys, no NaN, nothing after the value.

    Args:
        text: one JSON text.
        last: it is the last line of its file and has no line end, so it may have been cut off.

    Raises:
        BadLine: what is wrong, in words.
    """
    try:
        return _DECODER.decode(text)
    except BadLine:
        raise
    except json.JSONDecodeError as error:
        if "\0" in text:
            raise BadLine("holds a NUL byte", "is it a text file?") from None
        if error.pos >= len(text.rstrip()) - 1 or error.msg.startswith("Unterminated string"):
            hint = "the file looks truncated: write it again" if last else "one object has to be on one line"
            raise BadLine("the line ends in the middle of a JSON value", hint) from None
        raise BadLine(f"is not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise BadLine("is nested too deeply") from None
    except ValueError:
        raise BadLine(
            "holds a whole number of thousands of digits", "write a number that fits a float"
        ) from None


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """(line number, value or BadLine) for each non-blank line of a JSONL file; memory holds one line.

    A BOM and CRLF line ends are accepted.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if number == 1 and raw.startswith(b"\xef\xbb\xbf"):
                raw = raw[3:]
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                hint = "save it as UTF-8"
                yield number, BadLine(f"is not valid UTF-8 (byte 0x{raw[error.start]:02x})", hint)
                continue
            if text.isspace() or not text:
                continue
            try:
                yield number, parse_json(text, last=not text.endswith("\n"))
            except BadLine as error:
                yield number, error


def checked_lines(
    lines: Iterable[tuple[int, Any]], shown: str, take: Callable[[int, Any], _Line]
) -> tuple[list[_Line], list[Problem]]:
    """What `take` makes of each line, and everything that is wrong.

    Args:
        lines: (line number, value or BadLine), as `json_lines` gives them.
        shown: the file in messages.
        take: checks the value of one line; raises BadLine.
    """
    taken: list[_Line] = []
    problems: list[Problem] = []
    try:
        for number, value in lines:
            try:
                if isinstance(value, BadLine):
                    raise value
                taken.append(take(number, value))
            except BadLine as error:
                problems.append(Problem(str(error), shown, number, hint=error.hint))
    except OSError as error:
        problems.append(Problem(f"cannot be read: {error.strerror or error}", shown))
    return taken, problems


def capped(problems: list[Problem], shown: str, what: str = "lines with problems") -> list[Problem]:
    """The first MAX_SHOWN problems, and how many more there are."""
    more = len(problems) - MAX_SHOWN
    return problems if more <= 0 else [*problems[:MAX_SHOWN], Problem(f"and {more:,} more {what}", shown)]


def short(value: Any) -> str:
    """A value as it stands in a message: at most 60 characters of it."""
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "…"
