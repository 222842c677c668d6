"""Options that several commands share, and how they become Settings."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from evalharness.api import Settings

F = TypeVar("F", bound=Callable[..., Any])

suite_option = click.option(
    "--suite", metavar="FILE", help="The suite, in place of the one that the candidate file or the run names."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


def common(command: F) -> F:
    """The options of every command that reads a user's files."""
    return click.option(
        "--allow-path",
        "allow",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="A folder outside the working directory that files may name (repeatable).",
    )(command)


def running(command: F) -> F:
    """The options of every command that may call a model."""
    for option in (
        click.option(
            "--fresh", is_flag=True, help="Ask everything again; use no stored answer and no cache."
        ),
        click.option("--quiet", "-q", is_flag=True, help="No progress on stderr."),
        click.option(
            "--seed",
            type=click.IntRange(0),
            metavar="N",
            help="Seed of the resampling behind the statistics (fixed by default). The model's seed is decoding.seed.",
        ),
        click.option(
            "--store",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="Where runs and the response cache lie (default .evalharness).",
        ),
    ):
        command = option(command)
    return common(command)


def settings(
    *,
    allow: tuple[Path, ...] = (),
    store: Path | None = None,
    seed: int | None = None,
    fresh: bool = False,
    quiet: bool = True,
) -> Settings:
    """Settings for the API from what was typed."""
    from evalharness.api import DEFAULT_SEED, Settings
    from evalharness.cli.progress import make_progress

    return Settings(
        cwd=Path.cwd(),
        allow=allow,
        store=store,
        seed=DEFAULT_SEED if seed is None else seed,
        fresh=fresh,
        progress=make_progress(quiet=quiet),
    )


def emit(text: str) -> None:
    """Write the product to stdout. A reader that went away (`| head`) does not change the exit code."""
    try:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except UnicodeEncodeError:
        sys.stdout.buffer.write(text.encode("utf-8", "replace") + b"\n")
        sys.stdout.flush()


def say(text: str) -> None:
    """Write a line for people to stderr."""
    click.echo(text, err=True)
