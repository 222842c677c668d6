"""What a job says to the runner: annotations, outputs, the summary. Every text is escaped, none can be a command."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from evalharness.errors import StoreError

Level: TypeAlias = Literal["error", "warning", "notice"]

MOST_OF_A_KIND: Final = 10
"""Annotations of one level that GitHub shows of a step; it drops the others without a word."""
SUMMARY_BYTES: Final = 1_048_576
"""GitHub shows no summary of a step that is larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something to say at a line of a file. `file` is relative to the repository, "" where there is none."""

    message: str
    title: str = ""
    file: str = ""
    line: int = 0


def annotation(level: Level, mark: Mark) -> str:
    """The workflow command that shows `mark` on the run, and in the changed file where it names one."""
    properties = []
    if mark.file:
        properties.append(f"file={_property(mark.file)}")
        if mark.line > 0:
            properties.append(f"line={mark.line}")
    if mark.title:
        properties.append(f"title={_property(mark.title)}")
    return f"::{level}{' ' + ','.join(properties) if properties else ''}::{_data(mark.message)}"


def annotate(level: Level, marks: Sequence[Mark], *, total: int, most: int, rest: str) -> list[str]:
    """The first marks as commands, at most `most` and no more than GitHub shows; the others are counted in a notice.

    Args:
        level: of the marks.
        marks: the first of `total`, the most important first.
        total: how many there are.
        most: how many are wanted.
        rest: what is said before the count of the others.
    """
    shown = marks[: min(most, MOST_OF_A_KIND)]
    lines = [annotation(level, mark) for mark in shown]
    if total > len(shown):
        lines.append(annotation("notice", Mark(message=f"{rest}: {total - len(shown):,}")))
    return lines


def quiet() -> tuple[str, str]:
    """Two commands to stand around foreign text, in which the runner then obeys no command but the second.

    The second holds 128 random bits, so the text between cannot.
    """
    token = secrets.token_hex(16)
    return f"::stop-commands::{token}", f"::{token}::"


def append_outputs(environ: Mapping[str, str], values: Mapping[str, str]) -> bool:
    """Set outputs of the step. False where the runner names no file for them.

    Raises:
        StoreError: the file cannot be written.
    """
    lines = []
    for name, value in values.items():
        mark = f"end-{secrets.token_hex(16)}"
        lines.append(f"{name}<<{mark}\n{value}\n{mark}\n")
    return _append(environ.get("GITHUB_OUTPUT"), "".join(lines))


def append_summary(environ: Mapping[str, str], text: str) -> bool:
    """Add Markdown to the summary of the step. False where the runner names no file for it.

    Raises:
        StoreError: the file cannot be written.
    """
    while len(text.encode("utf-8", "replace")) > SUMMARY_BYTES - 1024:
        text = text[: len(text) * 9 // 10].rpartition("\n")[0]
    return _append(environ.get("GITHUB_STEP_SUMMARY"), text + "\n")


def _append(path: str | None, text: str) -> bool:
    if not path:
        return False
    try:
        with Path(path).open("a", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}") from error
    return True


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
