"""Names of blessed baselines: `main`, `main@3` (the third blessing), `baseline:main` (never a file)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from evalharness.errors import UsageError

PREFIX: Final = "baseline:"
"""Stands before what is a blessed baseline and no path."""
_LONGEST: Final = 64
# One case, since folders of two names that differ in case alone are one folder on some machines. A dot only before a
# digit (`release-1.2`), so that `base.yaml` is a file and never asks a store.
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]*(?:\.[0-9][a-z0-9_-]*)*")
_REFERENCE: Final = re.compile(rf"(?P<name>{_NAME.pattern})(?:@(?P<number>[1-9][0-9]{{0,8}}))?")


@dataclass(frozen=True, slots=True)
class Reference:
    """A blessed baseline by name. `number`: which blessing, None for the one that stands."""

    name: str
    number: int | None = None

    def __str__(self) -> str:
        return self.name if self.number is None else f"{self.name}@{self.number}"


def check_name(name: str) -> str:
    """`name`, which a baseline can have.

    Raises:
        UsageError: it cannot; says what can.
    """
    if len(name) <= _LONGEST and _NAME.fullmatch(name):
        return name
    raise UsageError(
        f"{name[:100]!r} is no name for a baseline: at most {_LONGEST} lower-case letters, digits, '-' and '_', and a "
        "'.' only before a digit, such as main or release-1.2"
    )


def read_reference(text: str) -> Reference | None:
    """What a text refers to, None where it cannot be the name of a baseline.

    Raises:
        UsageError: it starts with `baseline:` and goes on with no name.
    """
    explicit = text.startswith(PREFIX)
    match = _REFERENCE.fullmatch(text.removeprefix(PREFIX))
    if match is not None and len(match["name"]) <= _LONGEST:
        return Reference(match["name"], int(match["number"]) if match["number"] else None)
    if explicit:
        check_name(text.removeprefix(PREFIX).partition("@")[0])
        raise UsageError(f"{text[:100]!r}: write baseline:NAME, or baseline:NAME@3 for its third blessing")
    return None
