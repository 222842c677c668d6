"""The number an answer ends on, against the target's number."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any, ClassVar, Final

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Metric, Score, Scored, Unscored
from evalharness.scorers.exact import BINARY, NO_TARGETS, RIGHT
from evalharness.scorers.normalise import one_of, shown

# Starts with a digit, so that the engine can skip to one; sign, currency and a leading point are looked up backwards.
# Possessive groups and single-step lookaheads keep it linear.
_NUMBER: Final = re.compile(
    r"([0-9]{1,3}(?:[,\u00a0\u2009\u202f][0-9]{3}(?![0-9]))++|[0-9]++)"  # 1: whole part, thousands separated or not
    r"(\.[0-9]++)?"  # 2: decimals
    r"(?:([eE][-+]?[0-9]++)(?![0-9A-Za-z])"  # 3: exponent
    r"|(?:[ ]([0-9]++))?/([0-9]++)((?:/[0-9]++)*+))?"  # 4, 5: "3/4", "1 3/4"; 6: a date, which is no number
    r"([ ]?[%٪])?"  # 7
)
_FOLDED: Final = str.maketrans(
    {chr(0xFF10 + digit): str(digit) for digit in range(10)}
    | dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\uff0d\ufe63", "-")
    | {"\uff0b": "+", "\uff0e": ".", "\uff0c": ",", "\uff05": "%", "\u2044": "/"}
)
_PLAIN_BEFORE: Final = " \n\t:=("
_CURRENCY: Final = "$€£¥₹"
_SEPARATORS: Final = str.maketrans("", "", ",\u00a0\u2009\u202f")
_MAX_DIGITS: Final = 4000
_MAX_EXPONENT: Final = 5
_MAX_NUMBERS: Final = 10_000
_TAILS: Final = (48, 512, 32_768)
Number = Decimal


def find_numbers(text: str, *, percent: str = "ignore") -> Iterator[tuple[str, Number]]:
    """Every number in `text` from left to right, as written and as a value.

    Digits that belong to a word ("CO2", "GPT4") are none; a hyphen after a digit, letter or bracket ("10-3") is no
    sign; "1.234,56" is not read as European notation. A number of more than 4,000 characters is passed over.
    """
    if not text.isascii():
        text = text.translate(_FOLDED)
    for match in _NUMBER.finditer(text):
        found = _read(text, match, percent)
        if found is not None:
            yield found


def _last(text: str, percent: str) -> tuple[str, Number] | None:
    """The last number of `text`, read from its tail unless that number may have begun before it."""
    for size in _TAILS:
        if size >= len(text):
            break
        tail = text[-size:]
        if not tail.isascii():
            tail = tail.translate(_FOLDED)
        for match in reversed(list(_NUMBER.finditer(tail))):
            if match.start() < size // 2:
                break
            found = _read(tail, match, percent)
            if found is not None:
                return found
    last = None
    for last in find_numbers(text, percent=percent):  # noqa: B007 - the last one is what is wanted
        pass
    return last


def _read(text: str, match: re.Match[str], percent: str) -> tuple[str, Number] | None:
    if match.lastindex == 1:  # a plain whole number, mostly
        start, end = match.span()
        if (not start or text[start - 1] in _PLAIN_BEFORE) and end - start <= _MAX_DIGITS:
            whole = match[1]
            return whole, Decimal(whole.translate(_SEPARATORS) if len(whole) > 3 else whole)
    whole, decimals, exponent, numerator, denominator, date, per_cent = match.groups()
    start, end = match.span()
    if end - start > _MAX_DIGITS or (exponent is not None and len(exponent) > _MAX_EXPONENT + 1):
        return None
    before = text[start - 1] if start else ""
    leading_point = False
    if before == "." and decimals is None:
        previous = text[start - 2] if start > 1 else ""
        if not previous.isalnum() and previous != ".":
            leading_point, start, before = True, start - 1, previous
    if before.isascii() and (before.isalnum() or before == "_"):
        return None
    digits = whole.translate(_SEPARATORS) if len(whole) > 3 else whole
    written = "." + digits if leading_point else digits
    value = Decimal(written + (decimals or "") + (exponent or ""))
    if denominator is not None:
        divisor = Decimal(denominator)
        if date or not divisor or decimals is not None or leading_point:
            return None
        value = value + Decimal(numerator) / divisor if numerator is not None else value / divisor
    first_digit, start = start, _signed_start(text, start)
    if "-" in text[start:first_digit]:
        value = -value
    if per_cent is not None and percent == "fraction":
        value /= 100
    return text[start:end], value


def _signed_start(text: str, start: int) -> int:
    """Where the number at `start` begins with its currency sign and its sign, in either order."""
    at = start
    for _ in range(2):
        before = text[at - 1] if at else ""
        if before and before in _CURRENCY:
            at -= 1
        elif before and before in "-+":
            previous = text[at - 2] if at > 1 else ""
            if previous and (previous.isalnum() or previous in "_)]}%-+"):
                break
            at -= 1
    return at


@lru_cache(maxsize=8192)
def _target_text(text: str, percent: str) -> Number | None:
    found = list(find_numbers(text, percent=percent))
    return found[0][1] if len(found) == 1 else None


def _target(target: Any, percent: str) -> Number | None:
    if isinstance(target, str):
        return _target_text(target, percent)
    if isinstance(target, bool) or not isinstance(target, int | float) or not math.isfinite(target):
        return None
    return Decimal(str(target))


@dataclass(frozen=True)
class Numeric:
    """1 when the number in the output is the target's number, else 0.

    `tolerance` (absolute) and `relative_tolerance` (of the target) allow a difference; either suffices. `take` says
    which number of the output counts: "last", "first", or "only" (two different numbers are wrong). `after` is a
    marker such as "A:" or "####": only what follows its last occurrence counts, and an output without it is wrong.
    `percent`: "ignore" reads 50% as 50, "fraction" as 0.5. Read are thousands separators, decimals, signs (the
    Unicode minus too), currency signs, fractions (3/4, 1 3/4) and exponents. Without tolerance equality is exact.
    A target must hold exactly one number.
    """

    tolerance: float = 0.0
    relative_tolerance: float = 0.0
    take: str = "last"
    after: str | None = None
    percent: str = "ignore"
    _exact: bool = field(init=False, repr=False, compare=False)

    name: ClassVar[str] = "numeric"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("targets",)
    files: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        for key in ("tolerance", "relative_tolerance"):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"{key} must be a number such as 0.01, not {value!r}")
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{key} must be 0 or more, not {value!r}")
        if self.relative_tolerance >= 1:
            raise ValueError(
                "relative_tolerance is a share of the target and must be below 1; write 0.01 for 1%"
            )
        one_of("take", self.take, ("last", "first", "only"))
        one_of("percent", self.percent, ("ignore", "fraction"))
        after: object = self.after  # parameters come from YAML, so their types are not to be trusted
        if after is not None and (not isinstance(after, str) or not after.strip()):
            raise ValueError('after must be a text such as "A:"; leave it out to read the whole output')
        object.__setattr__(self, "_exact", not self.tolerance and not self.relative_tolerance)

    @property
    def metric(self) -> Metric:
        return BINARY

    def score(self, case: Case, response: Response) -> Score:
        if not case.targets:
            return NO_TARGETS
        wanted = [number for target in case.targets if (number := _target(target, self.percent)) is not None]
        if not wanted:
            return Unscored(f"target {shown(str(case.targets[0]), 80)!r} does not hold exactly one number")
        found = self._extract(response.text)
        if isinstance(found, str):
            return Scored(0.0, detail={"extracted": None, "reason": found})
        written, value = found
        if any(value == number or (not self._exact and self._near(value, number)) for number in wanted):
            return RIGHT
        return Scored(0.0, detail={"extracted": shown(written)})

    def _extract(self, text: str) -> tuple[str, Number] | str:
        """The number that counts, or why there is none."""
        if self.after is not None:
            at = text.rfind(self.after)
            if at < 0:
                return f"no {self.after!r} in the output"
            text = text[at + len(self.after) :]
        if self.take == "last":
            return _last(text, self.percent) or "no number in the output"
        found = None
        for count, number in enumerate(find_numbers(text, percent=self.percent)):
            if self.take == "first":
                return number
            if found is not None and number[1] != found[1]:
                return f"two numbers: {shown(found[0], 40)} and {shown(number[0], 40)}"
            if count == _MAX_NUMBERS:
                return f"more than {_MAX_NUMBERS} numbers"
            found = found or number
        return found or "no number in the output"

    def _near(self, value: Number, wanted: Number) -> bool:
        # Decimal arithmetic keeps 0.3 within 0.1 of 0.2; the exponents allowed keep it in range.
        difference = abs(value - wanted)
        return difference <= Decimal(str(self.tolerance)) or difference <= abs(wanted) * Decimal(
            str(self.relative_tolerance)
        )
