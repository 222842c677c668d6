"""Golden set folders: card.yaml and cases.jsonl → `core.cases.GoldenSet`, with the lock checked."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from evalharness.content import PathPolicy
from evalharness.core.cases import Card, Case, GoldenSet
from evalharness.errors import Problem, SpecError
from evalharness.spec.cases import read_cases
from evalharness.spec.checking import check
from evalharness.spec.models import CardFile
from evalharness.spec.reader import Document, raise_problems, read_yaml

CARD: Final = "card.yaml"
CASES: Final = "cases.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A golden set as read, right or wrong. `card` is None where card.yaml is wrong."""

    path: Path
    document: Document | None
    card: CardFile | None
    cases: tuple[Case, ...]
    digest: str
    problems: tuple[Problem, ...]


def load_golden_set(path: Path, *, paths: PathPolicy) -> GoldenSet:
    """Read a golden set's folder (or its card.yaml).

    A set without a lock loads; `suite_warnings` says so. A set whose cases changed under their lock does not.

    Raises:
        SpecError: every problem found in the card and the cases.
    """
    folder = read_folder(path, paths=paths)
    problems = list(folder.problems)
    if not problems:
        problems = lock_problems(folder, paths)
    raise_problems(problems)
    assert folder.card is not None
    card = folder.card
    return GoldenSet(
        card=Card(
            name=card.name,
            version=card.version,
            task=card.task,
            description=card.description,
            licence=card.licence,
            provenance=card.provenance,
            reviewed=card.reviewed,
            created=card.created or "",
            rotate_after=card.rotate_after or "",
            cases_digest=card.cases_digest or "",
            held_out=card.held_out,
        ),
        cases=folder.cases,
        digest=folder.digest,
        path=paths.show(folder.path),
    )


def read_folder(path: Path, *, paths: PathPolicy) -> Folder:
    """Read both files and collect what is wrong, the lock aside."""
    if path.name in (CARD, CASES) and path.is_file():
        path = path.parent
    shown = paths.show(path)
    missing = [name for name in (CARD, CASES) if not (path / name).is_file()]
    if not path.is_dir() or len(missing) == 2:
        problem = Problem(
            "is not a golden set", shown, hint=f"a golden set is a folder with {CARD} and {CASES}"
        )
        return Folder(path=path, document=None, card=None, cases=(), digest="", problems=(problem,))
    problems = [Problem(f"has no {name}", shown) for name in missing]
    document, card = None, None
    cases: tuple[Case, ...] = ()
    digest = ""
    if CARD not in missing:
        try:
            document = read_yaml(path / CARD, paths)
            card = check(CardFile, document)
            problems += document.problems
        except SpecError as error:
            problems += error.problems
    if CASES not in missing:
        cases, digest, found = read_cases(path / CASES, paths.show(path / CASES))
        problems += found
    return Folder(
        path=path, document=document, card=card, cases=cases, digest=digest, problems=tuple(problems)
    )


def lock_problems(folder: Folder, paths: PathPolicy) -> list[Problem]:
    """The problem of cases that differ from what the card has locked, if they do."""
    card, document = folder.card, folder.document
    if card is None or document is None or not card.cases_digest or card.cases_digest == folder.digest:
        return []
    command = f"run: evalharness golden lock {shlex.quote(str(paths.show(folder.path)))}"
    if card.locked_version is not None and card.locked_version != card.version:
        message = f"version is now {card.version}, and the lock still belongs to {card.locked_version}"
        return [Problem(message, document.shown, document.place(("cases_digest",)).line, hint=command)]
    return [
        Problem(
            f"{CASES} changed under its lock",
            paths.show(folder.path / CASES),
            hint=f"bump `version` in {document.shown} (line {document.place(('version',)).line}) and {command}",
        )
    ]
