"""From rows of a file to a task: cases, attempts and metrics, with what is wrong with the rows."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from evalharness._canon import canonical_json, digest
from evalharness.core.attempts import Attempt, Failure, Response
from evalharness.core.benchmarks import Task, TaskMetric, TaskResults
from evalharness.core.cases import Card, Case, GoldenSet
from evalharness.core.runs import AttemptKey
from evalharness.core.suites import ScorerSpec
from evalharness.readers._files import Problems, refuse, shown
from evalharness.store.records import case_to_row, digest_of_cases

MAX_REPEATS: Final = 1000
_LONGEST_ID: Final = 200
_LONGEST_TAG: Final = 40
_MOST_TAGS: Final = 8
_MOST_VALUES: Final = 20
_SHORT: Final = 120
_LOWER_WORDS: Final = re.compile(
    r"(?:^|[_.\- ])(?:errors?|loss|cost|latency|duration|time|perplexity|ppl|toxic|toxicity|bias|hallucinations?|harm"
    r"|harmful|harmfulness|malicious|maliciousness|misuse|wer|cer|ter|mse|rmse|mae|brier|violations?|refusals?|distance"
    r"|edits)(?:$|[_.\- ])"
)
OTHER: Final = (
    "not the task's headline metric; name it under gate.metrics or primary of a suite to let it gate"
)
NO_FRACTION: Final = (
    "its values are not all from 0 to 1, so percentage points say nothing about them; give it a margin such as 5% in a "
    "suite"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What is known of a metric beside its values.

    `lower`: less is better; None: the file does not say. `headline` metrics gate by themselves. `perplexity`: the
    values are log-likelihoods, recorded as `<id>.nll` and `<id>.tokens`.
    """

    id: str
    lower: bool | None = None
    headline: bool = False
    perplexity: bool = False


def metric_id(text: str) -> str:
    """A metric's name as a suite can write it: letters, digits, `.`, `_` and `-`."""
    found = re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_.-")
    return found[:100] or "metric"


def number(value: Any) -> float | str:
    """A value as a finite number, or why it is none."""
    if value is None:
        return "no value recorded"
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, int | float):
        try:
            found = float(value)
        except OverflowError:
            return "the recorded value is not finite"
        return found if math.isfinite(found) else "the recorded value is not finite"
    return f"the recorded value is no number ({_clip(str(value), 40)!r})"


def put(scores: dict[str, float], unscored: dict[str, str], name: str, value: Any) -> None:
    """Add a value under `name`: to `scores`, or, where it is no finite number, to `unscored` with the reason."""
    found = number(value)
    if isinstance(found, str):
        unscored[name] = found
    else:
        scores[name] = found


def text_of(value: Any) -> str:
    """What a tool recorded as text; anything else as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def case_id(value: Any) -> str:
    """An id as text of one printable line."""
    text = text_of(value).strip()
    if not text.isprintable():
        text = json.dumps(text)[1:-1]
    return text if len(text) <= _LONGEST_ID else f"{text[:_LONGEST_ID]}…{digest(text)[7:19]}"


def row_id(case: Case) -> str:
    """An id for a row that has none: of what was asked."""
    row = case_to_row(case)
    del row["id"]
    return f"row-{digest(row)[7:19]}"


class TaskBuilder:
    """Collects the rows of one task."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self.problems = Problems(path)
        self.warnings: list[str] = []
        self._cases: dict[str, Case] = {}
        self._places: dict[AttemptKey, int | str] = {}
        self._outcomes: dict[AttemptKey, Response | Failure] = {}
        self._about: dict[str, Mapping[str, Any]] = {}
        self._repeats = 1

    def __len__(self) -> int:
        return len(self._outcomes)

    def add(
        self,
        case: Case,
        outcome: Response | Failure,
        *,
        place: int | str,
        repeat: int = 0,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """One row. `place` is its line, or the name of what holds it; `about` what the tool says of the case."""
        line = place if isinstance(place, int) else None
        where = "" if isinstance(place, int) else f"{place}: "
        if not case.id:
            self.problems.add(f"{where}the id is empty", line)
            return
        if not 0 <= repeat < MAX_REPEATS:
            self.problems.add(f"{where}the repeat is not from 0 to {MAX_REPEATS - 1}", line)
            return
        key = (case.id, repeat)
        first = self._places.setdefault(key, place)
        if key in self._outcomes:
            at = f"on line {first}" if isinstance(first, int) else f"in {first}"
            count = f", repeat {repeat}" if repeat else ""
            self.problems.add(
                f"{where}case {_clip(case.id)!r}{count} is already {at}", line, "keep one of them"
            )
            return
        known = self._cases.setdefault(case.id, case)
        if known is not case and known != case:
            self.problems.add(
                f"{where}case {_clip(case.id)!r} is another question than in its other repeats", line
            )
            return
        self._outcomes[key] = outcome
        self._repeats = max(self._repeats, repeat + 1)
        if about:
            self._about.setdefault(case.id, about)

    def expect(self, cases: Iterable[Case], repeats: int) -> int:
        """Cases and repeats that were planned; returns how many attempts are missing among them."""
        for case in cases:
            self._cases.setdefault(case.id, case)
        self._repeats = max(self._repeats, min(repeats, MAX_REPEATS))
        return len(self._cases) * self._repeats - len(self._outcomes)

    def build(
        self,
        measures: Sequence[Measure],
        *,
        version: str = "",
        comparable: Mapping[str, Any] | None = None,
    ) -> TaskResults:
        """The task, every case with an attempt for each repeat.

        Raises:
            SpecError: rows are wrong, or there are none.
        """
        self.problems.finish()
        if not self._cases:
            raise refuse(self.path, "holds no cases")
        tags = self._tags()
        cases = tuple(
            replace(case, tags=tags[case.id]) if case.id in tags else case for case in self._cases.values()
        )
        attempts = {
            (case.id, repeat): Attempt(
                golden_set=self.name,
                case_id=case.id,
                repeat=repeat,
                outcome=self._outcomes.get((case.id, repeat))
                or Failure(kind="absent", message=f"not in {self.path.name}", tries=0),
            )
            for case in cases
            for repeat in range(self._repeats)
        }
        alike = dict(comparable or {})
        golden_set = GoldenSet(
            card=Card(name=self.name, version=version, task=self.name),
            cases=cases,
            digest=digest([version, alike, digest_of_cases(cases)]),
        )
        metrics = tuple(self._metric(measure) for measure in measures)
        return TaskResults(
            task=Task(golden_set=golden_set, metrics=metrics, warnings=()),
            attempts=attempts,
            repeats=self._repeats,
            comparable=alike,
        )

    def values(self, name: str) -> list[float]:
        """Every recorded value of a metric."""
        return [
            outcome.scores[name]
            for outcome in self._outcomes.values()
            if isinstance(outcome, Response) and name in outcome.scores
        ]

    def _metric(self, measure: Measure) -> TaskMetric:
        if measure.perplexity:
            params: dict[str, Any] = {"nll": f"{measure.id}.nll", "tokens": f"{measure.id}.tokens"}
            spec = ScorerSpec(name="perplexity", id=measure.id, params=params)
            return TaskMetric(
                scorer=spec, advisory="a perplexity changes by a ratio; give it max_rise: 5% in a suite"
            )
        lower = measure.lower
        advisory = "" if measure.headline else OTHER
        if lower is None and _LOWER_WORDS.search(measure.id.lower()):
            advisory = (
                f"whether less of it is better is not known; say so in a suite: {direction_hint(measure.id)}"
            )
            self.warnings.append(
                f"{measure.id} is shown as if more of it were better, and does not gate: the file does not say; where "
                f"less is better write in a suite {direction_hint(measure.id)}"
            )
        kind = kind_of(self.values(measure.id))
        return recorded(measure.id, kind, lower=bool(lower), advisory=advisory)

    def _tags(self) -> dict[str, Mapping[str, str]]:
        """Slices from what the tool says of the cases: short values, few of each kind, and at least two."""
        counts: dict[str, Counter[str]] = {}
        dropped: set[str] = set()
        for about in self._about.values():
            for key, value in about.items():
                tag = _tag(key, value)
                if key in dropped:
                    continue
                if tag is None:
                    dropped.add(key)
                    continue
                counter = counts.setdefault(key, Counter())
                counter[tag] += 1
                if len(counter) > _MOST_VALUES:
                    dropped.add(key)
        kept = [
            key
            for key, found in counts.items()
            if key not in dropped and 2 <= len(found) <= len(self._cases) // 2
        ]
        kept = kept[:_MOST_TAGS]
        shared: dict[tuple[tuple[str, str], ...], Mapping[str, str]] = {}
        tags: dict[str, Mapping[str, str]] = {}
        for name, about in self._about.items():
            pairs = tuple((key, str(_tag(key, about[key]))) for key in kept if key in about)
            if pairs and not self._cases[name].tags:
                tags[name] = shared.setdefault(pairs, dict(pairs))
        return tags


def recorded(name: str, kind: str, *, lower: bool, advisory: str) -> TaskMetric:
    """A metric that reads recorded values; one whose values are no fractions does not gate by itself."""
    free = kind == "unbounded"
    spec = ScorerSpec(
        name="recorded",
        id=name,
        params={
            "name": name,
            "direction": "lower" if lower else "higher",
            "unit": "score" if free else "fraction",
            "kind": kind,
        },
    )
    return TaskMetric(scorer=spec, advisory=advisory or (NO_FRACTION if free else ""))


def kind_of(values: Iterable[float]) -> str:
    """How values are read: "binary" where all are 0 or 1, "bounded" where they lie between, else "unbounded"."""
    binary = True
    for value in values:
        if not 0 <= value <= 1:
            return "unbounded"
        binary = binary and value in (0.0, 1.0)
    return "binary" if binary else "bounded"


def direction_hint(name: str) -> str:
    """How a suite says that less of a metric is better."""
    return f'scorers: [{{"recorded:{name}": {{direction: lower}}}}]'


def lines_of(fields: Mapping[str, Any]) -> str:
    """A record as text to read, `key: value` a line."""
    if len(fields) == 1:
        return text_of(next(iter(fields.values())))
    return "\n".join(f"{key}: {text_of(value)}" for key, value in fields.items())


def identity_of(value: Any) -> Any:
    """What a tool says of itself as data that has a digest: numbers that JSON has no form for become text."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, Mapping):
        return {str(key): identity_of(item) for key, item in value.items()}
    return [identity_of(item) for item in value] if isinstance(value, list | tuple) else value


def same_text(value: Any) -> str:
    """A key under which equal data is found."""
    return canonical_json(identity_of(value))


def _tag(key: str, value: Any) -> str | None:
    if isinstance(value, bool):
        value = "true" if value else "false"
    elif isinstance(value, int):
        value = str(value)
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_TAG or len(key) > _LONGEST_TAG:
        return None
    if not (value.isprintable() and key.isprintable() and value == value.strip() and "=" not in key):
        return None
    return value


def _clip(text: str, most: int = _SHORT) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


__all__ = [
    "Measure",
    "TaskBuilder",
    "case_id",
    "direction_hint",
    "identity_of",
    "kind_of",
    "lines_of",
    "metric_id",
    "number",
    "put",
    "recorded",
    "row_id",
    "same_text",
    "shown",
    "text_of",
]
