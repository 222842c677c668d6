"""Did the candidate find the documents it should have found: metrics over a ranking, one query a case.

`Case.relevant` says which documents are relevant and how much, `Response.ranking` what was found, best first. The
formulas are in `scorers._ranking`, which also has them for many queries at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Metric, Score, Scored, Unscored
from evalharness.scorers._json import BadJSON, parse
from evalharness.scorers._ranking import BINARY, GRADED, NEED_K, discounted_gain
from evalharness.scorers._ranking import Judgments as Judgments
from evalharness.scorers._ranking import Rankings as Rankings
from evalharness.scorers._ranking import evaluate_rankings as evaluate_rankings
from evalharness.scorers._ranking import to_arrays as to_arrays
from evalharness.scorers.exact import BINARY as ZERO_OR_ONE
from evalharness.scorers.normalise import one_of

_BOUNDED: Final = Metric(direction="higher", unit="fraction", kind="bounded")
_NO_RANKING: Final = Unscored(
    "the response holds no ranking, and its text is not a JSON list of document ids"
)
_NOTHING_GAINED: Final = Unscored("no relevant document: every grade of the case is 0")
_MOST_NAMED: Final = 5
_GAINS: Final = {"linear": "ndcg", "exponential": "ndcg_burges"}


def ranking_of(response: Response) -> tuple[str, ...] | None:
    """The document ids a response found, best first; () when it found none, None when it does not say.

    A program that can only answer in text may answer with a JSON list of ids.
    """
    if response.ranking or not response.text.strip():
        return response.ranking
    if not response.text.lstrip().startswith("["):
        return None
    try:
        found = parse(response.text)
    except BadJSON:
        return None
    if not all(isinstance(item, str | int) and not isinstance(item, bool) for item in found):
        return None
    return tuple(str(item) for item in found)


def _places(ranking: tuple[str, ...], wanted: Mapping[str, float]) -> dict[str, int]:
    """Rank of each wanted document that was found, from 1, ascending. Of one that stands twice the first counts."""
    places: dict[str, int] = {}
    for rank, document in enumerate(ranking, start=1):
        if document in wanted and document not in places:
            places[document] = rank
    return places


def _detail(wanted: Mapping[str, float], places: Mapping[str, int], k: int | None) -> dict[str, Any]:
    """What explains a value: where the first relevant document stands, and which are not among the first k."""
    detail: dict[str, Any] = {"first_relevant_rank": next(iter(places.values()), None)}
    missing = [d for d in wanted if d not in places or (k is not None and places[d] > k)]
    if missing:
        detail["missing"] = missing[:_MOST_NAMED]
        detail["n_missing"] = len(missing)
    return detail


def _checked_k(k: object) -> None:
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ValueError(f"k must be a whole number from 1, not {k!r}")


class _Relevance:
    """A metric that asks of each document only whether it is relevant: whether its grade is `min_grade` or more."""

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("relevant",)
    files: ClassVar[Mapping[str, str]] = {}

    k: int | None
    min_grade: float

    def __post_init__(self) -> None:
        if self.k is not None or self.name in NEED_K:
            _checked_k(self.k)
        grade: object = self.min_grade
        if isinstance(grade, bool) or not isinstance(grade, int | float) or not 0 < grade < math.inf:
            raise ValueError(f"min_grade must be a number above 0, not {grade!r}")

    @property
    def metric(self) -> Metric:
        return _BOUNDED

    def score(self, case: Case, response: Response) -> Score:
        k, least = self.k, self.min_grade
        wanted = {document: grade for document, grade in case.relevant.items() if grade >= least}
        if not wanted:
            return Unscored(f"no relevant document: no grade of the case is {least:g} or more")
        ranking = ranking_of(response)
        if ranking is None:
            return _NO_RANKING
        places = _places(ranking, wanted)
        ranks = [rank for rank in places.values() if k is None or rank <= k]
        value = BINARY[self.name](ranks or [math.inf], len(wanted), k)
        return Scored(float(value), detail=_detail(wanted, places, k))


@dataclass(frozen=True)
class Mrr(_Relevance):
    """Reciprocal rank of the first relevant document, 0 without one; the mean over cases is MRR. As ranx `mrr`.

    `k`: only the first k documents count (all by default). `min_grade`: the grade from which a document is relevant.
    """

    k: int | None = None
    min_grade: float = 1.0
    name: ClassVar[str] = "mrr"


@dataclass(frozen=True)
class Map(_Relevance):
    """Average precision; the mean over cases is MAP. As ranx `map`.

    The divisor is the number of relevant documents, also where k is smaller. Parameters as of `Mrr`.
    """

    k: int | None = None
    min_grade: float = 1.0
    name: ClassVar[str] = "map"


@dataclass(frozen=True)
class Recall(_Relevance):
    """Share of the relevant documents that are among the first k. As ranx `recall@k`."""

    k: int
    min_grade: float = 1.0
    name: ClassVar[str] = "recall"


@dataclass(frozen=True)
class Precision(_Relevance):
    """Share of the first k places that hold a relevant document; a shorter list is still divided by k. As ranx."""

    k: int
    min_grade: float = 1.0
    name: ClassVar[str] = "precision"


@dataclass(frozen=True)
class HitRate(_Relevance):
    """1 where a relevant document is among the first k, else 0. As ranx `hit_rate@k`, trec_eval's `success`."""

    k: int
    min_grade: float = 1.0
    name: ClassVar[str] = "hit_rate"

    @property
    def metric(self) -> Metric:
        return ZERO_OR_ONE


@dataclass(frozen=True)
class Ndcg:
    """Normalised discounted cumulative gain of the first k: DCG over that of the best possible order.

    `gain`: "linear" (default; a grade is its own gain, as ranx `ndcg` and trec_eval) or "exponential" (2**grade - 1, as
    ranx `ndcg_burges`). Every grade above 0 gains, fractions too.
    """

    k: int
    gain: str = "linear"

    name: ClassVar[str] = "ndcg"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("relevant",)
    files: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        _checked_k(self.k)
        one_of("gain", self.gain, _GAINS)

    @property
    def metric(self) -> Metric:
        return _BOUNDED

    def score(self, case: Case, response: Response) -> Score:
        k, gain = self.k, GRADED[_GAINS[self.gain]]
        wanted = {document: grade for document, grade in case.relevant.items() if grade > 0}
        if not wanted:
            return _NOTHING_GAINED
        ranking = ranking_of(response)
        if ranking is None:
            return _NO_RANKING
        places = _places(ranking, wanted)
        ranks = [rank for rank in places.values() if rank <= k]
        try:
            best = [gain(grade) for grade in sorted(wanted.values(), reverse=True)[:k]]
            got = discounted_gain(
                [gain(wanted[document]) for document in places][: len(ranks)], ranks, math.log2
            )
        except OverflowError:
            return Unscored(f"the grade {max(wanted.values()):g} is too large for an exponential gain")
        of = discounted_gain(best, range(1, len(best) + 1), math.log2)
        return Scored(got / of, detail=_detail(wanted, places, k))
