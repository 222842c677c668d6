"""Paths into a JSON document: `lines[*].total`, `buyer.address[0]`, `["odd key"]`. Nothing is evaluated."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

_STEP: Final = re.compile(
    r"""(?P<dot>\.)?(?P<name>[^\s.\[\]"'$-][^\s.\[\]"']*)|\[(?:(?P<index>-?[0-9]{1,9})|(?P<each>\*)|(?P<quoted>"[^"]*"|'[^']*'))\]"""
)
_ROOT: Final = "$"

Step: TypeAlias = "str | int | None"
"""A key, a place in a list, or None for all of them."""


@dataclass(frozen=True, slots=True)
class Absent:
    """Why a path leads nowhere: "lines[2].total is missing"."""

    reason: str


@dataclass(frozen=True, slots=True)
class Path:
    """Steps from the document (`rooted`, written with `$`) or from the element that a rule is applied to."""

    text: str
    steps: tuple[Step, ...]
    rooted: bool = False

    @property
    def single(self) -> bool:
        """Whether it leads to one value at most."""
        return None not in self.steps

    def values(self, here: Any, root: Any) -> list[tuple[str, Any]] | Absent:
        """Every value it leads to, named by its own path. A key or a place that is not there is no value at all."""
        found: list[tuple[str, Any]] = [("", root if self.rooted else here)]
        for step in self.steps:
            further: list[tuple[str, Any]] = []
            for place, value in found:
                if step is None:
                    if not isinstance(value, list):
                        return Absent(f"{place or 'the answer'} is no list")
                    further += [(f"{place}[{index}]", item) for index, item in enumerate(value)]
                    continue
                named = _named(place, step)
                there = isinstance(value, dict if isinstance(step, str) else list)
                try:
                    further.append((named, value[step] if there else None))
                except (KeyError, IndexError):
                    there = False
                if not there:
                    return Absent(f"{named} is missing")
            found = further
        return found


def _named(place: str, step: str | int) -> str:
    if isinstance(step, int):
        return f"{place}[{step}]"
    return f"{place}.{step}" if place else step


def parse_path(text: object) -> Path:
    """A path as written. Raises ValueError saying where it stops being one."""
    if not isinstance(text, str):
        raise ValueError(f"a path is a text such as lines[*].total, not {text!r}")
    at = 1 if text.startswith(_ROOT) else 0
    steps: list[Step] = []
    while at < len(text):
        match = _STEP.match(text, at)
        # names after the first step stand behind a dot, and the first one does not
        if match is None or (match["name"] is not None and bool(match["dot"]) != bool(steps or at)):
            raise ValueError(f"{text!r} is no path: stopped at {text[at:][:20]!r}; write lines[*].total")
        if match["name"] is not None:
            steps.append(match["name"])
        elif match["quoted"] is not None:
            steps.append(match["quoted"][1:-1])
        else:
            steps.append(None if match["each"] else int(match["index"]))
        at = match.end()
    if not steps and not text.startswith(_ROOT):
        raise ValueError("a path is empty; write a key such as total")
    return Path(text, tuple(steps), rooted=text.startswith(_ROOT))
