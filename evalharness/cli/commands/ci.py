"""`evalharness ci`: the gate inside of a job on GitHub."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Literal

import click

from evalharness.cli.options import baselines_option, emit, guarded_stdout, say, settings

_report = click.argument("report", metavar="REPORT", type=click.Path(path_type=Path))
_name = click.option(
    "--name", default="gate", show_default=True, metavar="NAME", help="What the gate is called."
)
_report_url = click.option("--report-url", default="", metavar="URL", help="Where readers find the report.")
_patience = click.option(
    "--patience",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="How long to wait for GitHub's limits and failures (default 180).",
)


@click.group("ci")
def command() -> None:
    """The gate inside of a job on GitHub: run it, and tell it on the pull request."""


@command.command("gate", short_help="Compare, and keep what the job tells.")
@click.argument("baseline", metavar="BASE")
@click.argument("candidate", metavar="CAND")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@click.option("--suite", default="", metavar="FILE", help="The suite, in place of what the sides name.")
@baselines_option
@click.option(
    "--args",
    "more",
    default="",
    metavar="OPTIONS",
    help="Further options of `compare`, written as in a shell.",
)
@click.option(
    "--base-ref",
    default="",
    metavar="COMMIT",
    help="Read and ask BASE in the files of this commit, HEAD^1 for one, on the suite as it is here.",
)
@click.option(
    "--on-inconclusive",
    type=click.Choice(["failure", "neutral"]),
    default="failure",
    show_default=True,
    help="neutral: an inconclusive verdict ends with 0 and a warning.",
)
def gate(
    baseline: str,
    candidate: str,
    out: Path,
    suite: str,
    baselines: str | None,
    more: str,
    base_ref: str,
    on_inconclusive: Literal["failure", "neutral"],
) -> int:
    """Compare CAND with BASE as `compare` does, and keep in DIR/ci.json what the other commands tell.

    Refuses a job that holds secrets and has the code of a pull request checked out. Ends with the verdict.

    \b
    evalharness ci gate base.yaml candidate.yaml --out gate
    evalharness ci gate candidate.yaml candidate.yaml --base-ref HEAD^1 --out gate
    """
    from evalharness.api import ci, table

    # whatever is wrong below, the steps after this one find no verdict of an earlier job
    ci.clear_report(out)
    given = _options_of_compare(more, suite)
    use = settings(
        allow=given["allow"],
        store=given["store"],
        baselines=given["baselines"] or baselines,
        seed=given["seed"],
        fresh=given["fresh"],
        quiet=given["quiet"],
    )
    with _inert():
        with guarded_stdout():
            verdict, returned = ci.gate(
                baseline,
                candidate,
                out,
                suite=given["suite"],
                anchor=given["anchor"],
                extend=given["extend"],
                base_ref=base_ref or None,
                on_inconclusive=on_inconclusive,
                settings=use,
            )
        emit(table(verdict, width=100, color=False))
    if returned != verdict.exit_code:
        say(f"exit code {verdict.exit_code} (inconclusive) is neutral here, as --on-inconclusive says")
    return returned


def _options_of_compare(more: str, suite: str) -> dict[str, Any]:
    """What `compare` understands of these options.

    Raises:
        click.UsageError: they are not its options, or name what the job sets itself.
    """
    import shlex

    from evalharness.cli.commands.compare import command as compare

    try:
        words = shlex.split(more)
    except ValueError as error:
        raise click.UsageError(f"--args {more!r}: {error}") from error
    wanted = [*(["--suite", suite] if suite else []), *words]
    if {"-h", "--help"} & set(words):  # it would print the help and end with 0, which reads as a pass
        raise click.UsageError("--args takes no --help")
    found = compare.make_context("compare", [*wanted, "--", "BASE", "CAND"]).params
    if found["baseline"] != "BASE" or found["out"] is not None or found["as_json"]:
        raise click.UsageError("--args takes options of `compare` alone, and neither --out nor --json")
    return found


class _inert:
    """Around text that strangers may have written: the runner obeys no command in it."""

    def __enter__(self) -> None:
        from evalharness.api import ci

        self._end = None
        if os.environ.get("GITHUB_ACTIONS") == "true":
            begin, self._end = ci.quiet()
            _line(begin)

    def __exit__(self, *_: object) -> None:
        if self._end is not None:
            _line(self._end)


def _line(text: str) -> None:
    sys.stdout.flush()
    emit(text)


@command.command("outputs", short_help="Set the step's outputs, and end with the verdict.")
@_report
def outputs(report: Path) -> int:
    """Set `verdict`, `exit-code` and `report-path` of the step, print the verdict, and end as `ci gate` did.

    Where `ci gate` was ended before it could write a verdict, this ends with 70.

    \b
    evalharness ci outputs gate
    """
    from evalharness.api import ci

    found = ci.outputs(report, settings())
    emit(f"{found.verdict or 'no verdict'}, exit code {found.exit_code}")
    return found.returned


@command.command("summary", short_help="Add the summary to the job's page.")
@_report
def summary(report: Path) -> int:
    """Add REPORT/summary.md to the summary of the job, or what kept the gate from a verdict.

    Outside of a job on GitHub the Markdown is printed.

    \b
    evalharness ci summary gate
    """
    from evalharness.api import ci

    text = ci.summary(report, settings())
    if not os.environ.get("GITHUB_STEP_SUMMARY"):
        emit(text)
    return 0


@command.command("annotate", short_help="Show the cases that got worse at their lines.")
@_report
@click.option(
    "--most",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    metavar="N",
    help="Cases to show, the critical ones first; GitHub shows ten of a step.",
)
def annotate(report: Path, most: int) -> int:
    """Print workflow commands that mark each case that got worse at its line in cases.jsonl; the others are counted.

    \b
    evalharness ci annotate gate
    """
    from evalharness.api import ci

    lines = ci.annotate(report, most, settings())
    if lines:
        emit("\n".join(lines))
    return 0


@command.command("comment", short_help="Write the gate's comment on the pull request.")
@_report
@_name
@click.option(
    "--pull-request",
    type=click.IntRange(1),
    metavar="N",
    help="The pull request, in place of the one that the event is about.",
)
@_report_url
@_patience
def comment(
    report: Path, name: str, pull_request: int | None, report_url: str, patience: float | None
) -> int:
    """Write the verdict as one comment on the pull request: edited where it is there, else created.

    The token comes from GITHUB_TOKEN. What GitHub refuses is a warning and changes no exit code: the verdict is that
    of `ci gate`.

    \b
    evalharness ci comment gate --name prompts
    """
    from evalharness.api import ci
    from evalharness.errors import UsageError

    try:
        posted = ci.comment(
            report,
            name,
            pull_request=pull_request,
            report_url=report_url,
            patience_s=patience,
            settings=settings(),
        )
    except ci.GitHubError as error:
        return _not_told("no comment was written", error)
    except UsageError as error:  # no other step tells it, and this one changes no verdict
        emit(ci.notice("no comment was written", str(error)))
        raise
    if posted is None:
        say("this job is about no open pull request: there is nothing to comment on")
    else:
        emit(f"comment {posted.done}: {posted.url}")
    return 0


@command.command("check", short_help="Put the verdict on the commit as a check run.")
@_report
@_name
@_report_url
@_patience
def check(report: Path, name: str, report_url: str, patience: float | None) -> int:
    """Put the verdict on the commit under review as a check run, for a workflow that its pull request does not show.

    An inconclusive verdict that `ci gate` took as neutral is neutral. The token, from GITHUB_TOKEN, needs `checks:
    write`. Without a check run a required check is not there, so what GitHub refuses ends with 5.

    \b
    evalharness ci check gate --name prompts
    """
    from evalharness.api import ci

    url = ci.check(report, name, report_url=report_url, patience_s=patience, settings=settings())
    emit(f"check run: {url}")
    return 0


@command.command("fetch", short_help="Bring recorded outputs from the run before, as data.")
@click.argument("artifact", metavar="ARTIFACT")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="A folder that is new or empty.",
)
@_patience
def fetch(artifact: str, out: Path, patience: float | None) -> int:
    """Bring the recorded outputs that the run before this one uploaded as ARTIFACT (on `workflow_run`).

    They are a stranger's: only .jsonl files of JSON objects are taken, within limits, and nothing else is written.

    \b
    evalharness ci fetch recorded-outputs --out incoming
    """
    from evalharness.api import ci

    written = ci.fetch(artifact, out, patience_s=patience, settings=settings())
    emit("\n".join(str(path) for path in written))
    return 0


def _not_told(what: str, error: Exception) -> int:
    from evalharness.api import ci

    emit(ci.notice(what, str(error)))
    say(f"{what}: {error}")
    return 0
