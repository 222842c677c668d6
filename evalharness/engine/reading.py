"""Finding the reader of a result file, and reading it: one file, or a folder with a file for each task."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from evalharness._canon import canonical_json
from evalharness.content import PathPolicy
from evalharness.core.benchmarks import Reader, Results, TaskResults
from evalharness.errors import EvalHarnessError, PluginError, Problem, SpecError, UsageError
from evalharness.plugins import Registry

_HEAD_BYTES: Final = 65_536
_FALLBACK: Final = "table"
"""The reader of any table; a tool's own goes before it."""
_MOST_FILES: Final = 10_000


def split_part(text: str, paths: PathPolicy) -> tuple[Path, str | None]:
    """The file or folder that an argument means, and what stands behind an `@` after it (one side of a file).

    Raises:
        SpecError: there is none.
    """
    try:
        return paths.argument(text), None
    except SpecError:
        for place in reversed([place for place, letter in enumerate(text) if letter == "@" and place]):
            try:
                found = paths.argument(text[:place])
            except SpecError:
                continue
            if found.is_file():
                return found, text[place + 1 :]
        raise


def read_results(path: Path, registry: Registry, *, part: str | None = None) -> Results | None:
    """What a result file holds, or a folder of them; None where no reader knows it.

    Raises:
        SpecError: damaged, or not what it seems. UsageError: it holds several sides, or several readers claim it.
    """
    if path.is_dir():
        return _read_folder(path, registry)
    name = find_reader(path, registry)
    return (
        _read(name, path, registry, {"part": part} if part is not None else {}) if name is not None else None
    )


def read_table(path: Path, registry: Registry, mapping: Mapping[str, str]) -> Results:
    """A table whose columns are named by the user."""
    return _read(_FALLBACK, path, registry, {"mapping": mapping})


def find_reader(path: Path, registry: Registry) -> str | None:
    """The name of the reader that knows a file, None where there is none.

    Raises:
        SpecError: the file cannot be read. UsageError: several claim it.
    """
    names = registry.names("readers")
    readers: dict[str, type[Reader]] = {name: registry.load("readers", name) for name in names}
    fitting = {name: cls for name, cls in readers.items() if path.suffix.lower() in cls.suffixes}
    if not fitting:
        return None
    if not path.is_file():  # a pipe is gone once it is read, and may never end
        raise SpecError([Problem("is no regular file", str(path), hint="write it to a file first")])
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError as error:
        raise SpecError([Problem(f"cannot be read: {error.strerror or error}", str(path))]) from None
    if not head and fitting.keys() != {_FALLBACK}:
        raise SpecError([Problem("is empty", str(path))])
    found = [name for name, cls in fitting.items() if name != _FALLBACK and cls().reads(path, head)]
    if len(found) > 1:
        raise UsageError(
            f"{path}: it looks like a file of {' and of '.join(found)}; uninstall one of the readers"
        )
    if found:
        return found[0]
    table = fitting.get(_FALLBACK)
    return _FALLBACK if table is not None and table().reads(path, head) else None


def _read(name: str, path: Path, registry: Registry, options: Mapping[str, Any]) -> Results:
    cls = registry.load("readers", name)
    takes = inspect.signature(cls).parameters
    for option in options:
        if option not in takes:
            raise UsageError(f"{path}: a file of {name} holds one side; leave @{options[option]} out")
    try:
        found: Results = cls(**options).read(path)
    except EvalHarnessError:
        raise
    except Exception as error:
        raise PluginError(
            f"reader {name!r} cannot read {path}: {type(error).__name__}: {str(error)[:300]}"
        ) from error
    return found


def _read_folder(folder: Path, registry: Registry) -> Results | None:
    """The files of a folder as one side with a task each.

    Tables are left out: any of a project's own files could be one.
    """
    inner = list(folder.iterdir())
    if (
        len(inner) == 1 and inner[0].is_dir()
    ):  # `lm_eval --output_path` puts a folder with the model's name there
        found = _read_folder(inner[0], registry)
        return replace(found, name=folder.name) if found is not None else None
    files = sorted(file for file in inner if file.is_file() and not file.name.startswith("."))
    if len(files) > _MOST_FILES:
        raise UsageError(f"{folder}: it holds {len(files):,} files; give a file")
    parts: list[tuple[Path, Results]] = []
    problems: list[Problem] = []
    for file in files:
        try:
            name = find_reader(file, registry)
            if name is not None and name != _FALLBACK:
                parts.append((file, _read(name, file, registry, {})))
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(problems)
    return joined(folder.name, parts) if parts else None


def joined(name: str, parts: Sequence[tuple[Path, Results]]) -> Results:
    """Several files of one candidate as one side.

    Raises:
        UsageError: they are of two tools or candidates, or a task stands in two of them.
    """
    if len(parts) == 1:
        return parts[0][1]
    first_file, first = parts[0]
    tasks: dict[str, TaskResults] = {}
    homes: dict[str, Path] = {}
    for file, part in parts:
        for what, own, other in (("tools", first.tool, part.tool), ("models", first.model, part.model)):
            if own != other:
                raise UsageError(
                    f"{first_file.parent}: its files are of two {what} ({own or 'unknown'} in {first_file.name}, "
                    f"{other or 'unknown'} in {file.name}); give a file, or a folder with those of one candidate"
                )
        for task, results in part.tasks.items():
            if task in tasks:
                raise UsageError(
                    f"{file.parent}: two files hold the task {task!r} ({homes[task].name} and {file.name}); give one "
                    "of them"
                )
            tasks[task], homes[task] = results, file
    return replace(
        first,
        name=name,
        identity={canonical_json(sorted(part.tasks)): part.identity for _, part in parts},
        tasks=tasks,
        warnings=tuple(dict.fromkeys(text for _, part in parts for text in part.warnings)),
        facts={"files": {file.name: dict(part.facts) for file, part in parts}},
    )
