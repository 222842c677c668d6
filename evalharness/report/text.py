"""Foreign text made safe to show: case ids, model outputs, names. Every renderer passes such text through here."""

from __future__ import annotations

import re
from dataclasses import dataclass

# CSI, OSC/DCS/PM/APC strings up to their terminator, and two-character escapes, in 7-bit and 8-bit form.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
# C0 and C1 controls but tab and newline, soft hyphen, invisible operators, zero-width and bidi marks, interlinear
# annotation, tag characters (used to smuggle ASCII), noncharacters.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e0fff]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")
_JOINERS = re.compile(
    "(?<![^\x00-\x7f\u200c\u200d])[\u200c\u200d]+|[\u200c\u200d]+(?![^\x00-\x7f\u200c\u200d])|(?<=[\u200c\u200d])[\u200c\u200d]+"
)
_BREAKS = re.compile("\r\n?|[\u2028\u2029\x85]")
_PLAIN = re.compile(r"[\t\n\x20-\x7e]*\Z")
_SPACES = re.compile(r"\s+")


def strip_control(text: str) -> str:
    """Text without anything that acts instead of being read.

    Removed: ANSI escape sequences, control characters but tab and newline, bidirectional overrides and marks,
    zero-width characters (joiners stay between non-ASCII letters, where scripts and emoji need them), tag characters.
    Line ends become `\\n`; lone surrogates become U+FFFD, so the result always has a UTF-8 form.
    """
    if _PLAIN.match(text):
        return text
    text = _ESCAPES.sub("", _BREAKS.sub("\n", text))
    text = _INVISIBLE.sub("", text)
    text = _JOINERS.sub("", text)
    return _SURROGATES.sub("\ufffd", text)


def one_line(text: str, limit: int | None = None) -> str:
    """`strip_control`, then every run of white space as one space; at most `limit` characters, cut with "…"."""
    if limit is not None:
        # A megabyte is not cleaned for the sake of its first line; white space may be most of the head.
        text = text[: 20 * limit + 200]
    text = _SPACES.sub(" ", strip_control(text)).strip()
    if limit is not None and len(text) > limit:
        return text[: limit - 1].rstrip() + "…"
    return text


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A part of a text, and how many characters of it stand before and after the part shown."""

    text: str
    before: int
    after: int


def excerpt(text: str, limit: int, start: int = 0) -> Excerpt:
    """At most `limit` characters of `text` from `start`, cleaned. The counts are of the text as it came."""
    end = min(len(text), start + limit)
    # Neither half of a surrogate pair nor half of an escape sequence is worth keeping: cleaning removes both.
    return Excerpt(strip_control(text[start:end]), start, len(text) - end)


def first_difference(left: str, right: str) -> int:
    """The index of the first character where two texts differ: the length of their common prefix."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def tall(text: str) -> bool:
    """Whether a text may be higher than its box on a phone: then the box scrolls, and takes the focus."""
    return len(text) / 30 + text.count("\n") > 14
