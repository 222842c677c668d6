"""`evalharness doctor`: what would stop tonight's gate."""

from __future__ import annotations

import shutil

import click

from evalharness.cli.options import (
    baselines_option,
    emit,
    guarded_stdout,
    json_option,
    running,
    settings,
    suite_option,
)


@click.command("doctor")
@click.argument("files", nargs=-1, metavar="[BASE] [CAND]")
@suite_option
@click.option("--problems", is_flag=True, help="Show only what there is something to do about.")
@json_option
@baselines_option
@running
def command(files: tuple[str, ...], suite: str | None, problems: bool, as_json: bool, **how: object) -> int:
    """Look for what would stop a comparison: keys, servers, files, judges, libraries, baselines, budget, power, disk.

    BASE and CAND are what compare takes. Without them it looks at this machine and the blessed baselines alone. Keys
    are never printed and no model is asked. Exit 2 where something would stop the gate.

    \b
    evalharness doctor
    evalharness doctor base.yaml candidate.yaml
    evalharness doctor main candidate.yaml
    evalharness doctor --suite suites/support-desk.yaml --problems
    """
    from evalharness import api

    use = settings(**how)  # type: ignore[arg-type]
    with guarded_stdout():
        found = api.doctor(files, suite=suite, settings=use)
    width = shutil.get_terminal_size((100, 24)).columns
    emit(api.diagnosis_json(found) if as_json else api.diagnosis_text(found, quiet=problems, width=width))
    return 2 if any(finding.state == "problem" for finding in found) else 0
