"""`evalharness export`: what was measured, as other tools take it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from evalharness.cli.options import common, emit, guarded_stdout, json_option, say, settings

_TARGETS = ("csv", "jsonl", "parquet", "otel", "mlflow", "wandb")


@click.command("export")
@click.argument("source", metavar="REPORT|RUN", type=click.Path(path_type=Path))
@click.option("--to", type=click.Choice(_TARGETS), required=True, help="What is written.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The folder of tables, the file of events (default exports/<name>).",
)
@click.option(
    "--suite", metavar="FILE", help="The suite, in place of the one that the run or the report names."
)
@click.option("--no-scores", is_flag=True, help="The comparison alone: needs neither its runs nor its suite.")
@click.option(
    "--spreadsheet", is_flag=True, help="csv: cells that a spreadsheet would run get an apostrophe."
)
@click.option("--endpoint", metavar="URL", help="otel: send to a collector in place of writing a file.")
@click.option(
    "--tracking-uri", metavar="URI", help="mlflow: server or folder (default MLFLOW_TRACKING_URI, mlruns)."
)
@click.option("--project", metavar="NAME", help="mlflow's experiment, wandb's project (default evalharness).")
@json_option
@common
def command(
    source: Path,
    to: str,
    out: Path | None,
    suite: str | None,
    no_scores: bool,
    spreadsheet: bool,
    endpoint: str | None,
    tracking_uri: str | None,
    project: str | None,
    as_json: bool,
    allow: tuple[Path, ...],
) -> int:
    """Export a stored run, or a report with its two runs, for other tools.

    Keys and the personal data that the suite's `redact` names are taken out. No model is asked.

    \b
    evalharness export reports/base-vs-candidate --to csv
    evalharness export .evalharness/runs/base-1a2b --to parquet --out tables
    evalharness export reports/base-vs-candidate --to mlflow --tracking-uri http://127.0.0.1:5000
    evalharness export reports/base-vs-candidate --to otel --endpoint http://127.0.0.1:4318
    """
    from evalharness import api

    use = settings(allow=allow)
    with guarded_stdout():
        found = api.export(
            source,
            to,
            out=out,
            suite=suite,
            scores=not no_scores,
            spreadsheet=spreadsheet,
            endpoint=endpoint,
            tracking_uri=tracking_uri,
            project=project,
            settings=use,
        )
    for warning in found.warnings:
        say(api.plain(f"warning: {warning}"))
    if as_json:
        emit(json.dumps(found.row(), indent=2, ensure_ascii=False))
    else:
        words = {"comparison": "rows of the comparison"}
        counts = ", ".join(f"{number:,} {words.get(what, what)}" for what, number in found.rows.items())
        emit(api.plain(f"{found.place}\n  {counts}"))
    return 0
