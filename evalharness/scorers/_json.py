"""JSON out of model output, read strictly, and compared by value."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

_FENCE: Final = re.compile(r"^[ \t]*```[ \t]*([A-Za-z0-9_+-]*)[^\n]*$", re.MULTILINE)
_MAX_TRIES: Final = 32  # places where JSON may start in prose; each costs at most the rest of the output


class BadJSON(ValueError):
    """The text holds no JSON document; the message says what is wrong where."""


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


def parse(text: str) -> Any:
    """The document `text` is (RFC 8259), white space at its ends aside.

    NaN and Infinity are refused, and so is a number too large for a float; of equal keys the last counts.

    Raises:
        BadJSON: with what is wrong where.
    """
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise BadJSON(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise BadJSON("nested too deeply") from None
    except ValueError as error:  # a constant, or an integer of thousands of digits
        raise BadJSON(str(error)[:200]) from None


def extract(text: str, how: str) -> Any:
    """The document in a model's answer.

    Args:
        text: the answer.
        how: "strict": the answer is the document. "fenced": else the last fenced block that is one, else the
            longest object or list standing in the prose.

    Raises:
        BadJSON: with what is wrong with the answer read strictly.
    """
    try:
        return parse(text)
    except BadJSON as error:
        if how == "strict":
            raise
        reason = error
    for block in _blocks(text):
        try:
            return parse(block)
        except BadJSON:
            continue
    best: tuple[int, Any] | None = None
    for length, document in _in_prose(text):
        if best is None or length > best[0]:
            best = length, document
    if best is None:
        raise reason
    return best[1]


def _blocks(text: str) -> Iterator[str]:
    """The contents of fenced blocks, last first, at most a few."""
    fences = list(_FENCE.finditer(text))
    # A block cut off by the token limit has no closing fence and runs to the end.
    ends = [fence.start() for fence in fences[1::2]] + [len(text)] * (len(fences) % 2)
    pairs = list(zip(fences[::2], ends, strict=True))
    for opening, end in pairs[: -_MAX_TRIES - 1 : -1]:
        yield text[opening.end() : end]


def _in_prose(text: str) -> Iterator[tuple[int, Any]]:
    """Length and value of objects and lists standing in prose, left to right, without those inside another."""
    at = 0
    for _ in range(_MAX_TRIES):
        starts = [found for found in (text.find("{", at), text.find("[", at)) if found >= 0]
        if not starts:
            return
        at = min(starts)
        try:
            document, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            at += 1
        else:
            yield end - at, document
            at = end


def equal(left: Any, right: Any) -> bool:
    """Equality of JSON values: 1 equals 1.0, true does not equal 1, the order of keys does not matter."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    return bool(left == right)
