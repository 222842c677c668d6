"""`evalharness validate`: every problem at once."""

from __future__ import annotations

from pathlib import Path

import click

from evalharness.cli.options import common, emit, say, settings


@click.command("validate")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@common
def command(files: tuple[str, ...], allow: tuple[Path, ...]) -> int:
    """Report every problem in candidates, suites, golden sets and judges, and in the files they name.

    \b
    evalharness validate base.yaml candidate.yaml
    evalharness validate suites/*.yaml
    """
    from evalharness import api
    from evalharness.errors import SpecError

    problems = api.validate(files, settings(allow=allow), tell=lambda text: say(f"warning: {text}"))
    if problems:
        raise SpecError(problems)
    emit(f"{len(files)} file{'s' if len(files) > 1 else ''} and the files they name: no problems")
    return 0
