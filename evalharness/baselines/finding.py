"""From the name of a baseline to the run that stands under it, or to what to do where there is none."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from evalharness.baselines.names import PREFIX, Reference, read_reference
from evalharness.baselines.refs import Entry
from evalharness.baselines.shelf import Shelf, minutes_ahead, short_id, standing
from evalharness.content import PathPolicy
from evalharness.errors import InvalidComparisonError, SpecError, UsageError

_SOON_DAYS: Final = 14
SKEW_MINUTES: Final = 5.0
"""How far two clocks may be apart before it is said."""
_MOST_NAMES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Blessed:
    """A blessed run that is used.

    Attributes:
        reference: its name with the number of the blessing: `main@3`.
        object: digest of its content.
        line: where it comes from, in one line.
        told: what a reader should know of it.
        entry: what was written down when it was blessed; None where an earlier comparison is rendered again.
    """

    reference: str
    object: str
    line: str
    told: tuple[str, ...]
    entry: Entry | None = None

    def row(self) -> dict[str, Any]:
        """As the manifest of a report keeps it."""
        return {"baseline": self.reference, "object": self.object, "line": self.line, "told": list(self.told)}


def blessed_from(row: object) -> Blessed | None:
    """The inverse of `Blessed.row`, None where it is none."""
    if not isinstance(row, dict) or not all(
        isinstance(row.get(key), str) for key in ("baseline", "object", "line")
    ):
        return None
    told = row.get("told")
    texts = tuple(text for text in told if isinstance(text, str)) if isinstance(told, list) else ()
    return Blessed(reference=row["baseline"], object=row["object"], line=row["line"], told=texts)


def line_of(entry: Entry) -> str:
    """Where a blessing comes from, in one line."""
    parts = [f"{entry.name}@{entry.number}, blessed by {entry.by} on {entry.at[:10]}"]
    parts += [f"commit {entry.commit[:12]}"] if entry.commit else []
    parts += [f"through {entry.expires}"] if entry.expires else []
    return ", ".join(parts) + (f": {entry.note}" if entry.note else "")


def find_blessed(
    role: str, given: str, shelf: Shelf, paths: PathPolicy, now: datetime, suite: str | None = None
) -> tuple[Blessed, Path] | None:
    """The blessed run that `given` names, with its folder; None where it means a path.

    A path that is there wins over a name, unless there is a baseline of that name too: then neither is guessed.
    `baseline:NAME` is never a path, `./NAME` never a name.

    Args:
        role: "baseline", "candidate" or "anchor".
        given: as typed.
        shelf: where baselines are.
        paths: where paths lead.
        now: decides what has expired.
        suite: what the command names in place of the candidates' own, for the commands that bless.

    Raises:
        InvalidComparisonError: no such baseline, or it has expired; with the commands that bless one.
        UsageError: both a path and a baseline. StoreError: the store cannot be read, or its content is damaged.
    """
    reference = read_reference(given)
    if reference is None:
        return None
    explicit = given.startswith(PREFIX)
    path = not explicit and _is_path(given, paths)
    entry = shelf.entry(reference)
    if entry is None:
        if path or (role == "candidate" and not explicit):
            return None
        raise InvalidComparisonError(_absent(role, reference, shelf, paths.cwd, suite, explicit=explicit))
    if path:
        raise UsageError(
            f"{given!r} is a file or folder here and a blessed baseline in {shelf.shown}; write ./{given} for the one "
            "and "
            f"{PREFIX}{given} for the other"
        )
    _refuse_expired(reference, entry, shelf, now.date(), suite)
    blessed = Blessed(
        reference=f"{entry.name}@{entry.number}",
        object=entry.object,
        line=line_of(entry),
        told=tuple(told_of(entry, now)),
        entry=entry,
    )
    return blessed, shelf.fetch(entry)


def how_to_bless(
    name: str, shelf: Shelf, cwd: Path, *, entry: Entry | None = None, suite: str | None = None
) -> str:
    """The commands that bless what runs today, as one line for a shell.

    Args:
        name: of the baseline.
        shelf: where it is kept.
        cwd: the working directory.
        entry: the blessing that is to be renewed: its candidate's file is taken, where it is still there.
        suite: the suite to name; None: what the file names, or else what the blessed run was made on.
    """
    known = entry.run["candidate"].get("path") if entry is not None else None
    file = known if known and (cwd / known).is_file() else "base.yaml"
    there = (cwd / file).is_file()
    if suite is None and entry is not None and not _names_suite(cwd / file):
        suite = entry.suite.get("path")
    on = f" --suite {shlex.quote(suite)}" if suite else ""
    where = "" if there else f" (where {file} is the candidate file of what runs today)"
    file = shlex.quote(file)
    return f"evalharness run {file}{on} && evalharness baseline bless {file} --as {name}{on}{shelf.option}{where}"


def _names_suite(file: Path) -> bool:
    """Whether a candidate file names its suite. One that cannot be read has its own error where it is used."""
    try:
        return any(line.startswith("suite:") for line in file.read_text("utf-8").splitlines())
    except (OSError, UnicodeError):
        return False


def _is_path(given: str, paths: PathPolicy) -> bool:
    try:
        paths.argument(given)
    except SpecError:
        return False
    return True


def _absent(
    role: str, reference: Reference, shelf: Shelf, cwd: Path, suite: str | None, *, explicit: bool
) -> str:
    name = reference.name
    names = shelf.names()
    looked = f"nothing is blessed as {str(reference)!r} in {shelf.shown}"
    if not explicit:
        looked = f"{str(reference)!r} is no candidate file or run folder here, and {looked}"
    if name in names:
        return (
            f"there is no {role} {str(reference)!r}: {looked}; see what there is with: evalharness baseline history "
            f"{name}{shelf.option}"
        )
    if names:
        shown = ", ".join(names[:_MOST_NAMES]) + (
            f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        )
        looked += f" (there are: {shown})"
    commands = how_to_bless(name, shelf, cwd, suite=suite)
    return f"there is no {role} {str(reference)!r}: {looked}; to bless one: {commands}"


def _refuse_expired(reference: Reference, entry: Entry, shelf: Shelf, today: date, suite: str | None) -> None:
    if reference.number is not None:
        return  # named by its number, somebody means this one
    found = standing(entry, entry, today)
    if found.state == "expired":
        raise InvalidComparisonError(
            f"the baseline {entry.name} has expired: {found.why}; the old one can still be named by its number "
            f"(evalharness baseline history {entry.name}{shelf.option}); to bless what runs today: "
            f"{how_to_bless(entry.name, shelf, shelf.cwd, entry=entry, suite=suite)}"
        )


def told_of(entry: Entry, now: datetime) -> list[str]:
    """What a reader should know of a blessing that is used at `now`, a sentence each."""
    told = []
    shown = f"the baseline {entry.name}@{entry.number} (run {short_id(entry.run['id'])})"
    if minutes_ahead(entry, now) > SKEW_MINUTES:
        told.append(
            f"{shown} says it was blessed at {entry.at}, which this machine's clock has yet to reach: one of the two "
            "clocks "
            "is wrong, and dates of expiry go by them"
        )
    if entry.expires is not None:
        left = (date.fromisoformat(entry.expires) - now.date()).days
        if left < 0:
            told.append(f"{shown} has expired: it was blessed through {entry.expires}")
        elif left <= _SOON_DAYS:
            told.append(f"{shown} expires after {entry.expires}; bless what runs today before that")
    if entry.allowed_failures is not None:
        told.append(
            f"{shown} was blessed with more failed answers than the gate allows: {entry.allowed_failures}"
        )
    for name, row in entry.golden_sets.items():
        if due := _overdue(row.get("rotate_after"), now.date()):
            told.append(
                f"golden set {name} of {shown} was to be renewed after {due}: models may have seen it by now"
            )
    return told


def _overdue(text: object, today: date) -> str:
    try:
        return text if isinstance(text, str) and text and today > date.fromisoformat(text) else ""
    except ValueError:
        return ""
