"""Whether a blessed run can still be compared on a suite, and what to run where it cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from evalharness.baselines.changes import Change, changes_since
from evalharness.baselines.finding import Blessed, how_to_bless
from evalharness.baselines.refs import Entry
from evalharness.baselines.shelf import Shelf
from evalharness.content import PathPolicy
from evalharness.core.suites import Suite
from evalharness.errors import InvalidComparisonError
from evalharness.plugins import Registry


def brought_up_to_date(
    blessed: Blessed, folder: Path, suite: Suite, shelf: Shelf, paths: PathPolicy, registry: Registry
) -> Blessed:
    """What is blessed, with a word on what moved since.

    Raises:
        InvalidComparisonError: its answers are not to what the suite asks now; says what moved, and what to run.
        StoreError: what it was asked cannot be read.
    """
    entry = blessed.entry
    if entry is None:
        return blessed
    changes = changes_since(entry, folder, suite, registry)
    stale = [change for change in changes if change.needs == "run"]
    if stale:
        raise InvalidComparisonError(
            f"the baseline {blessed.reference} did not answer what suite {suite.name} asks now: {listed(stale)}; its "
            "answers "
            f"belong to what was asked; to run what runs today and bless it: {next_run(entry, suite, shelf, paths)}"
        )
    return replace(blessed, told=(*blessed.told, *_told(blessed, changes, suite, shelf, paths)))


def next_run(entry: Entry, suite: Suite, shelf: Shelf, paths: PathPolicy) -> str:
    """The commands that make and bless a run of the same candidate on a suite."""
    path = paths.show(Path(suite.path)) if suite.path else ""
    moved = path if path != entry.suite.get("path") else ""
    return how_to_bless(entry.name, shelf, paths.cwd, entry=entry, suite=moved or None)


def next_score(entry: Entry, shelf: Shelf) -> str:
    """The command that keeps a baseline as it is scored now."""
    return f"evalharness baseline bless {entry.name} --as {entry.name} --rescore{shelf.option}"


def listed(changes: Sequence[Change]) -> str:
    """Changes as one clause, in their order."""
    return "; ".join(str(change) for change in changes)


def _told(
    blessed: Blessed, changes: Sequence[Change], suite: Suite, shelf: Shelf, paths: PathPolicy
) -> list[str]:
    told = []
    entry = blessed.entry
    assert entry is not None
    scored = [change for change in changes if change.needs == "score"]
    if scored:
        told.append(
            f"the answers of the baseline {blessed.reference} were scored again for this comparison, without a call, "
            "since "
            f"it was blessed under something else: {listed(scored)}; to keep that: {next_score(entry, shelf)}"
        )
    judges = [change for change in changes if change.needs == "nothing"]
    if judges:
        told.append(
            f"since the baseline {blessed.reference} was blessed another judge speaks, of both sides: {listed(judges)}"
        )
    return told
