"""`evalharness baseline`: runs that people bless, and what stands under a name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from evalharness.cli.options import baselines_option, common, emit, json_option, say, settings, suite_option

F = TypeVar("F", bound=Callable[..., Any])

_store_option = click.option(
    "--store",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where runs and fetched baselines lie (default .evalharness).",
)
_by_option = click.option(
    "--by", metavar="NAME", help="Who does it (default: the name git commits under, else the login)."
)


def _stored(command: F) -> F:
    """The options of every command that looks at a store of baselines."""
    for option in (_store_option, baselines_option, json_option):
        command = option(command)
    return command


@click.group("baseline")
def command() -> None:
    """Runs that people bless, under names that `compare` takes."""


@command.command("bless", short_help="Make a stored run the baseline of a name.")
@click.argument("run")
@click.option("--as", "name", required=True, metavar="NAME", help="The name: main, release-1.2.")
@_by_option
@click.option("--note", default="", metavar="TEXT", help="Why; kept in the history.")
@click.option(
    "--expires", metavar="DATE", help="The last day it stands, such as 2026-12-31; then compare refuses it."
)
@click.option(
    "--allow-failures",
    metavar="REASON",
    help="Bless although more answers failed than gate.max_failures allows, and why; kept and shown.",
)
@click.option(
    "--rescore",
    is_flag=True,
    help="Score its answers with the suite as it is now, without a call, and bless that.",
)
@suite_option
@_stored
@common
def bless(run: str, name: str, as_json: bool, **how: Any) -> int:
    """Make RUN the baseline of NAME. No score and no other command ever does.

    RUN is a run folder, a candidate .yaml whose finished run is in the store, or another baseline (`main@3`: the third
    blessing of main, which is how to go back). Nothing is asked of a model.

    \b
    evalharness baseline bless base.yaml --as main --note "release 1.2"
    evalharness baseline bless .evalharness/runs/base-1a2b --as main --expires 2026-12-31
    evalharness baseline bless main --as main --rescore
    """
    from evalharness import api

    use = _settings(how)
    blessing = api.bless_baseline(run, name, settings=use, **how)
    if as_json:
        emit(_json(api.blessing_json(blessing)))
    else:
        emit(api.blessing_text(blessing))
        for text in blessing.warnings:
            say(f"warning: {api.plain(text)}")
    return 0


@command.command("show")
@click.argument("name")
@_stored
def show(name: str, as_json: bool, **how: Any) -> int:
    """Tell what stands under NAME (or NAME@3), who blessed it, when and on what.

    \b
    evalharness baseline show main
    """
    from evalharness import api

    found = api.show_baseline(name, _settings(how))
    emit(_json(api.baselines_json("baseline", found)) if as_json else api.baseline_text(found))
    return 0


@command.command("list")
@_stored
def list_(as_json: bool, **how: Any) -> int:
    """List every name with what stands under it.

    \b
    evalharness baseline list --baselines s3://team-evals/support
    """
    from evalharness import api

    use = _settings(how)
    found = api.list_baselines(use)
    if as_json:
        emit(_json(api.baselines_json("baselines", found)))
    else:
        emit(api.baselines_text(found) if found else f"nothing is blessed in {use.surroundings.shelf.shown}")
    return 0


@command.command("history")
@click.argument("name")
@_stored
def history(name: str, as_json: bool, **how: Any) -> int:
    """List every blessing of NAME and every end, the newest first.

    \b
    evalharness baseline history main
    """
    from evalharness import api

    found = api.baseline_history(name, _settings(how))
    emit(_json(api.baselines_json("history", found)) if as_json else api.baselines_text(found))
    return 0


@command.command("diff", short_help="Tell what moved since a run was blessed.")
@click.argument("name")
@click.argument("other", required=False)
@suite_option
@_stored
@common
def diff(name: str, other: str | None, suite: str | None, as_json: bool, **how: Any) -> int:
    """Tell what moved since NAME was blessed, and what it asks for.

    Without OTHER: golden sets, scorers and judges of the suite as it is now. With OTHER, another blessing or a run
    folder: how the two runs and their answers differ. Always exits 0 where it could tell.

    \b
    evalharness baseline diff main
    evalharness baseline diff main@2 main
    """
    from evalharness import api

    found = api.diff_baseline(name, other, suite=suite, settings=_settings(how))
    emit(_json(api.baseline_diff_json(found)) if as_json else api.baseline_diff_text(found))
    return 0


@command.command("expire", short_help="End baselines, or remove content nobody uses.")
@click.argument("names", metavar="[NAME...]", nargs=-1)
@click.option(
    "--older-than", type=click.IntRange(0), metavar="DAYS", help="Only what was blessed longer ago than that."
)
@click.option(
    "--unused", is_flag=True, help="End nothing; remove the content that no baseline stands on any more."
)
@_by_option
@click.option("--note", default="", metavar="TEXT", help="Why; kept in the history.")
@_stored
def expire(names: tuple[str, ...], as_json: bool, **how: Any) -> int:
    """End baselines: `compare` refuses them from then on, with the command to bless again.

    Their history stays, and a blessing can still be named by its number. With --unused the content of what was
    superseded or ended is removed from the store.

    \b
    evalharness baseline expire release-1.1
    evalharness baseline expire --older-than 180
    evalharness baseline expire --unused --older-than 90
    """
    from evalharness import api

    use = _settings(how)
    found = api.expire_baselines(names, settings=use, **how)
    emit(_json(api.expired_json(found)) if as_json else api.expired_text(found))
    return 0


def _settings(how: dict[str, Any]) -> Any:
    """Settings from the options that every command here has; the rest stays in `how`."""
    return settings(
        allow=how.pop("allow", ()), store=how.pop("store"), baselines=how.pop("baselines"), quiet=True
    )


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
