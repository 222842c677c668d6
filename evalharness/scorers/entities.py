"""Named entities and slots: F1 over whole entities, micro and macro.

The statistics of a case are counts of verdicts by type, named by JSON: `["correct", "PER"]`. A spurious entity of no
type (null) is what was answered and cannot be read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Metric, Score, Scored, Unscored
from evalharness.scorers._entities import MATCHES, Entities, Unreadable, entity, matched, of_document, of_text
from evalharness.scorers._tags import LENIENT, SCHEMES, are_tags
from evalharness.scorers.exact import CORPUS, NO_TARGETS
from evalharness.scorers.normalise import Normalise, by_name, one_of, texts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_OTHER: Final = "(other)"
_SHOWN: Final = 20
# What a verdict adds to hits, to the answer's entities and to the target's (Chinchor and Sundheim 1993: ACT and POS).
_WEIGHTS: Final = {
    "correct": (1.0, 1.0, 1.0),
    "partial": (0.5, 1.0, 1.0),
    "incorrect": (0.0, 1.0, 1.0),
    "missed": (0.0, 0.0, 1.0),
    "spurious": (0.0, 1.0, 0.0),
}


@dataclass(frozen=True)
class _Entities:
    """What the two share: entities of target and answer, compared, and counted by type."""

    match: str = "strict"
    types: tuple[str, ...] | None = None
    scheme: str = LENIENT
    by: str = "place"
    normalise: str = "loose"
    extract: str = "fenced"
    _normalise: Normalise = field(init=False, repr=False, compare=False)

    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("targets",)
    files: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        one_of("match", self.match, MATCHES)
        one_of("scheme", self.scheme, (LENIENT, *SCHEMES))
        one_of("by", self.by, ("place", "text"))
        one_of("extract", self.extract, ("fenced", "strict"))
        object.__setattr__(self, "_normalise", by_name(self.normalise))
        if self.types is not None:
            object.__setattr__(self, "types", texts("types", self.types))

    @property
    def metric(self) -> Metric:
        return CORPUS

    def score(self, case: Case, response: Response) -> Score:
        targets = self._targets(case)
        if isinstance(targets, Unscored):
            return targets
        tags = targets[0].tags if len({wanted.tags for wanted in targets}) == 1 else None
        try:
            given = self._counted(of_text(response.text, self.extract, self.scheme, tags=tags))
        except Unreadable as error:
            return _missed(targets[0], str(error))
        found = [
            self._scored(wanted, given) for wanted in targets if wanted.tags == given.tags or not given.items
        ]
        return max(found, key=lambda scored: scored.value)

    def problem(self, case: Case) -> str | None:
        """Why the case's target cannot be read, None where it can."""
        found = self._targets(case)
        return found.reason if isinstance(found, Unscored) else None

    def blind(self, cases: Sequence[Case]) -> str | None:
        """Why no answer to these cases can be right: no target has an entity of the types that count."""
        if self.types is None:
            return None
        for case in cases:
            targets = self._targets(case)
            if isinstance(targets, Unscored) or any(wanted.items for wanted in targets):
                return None  # an unreadable target is said by itself
        return f"no target has an entity of the types {', '.join(self.types)}"

    def worst(self, case: Case) -> Scored:
        """The statistics of no answer: every entity of the first target missed."""
        targets = self._targets(case)
        return Scored(0.0) if isinstance(targets, Unscored) else _missed(targets[0], "no answer")

    def fold(self, names: Sequence[str]) -> Mapping[str, str]:
        """Which columns count the same: spurious entities of every type that no target has."""
        cells = {name: json.loads(name) for name in names}
        gold = set(_types(list(cells.values())))
        return {
            name: name if kind is None or kind in gold else _name(verdict, _OTHER)
            for name, (verdict, kind) in cells.items()
        }

    def breakdown(self, names: Sequence[str], sums: NDArray[np.float64]) -> Mapping[str, Any]:
        """Precision, recall, F1 and support of each type and of all, and how often each verdict fell."""
        cells = [json.loads(name) for name in names]
        kinds = _types(cells)
        others = {str(kind) for _, kind in cells if kind is not None} - set(kinds)
        rows = []
        for kind in (*kinds, *sorted(others)):
            hits, given, wanted = _counts(cells, sums, kind)
            rows.append({"label": kind, **_rates(float(hits), float(given), float(wanted))})
        overall = _rates(*(float(count) for count in _counts(cells, sums)))
        verdicts: dict[str, float] = dict.fromkeys(_WEIGHTS, 0.0)
        for (verdict, _), count in zip(cells, sums, strict=True):
            verdicts[verdict] += float(count)
        return {"per_class": rows, **overall, **verdicts} if cells else {}

    def _targets(self, case: Case) -> list[Entities] | Unscored:
        """The accepted targets. A list of entities or of tags reads as several accepted answers, and is one."""
        given = list(case.targets)
        if given and (are_tags(given) or any(entity(target) is not None for target in given)):
            given = [given]
        found = []
        for target in given:
            try:
                if isinstance(target, str):
                    wanted = of_text(target, "strict", self.scheme)
                else:
                    wanted = of_document(target, self.scheme)
            except Unreadable as error:
                return Unscored(f"the target holds no entities: {error}")
            if wanted.bad:
                return Unscored(
                    f"the target holds {wanted.bad} entities without a type, or without text and place"
                )
            found.append(self._counted(wanted))
        return found or NO_TARGETS

    def _counted(self, found: Entities) -> Entities:
        if self.types is None:
            return found
        return Entities(tuple(i for i in found.items if i.type in self.types), bad=found.bad, tags=found.tags)

    def _scored(self, wanted: Entities, given: Entities) -> Scored:
        by_text = self.by == "text" and not wanted.tags
        result = matched(wanted, given, match=self.match, by_text=by_text, normalise=self._normalise)
        counts = Counter((verdict, item.type) for verdict, item in result.verdicts)
        stats = {_name(verdict, kind): float(count) for (verdict, kind), count in counts.items()}
        if given.bad:
            stats[_name("spurious", None)] = float(given.bad)
        hits, claimed, support = (
            sum(_WEIGHTS[verdict][place] * count for (verdict, _), count in counts.items())
            for place in range(3)
        )
        below = claimed + given.bad + support
        detail: dict[str, Any] = {}
        for verdict, item in result.verdicts:
            if verdict != "correct" and len(detail.setdefault(verdict, [])) < _SHOWN:
                detail[verdict].append(str(item))
        if given.bad:
            detail["unreadable"] = given.bad
        return Scored(2 * hits / below if below else 1.0, stats=stats, detail=detail)


@dataclass(frozen=True)
class EntityF1(_Entities):
    """F1 over the entities of all cases (micro); 0 to 1.

    An entity is right when its type and its place are the target's: characters `start` and `end` where all have them,
    else the normalised text; of equal ones each counts once. On tag sequences equal to `seqeval`'s f1_score. An answer
    that holds no entities misses all; what stands among them and is none is a spurious one. Where neither side has an
    entity the F1 is 1. A case's own value is its own F1, shown and never averaged.

    `match`: "strict" (default), or the other three measures of SemEval-2013 task 9 (Segura-Bedmar et al. 2013):
    "exact" (the place), "partial" (the place, half a point for an overlap), "type" (the type, and an overlap). `types`:
    the types that count. `scheme`: "lenient" (default), or iob1, iob2, ioe2, iobes, bilou as seqeval's strict mode.
    `by`: "text" leaves places out. `normalise` and `extract` as for field_f1.
    """

    name: ClassVar[str] = "entity_f1"

    def corpus(self, names: Sequence[str], sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """F1 of sums (..., len(names)); shape (...)."""
        hits, given, wanted = _counts([json.loads(name) for name in names], sums)
        return _f1(hits, given + wanted)


@dataclass(frozen=True)
class EntityMacroF1(_Entities):
    """Unweighted mean over the targets' types of their F1; 0 to 1.

    A type that no target has is a miss where it stands for another, and no one's false positive (entity_f1 counts it).
    What cannot be read counts as a spurious entity of every type. Parameters as for entity_f1.
    """

    name: ClassVar[str] = "entity_macro_f1"

    def corpus(self, names: Sequence[str], sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean F1 from sums (..., len(names)); shape (...). A type that these sums lack is left out of the mean."""
        import numpy as np

        cells = [json.loads(name) for name in names]
        total, types = np.zeros(sums.shape[:-1]), np.zeros(sums.shape[:-1])
        unread = _counts(cells, sums, None)[1]
        for kind in _types(cells):
            hits, given, wanted = _counts(cells, sums, kind)
            there = (given + wanted) > 0
            total += np.where(there, _f1(hits, given + unread + wanted), 0.0)
            types += there
        empty = np.where(unread > 0, 0.0, 1.0)
        return np.asarray(np.divide(total, types, out=np.asarray(empty), where=types > 0))


@lru_cache(maxsize=4096)
def _name(verdict: str, kind: str | None) -> str:
    return json.dumps([verdict, kind])


def _missed(wanted: Entities, reason: str) -> Scored:
    missed = Counter(item.type for item in wanted.items)
    stats = {_name("missed", kind): float(count) for kind, count in missed.items()}
    # Where the target has no entity the failed case must count all the same.
    return Scored(0.0, stats=stats or {_name("spurious", None): 1.0}, detail={"reason": reason})


def _types(cells: Sequence[Sequence[Any]]) -> list[str]:
    """The types that some target has. An entity said to be spurious is the answer's; every other is a target's."""
    return sorted({kind for verdict, kind in cells if verdict != "spurious"})


_ALL: Final = object()


def _counts(
    cells: Sequence[Sequence[Any]], sums: NDArray[np.float64], kind: object = _ALL
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Hits, entities of the answers and of the targets, of one type or of all; each of shape (...)."""
    import numpy as np

    weights = np.array(
        [_WEIGHTS[verdict] if kind is _ALL or kind == own else (0.0, 0.0, 0.0) for verdict, own in cells]
    ).reshape(-1, 3)
    counts = sums @ weights
    return counts[..., 0], counts[..., 1], counts[..., 2]


def _f1(hits: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    return np.asarray(np.divide(2 * hits, below, out=np.ones(np.shape(below)), where=below > 0))


def _rates(hits: float, given: float, wanted: float) -> dict[str, float]:
    """As shown in a table: 0 where there is nothing to divide by."""
    return {
        "precision": hits / given if given else 0.0,
        "recall": hits / wanted if wanted else 0.0,
        "f1": 2 * hits / (given + wanted) if given + wanted else 0.0,
        "support": wanted,
    }
