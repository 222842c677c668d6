"""How numbers are written, once for every renderer. Minus is U+2212; nothing is rounded across a line that decides."""

from __future__ import annotations

import math
from collections.abc import Sequence

MINUS = "\u2212"
DASH = "–"
_EPS = 1e-9


def _fixed(number: float, decimals: int) -> str:
    text = f"{abs(number):,.{decimals}f}"
    negative = number < 0 and float(text.replace(",", "")) != 0
    return MINUS + text if negative else text


def _side(number: float, line: float) -> int:
    return 0 if abs(number - line) <= _EPS * max(1.0, abs(line)) else (1 if number > line else -1)


def _decimals(number: float, lines: Sequence[float], usual: int) -> int:
    """Enough decimals that the number as written lies on the same side of every line as the number itself."""
    for decimals in range(usual, usual + 4):
        written = round(number, decimals)
        if all(_side(written, line) == _side(number, line) for line in lines):
            return decimals
    return usual


def _usual(number: float) -> int:
    size = abs(number)
    if _EPS < size < 0.01:  # the cost of an answer: three digits, as many as above
        return min(9, 2 - math.floor(math.log10(size)))
    return 0 if size >= 1000 else 1 if size >= 10 else 2 if size >= 1 else 3


def finite(number: float | None) -> float | None:
    """The number to 12 significant digits and without negative zero, None when it has no finite value.

    The digits beyond depend on the processor (its vector units sum in another order); equal inputs give equal bytes.
    """
    return None if number is None or not math.isfinite(number) else float(f"{number:.12g}") + 0.0


def value(number: float | None, unit: str) -> str:
    """A metric's value: 0.813 of unit "fraction" is "81.3%"; other units are bare, the word standing elsewhere."""
    if number is None or not math.isfinite(number):
        return DASH
    if unit == "fraction":
        return f"{_fixed(number * 100, 1)}%"
    return _fixed(number, _usual(number))


def case_value(number: float | None, unit: str) -> str:
    """One case's value: fractions as 0, 1 or 0.67 (a case is not a percentage)."""
    if number is None or not math.isfinite(number):
        return "no score"
    text = f"{abs(number):,.4g}" if abs(number) < 10_000 else f"{abs(number):,.0f}"
    if unit == "fraction":
        text = f"{abs(number):.2f}".rstrip("0").rstrip(".")
    return (MINUS if number < 0 and text != "0" else "") + text


def difference(number: float | None, unit: str, lines: Sequence[float] = (), *, word: bool = False) -> str:
    """A difference with its sign: −0.043 of unit "fraction" is "−4.3pp"; other units keep their word only if asked.

    `lines` are the values that decide something (0, the margin): digits are added until the number as written lies
    on the same side of each as the number itself, so that −1.96pp is never shown as −2.0pp beside a margin of 2pp.
    """
    if number is None or not math.isfinite(number):
        return DASH
    scaled, scaled_lines = _scaled(number, unit), [_scaled(line, unit) for line in lines]
    text = _signed(
        scaled, _decimals(scaled, [0.0, *scaled_lines], 1 if unit == "fraction" else _usual(scaled))
    )
    if unit == "fraction":
        return text + "pp"
    return f"{text} {unit}" if word and unit else text


def _scaled(number: float, unit: str) -> float:
    return number * 100 if unit == "fraction" else number


def _signed(scaled: float, decimals: int) -> str:
    text = _fixed(scaled, decimals)
    return "+" + text if text[0] != MINUS and scaled > _EPS else text


def amount(number: float | None, unit: str) -> str:
    """A size without sign, in the difference's unit: "3.9pp", "12 characters". Trailing zeros are dropped."""
    if number is None or not math.isfinite(number):
        return DASH
    if unit == "fraction":
        return f"{abs(round(number * 100, 2)):g}pp"
    text = f"{abs(number):,.0f}" if abs(number) >= 1000 else f"{abs(number):.4g}"
    return f"{text} {unit}".rstrip()


def interval(low: float | None, high: float | None, unit: str, lines: Sequence[float] = ()) -> str:
    """Both ends as "[−6.9, −1.7]" with as many digits each, in the difference's unit."""
    ends = [None if e is None or not math.isfinite(e) else _scaled(e, unit) for e in (low, high)]
    known = [end for end in ends if end is not None]
    usual = 1 if unit == "fraction" else _usual(max(map(abs, known), default=1.0))
    deciding = [0.0, *(_scaled(line, unit) for line in lines)]
    decimals = max((_decimals(end, deciding, usual) for end in known), default=usual)
    return "[" + ", ".join(DASH if end is None else _signed(end, decimals) for end in ends) + "]"


def p_value(p: float | None) -> str:
    """A p-value as "0.003" or "<0.001"; "–" when there is none."""
    if p is None or not math.isfinite(p):
        return DASH
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def chance(p: float | None) -> str:
    """A probability as "3.2%"; only what cannot happen is "0%" and only what must is "100%"."""
    if p is None or not math.isfinite(p):
        return DASH
    if p <= 0 or p >= 1:
        return "0%" if p <= 0 else "100%"
    return "<0.1%" if p < 0.001 else ">99.9%" if p > 0.999 else f"{p * 100:.1f}%"


def share(rate: float) -> str:
    """A case's share of passes as "0.33"; never "0.00" or "1.00" where it is neither."""
    return _fixed(rate, _decimals(rate, (0.0, 1.0), 2))


def variance(number: float) -> str:
    """A variance to three digits: "0.0123", "1,240", "0"."""
    if not math.isfinite(number):
        return DASH
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def count(number: int | None) -> str:
    """A count as 12,345; "–" when there is none."""
    return DASH if number is None else f"{number:,}"


def seconds(number: float) -> str:
    """A duration in seconds as people say it: "840 ms", "12.3 s", "4 min 10 s"."""
    if number < 1:
        return f"{number * 1000:.0f} ms"
    if number < 120:
        return f"{number:.1f} s"
    minutes, rest = divmod(round(number), 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def money(number: float) -> str:
    """US dollars: "$0.0042", "$1.37", "$0"."""
    if number == 0:
        return "$0"
    return f"${number:,.2f}" if number >= 0.1 else f"${number:.2g}"
