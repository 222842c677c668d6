"""Which of a closed set of answers the model gave: a multiple-choice letter, or a label, read out of prose.

Both read at most the first and the last 50,000 characters of an output.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Final

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Metric, Score, Scored, Unscored
from evalharness.scorers.exact import BINARY, NO_TARGETS, RIGHT
from evalharness.scorers.normalise import loose, shown, text_of, texts

_HALF: Final = 50_000
_DEFAULT_MARKERS: Final = (
    "answer",
    "category",
    "class",
    "classification",
    "decision",
    "final answer",
    "intent",
    "label",
    "output",
    "prediction",
    "priority",
    "queue",
    "result",
    "route",
    "sentiment",
    "severity",
    "topic",
    "verdict",
)
_NEGATED: Final = re.compile(
    r"(?:\b(?:not|no|never|neither|nor|without|cannot be|can't be|(?:rather|other) than|instead of|\w{2,6}n't)"
    r"(?:[ \t*_`\"']+(?:be|been|really|a|an|the|as|of|in|category|class|label|option|choice|answer))*[ \t*_`\"'(:]+"
    r"|\bnon-?)$"
)
_DENYING: Final = ("no", "ne", "n't", "without", "than", "of")  # every alternative of _NEGATED holds one
_ANNOUNCING: Final = (":", "=", "->", "→", "is", "as")
_OR: Final = re.compile(r"[*_`\"')\]]*[ \t]*(?:,[ \t]*)?(?:or|and|/|\||&|,)[ \t]*[*_`\"'(\[]*")


def _bounded(text: str) -> str:
    return text if len(text) <= 2 * _HALF else text[:_HALF] + "\n" + text[-_HALF:]


class LabelReader:
    """Finds which of a few labels a text names."""

    __slots__ = ("_by_text", "_marked", "_mention")

    def __init__(self, labels: Sequence[str], markers: Sequence[str]) -> None:
        """Prepare. Raises ValueError when two labels are one text after normalisation."""
        self._by_text: dict[str, str] = {}
        for label in labels:
            other = self._by_text.setdefault(loose(label), label)
            if other != label:
                raise ValueError(f"labels {other!r} and {label!r} are the same after normalisation; keep one")
        longest_first = sorted(self._by_text, key=lambda text: (-len(text), text))
        self._mention = re.compile("|".join(re.escape(text).replace(r"\ ", r"\s+") for text in longest_first))
        named = "|".join(re.escape(loose(marker)).replace(r"\ ", r"\s+") for marker in markers)
        self._marked = re.compile(
            rf"(?<!\w)(?:{named})[*_`\"' \t]*(?:[:=]|->|→|\bis\b|\bas\b)"
            r"[*_`\"'(\[ \t]*(?:\n[*_`\"'(\[ \t]*)?"
            r"(?:(?:most likely|clearly|therefore|definitely|the|a|an) )?[*_`\"'(\[ \t]*"
            r"((?:not|never)[ \t*_`\"']+(?:an? |the )?|non-?)?$"
        )

    def read(self, text: str) -> str | None:
        """The label when `text` is nothing but one, whatever its case and surrounding punctuation."""
        return self._by_text.get(loose(text))

    def find(self, text: str) -> tuple[str | None, str]:
        """The label `text` gives and "", or None and why none can be told."""
        if len(text) < 200:
            whole = self.read(text)
            if whole is not None:
                return whole, ""
        folded = _bounded(text).casefold().replace("’", "'")
        plain: dict[str, None] = {}
        denied: dict[str, None] = {}
        final: tuple[str, bool, int] | None = None
        for match in self._mention.finditer(folded):
            start, end = match.span()
            if _inside_word(folded, start, end):
                continue
            label = self._by_text[" ".join(match[0].split())]
            before = folded[max(0, start - 60) : start]
            # Both searches try every position; most mentions have nothing of the kind before them.
            marked = self._marked.search(before) if any(sign in before for sign in _ANNOUNCING) else None
            negated = any(part in before for part in _DENYING) and _NEGATED.search(before) is not None
            if marked is not None:
                final = label, negated or marked[1] is not None, end
            (denied if negated else plain)[label] = None
        if final is not None:
            return self._after_marker(folded, *final)
        if len(plain) == 1:
            return next(iter(plain)), ""
        if plain:
            return None, f"{len(plain)} labels named: {', '.join(sorted(plain)[:5])}"
        return None, f"only denied: {', '.join(sorted(denied)[:5])}" if denied else "no label named"

    def _after_marker(self, folded: str, label: str, negated: bool, end: int) -> tuple[str | None, str]:
        if negated:
            return None, f"only denied: {label}"
        joined = _OR.match(folded, end)
        if joined is not None:
            other = self._mention.match(folded, joined.end())
            if other is not None and not _inside_word(folded, *other.span()):
                second = self._by_text[" ".join(other[0].split())]
                if second != label:
                    return None, f"2 labels named: {label}, {second}"
        return label, ""


def _inside_word(text: str, start: int, end: int) -> bool:
    """Whether text[start:end] is part of a longer word."""
    before = start > 0 and (text[start - 1].isalnum() or text[start - 1] == "_") and text[start].isalnum()
    if before and text[start - 1] == "_" and (start < 2 or not text[start - 2].isalnum()):
        before = False  # _emphasis_
    after = end < len(text) and (text[end].isalnum() or text[end] == "_") and text[end - 1].isalnum()
    if after and text[end] == "_" and (end + 1 == len(text) or not text[end + 1].isalnum()):
        after = False
    return before or after


@lru_cache(maxsize=256)
def label_reader(labels: tuple[str, ...], markers: tuple[str, ...] = _DEFAULT_MARKERS) -> LabelReader:
    """A reader for these labels, kept for the next case that has the same ones."""
    return LabelReader(labels, markers)


@dataclass(frozen=True)
class Label:
    """1 when the label named in the output is an accepted target, else 0.

    `labels` are the possible labels (default: the case's choices). The output may be the label alone or prose:
    the last mention after a marker ("**Classification: CRITICAL**", "the answer is critical") wins; without one
    the output must name exactly one label. A denied label ("not critical") is not named, and two different ones
    are wrong: the detail says so. `markers` replaces the words that announce the answer. English prose.
    """

    labels: tuple[str, ...] | None = None
    markers: tuple[str, ...] = _DEFAULT_MARKERS
    _reader: LabelReader | None = field(init=False, repr=False, compare=False, default=None)

    name: ClassVar[str] = "label"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("targets", "choices")
    files: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        object.__setattr__(self, "markers", texts("markers", self.markers))
        if self.labels is not None:
            labels = texts("labels", self.labels)
            object.__setattr__(self, "labels", labels)
            object.__setattr__(self, "_reader", LabelReader(labels, self.markers))
            object.__setattr__(self, "needs", ("targets",))

    @property
    def metric(self) -> Metric:
        return BINARY

    def score(self, case: Case, response: Response) -> Score:
        if not case.targets:
            return NO_TARGETS
        reader = self._reader
        if reader is None:
            if not case.choices:
                return Unscored("no labels: give `labels` in the suite or `choices` in the case")
            try:
                reader = label_reader(case.choices, self.markers)
            except ValueError as error:
                return Unscored(str(error))
        found, why = reader.find(response.text)
        known = False
        for target in case.targets:
            wanted = reader.read(text_of(target))
            if wanted is not None:
                known = True
                if wanted == found:
                    return RIGHT
        if not known:
            return Unscored(f"target {shown(text_of(case.targets[0]), 80)!r} is none of the labels")
        return Scored(
            0.0, detail={"extracted": found} if found is not None else {"extracted": None, "reason": why}
        )


_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CHOSEN: Final = re.compile(
    r"\b(?:answer|choice|option|correct one)\b[*_`\"']*[ \t]*(?:[:=]|\bis\b|\bwould be\b)?[ \t]*[:=]?\s{0,3}"
    r"(?:\b(?:option|choice|answer|letter)\b[ \t]*)?(\$?\\boxed\{|[(\[*_`\"']*)[ \t]?([A-Za-z])(?![A-Za-z0-9'’])",
    re.IGNORECASE,
)
_LEADING: Final = re.compile(
    r"^[ \t>#*_`\"'(\[-]*([A-Z])(?:[*_`\"']*[).:,\]][*_`\"')\]]*(?=\s|$)|[*_`\"'\])]*[ \t]*$)", re.MULTILINE
)
_BRACKETED: Final = re.compile(r"[(\[]([A-Z])[)\]]")
# "A" and "I" are words too: as letters they stand before a stop or beside another letter.
_BARE: Final = re.compile(
    r"(?<![\w'’.])([B-HJ-Z]|[AI](?=[ \t]*(?:[.,;:!?)\n]|$|(?:or|and|/|&)[ \t]*[A-Z](?!\w))))(?![\w'’])"
)


_REJECTED: Final = re.compile(
    r"[)\]*_`\"'}.]*\s{1,3}(?:(?:is|are|was|seems|looks) )?(?:clearly |also )?"
    r"(?:wrong|incorrect|false|not|isn['’]t|ruled out|out)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Choice:
    """1 when the output picks the right one of the case's choices, else 0.

    A target is a letter ("B"), the text of a choice, or its index from 0; a text equal to a choice is that choice.
    The output may be the letter or the text alone, "(B)", "B. Paris", "Answer: B", or prose that names one choice
    by letter or text. An output that names none, denies its pick or names several is wrong; the detail says which.
    """

    name: ClassVar[str] = "choice"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("targets", "choices")
    files: ClassVar[Mapping[str, str]] = {}

    @property
    def metric(self) -> Metric:
        return BINARY

    def score(self, case: Case, response: Response) -> Score:
        if not case.targets:
            return NO_TARGETS
        if not case.choices:
            return Unscored("the case has no choices")
        if len(case.choices) > len(_LETTERS):
            return Unscored(
                f"the case has {len(case.choices)} choices; at most {len(_LETTERS)} have a letter"
            )
        wanted = {index for target in case.targets if (index := _index(target, case.choices)) is not None}
        if not wanted:
            return Unscored(f"target {shown(text_of(case.targets[0]), 80)!r} is none of the choices")
        found, why = _pick(response.text, case.choices)
        if found in wanted:
            return RIGHT
        if found is None:
            return Scored(0.0, detail={"extracted": None, "reason": why})
        return Scored(0.0, detail={"extracted": _LETTERS[found]})


def _index(target: Any, choices: Sequence[str]) -> int | None:
    if isinstance(target, str):
        text = target.strip()
        for match in (lambda choice: choice == target, lambda choice: loose(choice) == loose(text)):
            found = [index for index, choice in enumerate(choices) if match(choice)]
            if len(found) == 1:
                return found[0]
        letter = text.strip("()[]. ").upper()
        at = _LETTERS.find(letter) if len(letter) == 1 else -1
        return at if 0 <= at < len(choices) else None
    if isinstance(target, int) and not isinstance(target, bool):
        return target if 0 <= target < len(choices) else None
    return None


def _pick(text: str, choices: Sequence[str]) -> tuple[int | None, str]:
    """The index of the choice `text` picks and "", or None and why none can be told."""
    text = _bounded(text)
    whole = loose(text)
    if not whole:
        return None, "empty output"
    names = [loose(choice) for choice in choices]
    if names.count(whole) == 1:
        return names.index(whole), ""
    if len(whole) == 1 and 0 <= (at := _LETTERS.find(whole.upper())) < len(choices):
        return at, ""
    announced = [match for match in _CHOSEN.finditer(text) if _is_letter(text, match, len(choices))]
    if announced:
        last = announced[-1]
        first = _LETTERS.index(last[2].upper())
        joined = re.match(
            r"[)\]*_`}$.]*[ \t]*(?:,?[ \t]*(?:or|and)|/|&|,)[ \t]*[(\[*]*([A-Z])(?![\w'’])",
            text[last.end() : last.end() + 40],
        )
        if joined and joined[1] != _LETTERS[first] and _LETTERS.index(joined[1]) < len(choices):
            return None, f"several choices: {_LETTERS[first]}, {joined[1]}"
        return first, ""
    lettered = {i for pattern in (_LEADING, _BRACKETED) for i in _letters(pattern, text, len(choices))}
    named = _named(whole, names)
    both = lettered & named if lettered and named else lettered or named
    if lettered and named and not both:
        return None, f"several choices: {', '.join(_LETTERS[i] for i in sorted(lettered | named))}"
    if not both:
        both = set(_letters(_BARE, text, len(choices)))
    if len(both) == 1:
        return both.pop(), ""
    if both:
        return None, f"several choices: {', '.join(_LETTERS[i] for i in sorted(both))}"
    return None, "no choice named"


def _is_letter(text: str, match: re.Match[str], count: int) -> bool:
    """Whether an announced single letter is a choice, not the word "a" or "I"."""
    letter = match[2]
    if _LETTERS.find(letter.upper()) >= count or _REJECTED.match(text, match.end()):
        return False
    return (
        letter.isupper()
        or match[1] != ""
        or re.match(r"[ \t]*[A-Za-z]", text[match.end() : match.end() + 8]) is None
    )


def _letters(pattern: re.Pattern[str], text: str, count: int) -> list[int]:
    """Indices of the choices whose letters `pattern` finds, denied ones left out."""
    found = dict.fromkeys(
        match[1]
        for match in pattern.finditer(text)
        if not _denied(text[max(0, match.start(1) - 40) : match.start(1)])
        and not _REJECTED.match(text, match.end(1))
    )
    return [index for letter in found if (index := _LETTERS.index(letter)) < count]


def _named(whole: str, names: Sequence[str]) -> set[int]:
    """Indices of the choices whose text stands in the output as words, not inside a longer choice found there."""
    spans: list[tuple[int, int, int]] = []
    for index, name in enumerate(names):
        if not name:
            continue
        at = whole.find(name)
        while at >= 0:
            end = at + len(name)
            if not _inside_word(whole, at, end) and not _denied(whole[max(0, at - 40) : at]):
                spans.append((at, end, index))
            at = whole.find(name, end)
    spans.sort(key=lambda span: (span[0], -span[1]))
    found: set[int] = set()
    covered = 0
    for start, end, index in spans:
        if end > covered or start >= covered:
            found.add(index)
            covered = max(covered, end)
    return found


def _denied(before: str) -> bool:
    return _NEGATED.search(before.casefold().replace("’", "'")) is not None
