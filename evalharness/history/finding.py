"""Run folders and report folders under given places. Manifests are read here, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from evalharness.errors import StoreError
from evalharness.store.comparisons import NAME as COMPARISON
from evalharness.store.files import read_json
from evalharness.store.folder import MANIFEST, is_run_folder, read_manifest

_DEEPEST: Final = 5
"""Folders below a given one that are looked into: `runs/<run>`, `artefacts/<job>/.evalharness/runs/<run>`."""
_CONFIRMING: Final = "-critical"
"""How a comparison calls the run that asked a few failed critical cases again: it is no run of the suite."""


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run folder with its manifest; `when` it was started."""

    folder: Path
    when: datetime
    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FoundReport:
    """A report folder with its manifest; `when` the run of each role was started."""

    folder: Path
    when: Mapping[str, datetime]
    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What was found, oldest first, and (folder, why) of what cannot be used. Copies of one run are one run."""

    runs: tuple[FoundRun, ...]
    reports: tuple[FoundReport, ...]
    skipped: tuple[tuple[Path, str], ...]


def find(places: Sequence[Path]) -> Catalogue:
    """Everything under `places`."""
    runs: dict[tuple[str, datetime], FoundRun] = {}
    reports: list[FoundReport] = []
    skipped: list[tuple[Path, str]] = []
    for folder in _folders(places):
        try:
            if is_run_folder(folder):
                run = _run(folder)
                runs.setdefault((run.manifest["run_id"], run.when), run)
            elif (folder / COMPARISON).is_file():
                reports.append(_report(folder))
        except StoreError as error:
            skipped.append((folder, str(error)))
    return Catalogue(
        runs=_in_time(_of_suites(list(runs.values()))),
        reports=tuple(sorted(reports, key=lambda report: (report.when["candidate"], str(report.folder)))),
        skipped=tuple(skipped),
    )


def narrowed(catalogue: Catalogue, since: datetime | None, anchor: FoundRun | None) -> Catalogue:
    """What was started at `since` or later, and whatever its age the run that others are held against."""
    runs, reports = catalogue.runs, catalogue.reports
    if since is not None:
        runs = tuple(run for run in runs if run.when >= since)
        reports = tuple(report for report in reports if report.when["candidate"] >= since)
    if anchor is not None and (runs or reports):
        ids = {(run.manifest["run_id"], run.when) for run in runs}
        if (anchor.manifest["run_id"], anchor.when) not in ids:
            runs = _in_time((anchor, *runs))
    return replace(catalogue, runs=runs, reports=reports)


def _in_time(runs: Iterable[FoundRun]) -> tuple[FoundRun, ...]:
    return tuple(sorted(runs, key=lambda run: (run.when, run.manifest["run_id"])))


def _of_suites(runs: list[FoundRun]) -> Iterator[FoundRun]:
    """The runs but those of judges, and those made to ask a few failed critical cases of another run again."""
    sets: dict[str, set[str]] = {}
    runs = [run for run in runs if not _of_a_judge(run.manifest)]
    for run in runs:
        sets.setdefault(run.manifest["name"], set()).update(run.manifest["golden_sets"].values())
    for run in runs:
        name = run.manifest["name"]
        whole = sets.get(name.removesuffix(_CONFIRMING), set())
        own = set(run.manifest["golden_sets"].values())
        if not name.endswith(_CONFIRMING) or not whole or own & whole:
            yield run


def _of_a_judge(manifest: Mapping[str, Any]) -> bool:
    """Whether a judge's replies are kept here: they were asked of no suite's file, and have no metric."""
    return not manifest["metrics"] and not manifest["suite"].get("path")


def _folders(places: Sequence[Path]) -> Iterator[Path]:
    """Every folder with a manifest, each once, in order of their paths; links to folders are not followed."""
    seen: set[str] = set()

    def below(place: Path, depth: int) -> Iterator[Path]:
        try:
            with os.scandir(place) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            return
        if any(entry.name == MANIFEST for entry in found):
            real = os.path.realpath(place)
            if real not in seen:
                seen.add(real)
                yield place
            return
        for entry in found:
            if depth < _DEEPEST and entry.is_dir(follow_symlinks=False):
                yield from below(place / entry.name, depth + 1)

    for place in places:
        yield from below(place, 0)


def _run(folder: Path) -> FoundRun:
    manifest = read_manifest(folder)
    return FoundRun(folder, _when(folder, manifest), manifest)


def _report(folder: Path) -> FoundReport:
    manifest = read_json(folder / MANIFEST)
    sides = (
        {role: manifest.get(role) for role in ("baseline", "candidate")} if isinstance(manifest, dict) else {}
    )
    if not sides or not all(isinstance(about, dict) for about in sides.values()):
        raise StoreError(f"{folder / MANIFEST}: damaged, or not of a comparison; run compare again")
    return FoundReport(folder, {role: _when(folder, about) for role, about in sides.items()}, manifest)


def _when(folder: Path, about: Any) -> datetime:
    environment = about.get("environment") if isinstance(about, dict) else None
    started = environment.get("started") if isinstance(environment, dict) else None
    try:
        when = datetime.fromisoformat(started if isinstance(started, str) else "")
    except ValueError:
        raise StoreError(f"{folder / MANIFEST}: does not say when its run was started") from None
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)
