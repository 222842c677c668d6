"""Several candidates on one suite, ranked: run or read, every pair tested, retrievers cut to fewer dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evalharness.api.settings import Settings
from evalharness.core.runs import Run
from evalharness.core.suites import Suite
from evalharness.engine.beforehand import refuse_unready_sides
from evalharness.engine.scoring import build_scorers
from evalharness.engine.sides import (
    SideSource,
    choose_suite,
    finished_run,
    refuse_replacing,
    spending,
    suite_of,
)
from evalharness.errors import Problem, SpecError, UsageError
from evalharness.spec.load import load_candidate
from evalharness.store.files import slug
from evalharness.store.folder import read_manifest

if TYPE_CHECKING:
    from evalharness.analysis.ranking_picture import Projection
    from evalharness.report.rank_view import RankReport

RETRIEVER: Final = "embeddings"
MOST: Final = 50
"""More candidates make more pairs than anyone reads: 1,225."""


def rank(
    candidates: Sequence[str | Path],
    *,
    suite: str | Path | None = None,
    metrics: Sequence[str] = (),
    truncate: Sequence[int] = (),
    grid: tuple[str, str] | None = None,
    projection: Projection = "pca",
    settings: Settings | None = None,
) -> RankReport:
    """Run or read every candidate, and test every pair of them on every metric. Nothing here gates.

    Args:
        candidates: candidate files or run folders, two or more.
        suite: in place of the one they name.
        metrics: ids to rank on, the first of which sorts; empty: all of the suite.
        truncate: numbers of dimensions that retrievers' vectors are cut to (Matryoshka), without asking again.
        grid: two tags of cases; the metrics are shown in each of their cells.
        projection: of the picture of the embedding space.
        settings: store, seed and the like.

    Raises:
        SpecError: files are wrong. UsageError: fewer than two candidates, one twice, two of one name; a metric, tag or
            number of dimensions that is not there. ProviderError: an endpoint failed; what was collected is kept.
        InvalidComparisonError: a run does not belong to the suite. StoreError: a folder cannot be read or written.
    """
    from evalharness.analysis.ranking import chosen_metrics, rank_runs
    from evalharness.analysis.ranking_grid import grids_of
    from evalharness.api.retrievers import curves_of, pictures_of, with_index
    from evalharness.report.rank_view import RankReport

    use = settings or Settings()
    around = use.surroundings
    sides = _sides(candidates, use)
    for first, second in permutations(sides, 2):
        refuse_replacing(first, second, around)
    chosen = choose_suite([s.suite_path for s in sides], suite, around, stored=[s.folder for s in sides])
    scorers = build_scorers(chosen, use.registry)
    wanted = chosen_metrics(chosen, scorers, metrics)  # before anything is asked
    _check_tags(chosen, grid)
    retrievers = [
        place for place, s in enumerate(sides) if s.model is not None and s.model.provider == RETRIEVER
    ]
    if truncate and not retrievers:
        raise UsageError(f"--truncate cuts vectors, and no candidate has `provider: {RETRIEVER}`")
    around = spending(around, chosen)
    refuse_unready_sides(sides, chosen, around)
    runs = [side.obtain(chosen, around)[0] for side in sides]
    names = [side.name for side in sides]
    ranking = rank_runs(
        chosen, runs, scorers, metrics=wanted, names=names, seed=use.seed, warnings=_told(runs, names)
    )
    grids = grids_of(chosen, runs, names, scorers, wanted, grid, seed=use.seed) if grid is not None else ()
    models = {place: model for place in retrievers if (model := sides[place].model) is not None}
    curves, told = curves_of(chosen, models, runs, names, scorers, wanted, truncate, use)
    pictures, indexes = pictures_of(chosen, models, names, grid, projection, use)
    return RankReport(
        ranking=replace(with_index(ranking, indexes), warnings=(*ranking.warnings, *told)),
        grids=grids,
        curves=curves,
        pictures=pictures,
    )


def rank_to(
    out: str | Path | None,
    candidates: Sequence[str | Path],
    *,
    settings: Settings | None = None,
    **how: object,
) -> tuple[RankReport, Mapping[str, Path]]:
    """`rank`, and write ranking.json, ranking.html and ranking.md to `out` (default `reports/<suite>-ranking`).

    Returns:
        The report and the written files by name.

    Raises:
        UsageError: `out` holds a run or a comparison. StoreError: it cannot be written. And as `rank`.
    """
    from evalharness.report.rank_folder import clear_ranking, write_ranking

    use = settings or Settings()
    if out is not None:  # before anything can fail: a ranking that fails leaves no old one behind
        clear_ranking(Path(out))
    report = rank(candidates, settings=use, **how)  # type: ignore[arg-type]
    folder = Path(out) if out is not None else use.cwd / "reports" / f"{slug(report.ranking.suite)}-ranking"
    clear_ranking(folder)
    return report, write_ranking(report, folder)


def rank_table(report: RankReport, *, width: int = 100) -> str:
    """The ranking for a terminal; `width` in columns."""
    from evalharness.report.rank_text import rank_text

    return rank_text(report, width=width)


def rank_json(report: RankReport) -> str:
    """The text of ranking.json."""
    from evalharness.report.rank_json import rank_json as to_json

    return to_json(report)


def _sides(candidates: Sequence[str | Path], use: Settings) -> list[SideSource]:
    """Every candidate, with the problems of all files told at once."""
    if not 2 <= len(candidates) <= MOST:
        raise UsageError(f"a ranking takes 2 to {MOST} candidates, not {len(candidates)}")
    problems: list[Problem] = []
    found: list[SideSource] = []
    places: dict[Path, str] = {}
    for given in candidates:
        try:
            path = use.paths.argument(str(given))
            if path in places:
                raise UsageError(f"{given} is given twice")
            places[path] = str(given)
            found.append(_side(str(given), path, use))
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(list(dict.fromkeys(problems)))
    return _named_apart(found, list(places.values()))


def _side(given: str, path: Path, use: Settings) -> SideSource:
    if path.is_dir():
        folder = finished_run(path)
        name = read_manifest(folder)["name"]
        return SideSource(name=name, suite_path=suite_of(folder, use.paths), folder=folder)
    if path.suffix not in (".yaml", ".yml"):
        raise UsageError(f"{given}: not something to rank; give a candidate .yaml or a run folder")
    model = load_candidate(path, paths=use.paths, registry=use.registry)
    return SideSource(name=model.name, suite_path=model.suite_path, model=model)


def _named_apart(sides: list[SideSource], given: Sequence[str]) -> list[SideSource]:
    """Stored runs of one name told apart by their folders; two candidate files of one name are refused."""
    names = [side.name for side in sides]
    files = [side.name for side in sides if side.model is not None]
    for name in files:
        if files.count(name) > 1:
            both = " and ".join(
                g for g, side in zip(given, sides, strict=True) if side.name == name and side.model
            )
            raise UsageError(f"{both} are both called {name!r}; give one of them another `name`")
    return [
        replace(side, name=f"{side.name} ({place})") if names.count(side.name) > 1 and side.folder else side
        for side, place in zip(sides, given, strict=True)
    ]


def _check_tags(suite: Suite, grid: tuple[str, str] | None) -> None:
    """Refuse a grid of tags that no golden set has, before anything is asked."""
    if grid is None or not suite.complete:
        return
    known = sorted({key for golden in suite.golden_sets for case in golden.cases for key in case.tags})
    missing = [key for key in grid if key not in known]
    if missing:
        named = " or ".join(map(repr, missing))
        raise UsageError(f"no case has the tag {named}; the golden sets have {', '.join(known) or 'no tags'}")


def _told(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    """What the runs themselves warn of."""
    return [
        f"{name}: {text}" for name, run in zip(names, runs, strict=True) for text in run.manifest["warnings"]
    ]
