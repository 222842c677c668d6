"""What is odd about an answer before it is judged: written for the judge, for no one, or for every prompt alike.

A flag is shown beside the judgment and decides nothing. The patterns ask for what an ordinary answer has no reason to
say, and let a subtle attack pass rather than flag honest work: what keeps a judge unmoved is the prompt (`prompts`) and
the strict reading of its reply, not this list.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Mapping
from typing import Final, TypeVar

from evalharness.judging.neutral import FENCES, TOKENS, hides, visible
from evalharness.judging.phrases import instructs, looks_like_verdict

EMPTY: Final = "empty"
INSTRUCTIONS: Final = "instructions aimed at a judge"
VERDICT: Final = "text shaped like a verdict"
MARKERS: Final = "markers of a chat template or a fence"
HIDDEN: Final = "hidden characters"
SHARED: Final = "the same text answers unrelated prompts"

STEERING: Final = frozenset((INSTRUCTIONS, VERDICT, MARKERS))
"""Flags of an answer that speaks to the judge instead of to the one who asked."""

_MAX_SCANNED: Final = 200_000
_SHORT: Final = 24
"""Characters below which a text is a label or a number rather than an answer in words."""

# Look-alikes of Latin letters, as they are used to slip past a list of words.
_LATIN: Final = str.maketrans("асԁеһіјӏорԛѕѵԝхуνοαι", "acdehijlopqsvwxyvoai")
_MIXED: Final = re.compile(r"\b(?=\w*[a-z])(?=\w*[\u0370-\u03ff\u0400-\u052f])\w{1,40}\b")
_LABELS: Final = re.compile(r"^[ \t]{0,8}(?:Human[ \t]?:|#{1,6} ?(?:Instruction|Response) ?:)", re.MULTILINE)
# In capitals only: `[[a]]` is a list in a list.
_BRACKETED: Final = re.compile(r"(?<!\w)(?<!\w\()\[\[(?:A|B|C|TIE)\]\]")

_Case = TypeVar("_Case", bound=Hashable)


def flags_of(text: str) -> tuple[str, ...]:
    """What is odd about one answer, in a fixed order; () for an ordinary one.

    Empty, instructions aimed at a judge, text shaped like a verdict, markers of chat templates or fences, hidden
    characters. At most the first 200,000 characters are looked at.
    """
    text = text[:_MAX_SCANNED]
    plain = _plain(text)
    if not plain.strip():
        return (EMPTY, HIDDEN) if hides(text) else (EMPTY,)
    found = (
        (INSTRUCTIONS, instructs(plain)),
        (VERDICT, looks_like_verdict(plain) or _BRACKETED.search(text)),
        (MARKERS, TOKENS.search(text) or FENCES.search(text) or _LABELS.search(text)),
        (HIDDEN, hides(text)),
    )
    return tuple(flag for flag, there in found if there)


def shared_texts(
    texts: Mapping[_Case, tuple[str, str]], *, share: float = 0.1, least: int = 3
) -> frozenset[_Case]:
    """The cases whose answer is one text given to unrelated prompts.

    Answers and inputs are compared without differences of case, spacing and Unicode form. Labels, numbers and other
    texts under 24 characters are right for many prompts; they count only where they answer more than half of them.

    Args:
        texts: case → (input, answer), of one side of one run. Repeats may be cases of their own: inputs are counted.
        share: of all inputs that must have got the same text, in (0, 1].
        least: inputs that must have got it, whatever the share.
    """
    groups: dict[str, dict[str, list[_Case]]] = {}
    inputs = set()
    for case, (asked, answer) in texts.items():
        key = " ".join(_plain(asked).split())
        inputs.add(key)
        if said := " ".join(_plain(answer).split()):
            groups.setdefault(said, {}).setdefault(key, []).append(case)
    found: list[_Case] = []
    for said, by_input in groups.items():
        n = len(by_input)
        if n >= least and (n >= share * len(inputs) if len(said) >= _SHORT else 2 * n > len(inputs)):
            found.extend(case for cases in by_input.values() for case in cases)
    return frozenset(found)


def _plain(text: str) -> str:
    """The text as a person would read it aloud: one form, one case, nothing hidden, look-alikes as Latin letters."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", visible(text))
    text = text.casefold()
    if text.isascii():
        return text
    return _MIXED.sub(lambda found: found.group().translate(_LATIN), text)
