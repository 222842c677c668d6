"""The shelf: what is blessed where, how it is used, and the only ways in which it changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias

from evalharness.baselines import objects, refs
from evalharness.baselines.names import Reference
from evalharness.baselines.places import Place, open_place, option_for
from evalharness.baselines.refs import Entry
from evalharness.errors import StoreError, UsageError

State: TypeAlias = Literal["stands", "expired", "superseded"]


class Shelf:
    """A store of baselines at an address.

    Args:
        address: a folder, relative to `cwd`, or a URL that fsspec knows. Nothing is touched before it is used.
        cwd: the working directory.
        cache: the folder that fetched content is kept in, by digest.
        prepare: makes the store around `cache`, called before something is written there.
    """

    def __init__(
        self, address: str, cwd: Path, cache: Path, prepare: Callable[[], None] = lambda: None
    ) -> None:
        self.address = address
        self.option = option_for(address)
        self.cwd = cwd
        self._cache = cache
        self._prepare = prepare

    @cached_property
    def place(self) -> Place:
        """Where it is.

        Raises:
            UsageError, MissingExtraError: as `open_place` does.
        """
        return open_place(self.address, self.cwd)

    @property
    def shown(self) -> str:
        """The address as messages show it."""
        return self.place.shown

    def names(self) -> list[str]:
        """Every name that was ever blessed.

        Raises:
            StoreError: the store cannot be read.
        """
        return refs.names(self.place)

    def current(self, name: str) -> Entry | None:
        """The newest entry of a name, which may be its end; None where it was never blessed.

        Raises:
            StoreError: the store cannot be read, or the entry is damaged.
        """
        found = refs.numbers(self.place, name)
        return self._read(name, found[-1]) if found else None

    def entry(self, reference: Reference) -> Entry | None:
        """What a reference names: the newest entry, or the one of its number.

        Raises:
            StoreError: the store cannot be read, or the entry is damaged. UsageError: that number ended the baseline.
        """
        if reference.number is None:
            return self.current(reference.name)
        found = refs.read(self.place, reference.name, reference.number)
        if found is not None and found.action == "expire":
            raise UsageError(
                f"{reference} is no blessing: it is where {reference.name} was ended by {found.by}"
            )
        return found

    def history(self, name: str) -> list[Entry]:
        """Every entry of a name, the newest first.

        Raises:
            StoreError: the store cannot be read, or an entry is damaged.
        """
        return [self._read(name, number) for number in reversed(refs.numbers(self.place, name))]

    def fetch(self, entry: Entry) -> Path:
        """The run folder of a blessing, every file checked.

        Raises:
            StoreError: it is not there, damaged, or cannot be kept.
        """
        self._prepare()
        return objects.fetch(self.place, entry.object, self._cache)

    def stage(self, run: Path, asked: bytes) -> tuple[str, Path]:
        """A run folder as an object in the cache: its id, and its folder there.

        Raises:
            StoreError: a file cannot be read or written.
        """
        from evalharness.baselines.asked import NAME

        self._prepare()
        return objects.stage(run, {NAME: asked}, self._cache)

    def bless(self, entry: Entry, before: Entry | None) -> tuple[Entry, bool]:
        """Store the object of `entry`, staged before, and make it the newest of its name after `before`.

        The content is stored first, so that no name ever stands for what is not there.

        Returns:
            The entry with its number, and whether it was made now: False where another job blessed the very same
            content at the same time.

        Raises:
            StoreError: the store cannot be written, or somebody blessed something else since `before` was read.
        """
        folder = self._cache / entry.object.removeprefix("sha256:")
        objects.put(self.place, entry.object, folder)
        made, won = self._append(entry, before)
        if won is None:
            objects.put(self.place, entry.object, folder)  # somebody may have cleared it as unused meanwhile
            return made, True
        if won.action == "bless" and won.object == entry.object:
            return won, False
        raise StoreError(self._lost(made, won))

    def mend(self, object_id: str) -> None:
        """Store an object that was staged, where the store has it no more, or damaged.

        Raises:
            StoreError: the store cannot be written.
        """
        objects.put(self.place, object_id, self._cache / object_id.removeprefix("sha256:"))

    def expire(
        self, before: Entry, *, at: str, by: str, note: str, commit: str | None, version: str
    ) -> Entry:
        """End a baseline. What it was stays in the history.

        Raises:
            StoreError: as `bless`.
        """
        end = replace(
            before,
            action="expire",
            at=at,
            by=by,
            note=note,
            commit=commit,
            evalharness=version,
            previous=before.object,
            expires=None,
            allowed_failures=None,
        )
        made, won = self._append(end, before)
        if won is not None:
            raise StoreError(self._lost(made, won))
        return made

    def delete(self, object_id: str) -> None:
        """Remove stored content; entries that name it stay.

        Raises:
            StoreError: the store cannot be written.
        """
        self.place.drop(objects.path_of(object_id))

    def stored(self) -> frozenset[str]:
        """The ids of all content in the store.

        Raises:
            StoreError: the store cannot be read.
        """
        return frozenset(f"sha256:{name}" for name in self.place.names(objects.FOLDER))

    def _append(self, entry: Entry, before: Entry | None) -> tuple[Entry, Entry | None]:
        """The entry with the next number, and the one that somebody else made of that number, None where nobody did."""
        numbered = replace(entry, number=before.number + 1 if before is not None else 1)
        if refs.append(self.place, numbered):
            return numbered, None
        try:
            won = refs.read(self.place, entry.name, numbered.number)
        except StoreError:  # it may be under way still
            won = None
        if won is None:
            raise StoreError(self._lost(numbered, None))
        return numbered, won

    def _lost(self, mine: Entry, won: Entry | None) -> str:
        """What to tell the loser of a race."""
        who = "somebody else was faster"
        if won is not None:
            did = (
                f"blessed {won.run['name']} (run {short_id(won.run['id'])})"
                if won.action == "bless"
                else "ended it"
            )
            who = f"{won.by} {did} at {won.at}"
        return (
            f"the baseline {mine.name} was changed meanwhile: {who}; yours was not stored under that name. Look at it "
            "with: "
            f"evalharness baseline show {mine.name}{self.option}, and bless again if yours is to stand"
        )

    def _read(self, name: str, number: int) -> Entry:
        found = refs.read(self.place, name, number)
        if found is None:
            raise StoreError(
                f"{self.shown}: the entry {name}@{number} went away while it was read; run this again"
            )
        return found


def short_id(value: str) -> str:
    """The first 12 digits of a run id, as a table shows it."""
    return str(value).removeprefix("sha256:")[:12]


@dataclass(frozen=True, slots=True)
class Standing:
    """What can be said of an entry on a day."""

    state: State
    why: str = ""


def standing(entry: Entry, newest: Entry, today: date) -> Standing:
    """Whether an entry stands. `newest`: of the same name."""
    if entry.action == "expire":
        return Standing(
            "expired", f"ended by {entry.by} on {entry.at[:10]}" + (f": {entry.note}" if entry.note else "")
        )
    if entry.number != newest.number:
        return Standing("superseded", f"by {newest.name}@{newest.number}")
    if entry.expires is not None and today > date.fromisoformat(entry.expires):
        return Standing("expired", f"it was blessed through {entry.expires}")
    return Standing("stands")


def minutes_ahead(entry: Entry, now: datetime) -> float:
    """How many minutes after `now` an entry says it was made; negative for the past."""
    return (datetime.fromisoformat(entry.at) - now).total_seconds() / 60
