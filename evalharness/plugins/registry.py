"""Registry: names to classes, built as a value and passed in. No global state, nothing imported to be listed.

A third party registers under the entry-point group `evalharness.<kind>` (scorers, providers, judges, benchmarks,
readers, stages, sources, reporters):

    [project.entry-points."evalharness.scorers"]
    tone = "acme_evals.tone:Tone"

A name that is registered twice is an error that names both origins: a plugin cannot replace a built-in unseen.
"""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from typing import Any

from evalharness.errors import EvalHarnessError, PluginError
from evalharness.plugins.builtins import BUILTINS


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered name. `origin` is "evalharness" or "<distribution> <version>", `version` that distribution's."""

    kind: str
    name: str
    target: str
    origin: str
    version: str | None = None


class Registry:
    """Looks plugins up by kind and name."""

    def __init__(self, entries: list[Entry]) -> None:
        """Index `entries`.

        Raises:
            PluginError: two entries claim the same kind and name.
        """
        self._entries: dict[tuple[str, str], Entry] = {}
        for entry in entries:
            key = (entry.kind, entry.name)
            other = self._entries.get(key)
            if other is not None:
                raise PluginError(
                    f"two plugins claim the {entry.kind.removesuffix('s')} name {entry.name!r}: "
                    f"{other.origin} ({other.target}) and {entry.origin} ({entry.target}); uninstall one of them"
                )
            self._entries[key] = entry

    def entries(self) -> list[Entry]:
        """Every entry, sorted by kind and name."""
        return [self._entries[key] for key in sorted(self._entries)]

    def names(self, kind: str) -> list[str]:
        """Registered names of one kind, sorted."""
        return sorted(name for k, name in self._entries if k == kind)

    def entry(self, kind: str, name: str) -> Entry:
        """The entry behind a name.

        Raises:
            PluginError: unknown name; the message suggests the nearest ones.
        """
        found = self._entries.get((kind, name))
        if found is None:
            names = self.names(kind)
            near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names) or 'none'}"
            raise PluginError(f"unknown {kind.removesuffix('s')} {name!r}; {hint}")
        return found

    def load(self, kind: str, name: str) -> Any:
        """Import and return the class behind a name.

        Raises:
            PluginError: unknown name, or its module fails to import or lacks the attribute.
        """
        entry = self.entry(kind, name)
        module, _, attribute = entry.target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except EvalHarnessError:
            raise
        except Exception as error:
            raise PluginError(
                f"{kind.removesuffix('s')} {name!r} ({entry.target}, from {entry.origin}) cannot be loaded: "
                f"{type(error).__name__}: {error}"
            ) from error


def builtin_entries() -> list[Entry]:
    """The entries that ship."""
    return [
        Entry(kind, name, target, "evalharness")
        for kind, names in BUILTINS.items()
        for name, target in names.items()
    ]


def default_registry(*, third_party: bool = True) -> Registry:
    """Built-ins plus installed entry points. `third_party=False` leaves the latter out."""
    entries = builtin_entries()
    if third_party:
        from importlib.metadata import entry_points

        for kind in BUILTINS:
            for point in entry_points(group=f"evalharness.{kind}"):
                dist = point.dist
                origin = f"{dist.name} {dist.version}" if dist is not None else "an unknown distribution"
                entries.append(
                    Entry(kind, point.name, point.value, origin, dist.version if dist is not None else None)
                )
    return Registry(entries)
