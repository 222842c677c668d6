"""`evalharness compare`: the gate."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from evalharness.cli.options import (
    baselines_option,
    emit,
    guarded_stdout,
    json_option,
    running,
    say,
    settings,
    suite_option,
)


@click.command("compare")
@click.argument("baseline", metavar="BASE")
@click.argument("candidate", metavar="CAND")
@suite_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the reports go (default reports/<base>-vs-<cand>).",
)
@click.option(
    "--anchor",
    metavar="RELEASE",
    help="What small steps are added up against: candidate .yaml, stored run or blessed baseline of the release. "
    "Never gates.",
)
@click.option(
    "--extend",
    is_flag=True,
    help="Go on after an inconclusive comparison, as far as the suite's `sampling` allows: reserve cases, repeats.",
)
@baselines_option
@json_option
@running
def command(
    baseline: str,
    candidate: str,
    suite: str | None,
    out: Path | None,
    anchor: str | None,
    extend: bool,
    baselines: str | None,
    as_json: bool,
    allow: tuple[Path, ...],
    store: Path | None,
    seed: int | None,
    fresh: bool,
    quiet: bool,
) -> int:
    """Compare CAND with BASE and exit with the verdict.

    Each side is a candidate .yaml, the folder of a stored run or the name of a blessed baseline; or both are result
    files of other tools (Inspect, lm-eval, promptfoo and more). Answers that are already stored or cached are not
    asked for again. Writes comparison.json, report.html, summary.md and junit.xml, and prints the table.

    \b
    evalharness compare base.yaml candidate.yaml
    evalharness compare main candidate.yaml
    evalharness compare .evalharness/runs/base-1a2b candidate.yaml --out gate
    evalharness compare base.yaml candidate.yaml --json | jq .verdict
    evalharness compare logs/base.eval logs/candidate.eval

    \b
    0 pass · 1 regression · 2 usage or file error · 3 inconclusive · 4 invalid · 5 provider failure or spend cap
    """
    from evalharness import api
    from evalharness.errors import InvalidComparisonError

    use = settings(allow=allow, store=store, baselines=baselines, seed=seed, fresh=fresh, quiet=quiet)
    try:
        with guarded_stdout():
            verdict, written = api.compare_to(
                out, baseline, candidate, suite=suite, anchor=anchor, extend=extend, settings=use
            )
    except InvalidComparisonError as error:
        if as_json:
            emit(api.comparison_json(api.refusal(error, baseline, candidate, suite=suite, settings=use)))
        raise
    if as_json:
        emit(api.comparison_json(verdict))
    else:
        emit(api.table(verdict, width=_width(), color=sys.stdout.isatty()))
    say(f"report: {use.paths.show(written['report.html'])}")
    return verdict.exit_code


def _width() -> int:
    import shutil

    return max(60, min(160, shutil.get_terminal_size((100, 24)).columns))
