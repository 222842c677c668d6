"""How an answer is laid out: the sections it must have, and the sources it cites by number."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Metric, Score, Scored, Unscored
from evalharness.scorers.exact import RIGHT
from evalharness.scorers.normalise import flag, loose, shown, texts

_BOUNDED: Final = Metric(direction="higher", unit="fraction", kind="bounded")
_MARKER: Final = re.compile(r"(?:#{1,6}[ \t]*|[0-9]{1,2}[.)][ \t]+|[*_]{1,3}|[-•][ \t]+)")
_LONGEST_HEADING: Final = 200
_CITED: Final = re.compile(r"\[([0-9]{1,4}(?:[ ]?[,;–-][ ]?[0-9]{1,4}){0,20})\]")
_RANGE: Final = re.compile(r"([0-9]+)(?:[ ]?[–-][ ]?([0-9]+))?")
# Up to a stop with the quotes and citations behind it, or to the end of the line; every repetition is bounded, so that
# no text costs more than its length.
_SENTENCE: Final = re.compile(
    r".+?(?:(?:[.!?]{1,8}[\"'”’)]{0,4}(?:[ ]?\[[0-9,;– -]{1,120}\]){0,8}(?=\s|$))"
    r"|[。！？]{1,8}[”’」』）]{0,4}(?:[ ]?\[[0-9,;– -]{1,120}\]){0,8}|$)"
)
_SHOWN: Final = 10


@dataclass(frozen=True)
class Sections:
    """Share of the required sections that the answer has, each with some text, in the order given; 0 to 1.

    A section begins with a line that is its name, alone or before a colon: "## Findings", "**Findings:** none",
    "FINDINGS: none", "1. Findings". Letter case does not count. `ordered`: false takes them in any order; else those
    count that stand in the right order, as many as can.
    """

    sections: tuple[str, ...]
    ordered: bool = True
    _names: tuple[str, ...] = field(init=False, repr=False, compare=False)

    name: ClassVar[str] = "sections"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        flag("ordered", self.ordered)
        object.__setattr__(self, "sections", texts("sections", self.sections))
        names = tuple(loose(name) for name in self.sections)
        if len(set(names)) < len(names):
            raise ValueError(
                "sections names one section twice, but for letter case or punctuation; remove one"
            )
        object.__setattr__(self, "_names", names)

    @property
    def metric(self) -> Metric:
        return _BOUNDED

    def score(self, case: Case, response: Response) -> Score:
        found = self._found(response.text)
        filled = [place for place, has_text in found.items() if has_text]
        kept = _longest_rising(filled) if self.ordered else len(filled)
        if kept == len(self._names):
            return RIGHT
        detail: dict[str, Any] = {
            "missing": [name for place, name in enumerate(self.sections) if place not in found],
            "empty": [self.sections[place] for place, has_text in found.items() if not has_text],
        }
        if kept < len(filled):
            detail["order"] = [self.sections[place] for place in filled]
        return Scored(kept / len(self._names), detail={key: value for key, value in detail.items() if value})

    def _found(self, text: str) -> dict[int, bool]:
        """The sections there are, in the answer's order, and whether each has text; of two of a name the first."""
        found: dict[int, bool] = {}
        current: int | None = None
        for line in text.splitlines():
            heading = self._heading(line)
            if heading is None:
                rest = line
            else:
                place, rest = heading
                current = None if place in found else place
                found.setdefault(place, False)
            if current is not None and not found[current] and any(map(str.isalnum, rest)):
                found[current] = True
        return found

    def _heading(self, line: str) -> tuple[int, str] | None:
        """The section that a line begins, and what stands behind its colon."""
        text = line.strip()
        text, more = text[:_LONGEST_HEADING], text[_LONGEST_HEADING:]
        while marker := _MARKER.match(text):
            text = text[marker.end() :]
        head, _, rest = text.partition(":")
        try:
            return self._names.index(loose(head.strip("*_# \t"))), rest + more
        except ValueError:
            return None


def _longest_rising(values: Sequence[int]) -> int:
    """Length of the longest strictly rising subsequence."""
    ends: list[int] = []
    for value in values:
        at = bisect_left(ends, value)
        ends[at : at + 1] = [value]
    return len(ends)


@dataclass(frozen=True)
class _Cited:
    first: int = 1

    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        if self.first not in (0, 1) or isinstance(self.first, bool):
            raise ValueError(f"first must be 0 or 1, the number of the first context, not {self.first!r}")

    @property
    def metric(self) -> Metric:
        return _BOUNDED

    def _contexts(self, case: Case, response: Response) -> range | Unscored:
        """The numbers that may be cited: of the contexts the answer was written from, else of the case's."""
        count = len(response.contexts or case.contexts)
        if not count:
            return Unscored("there are no contexts that could be cited")
        return range(self.first, self.first + count)


@dataclass(frozen=True)
class CitationsValid(_Cited):
    """Share of the citations ([1], [2, 3], [1-3]) that name a context there is; 0 to 1, and 0 where nothing is cited.

    The contexts are those the answer was recorded with, else the case's. `first`: the number of the first one, 1 or 0.
    """

    name: ClassVar[str] = "citations_valid"

    def score(self, case: Case, response: Response) -> Score:
        known = self._contexts(case, response)
        if isinstance(known, Unscored):
            return known
        cited = list(_numbers(response.text))
        if not cited:
            return Scored(0.0, detail={"reason": "nothing is cited"})
        unknown = [number for number in cited if number not in known]
        if not unknown:
            return RIGHT
        return Scored(1 - len(unknown) / len(cited), detail={"unknown": sorted(set(unknown))[:_SHOWN]})


@dataclass(frozen=True)
class CitationCoverage(_Cited):
    """Share of the answer's sentences that cite a context there is; 0 to 1.

    A sentence ends at a full stop, question or exclamation mark before white space, or with its line; a citation right
    behind the stop is its own. Headings are none. That a context is cited does not say that it supports the sentence.
    `first` as for citations_valid.
    """

    name: ClassVar[str] = "citation_coverage"

    def score(self, case: Case, response: Response) -> Score:
        known = self._contexts(case, response)
        if isinstance(known, Unscored):
            return known
        sentences = list(_sentences(response.text))
        if not sentences:
            return Scored(0.0, detail={"reason": "there is no sentence"})
        bare = [text for text in sentences if not any(number in known for number in _numbers(text))]
        if not bare:
            return RIGHT
        return Scored(
            1 - len(bare) / len(sentences), detail={"uncited": [shown(text, 120) for text in bare[:_SHOWN]]}
        )


def _numbers(text: str) -> Iterator[int]:
    """Every number cited, left to right; a range stands for its two ends."""
    for cited in _CITED.finditer(text):
        for part in _RANGE.finditer(cited[1]):
            yield from (int(number) for number in part.groups() if number is not None)


def _sentences(text: str) -> Iterator[str]:
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("#"):
            continue
        for match in _SENTENCE.finditer(line):
            sentence = match[0].strip()
            if any(map(str.isalpha, sentence)):
                yield sentence
