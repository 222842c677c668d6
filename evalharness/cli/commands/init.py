"""`evalharness init`: files to start from."""

from __future__ import annotations

from pathlib import Path

import click

from evalharness.cli.options import emit


@click.command("init")
@click.argument(
    "directory", metavar="[DIR]", type=click.Path(path_type=Path, file_okay=False), default=Path(".")
)
def command(directory: Path) -> int:
    """Scaffold a suite, a golden set, a judge and two candidates in DIR (default: here).

    They run at once, without a key or a network: the two candidates replay recorded answers. Nothing is overwritten.
    """
    from evalharness import api

    written = api.scaffold(directory)
    inside = "" if directory == Path(".") else f"cd {directory} && "
    emit("\n".join(str(path) for path in written))
    emit(f"\nnext: {inside}evalharness compare base.yaml candidate.yaml")
    return 0
