"""Reading ratings: one `{"id": item, "rater": name, "value": label or number}` a line, every problem with its line.

The human labels of a judge (calibration.jsonl) are ratings too: `labeller` is the rater and `label` the value.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from evalharness.errors import Problem, SpecError
from evalharness.spec.lines import BadLine, capped, checked_lines, json_lines, short
from evalharness.spec.reader import describe, did_you_mean
from evalharness.stats.ratings import Scale, Value, kind, misfit

_KEYS: Final = ("id", "rater", "value")
_SHAPE: Final = 'write {"id": item, "rater": name, "value": label or number}'


def read_ratings(path: Path, shown: str, *, scale: Scale) -> list[tuple[str, str, Value]]:
    """(item, rater, value) of every line, in the order of the file.

    Args:
        path: a JSONL file.
        shown: its name in messages.
        scale: what values must fit.

    Raises:
        SpecError: the file cannot be read, is empty, has one rater only, or lines are wrong; every problem at once, the
            first 50 lines in words.
    """
    if path.is_dir() or (path.exists() and not path.is_file()):
        raise SpecError([Problem("this is not a file; a JSONL file of ratings is needed", shown)])
    reader = _Reader(scale)
    triples, problems = checked_lines(json_lines(path), shown, reader.take)
    problems = capped(problems, shown)
    if not reader.raters and not problems:
        problems.append(Problem("holds no ratings", shown, 1, hint=f"{_SHAPE}, one a line"))
    elif len(reader.raters) == 1:
        only = next(iter(reader.raters))
        problems.append(
            Problem(f"every rating is by {only!r}", shown, hint="agreement needs at least two raters")
        )
    if problems:
        raise SpecError(problems)
    return triples


class _Reader:
    """Takes lines one by one; `raters` are those of wrong lines too."""

    def __init__(self, scale: Scale) -> None:
        self.raters: set[str] = set()
        self._scale = scale
        self._lines: dict[tuple[str, str], int] = {}
        self._kind: tuple[str, int] | None = None

    def take(self, number: int, line: Any) -> tuple[str, str, Value]:
        """The rating of a line; BadLine says what is wrong with it."""
        item, rater, value = _fields(line)
        self.raters.add(rater)
        first = self._lines.setdefault((item, rater), number)
        if first != number:
            raise BadLine(
                f"{rater!r} already rated {item!r} on line {first}",
                "keep one of them, or give a second round a rater name of its own",
            )
        reason = misfit(value, self._scale)
        if reason is not None:
            labels = isinstance(value, (str, bool))
            raise BadLine(
                f"the value {short(value)} does not fit the scale {self._scale}: {reason}",
                "write a number, or use --scale nominal for labels" if labels else None,
            )
        what = kind(value)
        if self._kind is None:
            self._kind = (what, number)
        elif what != self._kind[0]:
            raise BadLine(
                f"the value {short(value)} is not like that on line {self._kind[1]}: {what} beside {self._kind[0]}",
                'write all values of a file alike; 1 and "1" are two labels',
            )
        return item, rater, value


def _fields(line: Any) -> tuple[str, str, Value]:
    if type(line) is not dict:
        raise BadLine(f"a rating must be a JSON object, not {describe(line)}", _SHAPE)
    if "label" in line and not {"rater", "value"} & line.keys():
        line = _of_label(line)
    for name in line:
        if name not in _KEYS:
            raise BadLine(f"unknown key {name!r}", did_you_mean(name, set(_KEYS) - line.keys()) or _SHAPE)
    for name in _KEYS:
        if name not in line:
            raise BadLine(f"the key {name!r} is missing", _SHAPE)
        if line[name] is None:
            raise BadLine(f"{name} is null", "leave the line out where there is no rating")
    for name in ("id", "rater"):
        if type(line[name]) is not str:
            raise BadLine(f"{name} must be text, not {describe(line[name])}", "write it in quotes")
    value = line["value"]
    if type(value) not in (str, int, float, bool):
        raise BadLine(f"value must be a label or a number, not {describe(value)}")
    for name in _KEYS:
        text = line[name]
        if isinstance(text, str) and (not text or text != text.strip() or not text.isprintable()):
            raise BadLine(f"{name} {short(text)} is empty, padded with spaces, or holds control characters")
    return line["id"], line["rater"], value


def _of_label(line: dict[str, Any]) -> dict[str, Any]:
    if not line.get("labeller"):
        raise BadLine("the label has no 'labeller'", "say who gave it")
    if line["label"] == "":
        raise BadLine("has no label yet", "leave the line out where there is no rating")
    return {"id": line.get("id"), "rater": line["labeller"], "value": line["label"]}
