"""The cases of a page as compact JSON: the page's script draws from it the case that is looked at, and no other.

Names that repeat (metrics, slices, kinds of change) stand once and are referred to by their place. What is empty is
left out. The keys of a case:

    k key   a anchor   g group (its place in `groups`)   x critical   w where   c kind of change   d detail
    t slices   q question   Q characters of it not shown   y accepted answers   Y how many more
    m [metric, movement, 1 better | −1 worse | 0 neither]
    b, e answers of baseline and candidate: [characters before, after, same, changed, same, changed, …]
    B, E why a side has no answer   n note   h [metrics, what their scorers say]
    v [metric, said, flags, votes, votes not shown], a vote being [head, said, rationale, characters of it not shown,
      marks, raw reply, characters of it not shown]
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from evalharness.report.cases import CasesView, CaseView
from evalharness.report.diff import Marked
from evalharness.report.movement import GROUPS
from evalharness.report.opinions import CaseVerdict

MOST: Final = 16_000_000
"""Characters of JSON at most; cases beyond are left out."""


class _Names:
    """Names in order of appearance, each with its place."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}

    def place(self, name: str) -> int:
        return self.places.setdefault(name, len(self.places))


def case_data(cases: CasesView, most: int = MOST) -> tuple[str, int]:
    """JSON that may stand inside of a script element, and how many cases it holds.

    `<`, `>` and `&` are escaped, so that no string in it can end the element or begin another.
    """
    metrics, tags, labels, details = _Names(), _Names(), _Names(), _Names()
    rows: list[str] = []
    size = 0
    for case in cases.all:
        row = _json(_case(case, metrics, tags, labels, details))
        size += len(row) + 1
        if size > most:
            break
        rows.append(row)
    names = {
        name: list(found.places)
        for name, found in (("metrics", metrics), ("tags", tags), ("labels", labels), ("details", details))
    }
    names["groups"] = list(GROUPS.values())
    return _json(names)[:-1] + ',"cases":[\n' + ",\n".join(rows) + "\n]}", len(rows)


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _case(case: CaseView, metrics: _Names, tags: _Names, labels: _Names, details: _Names) -> dict[str, Any]:
    row: dict[str, Any] = {
        "k": case.key,
        "a": case.anchor,
        "g": list(GROUPS).index(case.group),
        "x": int(case.critical),
        "w": case.where,
        "c": labels.place(case.cause.label) + 1,
        "d": details.place(case.cause.detail) + 1 if case.cause.detail else 0,
        "t": [tags.place(tag) for tag in case.tags],
        "q": case.question,
        "Q": case.question_more,
        "y": list(case.targets),
        "Y": case.targets_more,
        "m": [
            [metrics.place(move.metric), move.text, 0 if move.better is None else 1 if move.better else -1]
            for move in case.moves
        ],
        "B": case.failed_before,
        "E": case.failed_after,
        "n": case.note,
        "h": [list(why) for why in case.whys],
        "v": [_verdict(found) for found in case.verdicts],
    }
    if not case.failed_before:
        row["b"] = _marked(case.before)
    if not case.failed_after:
        row["e"] = _marked(case.after)
    return {name: value for name, value in row.items() if value or name in ("g", "k")}


def _marked(side: Marked) -> list[Any]:
    """Pieces in turn, an unchanged one first."""
    found: list[Any] = [side.before, side.after]
    for part in side.parts:
        if (len(found) % 2 == 1) is not part.changed:
            found.append("")
        found.append(part.text)
    return found


def _verdict(found: CaseVerdict) -> list[Any]:
    votes: Iterable[Sequence[Any]] = (
        [v.head, v.said, v.rationale, v.rationale_more, [list(mark) for mark in v.marks], v.raw, v.raw_more]
        for v in found.votes
    )
    return [found.metric, found.said, list(found.flags), list(votes), found.more]
