"""`evalharness plan`: cost and power before any call."""

from __future__ import annotations

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


@click.command("plan")
@click.argument("baseline", metavar="BASE")
@click.argument("candidate", metavar="[CAND]", required=False)
@suite_option
@click.option(
    "--from",
    "evidence",
    multiple=True,
    metavar="DIR",
    help="Take the churn from the report folder of an earlier compare, or (given twice) from two run folders.",
)
@click.option(
    "--churn",
    metavar="SHARE",
    help="Share of cases to assume that change when nothing changed, such as 10%.",
)
@baselines_option
@json_option
@running
def command(
    baseline: str,
    candidate: str | None,
    suite: str | None,
    evidence: tuple[str, ...],
    churn: str | None,
    as_json: bool,
    **how: object,
) -> int:
    """Say what a comparison would cost and what it could see. Nothing is asked and nothing is written.

    Counts calls, tokens and money of both sides, and for every gated metric the smallest drop it could see, the cases
    it would take, and how often the gate would pass, block or not know. A suite that cannot see twice its margin is
    an error (exit 2).

    \b
    evalharness plan base.yaml candidate.yaml
    evalharness plan base.yaml --churn 10%
    evalharness plan base.yaml candidate.yaml --from reports/base-vs-base-again
    """
    from evalharness import api
    from evalharness.errors import SpecError

    use = settings(**how)  # type: ignore[arg-type]
    with guarded_stdout():
        found = api.plan(baseline, candidate, suite=suite, evidence=evidence, churn=churn, settings=use)
    emit(api.plan_json(found) if as_json else api.plan_table(found))
    if found.problems:
        raise SpecError(found.problems)
    return 0
