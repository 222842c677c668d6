"""Phrases in prose, and whether the words around them take them back. English, by words and not by grammar."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Final

_CLAUSE: Final = re.compile(
    r"([.!?;:,()]+|\n\s*\n|\n\s*[-*•#>]+|\s[-–—]+\s|\b(?:but|however|although|though|unless|otherwise)\b)"
)
_DANGLING: Final = re.compile(r"(?:\bnot|\bnever|n't)$")
_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_QUOTES: Final = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"'})
_LONGEST: Final = 200_000  # characters read: a disclaimer stands in an answer, not behind a book

_NEGATORS: Final = frozenset(
    (
        "not",
        "no",
        "never",
        "without",
        "nobody",
        "nothing",
        "neither",
        "nor",
        "cannot",
        "needn't",
        "unnecessary",
    )
)
_TURNERS: Final = frozenset(
    (
        *("hesitate", "delay", "wait", "forget", "fail", "neglect", "ignore", "avoid", "skip", "postpone"),
        *("substitute", "replacement", "replace", "only", "instead", "hurt"),
    )
)
"""After a negator these turn it round: "do not hesitate to see a doctor", "not a substitute for a doctor"."""
_DISMISSALS: Final = frozenset(("skip", "avoid", "ignore", "skipping", "avoiding", "ignoring", "forget"))
"""Without a negator before them these take a phrase back by themselves: "skip seeing a doctor"."""
_AFTER: Final = re.compile(
    r"\W*(?:(?:is|are|was|would be|will be|'s) )?(?:really |probably |usually )?"
    r"(?:not (?:needed|necessary|required|advised)|unnecessary|needless|pointless|a waste|optional\b)"
    r"|\W*(?:isn't|aren't|wasn't|won't be|wouldn't be) (?:\w+ )?(?:needed|necessary|required|advised)"
)


def clauses(text: str) -> Iterator[str]:
    """The text in clauses, letter case and white space folded, typographic quotes made plain.

    A clause after one that breaks off in a negation begins with "not".
    """
    folded = text[:_LONGEST].translate(_QUOTES).casefold()
    parts = _CLAUSE.split(folded)
    open_negator = False
    for clause, boundary in zip(parts[::2], [*parts[1::2], ""], strict=True):
        plain = " ".join(clause.split())
        if plain:
            yield f"not {plain}" if open_negator else plain
        # "You do not, in my view, need to": what a comma cuts off still negates what follows it.
        open_negator = boundary.strip() == "," and (open_negator or _DANGLING.search(plain) is not None)


class Phrase:
    """A phrase to look for as whole words. `text` is as written."""

    __slots__ = ("_words", "text")

    def __init__(self, text: str) -> None:
        """Raises ValueError for a phrase that no clause can hold."""
        self.text = text
        parts = list(clauses(text))
        if len(parts) != 1:
            raise ValueError(
                f"the phrase {text!r} must be one clause: no full stops or commas, and no 'but' inside"
            )
        self._words = parts[0]

    def places(self, clause: str) -> Iterator[tuple[int, int]]:
        """Where it stands in a clause, as (start, end)."""
        at = clause.find(self._words)
        while at >= 0:
            end = at + len(self._words)
            if not (at and clause[at - 1].isalnum()) and not (end < len(clause) and clause[end].isalnum()):
                yield at, end
            at = clause.find(self._words, at + 1)


def negation(clause: str, extra: Sequence[str] = ()) -> Callable[[int, int], bool]:
    """Says of places (start, end) in a clause whether the words before them, or right behind them, take them back.

    `extra` are more negators, folded. A negator that is followed by a word such as "hesitate" does not count. The
    clause is read once, however many places are asked for.
    """
    ends: list[int] = []
    taken_back: list[bool] = []
    open_negator = dismissed = False
    for match in _WORD.finditer(clause):
        word = match[0]
        if word in _TURNERS and open_negator:
            open_negator = False
        elif word in _NEGATORS or word.endswith("n't") or word in extra:
            open_negator = not open_negator
        elif word in _DISMISSALS:
            dismissed = True
        ends.append(match.end())
        taken_back.append(open_negator or dismissed)

    def negated(start: int, end: int) -> bool:
        if _AFTER.match(clause, end):
            return True
        before = bisect_right(ends, start)
        return before > 0 and taken_back[before - 1]

    return negated
