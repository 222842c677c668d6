"""A stored run or a report as other tools take it: tables, OpenTelemetry events, MLflow, Weights & Biases."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from evalharness.api.settings import Settings, version
from evalharness.core.suites import Redaction, Suite
from evalharness.engine.sides import choose_suite, finished_run, suite_of
from evalharness.errors import StoreError, UsageError
from evalharness.redaction import Redactor, secret_values
from evalharness.report.folder import FILES, read_report_manifest
from evalharness.store.comparisons import NAME as COMPARISON
from evalharness.store.comparisons import read_comparison
from evalharness.store.files import slug
from evalharness.store.folder import is_run_folder, load_run

if TYPE_CHECKING:
    from evalharness.core.scores import Metric
    from evalharness.exports.rows import Part, ScoreRow

TABLES: Final = ("csv", "jsonl", "parquet")
TARGETS: Final = (*TABLES, "otel", "mlflow", "wandb")
"""What `export` writes."""
DEFAULT_PROJECT: Final = "evalharness"
EVENTS: Final = "evaluations.otlp.jsonl"
_FITS: Final[Mapping[str, tuple[str, ...]]] = {
    "out": (*TABLES, "otel", "wandb"),
    "endpoint": ("otel",),
    "tracking_uri": ("mlflow",),
    "project": ("mlflow", "wandb"),
    "spreadsheet": ("csv",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was exported.

    Attributes:
        to: one of `TARGETS`. place: the folder, file, address or id of a tracker's run where it is now.
        rows: how many, by what they are: `scores`, `comparison`, `events`, `metrics`.
        files: what was written, by what it holds. warnings: what is left out, and why.
    """

    to: str
    place: str
    rows: Mapping[str, int]
    files: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def row(self) -> dict[str, Any]:
        """As JSON data, schema version 1."""
        return {
            "schema_version": 1,
            "to": self.to,
            "place": self.place,
            "rows": dict(self.rows),
            "files": dict(self.files),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """What is exported: one run, or the comparison of a report with its runs."""

    name: str
    suite: Suite | None
    parts: Sequence[Part]
    redactor: Redactor
    metrics: Mapping[str, Metric]
    document: Mapping[str, Any] | None = None
    manifest: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    warnings: tuple[str, ...] = ()

    def scores(self) -> Iterator[ScoreRow]:
        from evalharness.exports.rows import score_rows

        return score_rows(self.parts, self.redactor)

    def values(self) -> Iterator[dict[str, Any]]:
        from evalharness.exports.rows import score_values

        return score_values(self.scores(), self.metrics, self.redactor)


def export(
    source: str | Path,
    to: str,
    *,
    out: str | Path | None = None,
    suite: str | Path | None = None,
    scores: bool = True,
    spreadsheet: bool = False,
    endpoint: str | None = None,
    tracking_uri: str | None = None,
    project: str | None = None,
    settings: Settings | None = None,
) -> Exported:
    """Export a stored run, or the comparison of a report folder with its two runs. No model is asked.

    Keys, and the personal data that the suite's `redact` names, are taken out as they are of reports.

    Args:
        source: a run folder or a report folder.
        to: one of `TARGETS`.
        out: the folder of tables, the file of events, the folder of W&B's local files; None: `exports/<name>`.
        suite: in place of the one that the run or the report names.
        scores: also single scores; without them a report needs neither its runs nor its suite.
        spreadsheet: make cells of a CSV safe to open in a spreadsheet.
        endpoint: of an OpenTelemetry collector, in place of a file.
        tracking_uri: of MLflow; None: `MLFLOW_TRACKING_URI`, else the folder `mlruns`.
        project: MLflow's experiment or W&B's project; None: "evalharness".
        settings: working directory, environment, clock.

    Raises:
        UsageError: an option that does not fit `to`, or no suite is named. StoreError: `source` is neither, or damaged;
            something cannot be written, or the other tool refused. SpecError: the suite is wrong.
        MissingExtraError: a library is not installed.
    """
    use = settings or Settings()
    asked = {
        "out": out,
        "endpoint": endpoint,
        "tracking_uri": tracking_uri,
        "project": project,
        "spreadsheet": spreadsheet,
    }
    _check(to, asked, scores)
    found = _find(Path(source), suite, scores, use)
    folder = Path(out) if out is not None else use.cwd / "exports" / slug(found.name)
    if to in TABLES:
        return _tables(found, to, folder, use, scores=scores, spreadsheet=spreadsheet)
    if to == "otel":
        place = folder if out is not None else folder / EVENTS
        return _events(found, place, endpoint, use)
    return _tracked(found, to, folder, tracking_uri, project or DEFAULT_PROJECT, scores, use)


def _check(to: str, asked: Mapping[str, Any], scores: bool) -> None:
    """Refuse what does not fit together, all of it at once."""
    if to not in TARGETS:
        raise UsageError(f"--to {to}: no such target; choose one of {', '.join(TARGETS)}")
    wrong = [
        f"--{name.replace('_', '-')} is for --to {' or '.join(fits)}"
        for name, fits in _FITS.items()
        if asked[name] and to not in fits
    ]
    if asked["endpoint"] and asked["out"]:
        wrong.append("--endpoint sends events and --out writes them to a file; give one of them")
    if wrong:
        raise UsageError("; ".join(wrong))


def _find(place: Path, suite: str | Path | None, scores: bool, use: Settings) -> _Source:
    if is_run_folder(place):
        if not scores:
            raise UsageError(
                f"{place}: a run holds nothing but scores; --no-scores is for the report of a comparison"
            )
        return _of_run(place, suite, use)
    if not place.is_dir():
        raise StoreError(
            f"{place}: no such folder; give a run folder or the --out folder of an earlier compare"
        )
    if not (place / COMPARISON).is_file():
        finished_run(place)  # says what it is not
    return _of_report(place, suite, scores, use)


def _of_run(place: Path, given: str | Path | None, use: Settings) -> _Source:
    from evalharness.exports.rows import Part, tags_of

    folder = finished_run(place)
    run = load_run(folder)
    suite = choose_suite([suite_of(folder, use.paths)], given, use.surroundings, stored=[folder])
    tags, told = tags_of(run, suite)
    return _Source(
        name=run.name,
        suite=suite,
        parts=[Part(side="run", run=run, tags=tags)],
        redactor=_redactor(suite, use),
        metrics=_metrics(suite, use),
        warnings=tuple(told),
    )


def _of_report(place: Path, given: str | Path | None, scores: bool, use: Settings) -> _Source:
    from evalharness.exports.rows import Part, tags_of

    manifest, document = read_report_manifest(place), read_comparison(place)
    parts: list[Part] = []
    told: list[str] = []
    suite: Suite | None = None
    if scores:
        folders = [_run_of(place, role, manifest[role], use) for role in ("baseline", "candidate")]
        named = str(use.cwd / manifest["suite"])
        suite = choose_suite([named], given, use.surroundings, stored=folders)
        for role, folder in zip(("baseline", "candidate"), folders, strict=True):
            run = load_run(folder)
            tags, more = tags_of(run, suite)
            parts.append(Part(side=role, run=run, tags=tags))
            told += more
            if run.id != manifest[role]["run_id"]:
                told.append(
                    f"{role}: the run was scored or answered again since; its scores are those of now"
                )
    redactor = _redactor(suite, use)
    return _Source(
        name=f"{document['baseline']['name']}-vs-{document['candidate']['name']}",
        suite=suite,
        parts=parts,
        redactor=redactor,
        metrics=_metrics(suite, use) if suite is not None else {},
        document=redactor.all(document),
        manifest=manifest,
        folder=place,
        warnings=tuple(dict.fromkeys(told)),
    )


def _run_of(place: Path, role: str, about: Mapping[str, Any], use: Settings) -> Path:
    folder = use.cwd / str(about["folder"])
    if not is_run_folder(folder):
        raise StoreError(
            f"{place}: the {role} run is not there ({about['folder']}); run this where compare ran, or export the "
            "comparison alone with --no-scores"
        )
    return folder


def _redactor(suite: Suite | None, use: Settings) -> Redactor:
    named = (
        [judge.api_key_env for _, _, judge in suite.judged if judge.api_key_env] if suite is not None else []
    )
    return Redactor(suite.redact if suite is not None else Redaction(), secret_values(use.environ, named))


def _metrics(suite: Suite, use: Settings) -> dict[str, Metric]:
    from evalharness.engine.scoring import build_scorers

    return {name: scorer.metric for name, scorer in build_scorers(suite, use.registry).items()}


def _tables(
    found: _Source, to: str, folder: Path, use: Settings, *, scores: bool, spreadsheet: bool
) -> Exported:
    from evalharness.exports.rows import COMPARISON_COLUMNS, SCORE_COLUMNS, comparison_values
    from evalharness.exports.tables import WRITERS

    more = {"spreadsheet": True} if spreadsheet else {}
    rows, files = {}, {}
    if found.document is not None:
        path = folder / f"comparison.{to}"
        rows["comparison"] = WRITERS[to](path, COMPARISON_COLUMNS, comparison_values(found.document), **more)
        files["comparison"] = use.paths.show(path)
    if scores:
        path = folder / f"scores.{to}"
        rows["scores"] = WRITERS[to](path, SCORE_COLUMNS, found.values(), **more)
        files["scores"] = use.paths.show(path)
    return Exported(to=to, place=use.paths.show(folder), rows=rows, files=files, warnings=found.warnings)


def _events(found: _Source, place: Path, endpoint: str | None, use: Settings) -> Exported:
    from evalharness.exports.otel import Event, score_events, send_otlp, verdict_events, write_otlp
    from evalharness.exports.tracking import without_password

    def events() -> Iterator[Event]:
        if found.document is not None:
            yield from verdict_events(found.document, found.manifest)
        if found.suite is not None:
            yield from score_events(found.scores(), found.metrics, found.suite.name, found.redactor)

    if endpoint is not None:
        number = send_otlp(endpoint, events(), version=version(), now=use.now())
        return Exported(
            to="otel", place=without_password(endpoint), rows={"events": number}, warnings=found.warnings
        )
    number = write_otlp(place, events(), version=version(), now=use.now())
    shown = use.paths.show(place)
    return Exported(
        to="otel", place=shown, rows={"events": number}, files={"events": shown}, warnings=found.warnings
    )


def _tracked(
    found: _Source, to: str, folder: Path, uri: str | None, project: str, scores: bool, use: Settings
) -> Exported:
    from evalharness.exports.rows import comparison_values
    from evalharness.exports.tracking import Tracked, tracked_comparison, tracked_run

    with _with_scores(found, scores) as extra:
        tracked: Tracked
        if found.document is not None and found.folder is not None:
            # as compare wrote them: what they hold was redacted before it was laid out
            reports = {name: found.folder / name for name in FILES if (found.folder / name).is_file()}
            tracked = tracked_comparison(found.document, {**reports, **extra})
        else:
            tracked = found.redactor.all(tracked_run(found.parts[0].run, _values(found, use), extra))
        if to == "mlflow":
            from evalharness.exports.to_mlflow import log_to_mlflow

            where = uri or use.environ.get("MLFLOW_TRACKING_URI") or str(use.cwd / "mlruns")
            place = log_to_mlflow(tracked, uri=where, experiment=project, now=use.now())
        else:
            from evalharness.exports.to_wandb import log_to_wandb

            compared = [] if found.document is None else list(comparison_values(found.document))
            place = log_to_wandb(tracked, project=project, folder=folder, compared=compared)
    return Exported(to=to, place=place, rows={"metrics": len(tracked.metrics)}, warnings=found.warnings)


def _values(found: _Source, use: Settings) -> Mapping[str, Any]:
    from evalharness.analysis.alone import standings
    from evalharness.engine.scoring import build_scorers

    assert found.suite is not None
    return standings(found.suite, found.parts[0].run, build_scorers(found.suite, use.registry))


@contextmanager
def _with_scores(found: _Source, scores: bool) -> Iterator[dict[str, Path]]:
    """scores.csv in a place of its own for as long as a tracker takes to copy it."""
    from evalharness.exports.rows import SCORE_COLUMNS
    from evalharness.exports.tables import write_csv

    if not scores:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="evalharness-") as folder:
        path = Path(folder) / "scores.csv"
        write_csv(path, SCORE_COLUMNS, found.values())
        yield {path.name: path}
