"""`evalharness score`: score a stored run again."""

from __future__ import annotations

from pathlib import Path

import click

from evalharness.cli.options import common, emit, settings, suite_option


@click.command("score")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@suite_option
@common
def command(run: Path, suite: str | None, allow: tuple[Path, ...]) -> int:
    """Score the stored answers of RUN with the suite as it is now. Makes no call.

    Use it after changing scorers. A changed golden set needs a new run: other questions were asked.

    \b
    evalharness score .evalharness/runs/base-1a2b3c4d5e6f
    """
    from evalharness import api

    use = settings(allow=allow)
    scored = api.rescore(run, suite=suite, settings=use)
    counts = scored.manifest["coverage"]
    emit(f"{use.paths.show(run)}\n  {counts['scored']} of {counts['planned']} scored; run id {scored.id}")
    return 0
