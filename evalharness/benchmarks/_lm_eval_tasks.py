"""lm-eval's tasks by name or file: found, checked and loaded, with their data."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from evalharness.benchmarks._lm_eval_calm import library
from evalharness.benchmarks._lm_eval_trust import check_files
from evalharness.benchmarks._names import listed, nearest
from evalharness.errors import EvalHarnessError, MissingExtraError, UsageError

_SAID: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a suite asks of lm-eval. `seed` draws few-shot examples."""

    task: str
    limit: int | float | None
    num_fewshot: int | None
    include_path: str | None
    only_local: bool
    trust_code: bool
    gen_kwargs: Mapping[str, Any]
    seed: int

    @property
    def key(self) -> str:
        """The same for the same wish."""
        return repr(self)

    @property
    def file(self) -> Path | None:
        """The task's file, where it is not a name."""
        return Path(self.task) if self.task.endswith((".yaml", ".yml")) else None

    @property
    def shown(self) -> str:
        """The task as messages call it."""
        return self.file.name if self.file is not None else self.task


@dataclass(slots=True, kw_only=True)
class Found:
    """lm-eval's task objects by name in its order.

    `groups` says of a task which group it belongs to inside the one that was asked for.
    """

    tasks: dict[str, Any]
    groups: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def find(wanted: Wanted) -> Found:
    """Load the task, or every task of a group. Called inside `calm`.

    Raises:
        UsageError: there is no such task, it cannot be asked here, or its data cannot be had.
        SpecError: a task file of the user's would run code.
        MissingExtraError: a task needs a library that is not installed.
    """
    manager, files = _manager(wanted)
    root = wanted.file.parent if wanted.file is not None else wanted.include_path
    if root is not None and not wanted.trust_code:
        check_files(files, root=Path(root), own=_own_folder())
    try:
        loaded = manager.load(str(wanted.file) if wanted.file is not None else wanted.task)
    except Exception as error:
        raise _explained(error, wanted, manager) from error
    found = Found(tasks=dict(loaded["tasks"]))
    top = _top_group(loaded)
    for group, children in (loaded.get("group_map") or {}).items():
        if group != top:
            found.groups |= {child: group for child in children if child in found.tasks}
    if not found.tasks:
        raise UsageError(f"lm-eval's {wanted.shown!r} holds no task")
    for name, task in found.tasks.items():
        _settle(name, task, wanted, found.warnings)
    return found


def _top_group(loaded: Mapping[str, Any]) -> str | None:
    groups = loaded.get("group_map") or {}
    inner = {child for children in groups.values() for child in children}
    return next((group for group in groups if group not in inner), None)


def _settle(name: str, task: Any, wanted: Wanted, warnings: list[str]) -> None:
    """Few-shot and decoding as the suite wants them, as lm-eval's own command line sets them."""
    if getattr(task, "MULTIMODAL", False):
        raise UsageError(f"lm-eval task {name!r} shows images or plays sound; only texts can be asked here")
    if getattr(task, "UNSAFE_CODE", False):
        raise _unsafe(name)
    own = task.get_config("num_fewshot")
    if wanted.num_fewshot is None:
        if own is None:
            task.set_config("num_fewshot", 0)
    elif own == 0 and wanted.num_fewshot != 0:
        # lm-eval's rule: 0 in a task's file is meant
        warnings.append(f"{name} allows no few-shot examples: num_fewshot {wanted.num_fewshot} is not used")
    else:
        task.set_config("num_fewshot", wanted.num_fewshot)
    if wanted.gen_kwargs and task.OUTPUT_TYPE == "generate_until":
        task.set_config("generation_kwargs", dict(wanted.gen_kwargs), update=True)


def _unsafe(name: str) -> UsageError:
    return UsageError(
        f"lm-eval task {name!r} runs what the model writes, without a sandbox; use the scorer pass@1 over a golden "
        "set, or the same benchmark of Inspect's"
    )


# --- finding -------------------------------------------------------------------------------------------------------


def _manager(wanted: Wanted) -> tuple[Any, list[Path]]:
    """A task manager that knows the task, and the files of the tasks that are reached from it.

    The index of all tasks that ship takes ten seconds to make, so it is left out where the user's own files are enough,
    or the folder of lm-eval's that defines the task. A tag gathers tasks from anywhere, and needs the whole.
    """
    managers = library("lm_eval.tasks").TaskManager
    folder = wanted.include_path
    start = _start(wanted)
    manager = managers(include_path=folder, include_defaults=False)
    reached = _reach(manager.task_index, start)
    if reached.missing and not wanted.only_local and folder is None and wanted.file is None:
        manager = managers(include_path=_folders_of(wanted.task), include_defaults=False)
        reached = _reach(manager.task_index, start)
    if (reached.missing or reached.tags) and not wanted.only_local:
        manager = _defaults() if folder is None else managers(include_path=folder)
        reached = _reach(manager.task_index, start)
    if wanted.task in reached.missing:
        hint = nearest(wanted.task, manager.all_tasks)
        raise UsageError(
            "; ".join(
                part for part in (f"lm-eval has no task {wanted.task!r}", *_unreadable(wanted), hint) if part
            )
        )
    if reached.unsafe:  # before it is loaded: some fetch the code that runs code
        raise _unsafe(reached.unsafe[0])
    return manager, [*([wanted.file] if wanted.file is not None else []), *reached.files]


@functools.lru_cache(maxsize=1)
def _defaults() -> Any:
    return library("lm_eval.tasks").TaskManager()


def _folders_of(name: str) -> list[Path]:
    """Folders among lm-eval's tasks with a file that defines the task or group `name`."""
    line = re.compile(
        rb"^[\"']?(?:task|group)[\"']?:[ \t]*[\"']?"
        + re.escape(name.encode())
        + rb"[\"']?[ \t]*(?:#.*)?\r?$",
        re.M,
    )
    own = _own_folder()
    found: dict[Path, None] = {}
    for path in sorted(own.rglob("*.yaml")):
        with contextlib.suppress(OSError):
            if line.search(path.read_bytes()):
                found[own / path.relative_to(own).parts[0]] = None
    return [folder for folder in found if folder.is_dir()]


def _start(wanted: Wanted) -> Mapping[str, Any]:
    """What is asked for, as a group."""
    if wanted.file is None:
        return {"group": "", "task": [wanted.task]}
    try:
        config = _read(wanted.file)
    except Exception as error:
        raise UsageError(f"{wanted.shown} cannot be read as a task: {_said(error)}") from error
    return config


def _read(path: Path) -> dict[str, Any]:
    """A task file as data, with what it includes; functions are not looked up."""
    config: dict[str, Any] = library("lm_eval.tasks._yaml_loader").load_yaml(path, resolve_func=False)
    return config


@dataclass(slots=True)
class _Reached:
    """What loading a task touches: files, data sets, and names that nothing stands for."""

    files: list[Path] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unsafe: list[str] = field(default_factory=list)
    tags: bool = False


def _reach(index: Mapping[str, Any], config: Mapping[str, Any]) -> _Reached:
    reached = _Reached()
    seen: set[str] = set()
    configs = [config]
    while configs:
        item = configs.pop(0)
        if "group" not in item:
            if item.get("unsafe_code"):
                reached.unsafe.append(str(item.get("task")))
            data = " ".join(str(item[key]) for key in ("dataset_path", "dataset_name") if item.get(key))
            if data and data not in reached.data:
                reached.data.append(data)
            continue
        for name, inline in _members(item):
            if name in seen:
                continue
            seen.add(name)
            entry = index.get(name)
            if entry is None:
                if inline is not None:
                    configs.append(inline)
                else:
                    reached.missing.append(name)
                continue
            if entry.yaml_path is not None:
                reached.files.append(entry.yaml_path)
            if entry.yaml_path is None and entry.tags:
                reached.tags = True
                configs.append({"group": name, "task": sorted(entry.tags)})
            else:
                configs.append(entry.cfg or {})
    return reached


def _members(group: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """(name, definition where it stands in the group itself) of each member."""
    members = group.get("task")
    for member in members if isinstance(members, list) else []:
        if isinstance(member, str):
            yield member, None
        elif isinstance(member, Mapping):
            name = member.get("group") or member.get("task")
            defined = any(key in member for key in ("dataset_path", "doc_to_text")) or isinstance(
                member.get("task"), list
            )
            if isinstance(name, str):
                yield name, member if defined else None


def _own_folder() -> Path:
    return Path(str(library("lm_eval.tasks").__file__)).resolve().parent


def _unreadable(wanted: Wanted) -> list[str]:
    """What is wrong with files of the user's folder, which lm-eval passes over without a word."""
    if wanted.include_path is None:
        return []
    folder = Path(wanted.include_path)
    found = []
    for path in sorted(folder.rglob("*.yaml")):
        try:
            _read(path)
        except Exception as error:  # noqa: BLE001 - whatever lm-eval's loader stumbles over
            found.append(f"{path.relative_to(folder)} cannot be read: {_said(error)}")
    return found[:3]


# --- what went wrong -----------------------------------------------------------------------------------------------


def _explained(error: Exception, wanted: Wanted, manager: Any) -> EvalHarnessError:
    """What loading raised, as a sentence for the user."""
    name = wanted.shown
    chain = list(_chain(error))
    for link in chain:
        if isinstance(link, EvalHarnessError):
            return link
        if isinstance(link, ModuleNotFoundError) and link.name:
            return MissingExtraError(
                f"lm-eval task {name!r} needs the library {link.name}, which is not installed: "
                f"pip install {link.name.partition('.')[0]}"
            )
    said = _said(error)
    if isinstance(error, ValueError) and "must have valid or test docs" in said:
        return UsageError(
            f"lm-eval task {name!r} names neither a test nor a validation split: nothing to ask"
        )
    if isinstance(error, KeyError) and error.args:
        return UsageError(f"lm-eval task {name!r} names {error.args[0]!r}, which its data or lm-eval lacks")
    if isinstance(error, IndexError):
        return UsageError(f"lm-eval task {name!r} has no cases: the split it asks is empty")
    if _is_about_data(chain):
        data = _reach(manager.task_index, _start(wanted)).data
        which = [item for item in data if item.split()[0] in said] or data
        return UsageError(
            f"the data of lm-eval task {name!r}{f' ({listed(which, most=3)})' if which else ''} cannot be had: {said}; "
            "run the task once on a machine with network access and bring its cache (HF_HOME), or write a task file "
            "whose data_files lie beside it (include_path)"
        )
    return UsageError(f"lm-eval cannot load {name!r}: {type(error).__name__}: {said}")


def _is_about_data(chain: list[BaseException]) -> bool:
    trouble = (OSError, library("datasets.exceptions").DatasetsError)
    return any(isinstance(link, trouble) or "offline" in str(link).lower() for link in chain)


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    for _ in range(20):
        if link is None:
            return
        yield link
        link = link.__cause__ or link.__context__


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:_SAID].rstrip(". ")
