"""Texts as the words they are compared by: no letter case, no spacing, no punctuation, one Unicode form.

HTML's character references are read, a text is brought to Unicode NFKC and case-folded (UAX #15, UAX #31), characters
that show nothing (soft hyphens, joiners, direction marks) are dropped, and what is left is cut into runs of letters,
digits and their marks. Scripts written without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese) have one word a
character.
"""

from __future__ import annotations

import html
import re
import unicodedata
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby
from typing import Final

_SPACELESS_BLOCKS: Final = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # iteration marks and zero of the ideographs
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3100, 0x312F),  # Bopomofo
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
)
_ASTRAL_IDEOGRAPHS: Final = "\U00020000-\U0003ffff"
_INVISIBLE: Final = re.compile(
    "[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)
_TO_SPACES: Final = bytes(byte if byte < 128 and chr(byte).isalnum() else 0x20 for byte in range(256))
_PLAIN: Final = re.compile(r"[^\W_]+")
MAX_EXCERPT: Final = 300
_LEAD: Final = 40
_PIECES: Final = re.compile(r"\S+")
_OF_A_CHARACTER: Final = 0.5


def words(text: str) -> list[str]:
    """The words of a text, in order; empty where it has no letter or digit."""
    if "&" in text:  # scraped pages say &nbsp; and &eacute;
        text = html.unescape(text)
    if text.isascii():
        # A table for all bytes at once is twice as fast as a pattern, and most training text takes this way.
        return text.lower().encode("ascii").translate(_TO_SPACES).decode("ascii").split()
    folded = _INVISIBLE.sub("", unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()))
    word, special, _ = _patterns()
    return (word if special.search(folded) else _PLAIN).findall(folded)


def length(found: Sequence[str]) -> float:
    """How much a text says, in words: a character of a script without spaces counts half a word."""
    spaceless = _patterns()[2]
    return sum(1.0 if word.isascii() or not spaceless.match(word) else _OF_A_CHARACTER for word in found)


class Offsets:
    """Where the words of a text stand in it, to the nearest white space."""

    def __init__(self, text: str) -> None:
        self._starts, self._counts = array("Q"), array("Q")
        count = 0
        for piece in _PIECES.finditer(text):
            self._starts.append(piece.start())
            count += len(words(piece.group()))
            self._counts.append(count)

    def of(self, word: int) -> int:
        """The character that the word number `word` starts at, or its piece between white space does."""
        place = bisect_right(self._counts, word)
        return self._starts[min(place, len(self._starts) - 1)]


def excerpt(text: str, start: int = 0) -> str:
    """At most MAX_EXCERPT characters of a text, from a little before `start`; "…" stands for what is left out."""
    start = max(0, min(start - _LEAD, len(text) - MAX_EXCERPT))
    end = start + MAX_EXCERPT
    return ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """A word; a character for which `_PLAIN` would not do; the first character of a word without spaces."""
    spaceless = _ASTRAL_IDEOGRAPHS + _ranges(
        code for low, high in _SPACELESS_BLOCKS for code in range(low, high + 1) if chr(code).isalnum()
    )
    # `\w` has no marks: without them a word of Hindi would be cut at every vowel.
    marks = _ranges(code for code in range(0x300, 0x10000) if unicodedata.category(chr(code))[0] == "M")
    word = re.compile(f"[{spaceless}][{marks}]*|(?:[^\\W_{spaceless}][{marks}]*)+")
    return word, re.compile(f"[{spaceless}{marks}]"), re.compile(f"[{spaceless}]")


def _ranges(codes: Iterable[int]) -> str:
    """Code points as the inside of a character class."""
    out = []
    for _, run in groupby(enumerate(codes), lambda pair: pair[1] - pair[0]):
        found = [code for _, code in run]
        out.append(f"\\u{found[0]:04x}-\\u{found[-1]:04x}")
    return "".join(out)
