"""What every verb needs to know about its surroundings, and the version it runs under."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _installed_version
from pathlib import Path
from typing import Final

from evalharness.baselines.places import DEFAULT
from evalharness.baselines.shelf import Shelf
from evalharness.content import PathPolicy
from evalharness.engine.asking import Collecting
from evalharness.engine.progress import Progress, Silent
from evalharness.engine.sides import Surroundings
from evalharness.plugins import Registry, default_registry
from evalharness.store.folder import Store

DEFAULT_SEED: Final = 20260101
"""The seed of every command that is not given one: the same inputs give the same verdict."""


def _utc_now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the edge: everything below is handed the time


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every verb needs to know about its surroundings.

    Attributes:
        cwd: the working directory that relative paths start from.
        store: folder of runs and cache; None: `.evalharness` in `cwd`.
        baselines: where blessed baselines are: a folder or a URL that fsspec knows; None: `baselines` in `cwd`.
        allow: folders that paths in files may reach beside `cwd`.
        seed: of every random draw.
        fresh: ask everything again, whatever is stored.
        progress: listens to runs.
        now: the clock, for manifests, rotation dates and what has expired: waivers and blessings.
        commit: of the user's own code, where somebody vouches for it; "" otherwise (`engine.asking.Collecting`).
        environ: the environment, whose keys are taken out of reports, and of what a suite stores redacted.
    """

    cwd: Path = field(default_factory=Path.cwd)
    store: Path | None = None
    baselines: str | None = None
    allow: tuple[Path, ...] = ()
    seed: int = DEFAULT_SEED
    fresh: bool = False
    progress: Progress = field(default_factory=Silent)
    now: Callable[[], datetime] = _utc_now
    commit: str = ""
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @cached_property
    def registry(self) -> Registry:
        """Everything installed."""
        return default_registry()

    @property
    def paths(self) -> PathPolicy:
        """Where paths may lead."""
        return PathPolicy(cwd=self.cwd, allow=self.allow)

    @property
    def surroundings(self) -> Surroundings:
        """What the engine needs to know of all this."""
        how = Collecting(
            store=Store(self.store if self.store is not None else self.cwd / ".evalharness"),
            seed=self.seed,
            fresh=self.fresh,
            now=self.now().isoformat(timespec="seconds"),
            version=version(),
            progress=self.progress,
            environ=self.environ,
            commit=self.commit,
        )
        return Surroundings(paths=self.paths, registry=self.registry, how=how, shelf=self.shelf(how.store))

    def shelf(self, store: Store) -> Shelf:
        """Where blessed baselines are; `store` keeps what is fetched from there."""
        return Shelf(self.baselines or DEFAULT, self.cwd, store.root / "baselines", store.prepare)


def version() -> str:
    """The installed version of this package."""
    try:
        return _installed_version("evalharness")
    except PackageNotFoundError:
        return "0+uninstalled"
