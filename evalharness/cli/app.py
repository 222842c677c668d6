"""The command group. Commands are names in a table; a command's module is imported when it is run."""

from __future__ import annotations

import importlib
from typing import Final

import click

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "init": ("init:command", "Scaffold a suite, a golden set, a judge and two candidates that run at once."),
    "validate": ("validate:command", "Report every problem in suites, candidates, golden sets and judges."),
    "plan": ("plan:command", "Tell cost and power of a comparison before any call."),
    "run": ("run:command", "Answer and score a suite with one candidate, and store the run."),
    "compare": ("compare:command", "Compare a candidate with a baseline: table, reports, exit code."),
    "import": ("import_:command", "Make runs of other tools' result files."),
    "rank": ("rank:command", "Rank several candidates: every pair tested, cost and size beside quality."),
    "score": ("score:command", "Score a stored run again, without a call."),
    "report": ("report:command", "Render the reports of an earlier comparison again."),
    "history": ("history:command", "Show metrics of stored runs over time, and since an anchor."),
    "export": ("export:command", "Write a run or a report for other tools: tables, MLflow, OpenTelemetry."),
    "golden": ("golden:command", "Check and lock golden sets."),
    "judge": ("judge:command", "Draw answers to label, calibrate judges, read verdicts."),
    "baseline": ("baseline:command", "Bless runs as baselines; show, compare and end what stands."),
    "doctor": ("doctor:command", "Look for what would stop tonight's gate."),
    "ci": ("ci:command", "The gate inside of a job on GitHub: comment, summary, annotations."),
    "schema": ("schema:command", "Print the JSON Schema of a file kind, for editors."),
    "plugins": ("plugins:command", "List every scorer and provider that is installed."),
}

EPILOG: Final = """\b
Exit codes
   0  pass            3  inconclusive: a drop was seen and cannot be told from noise
   1  regression      4  invalid: incomparable, nothing gated, too many failures
   2  usage or file   5  provider failure or spend cap (run again to resume)
"""


class _Lazy(click.Group):
    """A group that knows its commands' one-line help without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        found = COMMANDS.get(name)
        if found is None:
            return None
        module, _, attribute = found[0].partition(":")
        command: click.Command = getattr(
            importlib.import_module(f"evalharness.cli.commands.{module}"), attribute
        )
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            import difflib

            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; commands: {', '.join(COMMANDS)}"
            raise click.UsageError(f"no such command {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=_Lazy, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=False
)
@click.version_option(package_name="evalharness", message="evalharness %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error (may stand anywhere).")
def app(debug: bool) -> None:
    """The merge gate for LLM changes.

    \b
    evalharness init my-suite                     start with files that run at once
    evalharness compare base.yaml candidate.yaml  gate a change: exit 0 or say why not
    """
    # `--debug` is read by cli.main before click, so that it also shows errors of this module.
