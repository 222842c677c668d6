"""`evalharness rank`: several candidates beside each other."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from evalharness.cli.options import emit, guarded_stdout, json_option, running, say, settings, suite_option


def _sizes(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...]:
    """Whole numbers from 1, parted by commas."""
    if value is None:
        return ()
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise click.BadParameter(f"{value!r} is no list of dimensions; write 256,128,64", ctx, param)
    return tuple(int(part) for part in parts)


def _tags(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, str] | None:
    """Two names, parted by a comma."""
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",")]
    if len(parts) != 2 or not all(parts):
        hint = "write query_language,document_language"
        raise click.BadParameter(f"{value!r} does not name two tags; {hint}", ctx, param)
    return parts[0], parts[1]


@click.command("rank")
@click.argument("candidates", metavar="CAND...", nargs=-1, required=True)
@suite_option
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="ID",
    help="Rank on this metric (repeatable; default every metric of the suite).",
)
@click.option(
    "--truncate",
    callback=_sizes,
    metavar="D,D,…",
    help="Also cut retrievers' vectors to so many first dimensions, and test what that costs.",
)
@click.option(
    "--grid", callback=_tags, metavar="TAG,TAG", help="Also show the metrics in each cell of two tags."
)
@click.option(
    "--projection",
    type=click.Choice(("pca", "tsne")),
    default="pca",
    show_default=True,
    help="How the picture of an embedding space is made.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the reports go (default reports/<suite>-ranking).",
)
@json_option
@running
def command(
    candidates: tuple[str, ...],
    suite: str | None,
    metrics: tuple[str, ...],
    truncate: tuple[int, ...],
    grid: tuple[str, str] | None,
    projection: str,
    out: Path | None,
    as_json: bool,
    allow: tuple[Path, ...],
    store: Path | None,
    seed: int | None,
    fresh: bool,
    quiet: bool,
) -> int:
    """Rank several candidates on one suite: every pair of them, tested on every metric.

    Each one is a candidate .yaml or the folder of a stored run. Writes ranking.json, ranking.html and ranking.md. It is
    no gate: the exit code says only whether it could be done.

    \b
    evalharness rank small.yaml large.yaml multilingual.yaml
    evalharness rank small.yaml large.yaml --metric search/ndcg@10 --truncate 256,128,64
    evalharness rank small.yaml large.yaml --grid query_language,document_language

    \b
    0 ranked · 2 usage or file error · 4 runs that do not belong together · 5 provider failure or spend cap
    """
    from evalharness import api

    use = settings(allow=allow, store=store, seed=seed, fresh=fresh, quiet=quiet)
    with guarded_stdout():
        report, written = api.rank_to(
            out,
            candidates,
            suite=suite,
            metrics=metrics,
            truncate=truncate,
            grid=grid,
            projection=projection,
            settings=use,
        )
    if as_json:
        emit(api.rank_json(report))
    else:
        emit(
            api.plain(
                api.rank_table(report, width=max(60, min(160, shutil.get_terminal_size((100, 24)).columns)))
            )
        )
    say(f"report: {use.paths.show(written['ranking.html'])}")
    return 0
