"""Options that several commands share, and how they become Settings."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from evalharness.api import Settings

F = TypeVar("F", bound=Callable[..., Any])

suite_option = click.option(
    "--suite", metavar="FILE", help="The suite, in place of the one that the candidate file or the run names."
)
baselines_option = click.option(
    "--baselines",
    metavar="ADDRESS",
    help="Where blessed baselines are: a folder or a URL such as s3://bucket/path (default: the variable "
    "EVALHARNESS_BASELINES, else baselines).",
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
            help="Seed of the resampling behind the statistics, and of the order of cases in looks (fixed by default). "
            "The model's seed is decoding.seed.",
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
    baselines: str | None = None,
    seed: int | None = None,
    fresh: bool = False,
    quiet: bool = True,
) -> Settings:
    """Settings for the API from what was typed."""
    from evalharness.api import DEFAULT_SEED, Settings
    from evalharness.cli.progress import make_progress
    from evalharness.errors import UsageError

    try:
        cwd = Path.cwd()
    except OSError as error:
        raise UsageError("the working directory is gone; change to one that exists") from error
    return Settings(
        cwd=cwd,
        allow=allow,
        store=store,
        baselines=baselines or os.environ.get("EVALHARNESS_BASELINES") or None,
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
        _drop_stdout()
    except OSError as error:
        from evalharness.errors import StoreError

        _drop_stdout()
        raise StoreError(
            f"cannot write to stdout: {error.strerror or error}; what was asked for is cut off"
        ) from error
    except UnicodeEncodeError:
        sys.stdout.buffer.write(text.encode("utf-8", "replace") + b"\n")
        sys.stdout.flush()


@contextlib.contextmanager
def guarded_stdout() -> Iterator[None]:
    """Stdout is the product: what the user's own code or a plugin prints meanwhile goes to stderr."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _drop_stdout() -> None:
    """Let what is still buffered, and what comes, go nowhere."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(text: str) -> None:
    """Write a line for people to stderr. A stderr that takes no more does not change the exit code."""
    with contextlib.suppress(OSError, ValueError):
        click.echo(text, err=True)
