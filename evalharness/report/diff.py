"""A word diff of two texts, bounded in time and size whatever the texts are."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import Final

from evalharness.report.text import excerpt, first_difference, tall

SHOWN: Final = 1500
"""Characters of each text shown at most."""
_LEAD: Final = 160
_PAIR_WORK: Final = 160_000
_TOKENS = re.compile(r"(?:\w+|[^\w\s])\s*|\s+")


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of text; `changed` where the other side differs."""

    changed: bool
    text: str


@dataclass(frozen=True, slots=True)
class Marked:
    """One side of a diff: its pieces, and how many characters before and after them are not shown."""

    parts: tuple[Part, ...]
    before: int
    after: int

    @property
    def tall(self) -> bool:
        """Whether its box may scroll."""
        return tall("".join(part.text for part in self.parts))


@dataclass(slots=True)
class Effort:
    """Token comparisons left for a whole report: once spent, only common beginnings and ends are found.

    Counted in work, not in seconds, so that the same verdict always renders to the same bytes.
    """

    left: int = field(default=10_000_000)


def plain(text: str, limit: int = SHOWN) -> Marked:
    """A text with nothing to compare it to."""
    shown = excerpt(text, limit)
    return Marked((Part(False, shown.text),), shown.before, shown.after)


def word_diff(before: str, after: str, effort: Effort, limit: int = SHOWN) -> tuple[Marked, Marked]:
    """Both texts in pieces, with the words that differ marked.

    Texts longer than `limit` are shown from shortly before their first difference.
    """
    start = 0
    if max(len(before), len(after)) > limit:
        start = max(0, first_difference(before, after) - _LEAD)
        start = 0 if start < _LEAD else start
    old, new = excerpt(before, limit, start), excerpt(after, limit, start)
    left, right = _compare(_TOKENS.findall(old.text), _TOKENS.findall(new.text), effort)
    return Marked(left, old.before, old.after), Marked(right, new.before, new.after)


def _compare(old: list[str], new: list[str], effort: Effort) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    shorter = min(len(old), len(new))
    head = 0
    while head < shorter and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < shorter - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    left, right = _Side(), _Side()
    left.add(False, old[:head])
    right.add(False, new[:head])
    _middle(old[head : len(old) - tail], new[head : len(new) - tail], left, right, effort)
    left.add(False, old[len(old) - tail :])
    right.add(False, new[len(new) - tail :])
    return left.parts(), right.parts()


def _middle(old: list[str], new: list[str], left: _Side, right: _Side, effort: Effort) -> None:
    work = len(old) * len(new)
    if not work or work > min(_PAIR_WORK, effort.left):
        left.add(True, old)
        right.add(True, new)
        return
    effort.left -= work
    # Trailing white space must not make the last word of a line a different word.
    matcher = difflib.SequenceMatcher(
        None, [t.rstrip() for t in old], [t.rstrip() for t in new], autojunk=False
    )
    kept = [block for block in matcher.get_matching_blocks() if _worth(old[block.a : block.a + block.size])]
    if 3 * sum(block.size for block in kept) < min(len(old), len(new)):
        # Two different texts share words by chance; marking the rest word by word is noise.
        kept = []
    i = j = 0
    for block in kept:
        left.add(True, old[i : block.a])
        right.add(True, new[j : block.b])
        left.add(False, old[block.a : block.a + block.size])
        right.add(False, new[block.b : block.b + block.size])
        i, j = block.a + block.size, block.b + block.size
    left.add(True, old[i:])
    right.add(True, new[j:])


def _worth(tokens: list[str]) -> bool:
    """Whether a common stretch says something: a lone comma or space between two changes does not."""
    return len(tokens) > 1 or any(token[0].isalnum() for token in tokens)


class _Side:
    """Pieces in order, neighbours of the same kind joined."""

    __slots__ = ("_pieces",)

    def __init__(self) -> None:
        self._pieces: list[tuple[bool, list[str]]] = []

    def add(self, changed: bool, tokens: list[str]) -> None:
        if not tokens:
            return
        if self._pieces and self._pieces[-1][0] == changed:
            self._pieces[-1][1].extend(tokens)
        else:
            self._pieces.append((changed, list(tokens)))

    def parts(self) -> tuple[Part, ...]:
        pieces = [(changed, "".join(tokens)) for changed, tokens in self._pieces]
        found: list[Part] = []
        carried = ""
        for index, (changed, text) in enumerate(pieces):
            text, carried = carried + text, ""
            word = text.rstrip()
            if changed and word and index + 1 < len(pieces):
                # The space after a changed word did not change.
                text, carried = word, text[len(word) :]
            found.append(Part(changed, text))
        return tuple(found)
