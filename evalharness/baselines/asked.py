"""What a run was asked, case by case: the part of a golden set that its answers belong to.

An answer belongs to what was asked, and to nothing else of a case. Targets, relevance, clusters, critical marks and
human labels are held against answers later, so they can change without a call. What a prompt or a provider can see
cannot: id, input, messages, choices, contexts, and tags and task too unless the run's prompts name neither.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from evalharness._canon import canonical_json, digest
from evalharness.core.cases import Case, GoldenSet
from evalharness.core.suites import Suite
from evalharness.errors import StoreError
from evalharness.store.files import read_json

NAME: Final = "asked.json"
EXTRA: Final = ("tags", "task")
"""What a prompt may see beside the question."""
_SCHEMA: Final = 1
_HEX: Final = 32


@dataclass(frozen=True, slots=True)
class Asked:
    """By golden set and case id a digest of what was asked. `sees`: which of `EXTRA` the digests cover."""

    sees: tuple[str, ...]
    cases: Mapping[str, Mapping[str, str]]

    def unanswered(self, golden_set: GoldenSet) -> tuple[int, int]:
        """How many cases of a golden set are (new, asked differently): (0, 0) where every answer still belongs."""
        known = self.cases.get(golden_set.name, {})
        new = changed = 0
        for case in golden_set.cases:
            if case.id not in known:
                new += 1
            elif known[case.id] != _digest(case, golden_set.card.task, self.sees):
                changed += 1
        return new, changed


def asked_of(suite: Suite, sees: Collection[str]) -> Asked:
    """What every case of a suite asks. `sees`: which of `EXTRA` the run's prompts or provider can see."""
    kept = tuple(name for name in EXTRA if name in sees)
    return Asked(
        kept,
        {g.name: {case.id: _digest(case, g.card.task, kept) for case in g.cases} for g in suite.golden_sets},
    )


def asked_bytes(asked: Asked) -> bytes:
    """The content of asked.json."""
    rows = {"schema_version": _SCHEMA, "sees": list(asked.sees), "cases": asked.cases}
    return (json.dumps(rows, indent=0, sort_keys=True, ensure_ascii=False) + "\n").encode(
        "utf-8", "surrogatepass"
    )


def read_asked(folder: Path) -> Asked | None:
    """What the run of a folder was asked, None where nobody wrote it down.

    Raises:
        StoreError: damaged.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    found = read_json(path)
    try:
        if found["schema_version"] != _SCHEMA:
            return None
        return Asked(tuple(found["sees"]), {str(k): dict(v) for k, v in found["cases"].items()})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{path}: damaged ({error!r}); bless again") from error


def carried(folder: Path, suite: Suite, answered: Mapping[str, str]) -> frozenset[str]:
    """Golden sets that changed since a run and ask nothing that it did not answer, by name.

    Args:
        folder: of the run.
        suite: as it is now.
        answered: the digests of the golden sets that the run answered, by name.

    Raises:
        StoreError: asked.json is damaged.
    """
    moved = [g for g in suite.golden_sets if answered.get(g.name) != g.digest]
    asked = read_asked(folder) if moved else None
    if asked is None:
        return frozenset()
    return frozenset(g.name for g in moved if g.name in answered and asked.unanswered(g) == (0, 0))


def _digest(case: Case, task: str, sees: Collection[str]) -> str:
    asked: list[Any] = [
        case.id,
        case.input,
        [[m.role, m.content] for m in case.messages],
        list(case.choices),
        list(case.contexts),
    ]
    if "tags" in sees:
        asked.append(dict(case.tags))
    if "task" in sees:
        asked.append(task)
    return digest(canonical_json(asked)).removeprefix("sha256:")[:_HEX]
