"""Retrieval metrics beside ranx's, once its compiler is done: a million queries as arrays, and from dictionaries.

python benchmarks/retrieval.py

Both sides get what they compute from ready-made: ours `Judgments` and `Rankings`, ranx its typed lists, which is its
fastest form (its `Qrels` and `Run` are turned into them at every call). ranx uses every core, ours one.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from measure import report

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.scorers.retrieval import (
    Judgments,
    Map,
    Mrr,
    Ndcg,
    Precision,
    Rankings,
    Recall,
    evaluate_rankings,
    to_arrays,
)

METRICS = ["mrr", "recall@10", "ndcg@10", "precision@10", "map"]
SCORERS = (Mrr(), Recall(10), Ndcg(10), Precision(10), Map())
MOST_JUDGED = 5
LIMIT = 1.5


def made(queries: int, depth: int, seed: int) -> tuple[Judgments, Rankings]:
    """1 to 5 judged documents a query, grades 0 to 3; rankings of up to `depth` documents of a pool twice as large."""
    rng = np.random.default_rng(seed)
    pool = 2 * depth
    base = np.arange(queries)[:, None] * pool
    judged = rng.integers(1, MOST_JUDGED + 1, queries)
    documents = base + np.argsort(rng.random((queries, pool), dtype=np.float32), axis=1)
    lengths = np.where(rng.random(queries) < 0.1, rng.integers(1, depth + 1, queries), depth)
    # Judged documents are the first numbers of a query's pool; grades fall, as ranx's lists must have them.
    grades = -np.sort(-rng.integers(0, 4, (queries, MOST_JUDGED)), axis=1).astype(np.float64)
    some = np.arange(MOST_JUDGED) < judged[:, None]
    kept = np.arange(depth) < lengths[:, None]
    return (
        Judgments((base + np.arange(MOST_JUDGED))[some], grades[some], np.append(0, np.cumsum(judged))),
        Rankings(documents[:, :depth][kept], np.append(0, np.cumsum(lengths))),
    )


def typed_lists(judgments: Judgments, rankings: Rankings) -> tuple[Any, Any]:
    """The same as ranx keeps it: an array of (document, number) rows for each query."""
    from numba.typed import List

    def rows(documents: Any, numbers: Any, starts: Any) -> Any:
        table = np.column_stack((documents.astype(np.float64), numbers))
        return List(np.split(table, starts[1:-1]))

    scores = -np.arange(len(rankings.documents), dtype=np.float64)
    return (
        rows(judgments.documents, judgments.grades, judgments.starts),
        rows(rankings.documents, scores, rankings.starts),
    )


def ratio(runs: int, ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float, float]:
    """(median of ours / theirs in wall time, median of ours, median of theirs), measured in turn after a warm-up."""
    ours(), theirs()
    pairs = []
    for _ in range(runs):
        times = []
        for call in (ours, theirs):
            started = time.perf_counter()
            call()
            times.append(time.perf_counter() - started)
        pairs.append(times)
    return (
        statistics.median(a / b for a, b in pairs),
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
    )


def arrays_beside_ranx(queries: int, depth: int, runs: int) -> bool:
    """The ratio on ready-made inputs; the values are compared first."""
    from ranx import evaluate

    judgments, rankings = made(queries, depth, seed=depth)
    qrels, run = typed_lists(judgments, rankings)
    found = evaluate_rankings(judgments, rankings, METRICS)
    wanted = evaluate(qrels, run, METRICS, return_mean=False)
    for metric in METRICS:
        # A query without a relevant document is 0 to ranx and has no value here.
        np.testing.assert_allclose(found[metric].filled(0.0), wanted[metric], rtol=0, atol=1e-12)
    times, ours, theirs = ratio(
        runs,
        lambda: evaluate_rankings(judgments, rankings, METRICS),
        lambda: evaluate(qrels, run, METRICS, return_mean=False),
    )
    name = f"{queries:,} queries, {depth} deep: {ours:.2f} s, ranx {theirs:.2f} s"
    return report(name, times, LIMIT, "times")


def dictionaries_beside_ranx(queries: int, depth: int, runs: int) -> bool:
    """The ratio from {query: {document: score}}, ordering and numbering of documents included."""
    from ranx import evaluate

    qrels, scored = dictionaries(*made(queries, depth, seed=0))

    def ours() -> object:
        run = {query: sorted(of, key=of.__getitem__, reverse=True) for query, of in scored.items()}
        _, judgments, rankings = to_arrays(qrels, run)
        return evaluate_rankings(judgments, rankings, METRICS)

    times, mine, theirs = ratio(runs, ours, lambda: evaluate(qrels, scored, METRICS, return_mean=False))
    name = f"{queries:,} queries from dictionaries: {mine:.2f} s, ranx {theirs:.2f} s"
    return report(name, times, LIMIT, "times")


def dictionaries(
    judgments: Judgments, rankings: Rankings
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Judgments and scored rankings with ids as text."""
    qrels: dict[str, dict[str, float]] = {}
    scored: dict[str, dict[str, float]] = {}
    judged = [f"d{i}" for i in judgments.documents.tolist()]
    ranked = [f"d{i}" for i in rankings.documents.tolist()]
    grades = judgments.grades.tolist()
    for query in range(len(judgments.starts) - 1):
        first, last = judgments.starts[query], judgments.starts[query + 1]
        qrels[f"q{query}"] = dict(zip(judged[first:last], grades[first:last], strict=True))
        first, last = rankings.starts[query], rankings.starts[query + 1]
        scored[f"q{query}"] = {d: float(last - i) for i, d in enumerate(ranked[first:last])}
    return qrels, scored


def one_case_us(queries: int, depth: int) -> float:
    """Microseconds of CPU for one metric of one case, the mean over the five."""
    qrels, scored = dictionaries(*made(queries, depth, seed=1))
    items = [
        (Case(id=query, input="?", relevant=relevant), Response(text="", ranking=tuple(scored[query])))
        for query, relevant in qrels.items()
    ]
    started = time.process_time()
    for scorer in SCORERS:
        for case, response in items:
            scorer.score(case, response)
    return (time.process_time() - started) / (len(SCORERS) * len(items)) * 1e6


def main() -> int:
    """Print the figures; 1 when one is over its limit."""
    warnings.filterwarnings("ignore", message="(?s).*unsafe cast")  # numba, of ranx's hashes
    good = arrays_beside_ranx(1_000_000, 10, runs=5)
    good &= arrays_beside_ranx(100_000, 100, runs=3)
    good &= dictionaries_beside_ranx(100_000, 10, runs=3)
    good &= report("one metric of one case, 10 deep: CPU", one_case_us(20_000, 10), 25, "µs")
    good &= report("one metric of one case, 1,000 deep: CPU", one_case_us(500, 1_000), 200, "µs")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
