"""Entities of a tag sequence: B-PER I-PER O and its relatives.

Two readings, both those of `seqeval` (Nakayama 2018), to which the tests hold them equal. The lenient one is that of
CoNLL-2000's conlleval.pl: an I- without a B-, or of another type than the tag before it, begins an entity. The strict
one counts only what a scheme allows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

Chunk: TypeAlias = "tuple[str, int, int]"
"""Type, first token, and the token after the last."""

LENIENT: Final = "lenient"
_TAG: Final = re.compile(r"[BIESLU](?:-\S+)?|O")
_NO_TYPE: Final = "_"
_OUTSIDE: Final = ("O", _NO_TYPE)


class BadTag(ValueError):
    """A tag that the scheme does not know; the message says which."""


@dataclass(frozen=True, slots=True)
class _Scheme:
    """Patterns of (letter before, letter, "=" same type, "!" another, "*" either); "." is any letter before."""

    letters: str
    start: frozenset[str]
    inside: frozenset[str]
    end: frozenset[str]


def _scheme(letters: str, start: str, inside: str, end: str) -> _Scheme:
    return _Scheme(letters, *(frozenset(patterns.split()) for patterns in (start, inside, end)))


SCHEMES: Final = {
    "iob1": _scheme("IOB", "OI* II! BI* IB= BB=", "BI= II=", "II! IO* IB* BO* BI! BB="),
    "iob2": _scheme("IOB", ".B*", "BI= II=", "IO* II! IB* BO* BI! BB*"),
    "ioe2": _scheme("IOE", "OI* OE* EI* EE* II! IE!", "IE= II=", "E.*"),
    "iobes": _scheme("IOBES", ".B* .S*", "BI= BE= II= IE=", "S.* E.*"),
    "bilou": _scheme("BILOU", ".B* .U*", "BI= BL= II= IL=", "U.* L.*"),
}


def are_tags(items: Sequence[object]) -> bool:
    """Whether these are tags of any scheme."""
    return all(isinstance(item, str) and _TAG.fullmatch(item) for item in items)


def chunks(tags: Sequence[str], scheme: str) -> list[Chunk]:
    """The entities of a sequence, left to right.

    Args:
        tags: "O", "B-PER", ...; a tag without a type has the type "_".
        scheme: "lenient", or a name in SCHEMES.

    Raises:
        BadTag: a tag's letter is none of the scheme's.
    """
    split = [(tag[0], tag[1:].strip("-") or _NO_TYPE) if tag != "O" else _OUTSIDE for tag in tags]
    return _lenient(split) if scheme == LENIENT else _strict(split, SCHEMES[scheme], scheme)


def _lenient(tags: Sequence[tuple[str, str]]) -> list[Chunk]:
    found: list[Chunk] = []
    begin, before, kind_before = 0, "O", ""
    for place, (letter, kind) in enumerate([*tags, _OUTSIDE]):
        changed = kind_before != kind
        if before != "O" and (changed or before in "ES" or (before in "BI" and letter in "BSO")):
            found.append((kind_before, begin, place))
        if letter != "O" and (changed or letter in "BS" or (before in "ESO" and letter in "EI")):
            begin = place
        before, kind_before = letter, kind
    return found


def _strict(tags: Sequence[tuple[str, str]], scheme: _Scheme, name: str) -> list[Chunk]:
    for letter, kind in tags:
        if letter not in scheme.letters:
            raise BadTag(f"{letter}-{kind} is no tag of the scheme {name}")
    ended = [*tags, _OUTSIDE]
    found: list[Chunk] = []
    place, before = 0, _OUTSIDE
    while place < len(ended):
        if _matches(before, ended[place], scheme.start):
            end = place + 1
            while end < len(tags) and _matches(ended[end - 1], ended[end], scheme.inside):
                end += 1
            if _matches(ended[end - 1], ended[end], scheme.end):
                found.append((ended[place][1], place, end))
            place = end
        else:
            place += 1
        before = ended[place - 1]
    return found


def _matches(before: tuple[str, str], tag: tuple[str, str], patterns: frozenset[str]) -> bool:
    same = "=" if before[1] == tag[1] else "!"
    return any(
        first + second + kind in patterns
        for first in (before[0], ".")
        for second in (tag[0], ".")
        for kind in (same, "*")
    )
