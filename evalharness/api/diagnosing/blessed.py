"""Blessed baselines: which there are, how old they are, until when they stand, and whether this suite still fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evalharness.api.settings import Settings
from evalharness.core.diagnosis import Finding, State
from evalharness.errors import EvalHarnessError

if TYPE_CHECKING:
    from evalharness.api.baselines import BaselineEntry
    from evalharness.baselines.shelf import Shelf
    from evalharness.core.suites import Suite

_MOST: Final = 20


def baselines(suite: Suite | None, files: Sequence[str | Path], use: Settings) -> Iterator[Finding]:
    """Every blessed baseline; one that a side names, or that is of this suite, is held against the suite."""
    from evalharness.api.baselines import list_baselines
    from evalharness.api.diagnosing import problems_of
    from evalharness.baselines.finding import how_to_bless

    shelf = use.surroundings.shelf
    assert shelf is not None
    named = {str(item).removeprefix("baseline:").partition("@")[0] for item in files}
    try:
        found = list_baselines(use)
    except EvalHarnessError as error:
        yield from problems_of("baselines", error, shelf.address)
        return
    if not found:
        example = next((str(item) for item in files if Path(str(item)).suffix in (".yaml", ".yml")), None)
        fix = how_to_bless("main", shelf, use.cwd) if example is not None else ""
        yield _found(shelf.shown, "note", "nothing is blessed", fix)
        return
    first = sorted(found, key=lambda one: (one.entry.name not in named, one.entry.at))
    for one in first[:_MOST]:
        yield from _one(one, suite, one.entry.name in named, shelf, use)
    if len(found) > _MOST:
        yield _found(
            shelf.shown,
            "note",
            f"{len(found) - _MOST} more names",
            f"evalharness baseline show{shelf.option}",
        )


def _found(about: str, state: State, text: str, fix: str = "") -> Finding:
    return Finding(area="baselines", about=about, state=state, text=text, fix=fix)


def _one(
    one: BaselineEntry, suite: Suite | None, named: bool, shelf: Shelf, use: Settings
) -> Iterator[Finding]:
    from evalharness.baselines.finding import how_to_bless, told_of

    entry = one.entry
    about = f"{entry.name}@{entry.number}"
    if entry.action == "expire" and not named:  # a person ended it, and nothing here asks for it
        yield _found(about, "note", one.standing.why)
        return
    if one.standing.state == "expired":
        fix = how_to_bless(entry.name, shelf, use.cwd, entry=entry if entry.action == "bless" else None)
        yield _found(about, "problem" if named else "warning", f"has expired: {one.standing.why}", fix)
        return
    if not one.stored:
        fix = how_to_bless(entry.name, shelf, use.cwd, entry=entry)
        yield _found(about, "problem" if named else "warning", "its content is not in the store", fix)
        return
    days = (use.now() - datetime.fromisoformat(entry.at)).days
    age = "today" if days < 1 else "1 day ago" if days == 1 else f"{days:,} days ago"
    until = f", stands through {entry.expires}" if entry.expires else ""
    of = f", suite {entry.suite.get('name')}"
    yield _found(about, "ok", f"blessed {age} by {entry.by}{until}{of}")
    for text in told_of(entry, use.now()):
        yield _found(about, "warning", text)
    if suite is not None and (named or entry.suite.get("name") == suite.name):
        yield from _fits(one, suite, named, shelf, use)


def _fits(one: BaselineEntry, suite: Suite, named: bool, shelf: Shelf, use: Settings) -> Iterator[Finding]:
    """What moved since: answers to something else stop a comparison, scores are made again without a call."""
    from evalharness.api.diagnosing import problems_of
    from evalharness.baselines.changes import changes_since
    from evalharness.baselines.stale import listed, next_run, next_score

    entry = one.entry
    about = f"{entry.name}@{entry.number}"
    try:
        changes = changes_since(entry, shelf.fetch(entry), suite, use.registry)
    except EvalHarnessError as error:
        yield from problems_of("baselines", error, about, "problem" if named else "warning")
        return
    run = [change for change in changes if change.needs == "run"]
    score = [change for change in changes if change.needs == "score"]
    if run:
        yield _found(
            about,
            "problem" if named else "warning",
            f"did not answer what suite {suite.name} asks now: {listed(run)}",
            next_run(entry, suite, shelf, use.paths),
        )
    elif score:
        yield _found(
            about,
            "note",
            f"its answers are scored again without a call, since something else scored them: {listed(score)}",
            next_score(entry, shelf),
        )
    else:
        yield _found(about, "ok", f"fits suite {suite.name} as it is now")
