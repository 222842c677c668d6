"""From what a user names to a run: a candidate file is asked, a run folder or another tool's results are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from evalharness._canon import digest
from evalharness.baselines.asked import carried
from evalharness.baselines.finding import Blessed, find_blessed
from evalharness.baselines.shelf import Shelf
from evalharness.baselines.stale import brought_up_to_date
from evalharness.content import PathPolicy
from evalharness.core.benchmarks import Results
from evalharness.core.candidates import AGAIN, Candidate
from evalharness.core.runs import Run
from evalharness.core.suites import Suite
from evalharness.engine.asking import Collecting
from evalharness.engine.build import rescore_folder
from evalharness.engine.collect import collect
from evalharness.engine.imports import PROVIDER, Side, is_derived, meet, results_of_run
from evalharness.engine.plan import Asked
from evalharness.engine.prepare import prepare
from evalharness.engine.reading import read_results, split_part
from evalharness.engine.spending import Purse
from evalharness.errors import InvalidComparisonError, Problem, SpecError, StoreError, UsageError
from evalharness.plugins import Registry
from evalharness.spec.load import load_candidate, load_suite
from evalharness.store.files import slug
from evalharness.store.folder import is_run_folder, load_run, read_manifest
from evalharness.store.journal import NAME as JOURNAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What finding and running a side needs to know of its surroundings."""

    paths: PathPolicy
    registry: Registry
    how: Collecting
    shelf: Shelf | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SideSource:
    """One side of a comparison before it is run: a stored run (`folder`), a candidate to ask (`model`), or `results`.

    `results` are what another tool collected, read from `file`; `meet_sides` makes a stored run of them. `blessed`: the
    run stands under a name.
    """

    name: str
    suite_path: str | None
    folder: Path | None = None
    model: Candidate | None = None
    results: Results | None = None
    file: Path | None = None
    blessed: Blessed | None = None

    @property
    def brought(self) -> bool:
        """Whether another tool collected its answers: results, or the stored run of such."""
        if self.folder is not None:
            return bool(read_manifest(self.folder)["candidate"]["provider"] == PROVIDER)
        return self.results is not None

    def fixed(self, registry: Registry) -> bool:
        """Whether its answers are there already: a stored run, or a recording."""
        return self.model is None or bool(registry.load("providers", self.model.provider).recorded)

    def obtain(
        self,
        suite: Suite,
        surroundings: Surroundings,
        *,
        asked: Asked | None = None,
        repeats: int | None = None,
        known: Run | None = None,
    ) -> tuple[Run, Path]:
        """The run of this side on `suite`, and its folder.

        Args:
            suite: what is asked.
            surroundings: store, registry and the like.
            asked: the cases a candidate is asked, None for all. A stored run or a recording gives all it has.
            repeats: at least so many answers a case of a candidate that is asked; None: its own number.
            known: the run of this side that was obtained a moment ago for fewer cases or repeats.

        Raises:
            ProviderError, StoreError, UsageError: as `collect` and `load_run` do.
        """
        if self.model is not None:
            model = self.model
            if repeats is not None and not self.fixed(surroundings.registry):
                model = replace(model, repeats=max(repeats, model.repeats or 1))
            return collect(suite, model, surroundings.registry, surroundings.how, asked=asked, known=known)
        assert self.folder is not None
        return _as_scored_by(suite, self.folder, surroundings), self.folder


def spending(around: Surroundings, suite: Suite) -> Surroundings:
    """Surroundings that hold what one command on `suite` may spend."""
    if suite.budget is None:
        return around
    return replace(around, how=replace(around.how, purse=Purse(suite.budget, suite.path)))


def find_sides(
    baseline: str | Path,
    candidate: str | Path,
    surroundings: Surroundings,
    *,
    results: bool = False,
    suite: str | Path | None = None,
) -> tuple[SideSource, SideSource]:
    """Both sides, with the problems of both files told at once.

    `results`: they may be files of other tools. `suite`: named in place of the candidates' own (`--suite`).

    Raises:
        InvalidComparisonError: there is no such baseline. SpecError, StoreError, UsageError: a side is not usable.
    """
    problems: list[Problem] = []
    found: list[SideSource] = []
    for role, given in (("baseline", baseline), ("candidate", candidate)):
        try:
            found.append(_side(role, given, surroundings, results=results, suite=suite))
        except SpecError as error:
            problems.extend(error.problems)
    if problems:
        raise SpecError(list(dict.fromkeys(problems)))
    refuse_replacing(found[0], found[1], surroundings)
    refuse_replacing(found[1], found[0], surroundings)
    if found[0].name == found[1].name and found[0].file != found[1].file:
        found = [_with_folder(side) for side in found]
    return found[0], _beside(found[0], found[1], surroundings)


def find_anchor(
    given: str | Path,
    sides: tuple[SideSource, SideSource],
    surroundings: Surroundings,
    suite: str | Path | None = None,
) -> SideSource:
    """The anchor: one of `sides` where it is that run or asks for it, else a side of its own. `suite`: as `find_sides`.

    Raises:
        InvalidComparisonError: there is no such anchor. SpecError, StoreError, UsageError: it is not usable.
    """
    anchor = _side("anchor", given, surroundings, suite=suite)
    for side in sides:
        if _is_one(anchor, side):
            return side
        refuse_replacing(anchor, side, surroundings)
        refuse_replacing(side, anchor, surroundings)
    return anchor


def _is_one(first: SideSource, second: SideSource) -> bool:
    """Whether both are one stored run, or ask the same under one name."""
    if first.folder is not None and second.folder is not None:
        return first.folder.resolve() == second.folder.resolve()
    one, other = first.model, second.model
    if one is None or other is None:
        return False
    return (slug(one.name), one.digest, one.repeats) == (slug(other.name), other.digest, other.repeats)


def _beside(first: SideSource, second: SideSource, surroundings: Surroundings) -> SideSource:
    """`second`, under a name of its own where its answers would be stored over those of `first`.

    Without --fresh a cacheable candidate gives the answers that are stored, and both sides are one run.
    """
    one, other = first.model, second.model
    if one is None or other is None or one.digest != other.digest or slug(one.name) != slug(other.name):
        return second
    provider = surroundings.registry.load("providers", other.provider)
    if provider.recorded or (provider.cacheable and not surroundings.how.fresh):
        return second
    name = other.name + AGAIN
    return replace(second, name=name, model=replace(other, name=name))


def _with_folder(side: SideSource) -> SideSource:
    """Results under the name of their folder, too: `base/out.json` and `cand/out.json` are not both `out`."""
    if side.results is None or side.file is None:
        return side
    name = f"{side.file.parent.name}-{side.name}"
    return replace(side, name=name, results=replace(side.results, name=name))


def _side(
    role: str,
    given: str | Path,
    surroundings: Surroundings,
    *,
    results: bool = False,
    suite: str | Path | None = None,
) -> SideSource:
    blessed = _blessed(role, given, surroundings, suite)
    if blessed is not None:
        return blessed
    try:
        path, part = split_part(str(given), surroundings.paths)
    except SpecError as error:
        if role == "candidate":
            raise
        without = (
            "without a baseline nothing can be compared"
            if role == "baseline"
            else "drift can only be told from what is there"
        )
        raise InvalidComparisonError(
            f"there is no {role} {str(given)!r}: {error}; {without}; give a candidate file or a run folder"
        ) from error
    if path.is_dir() and (is_run_folder(path) or (path / JOURNAL).exists()):
        folder = finished_run(path)
        return SideSource(
            name=read_manifest(folder)["name"], suite_path=suite_of(folder, surroundings.paths), folder=folder
        )
    if path.is_dir() or path.suffix not in (".yaml", ".yml"):
        found = read_results(path, surroundings.registry, part=part)
        if found is None and path.is_dir():
            finished_run(path)  # says what it is not
        if found is None:
            raise UsageError(
                f"{given}: not something to compare; give a candidate .yaml, a run folder (with a manifest.json), or a "
                "result file of a tool that has a reader (evalharness plugins)"
            )
        if not results:
            raise UsageError(
                f"{given}: a result file of {found.tool}, which has no use here; make a run of it with: "
                f"evalharness import {given}"
            )
        return SideSource(name=found.name, suite_path=None, results=found, file=path)
    model = load_candidate(path, paths=surroundings.paths, registry=surroundings.registry)
    return SideSource(name=model.name, suite_path=model.suite_path, model=model)


def _blessed(
    role: str, given: str | Path, surroundings: Surroundings, suite: str | Path | None
) -> SideSource | None:
    """The side that stands under a name; None where `given` is a path."""
    shelf = surroundings.shelf
    if shelf is None or not isinstance(given, str):
        return None
    now = datetime.fromisoformat(surroundings.how.now)
    named = str(suite) if suite is not None else None
    found = find_blessed(role, given, shelf, surroundings.paths, now, named)
    if found is None:
        return None
    blessed, folder = found
    suite = suite_of(folder, surroundings.paths)
    # what was blessed elsewhere may name a suite that is not here: then the other side names it
    here = suite if suite is not None and Path(suite).is_file() else None
    return SideSource(
        name=blessed.reference.partition("@")[0], suite_path=here, folder=folder, blessed=blessed
    )


def up_to_date(side: SideSource, suite: Suite, surroundings: Surroundings) -> SideSource:
    """A side, with a word on what moved since it was blessed.

    Raises:
        InvalidComparisonError: it did not answer what the suite asks now; with the commands that mend it.
    """
    if side.blessed is None or side.folder is None or surroundings.shelf is None:
        return side
    around = (surroundings.shelf, surroundings.paths, surroundings.registry)
    return replace(side, blessed=brought_up_to_date(side.blessed, side.folder, suite, *around))


def meet_sides(
    left: SideSource, right: SideSource, given: str | Path | None, surroundings: Surroundings
) -> tuple[SideSource, SideSource, Suite]:
    """Two sides that other tools collected as stored runs over the cases of both, and the suite they are bound to.

    Args:
        left: the baseline.
        right: the candidate.
        given: the path of a suite (`--suite`), None: that which the runs were imported with, else one of their tasks.
        surroundings: store, registry and the like.

    Raises:
        UsageError: a side is a candidate that would have to be asked, or has no tasks of other tools; or the runs name
            two suites. InvalidComparisonError, SpecError, StoreError: as `engine.imports.meet` does.
    """
    paths, how = surroundings.paths, surroundings.how
    sides = [_met(role, side, surroundings) for role, side in (("baseline", left), ("candidate", right))]
    path = paths.argument(str(given)) if given is not None else None
    if path is None:
        chosen = [s.suite_path for s in (left, right) if s.suite_path and not is_derived(s.suite_path, how)]
        path = _one_path(chosen, surroundings) if chosen else None
    bound = meet(sides, path, paths=paths, registry=surroundings.registry, how=how)
    first, second = (
        SideSource(name=side.results.name, suite_path=bound.suite.path, folder=folder)
        for side, folder in zip(sides, bound.folders, strict=True)
    )
    return first, second, bound.suite


def _met(role: str, side: SideSource, surroundings: Surroundings) -> Side:
    if side.results is not None and side.file is not None:
        shown = surroundings.paths.show(side.file)
        return Side(role, side.results, shown, digest(side.results.identity))
    if side.folder is None:
        raise UsageError(
            f"the {role} {side.name!r} is a candidate to be asked, and the other side is what another tool collected: "
            "their cases are not the same. Run both in that tool, or both here"
        )
    found = results_of_run(side.folder)
    if found is None:
        raise UsageError(
            f"{surroundings.paths.show(side.folder)}: the {role} answered golden sets, and the other side is what "
            "another tool collected: their cases are not the same"
        )
    about = read_manifest(side.folder)["candidate"]
    return Side(role, found, str(about.get("path") or surroundings.paths.show(side.folder)), about["digest"])


def refuse_replacing(stored: SideSource, asked: SideSource, surroundings: Surroundings) -> None:
    """Refuse a comparison whose new answers would be stored over the run they are compared with.

    So it would be where the plan does not tell the two apart: the user's own code under one name, or --fresh. The next
    comparison with that folder would then compare the new answers with themselves, and pass.

    Raises:
        UsageError: says what to rename.
    """
    folder, model = stored.folder, asked.model
    runs = surroundings.how.store.root / "runs"
    if folder is None or model is None or folder.parent.resolve() != runs.resolve():
        return
    provider = surroundings.registry.load("providers", model.provider)
    told_apart = provider.recorded or (provider.cacheable and not surroundings.how.fresh)
    manifest = read_manifest(folder)
    same = (
        folder.name.startswith(f"{slug(model.name)}-")
        and slug(manifest["name"]) == slug(model.name)  # `base-again-…` is no folder of `base`
        and manifest["candidate"]["digest"] == model.digest
    )
    if same and not told_apart:
        raise UsageError(
            f"{model.path}: its answers would replace the run they are compared with "
            f"({surroundings.paths.show(folder)}): same name, same settings; give this version another `name`, or copy "
            "that folder out of the store first"
        )


def finished_run(folder: str | Path) -> Path:
    """`folder`, which holds a finished run.

    Raises:
        StoreError: it does not; says how to get one.
    """
    path = Path(folder)
    if not path.is_dir():
        raise StoreError(f"{folder}: no such run folder")
    if not is_run_folder(path):
        unfinished = (path / JOURNAL).exists()
        raise StoreError(
            f"{folder}: "
            + (
                "this run is not finished; run its candidate again to resume it"
                if unfinished
                else "not a run folder (no manifest.json)"
            )
        )
    return path


def suite_of(folder: Path, paths: PathPolicy) -> str | None:
    """The path of the suite a stored run was made on, None where it is not known."""
    path = read_manifest(folder)["suite"].get("path")
    return str(paths.cwd / path) if path else None


def choose_suite(
    named: Sequence[str | None],
    given: str | Path | None,
    surroundings: Surroundings,
    *,
    stored: Sequence[Path | None] = (),
) -> Suite:
    """The one suite to use, complete: `given` (`--suite`), else what the sides name, which must agree.

    Args:
        named: paths of suites.
        given: the path of one, in their place.
        surroundings: where files and plugins are found.
        stored: for each side its run folder, None for one that is to be asked (`engine.prepare`).

    Raises:
        UsageError: none is named, or two, or a benchmark cannot be had. SpecError: the suite's files are wrong.
    """
    if given is not None:
        path = surroundings.paths.argument(str(given))
    else:
        path = _one_path([name for name in named if name is not None], surroundings)
    suite = load_suite(path, paths=surroundings.paths, registry=surroundings.registry)
    whole, told = prepare(
        suite,
        stored=stored,
        paths=surroundings.paths,
        registry=surroundings.registry,
        arrive=surroundings.how.arrival(suite),
    )
    for text in told:
        surroundings.how.progress.note(text)
    return whole


def _one_path(named: Sequence[str], surroundings: Surroundings) -> Path:
    paths = list(dict.fromkeys(str(Path(name).resolve()) for name in named))
    if not paths:
        raise UsageError(
            "no suite is named; add `suite: suites/NAME.yaml` to the candidate file or give --suite"
        )
    if len(paths) > 1:
        shown = " and ".join(surroundings.paths.show(Path(p)) for p in paths)
        raise UsageError(f"the two sides name different suites ({shown}); choose one with --suite")
    if not Path(paths[0]).exists():
        shown = surroundings.paths.show(Path(paths[0]))
        raise UsageError(f"the suite {shown} is not there; name it with --suite where it has moved")
    return surroundings.paths.argument(paths[0])


def _as_scored_by(suite: Suite, folder: Path, surroundings: Surroundings) -> Run:
    """A stored run as this suite scores it: as stored where the suite is unchanged, else scored again in memory.

    So is one that was stored where fewer keys were known than here, of which something is to be taken out.
    """
    stored = load_run(folder)
    moved = {g.name for g in suite.golden_sets if stored.golden_sets.get(g.name) != g.digest}
    answered = carried(folder, suite, stored.golden_sets) if moved else frozenset()
    arrive = surroundings.how.arrival(suite)
    same = stored.suite_digest == suite.digest and all(
        arrive.attempt(attempt) is attempt for group in stored.attempts.values() for attempt in group.values()
    )
    if same or moved - answered:
        return stored
    return rescore_folder(
        folder,
        suite,
        surroundings.registry,
        surroundings.how.store.scores,
        arrive=arrive,
        carried=answered,
    )
