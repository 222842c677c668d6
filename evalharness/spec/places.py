"""Targets that say where in the text they stand: `{"text": ..., "start": ..., "end": ...}`, alone or in lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from evalharness.core.cases import Case

_TEXTS: Final = ("text", "answer")
_SHOWN: Final = 40


class Misplaced(NamedTuple):
    """A text that does not stand where its case says, and a sentence that says what stands there."""

    case: Case
    message: str


def misplaced(case: Case) -> tuple[list[Misplaced], int]:
    """The places of a case's targets that hold another text, and how many hold the right one.

    A place is counted in characters, its end not included, in `contexts[0]` (or the one `context` names) or in the
    question.
    """
    wrong: list[Misplaced] = []
    right = 0
    for text, start, end, context in _places(list(case.targets)):
        sources = [case.question]
        if context < len(case.contexts):
            sources.insert(0, case.contexts[context])
        if any(source[start:end] == text for source in sources):
            right += 1
            continue
        there = sources[0].find(text)
        found = f"it stands at {there}:{there + len(text)}" if there >= 0 else "it stands nowhere in the text"
        wrong.append(
            Misplaced(case, f"{_cut(text)} at {start}:{end}, where {_cut(sources[0][start:end])} is; {found}")
        )
    return wrong, right


def _places(value: Any) -> Iterator[tuple[str, int, int, int]]:
    """Text, start, end and context of everything in a target that has them; SQuAD's `answer_start` lists, too."""
    if isinstance(value, list):
        for item in value:
            yield from _places(item)
    elif isinstance(value, dict):
        text = next((value[name] for name in _TEXTS if name in value), None)
        start, end, context = (
            value.get("start", value.get("answer_start")),
            value.get("end"),
            value.get("context", 0),
        )
        context = context if type(context) is int and context >= 0 else 0
        if isinstance(text, list) and isinstance(start, list):
            for one, at in zip(text, start, strict=False):
                if isinstance(one, str) and type(at) is int and at >= 0:
                    yield one, at, at + len(one), context
        elif isinstance(text, str) and text and type(start) is int and start >= 0:
            if type(end) is int or ("end" not in value and "answer_start" in value):
                yield text, start, end if type(end) is int else start + len(text), context
        else:
            for item in value.values():
                if isinstance(item, list | dict):
                    yield from _places(item)


def _cut(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
