"""A metric over time: stored runs and reports, each value, and the difference to the anchor."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from evalharness.api.settings import Settings
from evalharness.baselines.names import read_reference
from evalharness.core.histories import History, MetricHistory
from evalharness.core.suites import Redaction, Suite
from evalharness.engine.scoring import build_scorers
from evalharness.engine.sides import choose_suite, suite_of
from evalharness.errors import StoreError, UsageError
from evalharness.redaction import Redactor, secret_values
from evalharness.store.comparisons import read_comparison
from evalharness.store.files import write_text
from evalharness.store.folder import is_run_folder

if TYPE_CHECKING:
    from evalharness.history.finding import Catalogue, FoundRun
    from evalharness.history.measuring import Known

LAST: Final = 100
"""Newest runs of a metric that are shown where nobody says how many."""
_SHORTEST_ID: Final = 6
_SKEW: Final = timedelta(minutes=5)


def history(
    metrics: Sequence[str] = (),
    *,
    runs: Sequence[str | Path] = (),
    since: str | None = None,
    last: int = LAST,
    anchor: str | None = None,
    suite: str | Path | None = None,
    settings: Settings | None = None,
) -> History:
    """Metrics over the runs and reports that are stored. Nothing is asked, and nothing gates.

    Runs of one candidate name are joined where they have one suite digest, and so the same cases under the same
    scorers; a changed golden set or scorer begins another segment. Each run is held against the anchor, paired by case.

    Args:
        metrics: ids; empty: every metric of the suite, and of the reports.
        runs: folders that are searched for run and report folders; empty: the store's runs and `reports`.
        since: an ISO date or time; earlier runs are not looked at, but for the anchor.
        last: newest runs of each metric that are shown, at least 1.
        anchor: the run that others are held against, by its folder, the first digits of its run id or the name of a
            blessed baseline; None: the first run of each segment.
        suite: in place of the one that the newest run names.
        settings: working directory, store, seed.

    Raises:
        UsageError: a metric or an anchor that is not there, a date that is none, or no suite is named.
        StoreError: nothing was found. SpecError: the suite is wrong.
    """
    from evalharness.history.finding import find, narrowed
    from evalharness.history.measuring import Question, chosen, measured
    from evalharness.history.reading import FEW, can_scan, read_scores

    use = settings or Settings()
    begin = _time(since)
    catalogue = find(_places(runs, use))
    held_against = _anchor(anchor, catalogue, use)
    catalogue = narrowed(catalogue, begin, held_against)
    if not catalogue.runs and not catalogue.reports:
        raise StoreError(_nothing(catalogue, runs, since))
    documents, told = _documents(catalogue, use)
    told += _ahead(catalogue, use)
    chosen_suite = _suite(catalogue, suite, use)
    catalogue = _of_one_suite(catalogue, documents, chosen_suite, told)
    known = _known(metrics, chosen_suite, documents, use)
    question = Question(
        suite=chosen_suite,
        documents=documents,
        anchor=held_against.manifest["run_id"] if held_against is not None else None,
        last=last,
        seed=use.seed,
    )
    needed = {one.metric: chosen(one, catalogue, question) for one in known}
    manifests = {run.folder: run.manifest for group in needed.values() for run in group}
    scan = can_scan()
    if not scan and len(manifests) > FEW:
        told.append(
            f"{len(manifests)} runs are read one by one; duckdb is not installed, which reads them in one scan: "
            "pip install 'evalharness[traffic]'"
        )
    read = read_scores(manifests, [metric for metric, group in needed.items() if group], scan=scan)
    histories = tuple(measured(one, catalogue, question, read, use.paths.show) for one in known)
    if any(_all_alone(one) for one in histories):
        told.append(
            "each run here is the only one of its name, so none is held against another: --anchor RUN names one for all"
        )
    found = History(
        suite=chosen_suite.name if chosen_suite is not None else None,
        metrics=histories,
        runs=len(catalogue.runs),
        reports=len(catalogue.reports),
        skipped=tuple(
            (shown, why.replace(str(folder), shown))
            for folder, why in catalogue.skipped
            for shown in [use.paths.show(folder)]
        ),
        warnings=tuple(told),
    )
    rules = chosen_suite.redact if chosen_suite is not None else Redaction()
    return Redactor(rules, secret_values(use.environ)).all(found)


def history_table(found: History, *, width: int = 100) -> str:
    """The history for a terminal; `width` in columns."""
    from evalharness.report.history_text import history_text

    return history_text(found, width=width)


def history_json(found: History) -> str:
    """The history as JSON, schema version 1."""
    from evalharness.report.history_json import history_json as to_json

    return to_json(found)


def write_history(found: History, out: str | Path) -> Path:
    """Write the history as one self-contained page.

    Raises:
        UsageError: `out` is no .html file. StoreError: it cannot be written.
    """
    from evalharness.report.history_html import history_html

    path = Path(out)
    if path.suffix not in (".html", ".htm"):
        raise UsageError(f"--out {out}: a history is one page; name an .html file")
    write_text(path, history_html(found))
    return path


def _places(runs: Sequence[str | Path], use: Settings) -> list[Path]:
    if not runs:
        return [use.surroundings.how.store.root / "runs", use.cwd / "reports"]
    missing = [str(place) for place in runs if not Path(place).is_dir()]
    if missing:
        raise StoreError(f"no such folder: {', '.join(missing)}")
    return [Path(place) for place in runs]


def _time(since: str | None) -> datetime | None:
    if since is None:
        return None
    try:
        found = datetime.fromisoformat(since)
    except ValueError:
        raise UsageError(f"--since {since}: no date; write 2026-08-01 or 2026-08-01T06:00:00+00:00") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _nothing(catalogue: Catalogue, runs: Sequence[str | Path], since: str | None) -> str:
    where = ", ".join(map(str, runs)) or "the store and in reports"
    when = f" since {since}" if since is not None else ""
    text = f"no run and no report in {where}{when}; name folders with --runs, or run something first"
    return "; ".join([text, *(f"{folder}: {why}" for folder, why in catalogue.skipped[:5])])


def _documents(catalogue: Catalogue, use: Settings) -> tuple[dict[Path, Mapping[str, Any]], list[str]]:
    """comparison.json of each report, and what to say of those that cannot be read."""
    found: dict[Path, Mapping[str, Any]] = {}
    told: list[str] = []
    for report in catalogue.reports:
        try:
            found[report.folder] = read_comparison(report.folder)
        except StoreError as error:
            told.append(f"left out: {error}".replace(str(report.folder), use.paths.show(report.folder)))
    return found, told


def _suite(catalogue: Catalogue, given: str | Path | None, use: Settings) -> Suite | None:
    """What tells how values are read: the suite given, else the one that the newest run names."""
    if not catalogue.runs:
        return choose_suite([], given, use.surroundings) if given is not None else None
    newest = catalogue.runs[-1].folder
    return choose_suite([suite_of(newest, use.paths)], given, use.surroundings, stored=[newest])


def _of_one_suite(
    catalogue: Catalogue, documents: dict[Path, Mapping[str, Any]], suite: Suite | None, told: list[str]
) -> Catalogue:
    """What is of the suite, by its name: another suite may call its metrics alike. `told` gains what is left out."""
    named = [document["suite"]["name"] for document in documents.values()]
    name = suite.name if suite is not None else named[-1] if named else ""
    others = {run.manifest["suite"]["name"] for run in catalogue.runs} | set(named)
    others.discard(name)
    if others:
        left = sum(run.manifest["suite"]["name"] != name for run in catalogue.runs)
        reports = sum(n != name for n in named)
        told.append(
            f"this is suite {name!r}; left out of {', '.join(sorted(others))}: {left} run{'s' * (left != 1)} and "
            f"{reports} report{'s' * (reports != 1)} (give --suite for another)"
        )
    for folder in [folder for folder, document in documents.items() if document["suite"]["name"] != name]:
        del documents[folder]
    return replace(
        catalogue,
        runs=tuple(run for run in catalogue.runs if run.manifest["suite"]["name"] == name),
        reports=tuple(report for report in catalogue.reports if report.folder in documents),
    )


def _known(
    wanted: Sequence[str], suite: Suite | None, documents: Mapping[Path, Mapping[str, Any]], use: Settings
) -> list[Known]:
    """What is known of each metric that was asked for, or of all there are."""
    from evalharness.history.measuring import Known

    found: dict[str, Known] = {}
    if suite is not None:
        scorers = build_scorers(suite, use.registry)
        for metric, item, _ in suite.metrics:
            about = scorers[metric].metric
            if about.kind != "preference":
                found[metric] = Known(
                    metric=metric,
                    unit=about.unit,
                    direction=about.direction,
                    item=item,
                    scorer=scorers[metric],
                )
    for document in documents.values():
        for row in document["metrics"]:
            known = Known(metric=row["id"], unit=row["unit"], direction=row["direction"])
            found.setdefault(row["id"], known)
    unknown = [metric for metric in dict.fromkeys(wanted) if metric not in found]
    if unknown:
        near = difflib.get_close_matches(unknown[0], found, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"no metric {', '.join(unknown)}; {hint}there are: {', '.join(found) or 'none'}")
    return [found[metric] for metric in dict.fromkeys(wanted)] or list(found.values())


def _all_alone(found: MetricHistory) -> bool:
    """Whether no run is held against another, though several answered the same cases under names of their own."""
    names = {segment.name for segment in found.segments}
    digests = {segment.suite_digest for segment in found.segments}
    alone = len(names) == len(found.segments) and all(point.anchor for point in found.points)
    return alone and len(digests) < len(found.segments)


def _ahead(catalogue: Catalogue, use: Settings) -> list[str]:
    """What to say of runs that a clock dates later than now: they would pass for the newest."""
    late = [run for run in catalogue.runs if run.when > use.now() + _SKEW]
    if not late:
        return []
    more = f" and {len(late) - 1} more" if len(late) > 1 else ""
    return [
        f"{use.paths.show(late[-1].folder)}{more} was started at {late[-1].when.isoformat()} by its own clock, "
        "which is yet to come: the order in time is not to be relied on"
    ]


def _anchor(given: str | None, catalogue: Catalogue, use: Settings) -> FoundRun | None:
    """The run that was named: by its folder, by digits of its id, or as the baseline it was blessed as.

    Raises:
        UsageError: it is not there, or the digits fit several. StoreError: the baseline cannot be fetched.
    """
    from evalharness.history.finding import find

    if given is None:
        return None
    if is_run_folder(use.cwd / given):
        named = find([use.cwd / given])
        if named.skipped:
            raise StoreError(f"--anchor {given}: {named.skipped[0][1]}")
        return named.runs[0]
    digits = given.removeprefix("sha256:")
    by_id = {run.manifest["run_id"]: run for run in catalogue.runs}
    fit = [run for run_id, run in by_id.items() if run_id.removeprefix("sha256:").startswith(digits)]
    fit = fit if len(digits) >= _SHORTEST_ID else []
    if len(fit) == 1:
        return fit[0]
    if not fit and (reference := read_reference(given)) is not None:
        shelf = use.surroundings.shelf
        entry = shelf.entry(reference) if shelf is not None else None
        if shelf is not None and entry is not None:
            return find([shelf.fetch(entry)]).runs[0]
    what = "fits several runs; give more digits" if fit else "no run that was found, and no blessed baseline"
    raise UsageError(
        f"--anchor {given}: {what}; name a run folder, {_SHORTEST_ID} digits or more of a run id, or a baseline"
    )
