"""The verbs: what the command line does, as functions. Synchronous, usable from a notebook.

import evalharness
verdict = evalharness.compare("base.yaml", "candidate.yaml")
verdict.outcome, verdict.exit_code
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from evalharness.content import PathPolicy
from evalharness.core.attempts import Attempt as Attempt
from evalharness.core.candidates import Candidate
from evalharness.core.cases import GoldenSet
from evalharness.core.comparisons import Comparison
from evalharness.core.runs import Run
from evalharness.core.suites import Suite
from evalharness.core.verdicts import Verdict
from evalharness.engine.progress import Progress as Progress
from evalharness.engine.progress import Silent as Silent
from evalharness.errors import InvalidComparisonError, Problem, SpecError, StoreError, UsageError
from evalharness.plugins import Entry, Registry, default_registry
from evalharness.spec.load import load_candidate as _load_candidate
from evalharness.spec.load import load_golden_set as _load_golden_set
from evalharness.spec.load import load_suite as _load_suite
from evalharness.spec.load import suite_warnings
from evalharness.store.files import explain, read_json, slug, write_json
from evalharness.store.folder import Store, is_run_folder, read_manifest, save_scores
from evalharness.store.folder import load_run as _load_run

if TYPE_CHECKING:
    from evalharness.spec.golden import Finding

DEFAULT_SEED: Final = 20260101
"""The seed of every command that is not given one: the same inputs give the same verdict."""

MANIFEST: Final = "manifest.json"
"""Beside comparison.json: where the two runs lie, for `report`, and what they cost, when and where they were made."""


def _utc_now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the edge: everything below is handed the time


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every verb needs to know about its surroundings.

    Attributes:
        cwd: the working directory that relative paths start from.
        store: folder of runs and cache; None: `.evalharness` in `cwd`.
        allow: folders that paths in files may reach beside `cwd`.
        seed: of every random draw.
        fresh: ask everything again, whatever is stored.
        progress: listens to runs.
        now: the clock, for manifests and rotation dates; no verdict depends on it.
    """

    cwd: Path = field(default_factory=Path.cwd)
    store: Path | None = None
    allow: tuple[Path, ...] = ()
    seed: int = DEFAULT_SEED
    fresh: bool = False
    progress: Progress = field(default_factory=Silent)
    now: Callable[[], datetime] = _utc_now

    @cached_property
    def registry(self) -> Registry:
        """Everything installed."""
        return default_registry()

    @property
    def paths(self) -> PathPolicy:
        """Where paths may lead."""
        return PathPolicy(cwd=self.cwd, allow=self.allow)

    @property
    def place(self) -> Store:
        """Where runs lie."""
        return Store(self.store if self.store is not None else self.cwd / ".evalharness")


def load_suite(path: str | Path, settings: Settings | None = None) -> Suite:
    """Read a suite with its golden sets.

    Raises:
        SpecError: with every problem in every file.
    """
    use = settings or Settings()
    return _load_suite(use.paths.argument(str(path)), paths=use.paths, registry=use.registry)


def load_candidate(path: str | Path, settings: Settings | None = None) -> Candidate:
    """Read a candidate file.

    Raises:
        SpecError: with every problem.
    """
    use = settings or Settings()
    return _load_candidate(use.paths.argument(str(path)), paths=use.paths, registry=use.registry)


def load_golden_set(path: str | Path, settings: Settings | None = None) -> GoldenSet:
    """Read a golden set folder; changed cases under an unchanged lock are refused.

    Raises:
        SpecError: with every problem.
    """
    use = settings or Settings()
    return _load_golden_set(use.paths.argument(str(path)), paths=use.paths)


def load_run(folder: str | Path) -> Run:
    """Read a stored run.

    Raises:
        StoreError: not a run folder, damaged, or edited after it was written.
    """
    return _load_run(Path(folder))


def run(
    candidate: str | Path, *, suite: str | Path | None = None, settings: Settings | None = None
) -> tuple[Run, Path]:
    """Answer and score a suite with one candidate.

    Returns:
        The run and its folder.

    Raises:
        SpecError, UsageError, ProviderError, StoreError.
    """
    use = settings or Settings()
    model = load_candidate(candidate, use)
    chosen = _suite_for([model.suite_path], suite, use)
    return _collect(chosen, model, use)


def write_outputs(run: Run, path: str | Path) -> None:
    """Write the answers of a run in the format that `provider: replay` reads."""
    from evalharness.providers.replay import write_outputs as write

    write(Path(path), [a for group in run.attempts.values() for a in group.values()])


def compare(
    baseline: str | Path,
    candidate: str | Path,
    *,
    suite: str | Path | None = None,
    settings: Settings | None = None,
) -> Verdict:
    """Run or load both sides, compare them and decide.

    Either side is a candidate file or a run folder. The verdict's `exit_code` is what the command line exits with.

    Raises:
        InvalidComparisonError: there is no baseline. SpecError, UsageError, ProviderError, StoreError.
    """
    use = settings or Settings()
    return _compare(*_sides(baseline, candidate, use), suite, use)[0]


def compare_to(
    out: str | Path | None,
    baseline: str | Path,
    candidate: str | Path,
    *,
    suite: str | Path | None = None,
    settings: Settings | None = None,
) -> tuple[Verdict, Mapping[str, Path]]:
    """`compare`, and write the reports to `out` (default `reports/<base>-vs-<candidate>`).

    The reports of an earlier comparison there are removed first: a comparison that fails leaves no old verdict behind.

    Returns:
        The verdict and the written files by name.
    """
    use = settings or Settings()
    if out is not None:
        _clear_report(Path(out))
    left, right = _sides(baseline, candidate, use)
    folder = (
        Path(out) if out is not None else use.cwd / "reports" / f"{slug(left.name)}-vs-{slug(right.name)}"
    )
    _clear_report(folder)
    verdict, manifest = _compare(left, right, suite, use)
    written = dict(render(verdict, folder))
    write_json(folder / MANIFEST, manifest)
    return verdict, written


def render(verdict: Verdict, out: str | Path) -> Mapping[str, Path]:
    """Write comparison.json, report.html, summary.md and junit.xml.

    Raises:
        StoreError: the folder cannot be written.
    """
    from evalharness.report.write import write_report

    return write_report(verdict, Path(out))


def table(verdict: Verdict, *, width: int = 100, color: bool = False) -> str:
    """The terminal table with the verdict and its reasons."""
    from evalharness.report.terminal import render_terminal

    return render_terminal(verdict, width=width, color=color)


def comparison_json(verdict: Verdict) -> str:
    """The text of comparison.json."""
    from evalharness.report.comparison_json import comparison_json as to_json

    return to_json(verdict)


def rerender(
    folder: str | Path, *, out: str | Path | None = None, settings: Settings | None = None
) -> tuple[Verdict, Mapping[str, Path]]:
    """Render the reports of an earlier comparison again, from its stored runs and without a call.

    Raises:
        StoreError: `folder` is not a report folder, or its runs are gone or were replaced.
    """
    use = settings or Settings()
    place = Path(folder) / MANIFEST
    if not place.is_file():
        raise StoreError(f"{folder}: no {MANIFEST} in it; give the --out folder of an earlier compare")
    manifest = _read_report_manifest(place)
    runs = []
    for role in ("baseline", "candidate"):
        run_folder = use.cwd / manifest[role]["folder"]
        if not is_run_folder(run_folder):
            raise StoreError(f"{run_folder}: the run of this report is gone; run compare again")
        if read_manifest(run_folder)["run_id"] != manifest[role]["run_id"]:
            raise StoreError(
                f"{run_folder}: another run has taken the place of the {role}; run compare again"
            )
        runs.append(run_folder)
    again = replace(use, seed=manifest["seed"])
    confirming = use.cwd / manifest["critical"] if manifest.get("critical") else None
    sides = _sides(runs[0], runs[1], again)
    verdict, same_manifest = _compare(*sides, manifest["suite"], again, confirming)
    target = Path(out) if out is not None else Path(folder)
    written = render(verdict, target)
    write_json(target / MANIFEST, same_manifest)
    return verdict, written


def rescore(folder: str | Path, *, suite: str | Path | None = None, settings: Settings | None = None) -> Run:
    """Score the stored answers of a run again, with the suite as it is now and without a call, and store the result.

    Raises:
        StoreError: not a run folder. InvalidComparisonError: the run answered other golden sets than the suite's.
    """
    use = settings or Settings()
    place = _run_folder(folder)
    chosen = _suite_for([_suite_of(place, use)], suite, use)
    scored = _rescored(place, chosen, use)
    save_scores(place, scored)
    return scored


def check_golden_set(
    path: str | Path, *, allow_small: bool = False, settings: Settings | None = None
) -> Sequence[Finding]:
    """Everything doubtful about a golden set: size, duplicates, targets, slices, rotation, card, lock."""
    from evalharness.spec.golden import check_golden_set as check

    use = settings or Settings()
    return check(
        use.paths.argument(str(path)),
        paths=use.paths,
        today=use.now().date(),
        allow_small=allow_small,
    )


def lock_golden_set(path: str | Path, settings: Settings | None = None) -> str:
    """Write the digest of the cases into card.yaml; returns it.

    Raises:
        SpecError: the cases changed and the version did not.
    """
    from evalharness.spec.golden import lock_golden_set as lock

    use = settings or Settings()
    return lock(use.paths.argument(str(path)), paths=use.paths)


def validate(paths: Sequence[str | Path], settings: Settings | None = None) -> list[Problem]:
    """Every problem in these files and in the files they name."""
    from evalharness.spec.load import validate as check

    use = settings or Settings()
    return check([str(p) for p in paths], paths=use.paths, registry=use.registry)


def json_schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of a file kind: candidate, suite, card, case, judge, outputs."""
    from evalharness.spec.json_schema import json_schema as schema

    return schema(kind)


def schema_kinds() -> list[str]:
    """The file kinds `json_schema` knows."""
    from evalharness.spec.json_schema import KINDS

    return sorted(KINDS)


def scaffold(directory: str | Path) -> list[Path]:
    """Write a starter suite, golden set, judge and two candidates that run at once.

    Raises:
        UsageError: something there would be overwritten.
    """
    from evalharness.spec.scaffold import scaffold as write

    return write(Path(directory))


def plugins() -> list[Entry]:
    """Everything installed, built-in or not."""
    return default_registry().entries()


def version() -> str:
    """The installed version of this package."""
    try:
        return _installed_version("evalharness")
    except PackageNotFoundError:
        return "0+uninstalled"


def plain(text: str) -> str:
    """Text made safe for a terminal: control and direction-changing characters removed."""
    from evalharness.report.text import strip_control

    return strip_control(text)


# --- how the verbs above find their inputs ---------------------------------------------------------------------


def _collect(suite: Suite, candidate: Candidate, use: Settings) -> tuple[Run, Path]:
    from evalharness.engine.collect import Collecting, collect

    how = Collecting(
        store=use.place,
        seed=use.seed,
        fresh=use.fresh,
        now=use.now().isoformat(timespec="seconds"),
        version=version(),
        progress=use.progress,
    )
    return collect(suite, candidate, use.registry, how)


def _compare(
    left: _SideSource,
    right: _SideSource,
    suite: str | Path | None,
    use: Settings,
    confirming: Path | None = None,
) -> tuple[Verdict, dict[str, Any]]:
    """The verdict, and the manifest of its report: where the runs lie and what they took.

    `confirming`: a stored run that asked the failed critical cases again.
    """
    from evalharness.analysis.compare import compare_runs
    from evalharness.analysis.confirm import confirm
    from evalharness.engine.scoring import build_scorers
    from evalharness.gate.decide import decide

    _refuse_replacing(left, right, use)
    _refuse_replacing(right, left, use)
    chosen = _suite_for([left.suite_path, right.suite_path], suite, use)
    first, first_folder = left.obtain(chosen)
    # read at once: the other side may be stored in the same folder
    first_about = _about_run(first_folder, use)
    second, second_folder = right.obtain(chosen)
    scorers = build_scorers(chosen, use.registry)
    comparison = compare_runs(chosen, first, second, scorers, seed=use.seed, warnings=suite_warnings(chosen))
    again: Path | None = None
    if comparison.critical and second.repeats == 1:
        again = confirming or _ask_critical_again(comparison, chosen, right.model, use)
    if again is not None:
        standing, recovered = confirm(chosen, comparison.critical, _load_run(again), scorers)
        comparison = replace(comparison, critical=standing, warnings=(*recovered, *comparison.warnings))
    manifest = {
        "schema_version": 1,
        "kind": "comparison",
        "baseline": first_about,
        "candidate": _about_run(second_folder, use),
        "suite": use.paths.show(Path(chosen.path)),
        "seed": use.seed,
        "critical": use.paths.show(again) if again is not None else None,
    }
    return decide(comparison, chosen.gate), manifest


def _ask_critical_again(
    comparison: Comparison, suite: Suite, candidate: Candidate | None, use: Settings
) -> Path | None:
    """More answers of a candidate that can still be asked to the critical cases it failed once; None: it cannot."""
    from evalharness.analysis.confirm import CONFIRM_REPEATS, critical_subset

    if candidate is None or use.registry.load("providers", candidate.provider).recorded:
        return None
    again = replace(candidate, name=f"{candidate.name}-critical", repeats=CONFIRM_REPEATS)
    return _collect(critical_subset(suite, comparison.critical), again, use)[1]


def _about_run(folder: Path, use: Settings) -> dict[str, Any]:
    """What a report's manifest says of a run: calls, tokens, money, times, versions, and where the rest is."""
    run = read_manifest(folder)
    facts = {
        key: run.get(key) for key in ("name", "run_id", "models_returned", "facts", "environment", "plugins")
    }
    return {"folder": use.paths.show(folder), **facts}


def _clear_report(folder: Path) -> None:
    """Remove what an earlier comparison wrote to `folder`.

    Raises:
        UsageError: a manifest.json there is not of a comparison (a run folder, somebody's project): nothing is touched.
    """
    from evalharness.report.write import FILES

    manifest = folder / MANIFEST
    try:
        if manifest.exists():
            try:
                kind = read_json(manifest).get("kind")
            except (StoreError, AttributeError):
                kind = None
            if kind != "comparison":
                raise UsageError(
                    f"{folder}: its {MANIFEST} is not of a comparison; choose another folder with --out"
                )
        for name in (*FILES, MANIFEST):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise explain(error, folder, "remove the reports of an earlier comparison") from error


@dataclass(frozen=True, slots=True)
class _SideSource:
    name: str
    suite_path: str | None
    obtain: Callable[[Suite], tuple[Run, Path]]
    folder: Path | None = None
    model: Candidate | None = None


def _refuse_replacing(stored: _SideSource, asked: _SideSource, use: Settings) -> None:
    """Refuse a comparison whose new answers would be stored over the run they are compared with.

    So it would be where the plan does not tell the two apart: the user's own code under one name, or --fresh. The next
    comparison with that folder would then compare the new answers with themselves, and pass.
    """
    folder, model = stored.folder, asked.model
    if folder is None or model is None or folder.parent.resolve() != (use.place.root / "runs").resolve():
        return
    provider = use.registry.load("providers", model.provider)
    told_apart = provider.recorded or (provider.cacheable and not use.fresh)
    same = (
        folder.name.startswith(f"{slug(model.name)}-")
        and read_manifest(folder)["candidate"]["digest"] == model.digest
    )
    if same and not told_apart:
        raise UsageError(
            f"{model.path}: its answers would replace the run they are compared with ({use.paths.show(folder)}): same "
            "name, same settings; give this version another `name`, or copy that folder out of the store first"
        )


def _sides(baseline: str | Path, candidate: str | Path, use: Settings) -> tuple[_SideSource, _SideSource]:
    """Both sides, with the problems of both files told at once."""
    problems: list[Problem] = []
    found: list[_SideSource] = []
    for role, given in (("baseline", baseline), ("candidate", candidate)):
        try:
            found.append(_side(role, given, use))
        except SpecError as error:
            problems.extend(error.problems)
    if problems:
        raise SpecError(list(dict.fromkeys(problems)))
    return found[0], found[1]


def _side(role: str, given: str | Path, use: Settings) -> _SideSource:
    try:
        path = use.paths.argument(str(given))
    except SpecError as error:
        if role == "baseline":
            raise InvalidComparisonError(
                f"there is no baseline {str(given)!r}: {error}; without a baseline nothing can be compared; "
                "give a candidate file or a run folder"
            ) from error
        raise
    if path.is_dir():
        folder = _run_folder(path)
        return _SideSource(
            read_manifest(folder)["name"],
            _suite_of(folder, use),
            lambda suite: (_comparable(folder, suite, use), folder),
            folder=folder,
        )
    if path.suffix not in (".yaml", ".yml"):
        raise UsageError(
            f"{given}: not something to compare; give a candidate .yaml or a run folder (with a manifest.json)"
        )
    model = load_candidate(path, use)
    return _SideSource(model.name, model.suite_path, lambda suite: _collect(suite, model, use), model=model)


def _read_report_manifest(place: Path) -> dict[str, Any]:
    manifest = read_json(place)
    sides = [manifest.get(role) for role in ("baseline", "candidate")] if isinstance(manifest, dict) else []
    whole = (
        bool(sides)
        and manifest.get("kind") == "comparison"
        and all(isinstance(s, dict) and isinstance(s.get("folder"), str) and s.get("run_id") for s in sides)
        and isinstance(manifest.get("suite"), str)
        and type(seed := manifest.get("seed")) is int
        and seed >= 0
        and isinstance(manifest.get("critical"), str | None)
    )
    if not whole:
        raise StoreError(f"{place}: damaged, or not of a comparison; run compare again")
    found: dict[str, Any] = manifest
    return found


def _run_folder(folder: str | Path) -> Path:
    path = Path(folder)
    if not path.is_dir():
        raise StoreError(f"{folder}: no such run folder")
    if not is_run_folder(path):
        unfinished = (path / "journal.jsonl").exists()
        raise StoreError(
            f"{folder}: "
            + (
                "this run is not finished; run its candidate again to resume it"
                if unfinished
                else "not a run folder (no manifest.json)"
            )
        )
    return path


def _suite_of(folder: Path, use: Settings) -> str | None:
    path = read_manifest(folder)["suite"].get("path")
    return str(use.cwd / path) if path else None


def _comparable(folder: Path, suite: Suite, use: Settings) -> Run:
    """A stored run as this suite scores it: as stored where the suite is unchanged, else scored again in memory."""
    stored = _load_run(folder)
    same_sets = all(stored.golden_sets.get(g.name) == g.digest for g in suite.golden_sets)
    if stored.suite_digest == suite.digest or not same_sets:
        return stored
    return _rescored(folder, suite, use)


def _rescored(folder: Path, suite: Suite, use: Settings) -> Run:
    from evalharness.engine.collect import rescore_folder

    return rescore_folder(folder, suite, use.registry)


def _suite_for(named: Sequence[str | None], given: str | Path | None, use: Settings) -> Suite:
    """The one suite to use: `--suite` where given, else what the sides name, which must agree."""
    if given is not None:
        return load_suite(given, use)
    paths = list(dict.fromkeys(str(Path(name).resolve()) for name in named if name is not None))
    if not paths:
        raise UsageError(
            "no suite is named; add `suite: suites/NAME.yaml` to the candidate file or give --suite"
        )
    if len(paths) > 1:
        shown = " and ".join(use.paths.show(Path(p)) for p in paths)
        raise UsageError(f"the two sides name different suites ({shown}); choose one with --suite")
    return load_suite(paths[0], use)
