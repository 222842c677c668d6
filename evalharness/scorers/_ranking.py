"""Retrieval metrics: the formulas, and all queries of a run at once.

A formula reads the ranks at which a query's relevant documents stand. It takes numbers (one query, what a scorer has)
or arrays (many queries) alike, so each is written once. A document that is not among the first k has the rank infinity,
which adds nothing: 1 / inf is 0.

Every definition is that of ranx (Bassani 2022, https://github.com/AmenRA/ranx), and the tests hold both equal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Numbers = Any
"""A float, or an array with one value a query."""

NEED_K: Final = frozenset(("recall", "precision", "hit_rate", "ndcg", "ndcg_burges"))
"""Metrics that mean little without a depth: a longer list would win by its length alone."""
_NAME: Final = re.compile(r"([a-z_]+)(?:@([1-9][0-9]{0,5}))?")
_CHUNK: Final = 1 << 15  # places of a chunk's arrays: they stay in the cache
_NOWHERE: Final = -1


def found(ranks: Iterable[Numbers]) -> Numbers:
    """How many relevant documents are among the first k."""
    total: Numbers = 0.0
    for rank in ranks:
        total = total + (rank < math.inf)
    return total


def reciprocal_rank(ranks: Sequence[Numbers]) -> Numbers:
    """1 / rank of the first relevant document, 0 without one (Voorhees 1999, TREC-8 question answering track)."""
    return 1.0 / ranks[0]


def average_precision(ranks: Iterable[Numbers], relevant: Numbers) -> Numbers:
    """Mean over all relevant documents of the precision at their rank, 0 where one is missing (trec_eval's `map`).

    The divisor is the number of relevant documents, also where k is smaller.
    """
    total: Numbers = 0.0
    for ordinal, rank in enumerate(ranks, start=1):
        total = total + ordinal / rank
    return total / relevant


def discounted_gain(
    gains: Iterable[Numbers], ranks: Iterable[Numbers], log2: Callable[[Numbers], Numbers]
) -> Numbers:
    """DCG: sum of gain / log2(rank + 1) (Järvelin and Kekäläinen 2002, https://doi.org/10.1145/582415.582418).

    With the gain 2**grade - 1 it is the form of Burges et al. 2005 (https://doi.org/10.1145/1102351.1102363).
    """
    total: Numbers = 0.0
    for gain, rank in zip(gains, ranks, strict=True):
        total = total + gain / log2(rank + 1.0)
    return total


BINARY: Final[Mapping[str, Callable[[Any, Numbers, int | None], Numbers]]] = {
    "mrr": lambda ranks, relevant, k: reciprocal_rank(ranks),
    "map": lambda ranks, relevant, k: average_precision(ranks, relevant),
    "recall": lambda ranks, relevant, k: found(ranks) / relevant,
    "precision": lambda ranks, relevant, k: found(ranks) / k,
    "hit_rate": lambda ranks, relevant, k: found(ranks[:1]),
}
"""Metrics that ask whether a document is relevant, by name.

Each takes ranks (at least one, ascending, infinity where a document is not among the first k), how many documents are
relevant, and k.
"""
GRADED: Final[Mapping[str, Callable[[Numbers], Numbers]]] = {
    "ndcg": lambda grade: grade,
    "ndcg_burges": lambda grade: 2.0**grade - 1.0,
}
"""Metrics that ask how relevant a document is: the gain of a grade, by name."""


@dataclass(frozen=True, slots=True)
class Judgments:
    """Judged documents of n queries, one query's after the other's.

    Attributes:
        documents: shape (j,), numbers of documents, from 0; none twice for one query.
        grades: shape (j,), from 0.
        starts: shape (n + 1,), where each query's documents start; the last is j.
    """

    documents: NDArray[np.int64]
    grades: NDArray[np.float64]
    starts: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rankings:
    """Retrieved documents of n queries, best first, one query's after the other's.

    Attributes:
        documents: shape (r,), numbers of documents, from 0. Of a document that stands twice, the first place counts.
        starts: shape (n + 1,), where each query's documents start; the last is r.
    """

    documents: NDArray[np.int64]
    starts: NDArray[np.int64]


def to_arrays(
    qrels: Mapping[str, Mapping[str, float]], run: Mapping[str, Sequence[str]]
) -> tuple[tuple[str, ...], Judgments, Rankings]:
    """The query ids of `qrels` in order, and both sides as arrays in that order.

    Args:
        qrels: query id → document id → grade, from 0.
        run: query id → document ids, best first. A query that is not in it found nothing; one that is not in `qrels`
            is left out.
    """
    import numpy as np

    numbers: dict[str, int] = {}
    judged: list[int] = []
    grades: list[float] = []
    ranked: list[int] = []
    judged_starts, ranked_starts = [0], [0]
    for query, documents in qrels.items():
        for document, grade in documents.items():
            judged.append(numbers.setdefault(document, len(numbers)))
            grades.append(grade)
        # A document that no query judges needs no number of its own.
        ranked += [numbers.get(document, _NOWHERE) for document in run.get(query, ())]
        judged_starts.append(len(judged))
        ranked_starts.append(len(ranked))
    return (
        tuple(qrels),
        Judgments(
            np.array(judged, dtype=np.int64), np.array(grades, dtype=np.float64), np.array(judged_starts)
        ),
        Rankings(np.array(ranked, dtype=np.int64), np.array(ranked_starts)),
    )


def parse_metric(name: str) -> tuple[str, int | None]:
    """`recall@10` as ("recall", 10), `mrr` as ("mrr", None).

    Raises:
        ValueError: no such metric, or it needs a depth.
    """
    match = _NAME.fullmatch(name)
    known = [*BINARY, *GRADED]
    if match is None or match[1] not in known:
        raise ValueError(f"{name!r} is no retrieval metric; known: {', '.join(known)}, as in recall@10")
    if match[2] is None and match[1] in NEED_K:
        raise ValueError(f"{name} needs a depth: write {name}@10")
    return match[1], int(match[2]) if match[2] else None


def evaluate_rankings(
    judgments: Judgments, rankings: Rankings, metrics: Sequence[str], *, min_grade: float = 1.0
) -> dict[str, np.ma.MaskedArray[Any, np.dtype[np.float64]]]:
    """Metrics of many queries, one value a query.

    Args:
        judgments: of n queries.
        rankings: of the same queries in the same order.
        metrics: `mrr`, `map`, either with `@k` too; `recall@k`, `precision@k`, `hit_rate@k`, `ndcg@k` and
            `ndcg_burges@k` (gain 2**grade - 1).
        min_grade: the grade from which a document is relevant, above 0; `ndcg` takes every grade above 0.

    Returns:
        by metric: shape (n,), in [0, 1]. A query without a relevant document has no value: it is masked.

    Raises:
        ValueError: an unknown metric, sides of different length, or `min_grade` not above 0.
    """
    import numpy as np

    wanted = {name: parse_metric(name) for name in metrics}
    if not min_grade > 0:
        raise ValueError(f"min_grade must be a number above 0, not {min_grade!r}")
    n = len(judgments.starts) - 1
    if len(rankings.starts) - 1 != n:
        raise ValueError(f"{n} judged queries, but rankings of {len(rankings.starts) - 1}")
    values = {name: np.full(n, np.nan) for name in wanted}
    depths = [k for _, k in wanted.values()]
    longest = np.diff(rankings.starts)
    if None not in depths:
        longest = np.minimum(longest, max((k for k in depths if k is not None), default=0))
    # A gain too large for a float has no value either.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for rows, width, height in _chunks(np.diff(judgments.starts), longest):
            documents = _grid(judgments.documents, judgments.starts, rows, height, fill=-2)
            grades = _grid(judgments.grades, judgments.starts, rows, height, fill=0.0)
            ranked = _grid(rankings.documents, rankings.starts, rows, width, fill=_NOWHERE)
            ranks = np.full(documents.shape, np.inf)
            for place in range(width - 1, -1, -1):  # the first place of a document is written last
                np.copyto(ranks, place + 1.0, where=documents == ranked[place])
            _fill(values, wanted, rows, ranks, grades, min_grade)
    return {name: np.ma.masked_invalid(value, copy=False) for name, value in values.items()}


def _chunks(
    counts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], int, int]]:
    """Queries of about one size together: (their numbers, the longest ranking, the most judged documents)."""
    import numpy as np

    # Sizes by powers of two, so that padding costs at most a factor of two each way.
    size = (np.frexp(counts)[1] * 64 + np.frexp(lengths)[1]).astype(np.uint16)
    order = np.argsort(size, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(size[order])) + 1):
        if not len(group) or not counts[group[0]]:
            continue
        height, width = int(counts[group].max()), int(lengths[group].max())
        step = max(1, min(_CHUNK // height, 128 * _CHUNK // max(width, 1)))
        for start in range(0, len(group), step):
            yield group[start : start + step], width, height


def _grid(
    values: NDArray[Any], starts: NDArray[np.int64], rows: NDArray[np.int64], height: int, *, fill: float
) -> NDArray[Any]:
    """The first `height` values of each query as columns, `fill` below those that have fewer; shape (height, rows)."""
    import numpy as np

    first = starts[rows]
    places = np.arange(height)[:, None]
    grid = values.take(first + places, mode="clip") if len(values) else np.full((height, len(rows)), fill)
    counts = starts[rows + 1] - first
    if counts.min(initial=height) < height:
        grid[places >= counts] = fill
    return grid


def _fill(
    values: Mapping[str, NDArray[np.float64]],
    wanted: Mapping[str, tuple[str, int | None]],
    rows: NDArray[np.int64],
    ranks: NDArray[np.float64],
    grades: NDArray[np.float64],
    min_grade: float,
) -> None:
    """The values of one chunk; ranks and grades have shape (judged documents, rows)."""
    import numpy as np

    is_relevant = grades >= min_grade
    relevant = is_relevant.sum(axis=0, dtype=np.float64)
    relevant[relevant == 0] = np.nan
    ordered = np.sort(np.where(is_relevant, ranks, np.inf), axis=0)
    ideal = np.sort(grades, axis=0)[::-1] if any(base in GRADED for base, _ in wanted.values()) else grades
    for name, (base, k) in wanted.items():
        if base in BINARY:
            cut = ordered if k is None else np.where(ordered <= k, ordered, np.inf)
            values[name][rows] = np.where(np.isnan(relevant), np.nan, BINARY[base](cut, relevant, k))
        else:
            cut = ranks if k is None else np.where(ranks <= k, ranks, np.inf)
            best = GRADED[base](ideal[:k])
            of = discounted_gain(best, np.arange(1.0, len(best) + 1), np.log2)
            got = discounted_gain(GRADED[base](grades), cut, np.log2)
            values[name][rows] = np.minimum(got / of, 1.0)  # two orders of one sum may differ in the last bit
