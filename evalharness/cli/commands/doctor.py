"""`evalharness doctor`: what would stop tonight's gate."""

from __future__ import annotations

import click

from evalharness.cli.options import emit, guarded_stdout, json_option, running, settings, suite_option


@click.command("doctor")
@click.argument("files", nargs=-1, metavar="[BASE] [CAND]")
@suite_option
@click.option("--problems", is_flag=True, help="Show only what there is something to do about.")
@json_option
@running
def command(files: tuple[str, ...], suite: str | None, problems: bool, as_json: bool, **how: object) -> int:
    """Look for what would stop a comparison: keys, servers, files, judges, libraries, disk, power.

    Without files it looks at this machine alone. Keys are never printed, no model is asked and nothing is written. Exit
    2 where something would stop the gate.

    \b
    evalharness doctor
    evalharness doctor base.yaml candidate.yaml
    evalharness doctor --suite suites/support-desk.yaml --problems
    """
    from evalharness import api

    use = settings(**how)  # type: ignore[arg-type]
    with guarded_stdout():
        found = api.doctor(files, suite=suite, settings=use)
    emit(api.diagnosis_json(found) if as_json else api.diagnosis_text(found, quiet=problems))
    return 2 if any(finding.state == "problem" for finding in found) else 0
