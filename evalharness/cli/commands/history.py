"""`evalharness history`: a metric over time."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from evalharness.cli.options import (
    baselines_option,
    common,
    emit,
    guarded_stdout,
    json_option,
    say,
    settings,
    suite_option,
)


@click.command("history")
@click.argument("metrics", nargs=-1, metavar="[METRIC]...")
@click.option(
    "--all", "every", is_flag=True, help="Every metric of the suite and of the reports; so without METRIC."
)
@click.option(
    "--runs",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where runs and reports are looked for (repeatable; default the store's runs, and reports/).",
)
@click.option("--since", metavar="DATE", help="Only what was started on that day or later: 2026-08-01.")
@click.option(
    "--last",
    type=click.IntRange(1),
    metavar="N",
    help="Newest runs of each metric that are shown (default 100).",
)
@click.option(
    "--anchor",
    metavar="RUN",
    help="What others are held against: a run folder, digits of a run id or a blessed baseline (default each line's "
    "first run).",
)
@baselines_option
@suite_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write a page: history.html.",
)
@json_option
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where runs and the response cache lie (default .evalharness).",
)
@common
def command(
    metrics: tuple[str, ...],
    every: bool,
    runs: tuple[Path, ...],
    since: str | None,
    last: int | None,
    anchor: str | None,
    baselines: str | None,
    suite: str | None,
    out: Path | None,
    as_json: bool,
    store: Path | None,
    allow: tuple[Path, ...],
) -> int:
    """Show metrics of stored runs over time, and how far each has come since its anchor.

    Runs of one candidate are joined where they answered the same cases under the same scorers; a changed golden set
    begins another line. Nothing is asked, and nothing gates.

    \b
    evalharness history routing/exact_match
    evalharness history --all --since 2026-08-01 --out history.html
    evalharness history routing/exact_match --runs artefacts --anchor .evalharness/runs/release-1a2b
    """
    from evalharness import api
    from evalharness.errors import UsageError

    if metrics and every:
        raise UsageError("name metrics, or give --all for every one; not both")
    use = settings(allow=allow, store=store, baselines=baselines)
    more = {} if last is None else {"last": last}
    with guarded_stdout():
        found = api.history(metrics, runs=runs, since=since, anchor=anchor, suite=suite, settings=use, **more)
    if as_json:
        emit(api.history_json(found))
    else:
        emit(
            api.plain(
                api.history_table(found, width=max(60, min(160, shutil.get_terminal_size((100, 24)).columns)))
            )
        )
    if out is not None:
        say(f"page: {use.paths.show(api.write_history(found, out))}")
    return 0
