"""The one way to import a heavy or optional library inside a function."""

from __future__ import annotations

import importlib
from types import ModuleType

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
