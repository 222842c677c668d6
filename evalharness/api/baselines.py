"""Blessed baselines looked at and ended: show, list, history, diff, expire."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from evalharness._canon import short
from evalharness.api.blessing import whoever
from evalharness.api.settings import Settings, version
from evalharness.baselines.changes import Change, changes_since
from evalharness.baselines.finding import told_of
from evalharness.baselines.names import Reference, check_name, read_reference
from evalharness.baselines.provenance import commit_of
from evalharness.baselines.refs import Entry
from evalharness.baselines.shelf import Shelf, Standing, standing
from evalharness.baselines.stale import next_run, next_score
from evalharness.core.attempts import Failure
from evalharness.core.runs import AttemptKey, Run
from evalharness.core.scores import Scored
from evalharness.engine.sides import choose_suite, finished_run, suite_of
from evalharness.errors import InvalidComparisonError, UsageError
from evalharness.report.text import one_line
from evalharness.store.folder import load_run


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineEntry:
    """One line of a baseline's history.

    `stored`: whether its content is still in the store. `told`: what a comparison with it would warn of, where one was
    asked for.
    """

    entry: Entry
    standing: Standing
    stored: bool
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing that differs, or a metric's mean score on both sides."""

    what: str
    before: str | float | None
    after: str | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineDiff:
    """How a blessed run differs from another run, or from what its suite asks now.

    Attributes:
        left, right: what was held against each other.
        rows: what differs. Against a suite `changes` says the same, with what each asks for.
        changes: what moved since it was blessed; empty for two runs.
        answers: counts of `same`, `changed`, `gone` and `new` answers; empty against a suite.
        metrics: mean score of every metric that both have, where a mean is what it is.
        next: the commands that bring the baseline up to date, None where none is needed.
    """

    left: str
    right: str
    rows: tuple[Row, ...]
    changes: tuple[Change, ...] = ()
    answers: Mapping[str, int]
    metrics: tuple[Row, ...] = ()
    next: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiredBaselines:
    """What was ended, and the digests of the content that was removed."""

    ended: tuple[Entry, ...]
    removed: tuple[str, ...]


def show_baseline(given: str, settings: Settings | None = None) -> BaselineEntry:
    """What stands under a name (`main`), or one of its blessings (`main@3`).

    Raises:
        InvalidComparisonError: nothing is blessed under that name. StoreError: the store cannot be read, or is damaged.
        UsageError: it is no name.
    """
    use = settings or Settings()
    shelf = _shelf(use)
    reference = _reference(given)
    entry = _known(shelf, reference)
    newest = entry if reference.number is None else _known(shelf, Reference(reference.name))
    return BaselineEntry(
        entry=entry,
        standing=standing(entry, newest, use.now().date()),
        stored=entry.object in shelf.stored(),
        told=tuple(told_of(entry, use.now())) if entry.action == "bless" else (),
    )


def list_baselines(settings: Settings | None = None) -> list[BaselineEntry]:
    """The newest entry of every name, by name; empty where nothing is blessed.

    Raises:
        StoreError: the store cannot be read, or is damaged.
    """
    use = settings or Settings()
    shelf = _shelf(use)
    names = shelf.names()
    stored = shelf.stored() if names else frozenset()
    found = (shelf.current(name) for name in names)
    today = use.now().date()
    return [
        BaselineEntry(entry=e, standing=standing(e, e, today), stored=e.object in stored)
        for e in found
        if e is not None
    ]


def baseline_history(name: str, settings: Settings | None = None) -> list[BaselineEntry]:
    """Every blessing of a name and every end, the newest first.

    Raises:
        InvalidComparisonError: nothing is blessed under that name. StoreError: as `show_baseline`.
    """
    use = settings or Settings()
    shelf = _shelf(use)
    _known(shelf, Reference(check_name(name)))
    entries = shelf.history(name)
    stored = shelf.stored()
    today = use.now().date()
    return [
        BaselineEntry(entry=e, standing=standing(e, entries[0], today), stored=e.object in stored)
        for e in entries
    ]


def baseline_folder(given: str, settings: Settings | None = None) -> Path:
    """The run folder of a blessing, fetched where it is not here yet and checked file by file.

    Raises:
        InvalidComparisonError: nothing is blessed under that name. StoreError: not there, damaged, or not to be read.
    """
    use = settings or Settings()
    shelf = _shelf(use)
    return shelf.fetch(_known(shelf, _reference(given)))


def diff_baseline(
    given: str,
    other: str | Path | None = None,
    *,
    suite: str | Path | None = None,
    settings: Settings | None = None,
) -> BaselineDiff:
    """What moved since a run was blessed, or how it differs from another run.

    Args:
        given: the blessing: `main`, or `main@3`.
        other: another blessing or a run folder; None: the suite as it is now.
        suite: the suite, in place of the one that the blessed run names.
        settings: surroundings.

    Raises:
        InvalidComparisonError: nothing is blessed under a name. StoreError, SpecError, UsageError: something cannot be
            read.
    """
    use = settings or Settings()
    shelf = _shelf(use)
    reference = _reference(given)
    entry = _known(shelf, reference)
    folder = shelf.fetch(entry)
    if other is None:
        return _against_suite(entry, folder, suite, shelf, use)
    right, right_name, right_entry = _other(other, shelf)
    left = load_run(folder)
    return BaselineDiff(
        left=_named(entry),
        right=right_name,
        rows=tuple(_run_rows((left, entry), (right, right_entry))),
        answers=_answers(left, right),
        metrics=tuple(_metric_rows(left, right)),
    )


def expire_baselines(
    names: Sequence[str] = (),
    *,
    older_than: int | None = None,
    unused: bool = False,
    by: str | None = None,
    note: str = "",
    settings: Settings | None = None,
) -> ExpiredBaselines:
    """End baselines, or remove content that stands no more. History is kept in any case.

    Args:
        names: the baselines to end; none: every one that is old enough.
        older_than: days since the blessing that stands; with `unused`, since content was last blessed.
        unused: end nothing, and remove from the store what no baseline stands on.
        by: who does it; None: as when blessing.
        note: why.
        settings: surroundings.

    Raises:
        UsageError: nothing says what to expire. InvalidComparisonError: a name that was never blessed.
        StoreError: the store cannot be written, or somebody blessed meanwhile.
    """
    use = settings or Settings()
    shelf = _shelf(use)
    if unused and names:
        raise UsageError("--unused looks at the whole store; leave the names out")
    if not names and older_than is None and not unused:
        raise UsageError("say what is to expire: a NAME, --older-than DAYS, or --unused")
    if unused:
        return ExpiredBaselines(ended=(), removed=tuple(_remove_unused(shelf, older_than, use.now().date())))
    ended = []
    for entry in [_known(shelf, Reference(check_name(n))) for n in dict.fromkeys(names or shelf.names())]:
        if entry.action == "expire" or not _old(entry.at, older_than, use.now().date()):
            continue
        end = shelf.expire(
            entry,
            at=use.now().isoformat(timespec="seconds"),
            by=one_line(by if by is not None else whoever(use.cwd), 100) or "unknown",
            note=one_line(note, 1000),
            commit=commit_of(use.cwd),
            version=version(),
        )
        ended.append(end)
    return ExpiredBaselines(ended=tuple(ended), removed=())


def _shelf(use: Settings) -> Shelf:
    shelf = use.surroundings.shelf
    assert shelf is not None
    return shelf


def _reference(given: str) -> Reference:
    reference = read_reference(given)
    if reference is None:
        check_name(given.partition("@")[0])
        raise UsageError(f"{given[:100]!r}: write NAME, or NAME@3 for its third blessing")
    return reference


def _known(shelf: Shelf, reference: Reference) -> Entry:
    entry = shelf.entry(reference)
    if entry is None:
        names = ", ".join(shelf.names()[:8])
        there = f"there are: {names}" if names else "nothing is"
        raise InvalidComparisonError(
            f"nothing is blessed as {str(reference)!r} in {shelf.shown} ({there}); bless a run with: evalharness "
            "baseline "
            f"bless RUN --as {reference.name}{shelf.option}"
        )
    return entry


def _named(entry: Entry) -> str:
    return f"{entry.name}@{entry.number}"


def _against_suite(
    entry: Entry, folder: Path, suite: str | Path | None, shelf: Shelf, use: Settings
) -> BaselineDiff:
    chosen = choose_suite([suite_of(folder, use.paths)], suite, use.surroundings, stored=[folder])
    changes = tuple(changes_since(entry, folder, chosen, use.registry))
    needs = {change.needs for change in changes}
    command = None
    if "run" in needs:
        command = next_run(entry, chosen, shelf, use.paths)
    elif "score" in needs:
        command = next_score(entry, shelf)
    return BaselineDiff(
        left=_named(entry),
        right=f"suite {chosen.name}",
        rows=tuple(
            Row(what=f"{c.what.replace('_', ' ')} {c.name}", before=c.before, after=c.after) for c in changes
        ),
        changes=changes,
        answers={},
        next=command,
    )


def _other(other: str | Path, shelf: Shelf) -> tuple[Run, str, Entry | None]:
    reference = read_reference(other) if isinstance(other, str) else None
    if reference is not None and not (shelf.cwd / other).exists():
        entry = _known(shelf, reference)
        return load_run(shelf.fetch(entry)), _named(entry), entry
    if (shelf.cwd / other).is_file():
        raise UsageError(
            f"{other}: is a file; give a run folder, as `evalharness run` prints it, or another blessing"
        )
    folder = finished_run(shelf.cwd / other)
    return load_run(folder), str(other), None


def _run_rows(left: tuple[Run, Entry | None], right: tuple[Run, Entry | None]) -> Iterator[Row]:
    versions = {
        str(row.get("digest")): str(row.get("version"))
        for _, entry in (left, right)
        if entry is not None
        for row in entry.golden_sets.values()
        if row.get("version")
    }
    before, after = _facts(left[0], versions), _facts(right[0], versions)
    if left[1] is not None and right[1] is not None:  # a run alone does not say who judged it
        before, after = before | _judges_of(left[1]), after | _judges_of(right[1])
    for what in dict.fromkeys((*before, *after)):
        if before.get(what) != after.get(what):
            yield Row(what=what, before=before.get(what), after=after.get(what))


def _facts(run: Run, versions: Mapping[str, str]) -> dict[str, str]:
    """What made a run, by what it is called. `versions`: of golden sets, by digest; a run itself knows none."""
    about = run.manifest
    found = {
        "candidate": f"{run.name} ({short(run.candidate_digest)})",
        "provider": str(about["candidate"]["provider"]),
        "model asked for": str(about["candidate"].get("model") or "none"),
        "models as returned": ", ".join(about["models_returned"]) or "not reported",
        "repeats": str(run.repeats),
        "suite": f"{run.suite_name} ({short(run.suite_digest)})",
        "evalharness": str(about["environment"].get("evalharness", "unknown")),
    }
    for name, value in run.golden_sets.items():
        number = versions.get(value)
        found[f"golden set {name}"] = f"{number} ({short(value)})" if number else short(value)
    for row in about["plugins"]:
        found[f"{row['kind'].removesuffix('s')} {row['name']}"] = f"version {row.get('version')}"
    return found


def _judges_of(entry: Entry) -> dict[str, str]:
    return {
        f"judge {name}": f"{judge.get('name')} ({short(str(judge.get('digest')))})"
        for name, judge in entry.judges.items()
    }


def _answers(left: Run, right: Run) -> dict[str, int]:
    before, after = _texts(left), _texts(right)
    both = before.keys() & after.keys()
    same = sum(before[key] == after[key] for key in both)
    return {
        "same": same,
        "changed": len(both) - same,
        "gone": len(before.keys() - after.keys()),
        "new": len(after.keys() - before.keys()),
    }


def _texts(run: Run) -> dict[tuple[str, AttemptKey], str | None]:
    """What was answered, None for a failure."""
    return {
        (name, key): None if isinstance(attempt.outcome, Failure) else attempt.outcome.text
        for name, group in run.attempts.items()
        for key, attempt in group.items()
    }


def _metric_rows(left: Run, right: Run) -> Iterator[Row]:
    for metric, scores in left.scores.items():
        if metric in right.scores:
            before, after = _mean(scores), _mean(right.scores[metric])
            if before is not None or after is not None:
                yield Row(what=metric, before=before, after=after)


def _mean(scores: Mapping[AttemptKey, Any]) -> float | None:
    """The mean score, None where there is none, or where the metric is no mean of scores (a corpus metric)."""
    values = [score for score in scores.values() if isinstance(score, Scored)]
    if not values or any(score.stats for score in values):
        return None
    return sum(score.value for score in values) / len(values)


def _old(at: str, days: int | None, today: date) -> bool:
    return days is None or date.fromisoformat(at[:10]) < today - timedelta(days=days)


def _remove_unused(shelf: Shelf, older_than: int | None, today: date) -> Iterator[str]:
    """Remove content that no baseline stands on. Content that no entry names is somebody's blessing under way."""
    used: set[str] = set()
    last: dict[str, str] = {}
    for name in shelf.names():
        history = shelf.history(name)
        for entry in history:
            last[entry.object] = max(last.get(entry.object, ""), entry.at)
            if standing(entry, history[0], today).state == "stands":
                used.add(entry.object)
    stored = shelf.stored()
    for object_id, at in sorted(last.items()):
        if object_id in stored and object_id not in used and _old(at, older_than, today):
            shelf.delete(object_id)
            yield object_id
