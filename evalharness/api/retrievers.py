"""What a ranking shows of retrievers beside their metrics: fewer dimensions, and a picture of the space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from evalharness._canon import digest
from evalharness.api.settings import Settings
from evalharness.core.attempts import Attempt, Response
from evalharness.core.candidates import Candidate
from evalharness.core.cases import Case
from evalharness.core.protocols import Scorer
from evalharness.core.runs import AttemptKey, Run
from evalharness.core.suites import Suite
from evalharness.engine.build import build_run
from evalharness.errors import UsageError

if TYPE_CHECKING:
    from evalharness.analysis.ranking import Ranking
    from evalharness.analysis.ranking_grid import Curve
    from evalharness.analysis.ranking_picture import Picture, Projection
    from evalharness.providers._retrieval_index import Retriever

_QUERIES: Final = 600
_RELEVANT: Final = 900
_OTHERS: Final = 500
"""Points of a picture at most, of each kind: `MOST_POINTS` in all."""
_ABOUT: Final = ("candidate", "plan", "unasked", "seed", "warnings", "facts", "environment", "plugins")


def curves_of(
    suite: Suite,
    models: Mapping[int, Candidate],
    runs: Sequence[Run],
    names: Sequence[str],
    scorers: Mapping[str, Scorer],
    metrics: Sequence[str],
    sizes: Sequence[int],
    use: Settings,
) -> tuple[tuple[Curve, ...], list[str]]:
    """What fewer dimensions cost every retriever, on each metric that reads rankings; and what to say of it.

    Vectors are kept ones: nothing is asked, but for texts whose vectors are gone.

    Raises:
        UsageError: no retriever has vectors that long, or no metric reads rankings.
    """
    from evalharness.analysis.ranking_grid import curve_of

    if not sizes:
        return (), []
    read = [metric for metric in metrics if "relevant" in scorers[metric].needs]
    if not read:
        raise UsageError(
            "--truncate shows what fewer dimensions cost a ranking, and no metric here reads rankings"
        )
    curves: list[Curve] = []
    told: list[str] = []
    for place, model in models.items():
        if model.options.get("reranker"):
            told.append(f"{names[place]}: not cut to fewer dimensions, since its order is a reranker's")
            continue
        retriever = _retriever(model, use)
        retriever.load()
        assert retriever.index is not None
        full = retriever.index.dimensions
        smaller = sorted({size for size in sizes if size < full}, reverse=True)
        beyond = sorted({size for size in sizes if size >= full})
        if beyond:
            shown = ", ".join(map(str, beyond))
            told.append(f"{names[place]} has {full} dimensions: there is nothing to cut at {shown}")
        answers = [attempt for rows in runs[place].attempts.values() for attempt in rows.values()]
        failed = sum(not isinstance(attempt.outcome, Response) for attempt in answers)
        if failed and smaller:
            told.append(
                f"{names[place]}: its curves leave out the {failed:,} of {len(answers):,} queries that it failed on"
            )
        cut = _cut(suite, model, retriever, runs[place], smaller, use) if smaller else {}
        for metric in read if cut else ():
            curves.append(
                curve_of(
                    suite,
                    metric,
                    scorers[metric],
                    runs[place],
                    cut,
                    name=names[place],
                    dimension=full,
                    seed=use.seed,
                )
            )
    if not curves and not told:
        raise AssertionError("a retriever gives curves or a reason")
    if not curves:
        raise UsageError("; ".join(told))
    return tuple(curves), told


def _retriever(model: Candidate, use: Settings) -> Retriever:
    from evalharness.providers._retrieval_corpus import Corpus
    from evalharness.providers._retrieval_index import Retrieval, Retriever

    settings = Retrieval.of(model)
    return Retriever(settings, Corpus(settings.documents), use.surroundings.how.store.root)


def _cut(
    suite: Suite, model: Candidate, retriever: Retriever, run: Run, sizes: Sequence[int], use: Settings
) -> dict[int, Run]:
    """The run as it would be with fewer dimensions. What failed in it fails in them."""
    from evalharness.embedding import truncated

    spec = retriever.settings.embedder
    answered = {
        golden.name: [
            case
            for case in golden.cases
            if isinstance(run.attempts[golden.name][case.id, 0].outcome, Response)
        ]
        for golden in suite.golden_sets
    }
    vectors = {name: retriever.queries(cases) for name, cases in answered.items() if cases}
    arrive = use.surroundings.how.arrival(suite, model)
    found = {}
    for size in sizes:
        smaller = retriever.cut(size)
        attempts: dict[str, dict[AttemptKey, Attempt]] = {}
        for golden in suite.golden_sets:
            ranked: dict[str, tuple[str, ...]] = {}
            if golden.name in vectors:
                queries = truncated(vectors[golden.name], size, normalise=spec.normalise)
                for case, places in zip(answered[golden.name], smaller.search(queries), strict=True):
                    ranked[case.id] = tuple(retriever.corpus.ids[place] for place in places)
            attempts[golden.name] = {
                key: arrive.attempt(_instead(attempt, ranked.get(attempt.case_id)))
                for key, attempt in run.attempts[golden.name].items()
            }
        about = {key: run.manifest[key] for key in _ABOUT if key in run.manifest}
        about["candidate"] = {**about["candidate"], "digest": digest([model.digest, size])}
        found[size] = build_run(
            suite,
            attempts,
            use.registry,
            name=run.name,
            repeats=run.repeats,
            about=about,
            kept=None,
            arrive=arrive,
        )
    return found


def _instead(attempt: Attempt, ranking: tuple[str, ...] | None) -> Attempt:
    """The attempt with another ranking. How long it would take is not known."""
    if ranking is None or not isinstance(attempt.outcome, Response):
        return attempt
    return replace(attempt, outcome=replace(attempt.outcome, ranking=ranking, latency_ms=None, usage=None))


def pictures_of(
    suite: Suite,
    models: Mapping[int, Candidate],
    names: Sequence[str],
    grid: tuple[str, str] | None,
    projection: Projection,
    use: Settings,
) -> tuple[tuple[Picture, ...], dict[int, dict[str, Any]]]:
    """The space of each retriever, from kept vectors alone; and what is known of its index, by place.

    Queries are coloured by the first tag of the grid. A document is of the second tag of the cases it is relevant to.
    """
    from evalharness.analysis.ranking_picture import picture_of

    cases = [case for golden in suite.golden_sets for case in golden.cases if case.relevant]
    pictures: list[Picture] = []
    indexes: dict[int, dict[str, Any]] = {}
    for place, model in models.items():
        retriever = _retriever(model, use)
        vectors, groups, queries = _points(retriever, cases, grid, names[place], use.seed)
        if len(vectors) < 2:
            continue
        import numpy as np

        from evalharness.providers._retrieval_search import index_mib

        corpus, embedder = retriever.corpus, retriever.settings.embedder
        searched = len(corpus) - (len(corpus.empty) if embedder.vectors is None else 0)
        dimension = len(vectors[0])
        indexes[place] = {
            "documents": len(corpus),
            "dimension": dimension,
            "index_mib": round(index_mib(searched, dimension), 3),
        }
        totals = (len(cases), searched)
        pictures.append(picture_of(names[place], np.stack(vectors), groups, queries, totals, projection))
    return tuple(pictures), indexes


def _points(
    retriever: Retriever, cases: Sequence[Case], grid: tuple[str, str] | None, name: str, seed: int
) -> tuple[list[Any], list[str], list[bool]]:
    """Vectors, groups, and which are queries, of a seeded sample of what is kept."""
    from evalharness.analysis.ranking_picture import OTHERS, sampled
    from evalharness.stats.streams import stream

    corpus = retriever.corpus
    rng = stream(seed, "picture", name)
    asked = [cases[place] for place in sampled(len(cases), _QUERIES, rng)]
    owner: dict[int, Case] = {}
    for case in cases:
        for document, grade in case.relevant.items():
            place = corpus.place(document)
            if grade > 0 and place is not None:
                owner.setdefault(place, case)
    relevant = sorted(owner)
    drawn = [relevant[place] for place in sampled(len(relevant), _RELEVANT, rng)]
    empty = set(corpus.empty) if retriever.settings.embedder.vectors is None else set()
    others = [p for p in sampled(len(corpus), _OTHERS + len(drawn), rng) if p not in owner][:_OTHERS]
    places = [place for place in (*drawn, *others) if place not in empty]
    vectors, groups, queries = [], [], []
    for case, vector in _vectors(
        retriever, "query", [c.question for c in asked], [c.id for c in asked], asked
    ):
        vectors.append(vector)
        groups.append(case.tags.get(grid[0], "untagged") if grid is not None else "queries")
        queries.append(True)
    texts, ids = corpus.texts(places), [corpus.ids[place] for place in places]
    for place, vector in _vectors(retriever, "document", texts, ids, places):
        vectors.append(vector)
        case_of = owner.get(place)
        if case_of is None:
            groups.append(OTHERS)
        else:
            groups.append(case_of.tags.get(grid[1], "untagged") if grid is not None else "relevant documents")
        queries.append(False)
    return vectors, groups, queries


def _vectors(
    retriever: Retriever, role: Any, texts: Sequence[str], ids: Sequence[str], of: Sequence[Any]
) -> list[tuple[Any, Any]]:
    """(what it is of, vector) of the texts whose vectors are there."""
    if retriever.settings.embedder.vectors is not None:
        if not ids:
            return []
        whole = retriever.source.embed(texts, role=role, ids=ids)
        return list(zip(of, retriever.shaped(whole), strict=True))
    known = retriever.known(texts, role)
    return [(item, known[text]) for item, text in zip(of, texts, strict=True) if text in known]


def with_index(ranking: Ranking, indexes: Mapping[int, Mapping[str, Any]]) -> Ranking:
    """The ranking with what is known of each index, where the run itself does not say (its answers were cached)."""
    return replace(
        ranking,
        entries=tuple(
            replace(entry, index={**indexes.get(place, {}), **entry.index})
            for place, entry in enumerate(ranking.entries)
        ),
    )
