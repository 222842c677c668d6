"""A run blessed as a baseline: found, checked, written down with its provenance, stored."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from evalharness.api.asking import redactor
from evalharness.api.settings import Settings, version
from evalharness.baselines.asked import EXTRA, asked_bytes, asked_of, carried, read_asked
from evalharness.baselines.changes import golden_sets_of, judges_of, scorers_of
from evalharness.baselines.finding import SKEW_MINUTES
from evalharness.baselines.names import PREFIX, check_name, read_reference
from evalharness.baselines.provenance import author_of, commit_of
from evalharness.baselines.refs import Entry
from evalharness.baselines.shelf import Shelf, minutes_ahead
from evalharness.core.runs import Run
from evalharness.core.scores import Scored
from evalharness.core.suites import Suite
from evalharness.engine.build import rescore_folder
from evalharness.engine.history import earlier_runs
from evalharness.engine.sides import choose_suite, finished_run, suite_of
from evalharness.errors import InvalidComparisonError, SpecError, StoreError, UsageError
from evalharness.report.text import one_line
from evalharness.spec.load import load_candidate
from evalharness.store.folder import load_run, save_run

_LONGEST_NOTE: Final = 1000
_LONGEST_NAME: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Blessing:
    """A run that stands under a name. `made`: now; False where the very same stood already."""

    entry: Entry
    made: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Given:
    """What is to be blessed. `shown`: as the user named it; `blessed`: the folder comes from a baseline."""

    folder: Path
    shown: str
    blessed: bool = False


def bless_baseline(
    run: str | Path,
    name: str,
    *,
    by: str | None = None,
    note: str = "",
    expires: str | None = None,
    allow_failures: str | None = None,
    rescore: bool = False,
    suite: str | Path | None = None,
    settings: Settings | None = None,
) -> Blessing:
    """Make a stored run the baseline of a name. Nothing else in this package ever does.

    Args:
        run: a run folder, a candidate file whose finished run is in the store, or another baseline (`main@3`).
        name: of the baseline.
        by: who blesses; None: the name git commits under, else the login.
        note: why.
        expires: the last day it stands, as 2026-12-31; None: no end.
        allow_failures: why more answers may have failed than the gate allows; None: they may not.
        rescore: score its answers with the suite as it is now, without a call, and bless that.
        suite: the suite, in place of the one that the run names.
        settings: surroundings; `settings.baselines` is the store.

    Raises:
        UsageError: the name, the date or the run is none, or its scores are of other scorers. StoreError: the run is
            unfinished or damaged, the store cannot be written, or another job blessed at the same time.
        InvalidComparisonError: its answers are not to the suite's golden sets, or too many of them failed.
    """
    use = settings or Settings()
    shelf = use.surroundings.shelf
    assert shelf is not None
    check_name(name)
    last = _last_day(expires, use.now().date())
    given = _find(run, suite, shelf, use)
    chosen = choose_suite([suite_of(given.folder, use.paths)], suite, use.surroundings, stored=[given.folder])
    hide = redactor(chosen, (), use).text
    with _scored(given, chosen, use, rescore=rescore) as (folder, scored):
        _refuse_failures(scored, chosen, given, allow_failures)
        sees = _sees(given, scored, use)
        object_id, _ = shelf.stage(folder, asked_bytes(asked_of(chosen, sees)))
    before = shelf.current(name)
    entry = Entry(
        name=name,
        number=0,
        action="bless",
        object=object_id,
        previous=before.object if before is not None else None,
        at=use.now().isoformat(timespec="seconds"),
        by=_text(hide(by if by is not None else whoever(use.cwd)), _LONGEST_NAME) or "unknown",
        note=_text(hide(note), _LONGEST_NOTE),
        commit=commit_of(use.cwd),
        expires=last,
        allowed_failures=_text(hide(allow_failures), _LONGEST_NOTE) if allow_failures else None,
        run=_run_row(scored),
        suite={
            "name": chosen.name,
            "digest": chosen.digest,
            "path": use.paths.show(Path(chosen.path)) if chosen.path else None,
        },
        golden_sets=golden_sets_of(chosen),
        scorers=scorers_of(chosen, use.registry),
        judges=judges_of(chosen),
        plugins=_plugin_rows(scored),
        evalharness=version(),
    )
    warnings = (*_of_store(shelf), *_of_clock(before, use.now()), *_warnings(chosen, use.now().date()))
    if before is not None and before.action == "bless" and _same(before, entry):
        shelf.mend(object_id)
        return Blessing(entry=before, made=False, warnings=warnings)
    stored, made = shelf.bless(entry, before)
    return Blessing(entry=stored, made=made, warnings=warnings)


def _same(before: Entry, entry: Entry) -> bool:
    """Whether blessing again would say nothing new."""
    return (before.object, before.note, before.expires) == (entry.object, entry.note, entry.expires)


def _find(run: str | Path, suite: str | Path | None, shelf: Shelf, use: Settings) -> _Given:
    """The run folder that is meant.

    Raises:
        UsageError, StoreError, SpecError: there is none; says how to get one.
    """
    reference = read_reference(run) if isinstance(run, str) else None
    path = None if str(run).startswith(PREFIX) else use.cwd / run
    if reference is not None and (path is None or not path.exists()):
        entry = shelf.entry(reference)
        if entry is not None:
            return _Given(shelf.fetch(entry), f"the baseline {reference}", blessed=True)
        near = _nearest(str(run), use)
        raise UsageError(
            f"{run}: no file or folder here{near}, and nothing is blessed under that name in {shelf.shown}; give a "
            "candidate .yaml that was run, a run folder or a baseline"
        )
    assert path is not None
    if path.is_dir():
        return _Given(finished_run(path), use.paths.show(path))
    model = load_candidate(use.paths.argument(str(run)), paths=use.paths, registry=use.registry)
    chosen = choose_suite([model.suite_path], suite, use.surroundings, stored=[None])
    store = use.surroundings.how.store
    found = [found for found in earlier_runs(store, chosen) if found.digest == model.digest and found.whole]
    found.sort(key=lambda item: item.name != model.name)
    if not found:
        named = f" --suite {shlex.quote(str(suite))}" if suite is not None else ""
        named += f" --store {shlex.quote(str(use.store))}" if use.store is not None else ""
        raise UsageError(
            f"{run}: it has no finished run on suite {chosen.name!r} in {use.paths.show(store.root)}; make one with: "
            f"evalharness run {shlex.quote(str(run))}{named}"
        )
    return _Given(found[0].folder, use.paths.show(found[0].folder))


def _nearest(given: str, use: Settings) -> str:
    """What may have been meant, as the paths say it: `(did you mean base.yaml?)`."""
    try:
        use.paths.argument(given)
    except SpecError as error:
        hint = error.problems[0].hint
        return f" ({hint})" if hint else ""
    return ""


@contextmanager
def _scored(given: _Given, suite: Suite, use: Settings, *, rescore: bool) -> Iterator[tuple[Path, Run]]:
    """The run, checked, with the folder that is to be stored: its own, or a copy that was scored again.

    Raises:
        StoreError, UsageError, InvalidComparisonError: as `bless_baseline`.
    """
    run = load_run(given.folder)
    if run.manifest.get("unasked"):
        raise StoreError(
            f"{given.shown}: {run.manifest['unasked']:,} of its cases were not asked (it comes from a comparison that "
            "stopped early); complete it with: evalharness run CANDIDATE"
        )
    moved = {g.name for g in suite.golden_sets if run.golden_sets.get(g.name) != g.digest}
    kept = carried(given.folder, suite, run.golden_sets)
    if moved - kept:
        raise InvalidComparisonError(
            f"{given.shown}: its answers are not to golden set {', '.join(sorted(moved - kept))} as suite "
            f"{suite.name!r} has "
            "it now; run the candidate on it first: evalharness run "
            f"{run.manifest['candidate'].get('path') or 'CANDIDATE'}"
        )
    if not moved and run.suite_digest == suite.digest:
        yield given.folder, run
        return
    if not rescore:
        raise UsageError(
            f"{given.shown}: it was scored under something else than suite {suite.name!r} has now; add --rescore to "
            "score "
            "its answers again, without a call, and bless that"
        )
    store = use.surroundings.how.store
    store.prepare()
    arrive = use.surroundings.how.arrival(suite)
    again = rescore_folder(given.folder, suite, use.registry, store.scores, arrive=arrive, carried=kept)
    with tempfile.TemporaryDirectory(dir=store.root, prefix=".rescored-") as temporary:
        folder = Path(temporary) / "run"
        shutil.copytree(given.folder, folder)
        save_run(folder, again)
        yield folder, again


def _refuse_failures(run: Run, suite: Suite, given: _Given, allowed: str | None) -> None:
    """Refuse a baseline that would make every comparison with it invalid.

    Raises:
        InvalidComparisonError: too many answers failed or have no score.
    """
    found = list(_failures(run, suite))
    if found and not allowed:
        raise InvalidComparisonError(
            f"{given.shown}: {'; '.join(found)}; at most {100 * suite.gate.max_failures:.4g}% of them may "
            "(gate.max_failures). Run the candidate again, which asks the failed ones only, or say why they are to be "
            "allowed: --allow-failures REASON"
        )


def _failures(run: Run, suite: Suite) -> Iterator[str]:
    most = suite.gate.max_failures
    for golden_set in suite.golden_sets:
        group = run.attempts[golden_set.name]
        failed = sum(attempt.failed for attempt in group.values())
        if failed > most * len(group) + 1e-6:
            yield f"{failed:,} of {len(group):,} answers to golden set {golden_set.name} failed"
            return
    labels = {rule.labels for rule in suite.gate.metrics.values()}
    for metric_id, item, _ in suite.metrics:
        if suite.gate.rule(metric_id).advisory or metric_id in labels:
            continue
        group = run.attempts[item.golden_set.name]
        missing = sum(not isinstance(run.scores[metric_id].get(key), Scored) for key in group)
        if missing > most * len(group) + 1e-6:
            yield f"{missing:,} of {len(group):,} answers have no {metric_id}"


def _sees(given: _Given, run: Run, use: Settings) -> Sequence[str]:
    """What of a case its prompts may have seen beside the question; both where that is not known.

    A blessing of a blessing keeps what was known of the first.
    """
    asked = read_asked(given.folder) if given.blessed else None
    if asked is not None:
        return asked.sees
    about = run.manifest["candidate"]
    names = use.registry.names("providers")
    if about["provider"] in names and use.registry.load("providers", about["provider"]).recorded:
        return ()
    try:
        model = load_candidate(
            use.paths.argument(str(about.get("path") or "")), paths=use.paths, registry=use.registry
        )
    except (SpecError, UsageError):
        return EXTRA
    if model.digest != run.candidate_digest or not use.registry.load("providers", model.provider).cacheable:
        return EXTRA
    texts = f"{model.prompt.system or ''}\n{model.prompt.user}"
    return tuple(name for name in EXTRA if name in texts)


def _run_row(run: Run) -> dict[str, Any]:
    about = run.manifest["candidate"]
    return {
        "id": run.id,
        "name": run.name,
        "candidate": {key: about.get(key) for key in ("digest", "provider", "model", "path")},
        "models_returned": list(run.manifest["models_returned"]),
        "repeats": run.repeats,
        "coverage": dict(run.manifest["coverage"]),
    }


def _plugin_rows(run: Run) -> list[dict[str, Any]]:
    keys = ("kind", "name", "version", "origin")
    return [{key: row.get(key) for key in keys} for row in run.manifest["plugins"]]


def _of_store(shelf: Shelf) -> Iterator[str]:
    if shelf.address.startswith("memory://"):
        yield (
            f"{shelf.shown} is the memory of this process: the baseline is gone when it ends; give a folder or a "
            "bucket with --baselines"
        )


def _of_clock(before: Entry | None, now: datetime) -> Iterator[str]:
    if before is not None and minutes_ahead(before, now) > SKEW_MINUTES:
        yield (
            f"{before.name}@{before.number}, which this follows, says it was made at {before.at}, and this machine's "
            "clock has yet to reach that: one of the two is wrong; what stands goes by the numbers, expiry by clocks"
        )


def _warnings(suite: Suite, today: date) -> Iterator[str]:
    for golden_set in suite.golden_sets:
        card = golden_set.card
        if not card.cases_digest and golden_set.name not in suite.benchmark_sets:
            yield (
                f"golden set {golden_set.name} is not locked: a case can change and nobody is told; lock it with: "
                f"evalharness golden lock {golden_set.path or 'FOLDER'}"
            )
        due = _day(card.rotate_after)
        if due is not None and today > due:
            yield f"golden set {golden_set.name} was to be renewed after {due}: models may have seen it by now"


def _last_day(text: str | None, today: date) -> str | None:
    if text is None:
        return None
    day = _day(text)
    if day is None:
        raise UsageError(f"--expires {text[:40]}: there is no such day; write it as 2026-12-31")
    if day < today:
        raise UsageError(f"--expires {text}: that day has passed")
    return day.isoformat()


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def whoever(cwd: Path) -> str:
    """Who is at work: the name that git commits under, else the login."""
    import getpass

    name = author_of(cwd)
    if name:
        return name
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"


def _text(text: str, limit: int) -> str:
    return one_line(text, limit)
