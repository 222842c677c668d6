"""Answers as they enter: where a suite's `redact` says `stored`, redacted before anything is written or scored."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from evalharness.core.attempts import Attempt, Failure, Response
from evalharness.core.cases import Case
from evalharness.core.scores import Score, Scored, Unscored
from evalharness.core.suites import Redaction
from evalharness.errors import CallError
from evalharness.redaction.redactor import Redactor

_T = TypeVar("_T")


class Arrival:
    """What becomes of an answer before the journal, the cache, scorers and judges see it: nothing, or redaction.

    Names stay (golden set, case id, metric): things are found again by them.
    """

    def __init__(self, rules: Redaction, secrets: Iterable[str] = ()) -> None:
        self.rules = rules
        self._redactor = Redactor(rules, secrets) if rules.stored else None

    def plain(self, value: _T) -> _T:
        """Plain data, every text in it redacted."""
        return value if self._redactor is None else self._redactor.all(value)

    def response(self, response: Response) -> Response:
        """A response. A text that is JSON stays JSON, and what its escapes spell is seen."""
        if self._redactor is None:
            return response
        found = self._redactor.all(response)
        text = _document(response.text, found.text, self._redactor)
        return found if text == found.text else replace(found, text=text)

    def attempt(self, attempt: Attempt) -> Attempt:
        """An attempt, whatever its outcome; the very same where nothing is taken out."""
        if self._redactor is None:
            return attempt
        old = attempt.outcome
        new = self.plain(old) if isinstance(old, Failure) else self.response(old)
        return attempt if new is old else replace(attempt, outcome=new)

    def case(self, case: Case) -> Case:
        """A case that another tool brings, and that is stored with the answers."""
        clean = self.plain(case)
        return case if clean is case else replace(clean, id=case.id)

    def error(self, error: CallError) -> CallError:
        """Why a call failed."""
        said = str(error)
        if (message := self.plain(said)) == said:
            return error
        return CallError(
            error.kind,
            message,
            retryable=error.retryable,
            retry_after_s=error.retry_after_s,
            fatal=error.fatal,
        )

    def score(self, score: Score) -> Score:
        """A score without what its details tell of a case. Statistics under names that become one are added up."""
        if self._redactor is None:
            return score
        if isinstance(score, Unscored):
            return self.plain(score)
        if not score.stats and not score.detail:
            return score
        stats: dict[str, float] = {}
        for name, number in score.stats.items():
            name = self._redactor.text(name)
            stats[name] = stats.get(name, 0.0) + number
        return Scored(score.value, stats, self.plain(score.detail))


def _document(text: str, plain: str, redactor: Redactor) -> str:
    """`plain`, which is `text` redacted; where JSON stands in `text`, alone or in prose or a fence, it stays JSON."""
    if plain == text and "\\" not in text:
        return plain
    starts = [place for place in (text.find("{"), text.find("[")) if place >= 0]
    start, end = min(starts, default=-1), max(text.rfind("}"), text.rfind("]")) + 1
    if not 0 <= start < end:
        return plain
    try:
        value = json.loads(text[start:end])
        clean = _values(value, redactor)
    except (ValueError, RecursionError):
        return plain
    if clean == value:
        return plain
    return redactor.text(text[:start] + json.dumps(clean, ensure_ascii=False) + text[end:])


def _values(value: Any, redactor: Redactor) -> Any:
    """JSON data redacted. A whole number that is something else (a card's) becomes the text that names it."""
    if isinstance(value, str):
        return redactor.text(value)
    if isinstance(value, int) and not isinstance(value, bool):
        written = str(value)
        clean = redactor.text(written)
        return value if clean == written else clean
    if isinstance(value, Mapping):
        names = _told_apart([redactor.text(name) for name in value])
        return {name: _values(item, redactor) for name, item in zip(names, value.values(), strict=True)}
    if isinstance(value, list):
        return [_values(item, redactor) for item in value]
    return value


def _told_apart(names: Sequence[str]) -> Iterator[str]:
    """Names of which several became one: `[email]`, `[email] 2`. An answer loses no value with the name it had."""
    seen: Counter[str] = Counter()
    taken = set(names)
    for name in names:
        seen[name] += 1
        if seen[name] == 1:
            yield name
            continue
        while (numbered := f"{name} {seen[name]}") in taken:
            seen[name] += 1
        taken.add(numbered)
        yield numbered
