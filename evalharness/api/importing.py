"""Results of other tools as stored runs, and a suite to begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalharness.api.settings import Settings
from evalharness.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """One file as a run: its folder, and what it holds, as JSON data."""

    folder: Path
    about: Mapping[str, Any]


def import_results(
    files: Sequence[str | Path],
    *,
    name: str | None = None,
    mapping: str | None = None,
    suite: str | Path | None = None,
    write_suite: str | Path | None = None,
    out: str | Path | None = None,
    settings: Settings | None = None,
) -> list[Imported]:
    """Make a run folder of each result file, so that comparisons can name it.

    Args:
        files: files of other tools, or folders with a file for each task of one candidate.
        name: what the run is called; None: as its file.
        mapping: for tables, which column is what: `id=question_id,score:accuracy=acc`.
        suite: a suite whose evals read these tasks; None: one that holds them all.
        write_suite: where a suite of these tasks is written, to be changed; the runs then name it.
        out: where the run goes; None: into the store.
        settings: surroundings.

    Raises:
        SpecError: a file is damaged, or not what it seems. UsageError: no reader knows it, it holds several sides, or
            something would be overwritten. StoreError: a run cannot be stored.
    """
    from evalharness._canon import digest
    from evalharness.engine.imports import Side, meet
    from evalharness.engine.reading import read_results, read_table, split_part
    from evalharness.readers.table import parse_mapping

    use = settings or Settings()
    _check_options(files, name, suite, write_suite, out)
    columns = parse_mapping(mapping) if mapping is not None else None
    sides: list[Side] = []
    for given in files:
        path, part = split_part(str(given), use.paths)
        if columns is not None:
            found = read_table(path, use.registry, columns)
        else:
            read = read_results(path, use.registry, part=part)
            if read is None:
                raise UsageError(
                    f"{given}: no reader knows this file (evalharness plugins lists them); a table with other columns "
                    "is read with --map id=COLUMN,score:NAME=COLUMN"
                )
            found = read
        found = replace(found, name=name) if name is not None else found
        sides.append(Side("candidate", found, use.paths.show(path), digest(found.identity)))
    around = use.surroundings
    rules = use.paths.argument(str(suite)) if suite is not None else None
    if write_suite is not None:
        rules = _write_suite(Path(use.cwd / write_suite), sides)
    imported = []
    for side in sides:
        bound = meet(
            [side],
            rules,
            paths=use.paths,
            registry=use.registry,
            how=around.how,
            out=use.cwd / out if out is not None else None,
        )
        folder = bound.folders[0]
        imported.append(Imported(folder=folder, about=_about(folder, bound.suite, use)))
    return imported


def _check_options(
    files: Sequence[str | Path],
    name: str | None,
    suite: str | Path | None,
    write_suite: str | Path | None,
    out: str | Path | None,
) -> None:
    if not files:
        raise UsageError("no file is given; evalharness import FILE")
    if len(files) > 1 and (name is not None or out is not None):
        raise UsageError("--as and --out go with one file; each file becomes a run of its own")
    if suite is not None and write_suite is not None:
        raise UsageError("--suite names a suite and --write-suite writes one; give one of them")
    if name is not None and (not name.strip() or not name.isprintable()):
        raise UsageError("--as must be a name of one line")


def _write_suite(path: Path, sides: Sequence[Any]) -> Path:
    from evalharness.engine.imports import suite_text
    from evalharness.store.files import write_text

    if path.exists():
        raise UsageError(f"{path}: exists already and is not overwritten; use --suite {path}")
    tasks: dict[str, Any] = {}
    for side in sides:
        for name, found in side.results.tasks.items():
            tasks.setdefault(name, found.task)
    write_text(path, suite_text(next(iter(tasks)) if len(tasks) == 1 else "results", tasks))
    return path


def _about(folder: Path, suite: Any, use: Settings) -> dict[str, Any]:
    from evalharness.store.folder import read_manifest

    manifest = read_manifest(folder)
    told = manifest["facts"]["imported"]
    return {
        "folder": use.paths.show(folder),
        "name": manifest["name"],
        "run_id": manifest["run_id"],
        "tool": told["tool"],
        "tool_version": told["tool_version"],
        "file": told["file"],
        "model": manifest["candidate"]["model"],
        "suite": suite.path,
        "repeats": manifest["repeats"],
        "coverage": manifest["coverage"],
        "warnings": manifest["warnings"],
        "tasks": [_task(item, suite, use) for item in suite.evals],
    }


def _task(item: Any, suite: Any, use: Settings) -> dict[str, Any]:
    from evalharness.engine.scoring import build_scorer

    metrics = []
    for spec in item.scorers:
        metric = build_scorer(spec, use.registry).metric
        rule = suite.gate.rule(f"{item.id}/{spec.id}")
        metrics.append(
            {
                "id": f"{item.id}/{spec.id}",
                "direction": metric.direction,
                "kind": metric.kind,
                "unit": metric.unit,
                "gates": not rule.advisory,
                "why": rule.why,
            }
        )
    card = item.golden_set.card
    return {
        "eval": item.id,
        "task": card.task,
        "version": card.version,
        "cases": len(item.golden_set.cases),
        "metrics": metrics,
    }
