"""The one way to import a heavy or optional library inside a function, and to keep one quiet."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from evalharness.errors import MissingExtraError


def require(module: str, *, extra: str, why: str) -> ModuleType:
    """Import `module`, or raise MissingExtraError with the command that installs it.

    Args:
        module: dotted module name, for example "transformers".
        extra: the extra of this package that carries it, for example "local".
        why: what it is needed for, as it should read after "to" ("to run provider: transformers").
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or module).partition(".")[0]
        if missing != module.partition(".")[0]:
            # The library is there and one of its own needs is not: say which, the command is the same.
            why = f"{why} ({module} needs {missing})"
        raise MissingExtraError(
            f"{missing} is not installed; needed to {why}: pip install 'evalharness[{extra}]'"
        ) from error


def refuse_missing(*modules: str, extra: str, why: str) -> None:
    """Raise what `require` would, for the first of `modules` that is not installed. Nothing is imported.

    Args:
        modules: top-level module names.
        extra: as of `require`.
        why: as of `require`.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError(
                f"{module} is not installed; needed to {why}: pip install 'evalharness[{extra}]'"
            )


@contextlib.contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """No progress bars and no advice from the library while loading; errors are raised all the same."""
    log = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # peft asks transformers for names that transformers is about to drop; a user can do nothing about it.
            warnings.filterwarnings("ignore", category=FutureWarning)
            yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()
