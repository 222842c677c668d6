"""What a task file of the user's own may do: it is data, unless the suite says that its code may run.

A task's YAML can name Python functions, metrics that are fetched as code, data sets that are unpickled, and files
anywhere on the disk. lm-eval runs and reads all of it. Tasks that lm-eval ships are its own code and are not checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from evalharness.benchmarks._lm_eval_calm import library
from evalharness.benchmarks._names import listed
from evalharness.errors import Problem, SpecError

_FORMATS: Final = frozenset(("arrow", "csv", "json", "parquet", "text", "xml"))
"""Builders of `datasets` that read plain data. Others unpickle, query databases or unpack archives."""
_SAFE_TAGS: Final = "tag:yaml.org,2002:"
_SIZE: Final = 5_000_000
_REMOTE: Final = ("hf://", "https://")


def check_files(files: Iterable[Path], *, root: Path, own: Path) -> None:
    """Refuse task files that would run code or read elsewhere.

    Args:
        files: the YAML files of the tasks that are asked for, without what they include.
        root: the folder the user named; files are shown relative to it.
        own: lm-eval's folder of tasks.

    Raises:
        SpecError: every problem with its file and line.
    """
    problems: list[Problem] = []
    seen: set[Path] = set()
    for path in files:
        _check_file(path.resolve(), root.resolve(), own.resolve(), seen, problems)
    if problems:
        raise SpecError(problems)


def _check_file(path: Path, root: Path, own: Path, seen: set[Path], problems: list[Problem]) -> None:
    if path in seen or path.is_relative_to(own):
        return
    seen.add(path)
    shown = str(path.relative_to(root)) if path.is_relative_to(root) else path.name
    if not path.is_relative_to(root):
        hint = "move it there, or write trust_code: true beside the task"
        problems.append(Problem("is included from outside the folder of tasks", shown, hint=hint))
        return
    try:
        if path.stat().st_size > _SIZE:
            problems.append(Problem("is too large for a task file", shown))
            return
        text = path.read_text(encoding="utf-8")
        nodes = list(_nodes(yaml.compose(text, Loader=yaml.SafeLoader)))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        problems.append(Problem(f"cannot be read: {' '.join(str(error).split())[:200]}", shown))
        return
    for node in nodes:
        if not node.tag.startswith(_SAFE_TAGS):
            problems.append(_code(shown, node, f"`{node.tag}` names code, and a task file is data"))
    for key, value in _pairs(nodes):
        _check_value(key, value, shown, root, problems)
    for key, value in _pairs(nodes):
        if key.value == "include":
            for item in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if isinstance(item, yaml.ScalarNode):
                    _check_file((path.parent / item.value).resolve(), root, own, seen, problems)


def _check_value(
    key: yaml.ScalarNode, value: yaml.Node, shown: str, root: Path, problems: list[Problem]
) -> None:
    name = key.value
    if name in ("class", "custom_dataset", "use_prompt"):
        problems.append(_code(shown, key, f"`{name}` runs code of the task's own"))
    elif name == "trust_remote_code" and getattr(value, "value", "") not in ("false", "False"):
        problems.append(_code(shown, key, "`trust_remote_code` runs code of a data set's"))
    elif name == "hf_evaluate" and getattr(value, "value", "") not in ("false", "False"):
        problems.append(_code(shown, key, "`hf_evaluate` fetches a metric as code"))
    elif name == "metric" and isinstance(value, yaml.ScalarNode) and value.value not in _metrics():
        hint = f"lm-eval has {listed(sorted(_metrics()), most=30)}"
        problems.append(_code(shown, value, f"{value.value!r} is no metric of lm-eval's own", hint))
    elif name == "dataset_path" and isinstance(value, yaml.ScalarNode):
        # A text without a slash is one of the library's own builders, else a hub id or a folder.
        if "/" not in value.value and value.value not in _FORMATS and value.value in _builders():
            formats = f"use {listed(sorted(_FORMATS), 'or')}"
            problems.append(
                _code(shown, value, f"data of the format {value.value!r} is not plain data", formats)
            )
        elif value.value.startswith((".", "/", "~")):
            _check_path(value, shown, root, problems)
    elif name in ("data_files", "data_dir"):
        for node in _nodes(value):
            if isinstance(node, yaml.ScalarNode):
                _check_path(node, shown, root, problems, keys=_keys_of(value))


def _check_path(
    node: yaml.ScalarNode, shown: str, root: Path, problems: list[Problem], keys: frozenset[int] = frozenset()
) -> None:
    if id(node) in keys or node.value.startswith(_REMOTE):
        return
    place = (Path.cwd() / Path(node.value).expanduser()).resolve()
    if (
        "::" in node.value
        or "://" in node.value
        or not (place.is_relative_to(root) or place.is_relative_to(Path.cwd().resolve()))
    ):
        message = f"{node.value!r} leads out of the folder of tasks and the working directory"
        problems.append(_code(shown, node, message, "put the data beside the task"))


def _code(shown: str, node: yaml.Node, message: str, hint: str | None = None) -> Problem:
    trust = "write `trust_code: true` beside the task to allow it"
    return Problem(
        message,
        shown,
        node.start_mark.line + 1,
        node.start_mark.column + 1,
        hint=f"{hint}, or {trust}" if hint else trust,
    )


def _nodes(node: yaml.Node | None) -> Iterator[yaml.Node]:
    """Every node below, each once however often it is aliased."""
    seen: set[int] = set()
    stack = [node]
    while stack:
        item = stack.pop()
        if item is None or id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        if isinstance(item, yaml.MappingNode):
            stack.extend(part for pair in reversed(item.value) for part in reversed(pair))
        elif isinstance(item, yaml.SequenceNode):
            stack.extend(reversed(item.value))


def _pairs(nodes: Iterable[yaml.Node]) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    for node in nodes:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    yield key, value


def _keys_of(node: yaml.Node) -> frozenset[int]:
    return frozenset(id(key) for key, _ in _pairs(_nodes(node)))


def _metrics() -> Mapping[str, Any]:
    library("lm_eval.api.metrics")  # which registers them
    found: Mapping[str, Any] = library("lm_eval.api.registry").METRIC_REGISTRY
    return found


def _builders() -> frozenset[str]:
    return frozenset(library("datasets.packaged_modules")._PACKAGED_DATASETS_MODULES)
