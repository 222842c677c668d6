"""This machine: versions, extras, disk, the store, the response cache."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from importlib.metadata import version as installed
from typing import Final

from evalharness.api.settings import Settings, version
from evalharness.core.diagnosis import Finding, State
from evalharness.errors import StoreError

LEAST_FREE_BYTES: Final = 1 << 30
"""Less free disk than this is a warning: a run folder of long answers takes hundreds of megabytes."""
_REQUIREMENT: Final = re.compile(r"^([A-Za-z0-9._-]+).*;.*\bextra\s*==\s*['\"]([a-z0-9_-]+)['\"]")
_AREA: Final = "surroundings"


def machine(use: Settings) -> Iterator[Finding]:
    """What a run needs of the machine it runs on."""
    yield _found("evalharness", "ok", f"{version()} on Python {platform.python_version()}, {sys.platform}")
    yield from _store(use)
    yield from _cache(use)
    yield from _extras()


def _found(about: str, state: State, text: str, fix: str = "", area: str = _AREA) -> Finding:
    return Finding(area=area, about=about, state=state, text=text, fix=fix)


def _store(use: Settings) -> Iterator[Finding]:
    store = use.surroundings.how.store.root
    shown = use.paths.show(store)
    nearest = next(place for place in (store, *store.parents) if place.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        yield _found("store", "problem", f"{shown} cannot be written", "choose another with --store DIR")
        return
    free = shutil.disk_usage(nearest).free
    low = free < LEAST_FREE_BYTES
    fix = "make room, or choose another with --store DIR" if low else ""
    yield _found("disk", "warning" if low else "ok", f"{free / 2**30:.1f} GiB free at {shown}", fix)


def _cache(use: Settings) -> Iterator[Finding]:
    """Whether the response cache can be read. A damaged one ends a run before its first call."""
    from evalharness.store.cache import cache_size

    path = use.surroundings.how.store.cache_path
    try:
        answers = cache_size(path)
    except StoreError as error:
        fix = f"rm {shlex.quote(str(path))}   (it only saves calls)"
        yield _found("response cache", "problem", str(error).partition(";")[0], fix)
        return
    if answers is not None:
        size = path.stat().st_size / 2**20
        yield _found("response cache", "ok", f"{answers:,} answers, {size:,.1f} MiB")


def _extras() -> Iterator[Finding]:
    """Each extra: installed with which versions, or missing with the command that installs it."""
    try:
        lines = requires("evalharness") or []
    except PackageNotFoundError:
        return
    extras: dict[str, list[str]] = {}
    for line in lines:
        match = _REQUIREMENT.match(line)
        if match is not None and match[2] != "all":
            extras.setdefault(match[2], []).append(match[1])
    for extra, names in extras.items():
        have = {name: found for name in names if (found := _version(name)) is not None}
        missing = [name for name in names if name not in have]
        if missing:
            fix = f"pip install 'evalharness[{extra}]'   (where it is needed)"
            yield _found(extra, "note", f"not installed ({', '.join(missing)})", fix, "extras")
        else:
            told = ", ".join(f"{name} {found}" for name, found in have.items())
            yield _found(extra, "ok", told, area="extras")


def _version(name: str) -> str | None:
    try:
        return installed(name)
    except PackageNotFoundError:
        return None
