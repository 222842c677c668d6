"""Answers taken from a passage: SQuAD's exact match and F1 over words, and the place itself in characters."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, NamedTuple

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Metric, Score, Scored, Unscored
from evalharness.scorers._json import BadJSON, extract
from evalharness.scorers.exact import BINARY, NO_TARGETS, RIGHT, WRONG
from evalharness.scorers.normalise import one_of, shown, text_of, texts

_BOUNDED: Final = Metric(direction="higher", unit="fraction", kind="bounded")
_ANSWERS: Final = ("answer", "text", "prediction_text")
_QUOTES: Final = "\"'`*“”„‘’«»"
_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)
_ARTICLES: Final = re.compile(r"\b(a|an|the)\b")


class _Answer(NamedTuple):
    """A text, "" for none, and where it is said to stand; all None where that is not said."""

    text: str
    start: int | None = None
    end: int | None = None
    context: int = 0


def _answer(output: str, how: str) -> _Answer:
    """What the output answers: the `answer` of a JSON object, of the first one of a list, else the whole of it."""
    try:
        found = extract(output, how)
    except BadJSON:
        return _Answer(output)
    if isinstance(found, list) and found:
        found = found[0]  # a pipeline that was asked for several gives the best first
    name = next((name for name in _ANSWERS if name in found), None) if isinstance(found, dict) else None
    if name is None or isinstance(found[name], list | dict):
        return _Answer(output)
    text = "" if found[name] is None else text_of(found[name])
    start, end, context = found.get("start"), found.get("end"), found.get("context", 0)
    if type(start) is int and type(end) is int and type(context) is int:
        return _Answer(text, start, end, context)
    return _Answer(text)


def _accepted(targets: Sequence[Any]) -> list[_Answer] | Unscored:
    """Every accepted answer: texts, objects with `text` and `start`, SQuAD's lists `text` and `answer_start`."""
    found: list[_Answer] = []
    for target in targets:
        if not isinstance(target, dict):
            found.append(_Answer(text_of(target)))
            continue
        written, starts = target.get("text"), target.get("start", target.get("answer_start"))
        several = written if isinstance(written, list) else [written]
        places = starts if isinstance(starts, list) else [starts] * len(several)
        context = target.get("context", 0)
        if (
            not all(isinstance(text, str) for text in several)
            or len(places) != len(several)
            or type(context) is not int
        ):
            return Unscored('a target must be a text or {"text": ..., "start": ..., "end": ...}')
        for text, start in zip(several, places, strict=True):
            if type(start) is not int:
                found.append(_Answer(text))
            else:
                end = target.get("end")
                found.append(_Answer(text, start, end if type(end) is int else start + len(text), context))
        if not several:
            found.append(_Answer(""))
    return found or NO_TARGETS


def squad_words(text: str) -> list[str]:
    """The words that SQuAD's evaluation compares: lower case, without ASCII punctuation and the articles a, an, the.

    Source: `normalize_answer` and `get_tokens` of evaluate-v2.0.py (Rajpurkar, Jia and Liang 2018).
    """
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _squad_f1(wanted: Sequence[str], given: Sequence[str]) -> float:
    if not wanted or not given:
        return float(wanted == given)
    same = (Counter(wanted) & Counter(given)).total()
    return 2 * same / (len(wanted) + len(given))


@dataclass(frozen=True)
class _Reader:
    """What all four share: from an output to what it answers."""

    no_answer: tuple[str, ...] = ()
    extract: str = "fenced"
    _none: frozenset[str] = field(init=False, repr=False, compare=False)

    version: ClassVar[str] = "1"
    files: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        one_of("extract", self.extract, ("fenced", "strict"))
        if self.no_answer != ():
            object.__setattr__(self, "no_answer", texts("no_answer", self.no_answer))
        object.__setattr__(self, "_none", frozenset(" ".join(squad_words(text)) for text in self.no_answer))

    def _answer(self, output: str) -> _Answer:
        found = _answer(output, self.extract)
        return _Answer("") if " ".join(squad_words(found.text)) in self._none else found


class _Squad(_Reader):
    needs: ClassVar[tuple[str, ...]] = ("targets",)

    def problem(self, case: Case) -> str | None:
        """Why the case's target cannot be read, None where it can."""
        found = _accepted(case.targets)
        return found.reason if isinstance(found, Unscored) else None

    def _pairs(self, case: Case, response: Response) -> list[tuple[list[str], list[str]]] | Unscored:
        """The words of every accepted answer beside those that were given."""
        accepted = _accepted(case.targets)
        if isinstance(accepted, Unscored):
            return accepted
        text = self._answer(response.text).text
        given = squad_words(text)
        wanted = [(answer.text, squad_words(answer.text)) for answer in accepted]
        # As the script does: beside an answer with words, one without them is no accepted answer.
        wanted = [pair for pair in wanted if pair[1]] or wanted
        pairs = []
        for target, words in wanted:
            if words or not target.strip():
                pairs.append((words, given))
            else:  # "The": an empty answer must not equal it
                pairs.append((target.lower().split(), text.lower().split()))
        return pairs


@dataclass(frozen=True)
class SquadEM(_Squad):
    """1 when the answer equals an accepted one after SQuAD's normalisation, else 0.

    As evaluate-v2.0.py has it: letter case, ASCII punctuation, the articles a, an, the and white space do not count,
    and the target "" is a question without an answer, right when nothing is answered. `no_answer`: texts that say so,
    such as "unanswerable". An accepted answer that the normalisation would leave empty ("The") is compared as written.
    The answer is the output, or `answer` in its JSON (`extract` as for json_valid).
    """

    name: ClassVar[str] = "squad_em"

    @property
    def metric(self) -> Metric:
        return BINARY

    def score(self, case: Case, response: Response) -> Score:
        pairs = self._pairs(case, response)
        if isinstance(pairs, Unscored):
            return pairs
        return RIGHT if any(wanted == given for wanted, given in pairs) else WRONG


@dataclass(frozen=True)
class SquadF1(_Squad):
    """F1 over the words that the answer shares with the best accepted one, 0 to 1, as SQuAD's evaluate-v2.0.py has it.

    A question without an answer (target "") has 1 when nothing is answered, else 0. Words stand between white space:
    Chinese and Japanese have none, so take span_f1 or chrf there. Normalisation and parameters as for squad_em.
    """

    name: ClassVar[str] = "squad_f1"

    @property
    def metric(self) -> Metric:
        return _BOUNDED

    def score(self, case: Case, response: Response) -> Score:
        pairs = self._pairs(case, response)
        if isinstance(pairs, Unscored):
            return pairs
        return Scored(max(_squad_f1(wanted, given) for wanted, given in pairs))


class _Place(NamedTuple):
    """Characters of one of the case's contexts."""

    context: int
    start: int
    end: int

    def of(self, contexts: Sequence[str]) -> str:
        return contexts[self.context][self.start : self.end]


_NOWHERE: Final = None
"""The place of no answer."""


def _located(text: str, contexts: Sequence[str]) -> _Place | str:
    """Where a text stands, or why that is not known."""
    for needle in dict.fromkeys(
        (text.strip(), text.strip().strip(_QUOTES), text.strip().rstrip(".").strip(_QUOTES))
    ):
        if not needle:
            continue
        places = [
            _Place(index, start, start + len(needle))
            for index, context in enumerate(contexts)
            if (start := context.find(needle)) >= 0
        ]
        if places and (len(places) > 1 or contexts[places[0].context].find(needle, places[0].start + 1) >= 0):
            return "stands in the context more than once, so that its place is not known"
        if places:
            return places[0]
    return "does not stand in the context"


def _placed(answer: _Answer, contexts: Sequence[str]) -> _Place | str | None:
    """The place that start and end give; a reason where there is none such."""
    assert answer.start is not None and answer.end is not None
    if not 0 <= answer.context < len(contexts):
        return f"there is no context {answer.context}"
    if not 0 <= answer.start <= answer.end <= len(contexts[answer.context]):
        return f"{answer.start}:{answer.end} is no place in the context"
    return _Place(answer.context, answer.start, answer.end) if answer.end > answer.start else _NOWHERE


@dataclass(frozen=True)
class _Span(_Reader):
    by: str = "place"

    needs: ClassVar[tuple[str, ...]] = ("targets", "contexts")

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("by", self.by, ("place", "text"))

    def problem(self, case: Case) -> str | None:
        """Why the case's target cannot be read, None where it can."""
        found = self._targets(case)
        return found.reason if isinstance(found, Unscored) else None

    def _compared(
        self, case: Case, response: Response
    ) -> tuple[list[_Place | None], _Place | None] | Scored | Unscored:
        """The accepted places and the given one, or the score where one of them is not known."""
        wanted = self._targets(case)
        if isinstance(wanted, Unscored):
            return wanted
        answer = self._answer(response.text)
        if answer.start is not None and self.by == "place":
            found = _placed(answer, case.contexts)
        else:
            found = _located(answer.text, case.contexts) if answer.text.strip() else _NOWHERE
        if isinstance(found, str):
            return Scored(0.0, detail={"answer": shown(answer.text), "reason": found})
        return wanted, found

    def _targets(self, case: Case) -> list[_Place | None] | Unscored:
        accepted = _accepted(case.targets)
        if isinstance(accepted, Unscored):
            return accepted
        places: list[_Place | None] = []
        for answer in accepted:
            if not answer.text.strip():
                places.append(_NOWHERE)
                continue
            place = (
                _located(answer.text, case.contexts)
                if answer.start is None
                else _placed(answer, case.contexts)
            )
            if isinstance(place, str):
                return Unscored(f"the target {shown(answer.text, 80)!r}: {place}")
            if place is None or (answer.start is not None and place.of(case.contexts) != answer.text):
                said = f"{answer.start}:{answer.end}"
                return Unscored(f"the target {shown(answer.text, 80)!r} does not stand at {said}")
            places.append(place)
        return places


def _detail(place: _Place | None, contexts: Sequence[str]) -> dict[str, Any]:
    if place is None:
        return {"answer": ""}
    return {"answer": shown(place.of(contexts)), "place": f"{place.start}:{place.end}"}


@dataclass(frozen=True)
class SpanExact(_Span):
    """1 when the answer's place in the context is an accepted one, to the character, else 0.

    Parameters and places as for span_f1.
    """

    name: ClassVar[str] = "span_exact"

    @property
    def metric(self) -> Metric:
        return BINARY

    def score(self, case: Case, response: Response) -> Score:
        found = self._compared(case, response)
        if not isinstance(found, tuple):
            return found
        wanted, given = found
        return RIGHT if given in wanted else Scored(0.0, detail=_detail(given, case.contexts))


@dataclass(frozen=True)
class SpanF1(_Span):
    """F1 over the characters of the context that the answer shares with the best accepted place, 0 to 1.

    A target is {"text", "start", "end"} (characters of `contexts[0]`, or of `contexts[context]`), or a text that stands
    in the contexts once; "" is a question without an answer. The answer is JSON with `start` and `end`, or else a text
    (the output, or `answer` in its JSON) that stands in the contexts once: one that stands there twice has no known
    place and is wrong. `by`: "text" leaves the answer's start and end out. `no_answer` and `extract` as for squad_em.
    Characters serve every script.
    """

    name: ClassVar[str] = "span_f1"

    @property
    def metric(self) -> Metric:
        return _BOUNDED

    def score(self, case: Case, response: Response) -> Score:
        found = self._compared(case, response)
        if not isinstance(found, tuple):
            return found
        wanted, given = found
        value = max(_overlap(place, given) for place in wanted)
        return Scored(value, detail=_detail(given, case.contexts) if value < 1 else {})


def _overlap(wanted: _Place | None, given: _Place | None) -> float:
    if wanted is None or given is None:
        return float(wanted is given)
    if wanted.context != given.context:
        return 0.0
    shared = min(wanted.end, given.end) - max(wanted.start, given.start)
    return max(0, 2 * shared) / (wanted.end - wanted.start + given.end - given.start)
