"""`evalharness report`: render again."""

from __future__ import annotations

from pathlib import Path

import click

from evalharness.cli.options import common, emit, settings


@click.command("report")
@click.argument("folder", metavar="REPORT", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write there instead of over REPORT.",
)
@common
def command(folder: Path, out: Path | None, allow: tuple[Path, ...]) -> int:
    """Render the reports of an earlier comparison again, from its stored runs. Makes no call.

    REPORT is the folder `compare` wrote. Exits with the verdict, as `compare` does.

    \b
    evalharness report reports/base-vs-candidate
    """
    from evalharness import api

    use = settings(allow=allow)
    verdict, written = api.rerender(folder, out=out, settings=use)
    emit("\n".join(use.paths.show(path) for path in written.values()))
    return verdict.exit_code
