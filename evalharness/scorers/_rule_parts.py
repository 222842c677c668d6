"""What rules are made of: fields and numbers as a rule writes them, and how a document's values are read."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeAlias

from evalharness.scorers._paths import Absent, Path, parse_path
from evalharness.scorers.normalise import shown
from evalharness.scorers.numeric import find_numbers

Loc: TypeAlias = "tuple[str | int, ...]"

_DATE_DIRECTIVES: Final = re.compile(r"%(.)", re.DOTALL)
_DATE_KNOWN: Final = frozenset("dmYybBHMS%")
_LONGEST_DATE: Final = 64


class RuleError(ValueError):
    """A rule is not one; the message says what is wrong, `at` where in the rule."""

    def __init__(self, message: str, *at: str | int) -> None:
        super().__init__(message)
        self.at: Loc = at


@dataclass(frozen=True, slots=True)
class Reading:
    """How values are read. `loose`: numbers in texts, too. `formats`: of dates, beside ISO 8601."""

    loose: bool = False
    formats: tuple[str, ...] = ()


# The parts below raise RuleError; `at` is where their value stands in the rule.


def path_of(value: object, *at: str | int, single: bool = False) -> Path:
    try:
        path = parse_path(value)
    except ValueError as error:
        raise RuleError(str(error), *at) from None
    if single and not path.single:
        raise RuleError(f"{path.text!r} leads to many values where one is needed; use `each`", *at)
    return path


def paths_of(value: object, *at: str | int) -> list[Path]:
    return [path_of(one, *place) for one, place in _several(value, at)]


def _several(value: object, at: Loc) -> list[tuple[Any, Loc]]:
    """The items of a list, or the one value that stands for it, each with its place in the rule."""
    if not isinstance(value, list | tuple):
        return [(value, at)]
    if not value:
        raise RuleError("names no field", *at)
    return [(one, (*at, index)) for index, one in enumerate(value)]


def literal(value: object) -> Decimal | None:
    """A number as a decimal, None for what is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    # the shortest digits that are this float, which are those it was written with
    return Decimal(repr(value)) if isinstance(value, float) and math.isfinite(value) else None


def tolerance_of(rule: Mapping[Any, Any]) -> Decimal:
    value = literal(rule.get("tolerance", 0))
    if value is None or value < 0:
        raise RuleError(f"tolerance must be a number such as 0.01, not {rule['tolerance']!r}", "tolerance")
    return value


Terms: TypeAlias = Callable[[Any, Any], "list[tuple[str, Decimal]] | Absent"]
"""(element, document) → numbers with their names, or why there is one too few."""


def term(value: object, reading: Reading, *at: str | int, single: bool) -> Terms:
    """A number as it is, or the numbers a path leads to; `-discount` is taken away."""
    fixed = literal(value)
    if fixed is not None:
        return lambda here, root: [(str(value), fixed)]
    negative = isinstance(value, str) and value.startswith("-")
    path = path_of(value[1:] if negative and isinstance(value, str) else value, *at, single=single)

    def numbers(here: Any, root: Any) -> list[tuple[str, Decimal]] | Absent:
        found = path.values(here, root)
        if isinstance(found, Absent):
            return found
        read: list[tuple[str, Decimal]] = []
        for place, given in found:
            number = number_in(given, reading)
            if number is None:
                return Absent(f"{place} is no number: {said(given)}")
            read.append((place, number.copy_negate() if negative else number))
        return read

    return numbers


def terms_of(value: object, reading: Reading, *at: str | int) -> Terms:
    parts = [term(one, reading, *place, single=False) for one, place in _several(value, at)]

    def numbers(here: Any, root: Any) -> list[tuple[str, Decimal]] | Absent:
        read: list[tuple[str, Decimal]] = []
        for part in parts:
            found = part(here, root)
            if isinstance(found, Absent):
                return found
            read += found
        return read

    return numbers


def number_in(value: Any, reading: Reading) -> Decimal | None:
    plain = literal(value)
    if plain is None and reading.loose and isinstance(value, str):
        found = [number for _, number in find_numbers(value, percent="fraction")]
        return found[0] if len(found) == 1 else None
    return plain


def said(value: Any) -> str:
    return shown(json.dumps(value, ensure_ascii=False, default=str), 60)


def short(value: Decimal) -> str:
    return shown(f"{value:,f}" if abs(value.adjusted()) < 20 else str(value), 40)


def value_of(written: object, *at: str | int) -> Callable[[Any, Any], Any]:
    """One value with its name: a number or {value: anything} as it is, else what a path leads to."""
    if isinstance(written, Mapping):
        if written.keys() != {"value"}:
            raise RuleError("an operand is a field, a number, or {value: text}", *at)
        return lambda here, root: ("the value", written["value"])
    if literal(written) is not None:
        return lambda here, root: ("the number", written)
    path = path_of(written, *at, single=True)

    def value(here: Any, root: Any) -> Any:
        found = path.values(here, root)
        return found if isinstance(found, Absent) else found[0]

    return value


def date_in(value: Any, reading: Reading) -> tuple[dt.datetime, bool] | None:
    """A moment, and whether it is only a day."""
    if not isinstance(value, str) or len(value) > _LONGEST_DATE:
        return None
    try:
        return dt.datetime.combine(dt.date.fromisoformat(value), dt.time()), True
    except ValueError:
        pass
    try:
        return dt.datetime.fromisoformat(value), False
    except ValueError:
        pass
    for form in reading.formats:
        try:
            return dt.datetime.strptime(value, form), "%H" not in form  # noqa: DTZ007 - the document names no zone
        except ValueError:
            continue
    return None


def date_format(form: str) -> str:
    """A format of dates such as %d.%m.%Y. Raises ValueError for one that names no day."""
    used = set(_DATE_DIRECTIVES.findall(form))
    unknown = sorted(used - _DATE_KNOWN)
    if unknown or "%" in _DATE_DIRECTIVES.sub("", form):
        raise ValueError(
            f"the date format {form!r} has %{unknown[0] if unknown else ''}; known: %d %m %b %B %Y %y %H %M %S"
        )
    if not ("d" in used and used & set("mbB") and used & set("Yy")):
        raise ValueError(f"the date format {form!r} needs a day, a month and a year, as %d.%m.%Y has")
    return form


def key_of(value: Any) -> Any:
    """Equal for equal JSON values: 1 and 1.0 are one, 1 and true are two."""
    if isinstance(value, dict):
        return "object", frozenset((key, key_of(inner)) for key, inner in value.items())
    if isinstance(value, list):
        return "list", tuple(map(key_of, value))
    return type(value) is bool, value
