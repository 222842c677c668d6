"""People's preferences on pairs of these answers: a file that `evalharness judge collect` wrote → PairLabels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Final

from evalharness.core.cases import GoldenSet
from evalharness.core.judges import Label, PairLabel, PairLabels, SideName
from evalharness.errors import Problem
from evalharness.spec.judge_lines import read_labels
from evalharness.spec.labelling import first_side, kept
from evalharness.spec.lines import MAX_SHOWN, BadLine, capped, json_lines

_DRAWN: Final = re.compile(r"(?:^| )drawn=(\d{1,9})(?: |$)")
_REPEAT: Final = re.compile(r"#\d{1,6}")
_SHEETS: Final = frozenset((".csv", ".html", ".htm"))
_DRAW: Final = "draw pairs with: evalharness judge sample CANDIDATE --against BASELINE"


def read_pair_labels(path: Path, shown: str) -> tuple[PairLabels | None, list[Problem]]:
    """The preferences in a file, with everything wrong in it; None where something is.

    Several people's labels of one pair count as their mean, so that a pair on which they disagree is not left out: that
    would make the others no random draw.

    Args:
        path: a JSONL file.
        shown: its name in messages.
    """
    if path.is_dir():
        return None, [Problem("is a folder, and labels are a file", shown, hint=_DRAW)]
    if path.suffix.lower() in _SHEETS:
        hint = "join what people filled in: evalharness judge collect SHEET --out labels.jsonl"
        return None, [Problem("is a sheet or page to label in", shown, hint=hint)]
    if _of_single_answers(path):
        message = "holds labels of one answer at a time, and a pairwise judge compares two"
        return None, [Problem(message, shown, hint=_DRAW)]
    labels, problems = read_labels(path, shown, "pairwise")
    if problems:
        return None, problems
    if not labels:
        return None, [Problem("holds no label", shown, hint=_DRAW)]
    items: dict[str, list[tuple[Label, SideName]]] = {}
    for label in labels:
        first = first_side(label.note)
        if first is None:
            message = f"the label of {label.id!r} does not say whose answer stood first: its note has no key"
            problems.append(Problem(message, shown, label.line, hint=_DRAW))
            continue
        others = items.setdefault(label.id, [])
        if others and others[0][1] != first:
            before = others[0][0].line
            message = f"whose answer of {label.id!r} stood first is another on line {before}"
            problems.append(Problem(message, shown, label.line, hint="keep the notes as they were drawn"))
        others.append((label, first))
    if problems:
        return None, capped(problems, shown)
    found = {item: _label(given) for item, given in items.items()}
    return PairLabels(file=shown, labels=found, drawn=max(_drawn(labels), len(found))), []


def unknown_items(labels: PairLabels, golden_set: GoldenSet) -> list[Problem]:
    """Labels that name no case of the golden set they belong to, and a file without any of that set."""
    ids = {case.id for case in golden_set.cases}
    mine = {item: label for item, label in labels.labels.items() if item.startswith(f"{golden_set.name}/")}
    if not mine:
        message = f"none of the {len(labels.labels):,} labelled pairs is of golden set {golden_set.name}"
        return [Problem(message, labels.file, hint=f"an item is called {golden_set.name}/<case>")]
    unknown = [
        Problem(
            f"there is no case {item!r} to label",
            labels.file,
            label.line,
            hint="label pairs of these answers",
        )
        for item, label in mine.items()
        if not _known(item.removeprefix(f"{golden_set.name}/"), ids)
    ]
    return capped(unknown, labels.file) if len(unknown) > MAX_SHOWN else unknown


def _known(name: str, ids: set[str]) -> bool:
    case, sign, repeat = name.rpartition("#")
    return name in ids or (case in ids and _REPEAT.fullmatch(sign + repeat) is not None)


def _of_single_answers(path: Path) -> bool:
    first: object = next((line for _, line in json_lines(path)), None)
    return type(first) is dict and "output" in first and not isinstance(first, BadLine)


def _label(given: list[tuple[Label, SideName]]) -> PairLabel:
    shown, first = given[0]
    left, right = shown.answers if first == "baseline" else shown.answers[::-1]
    # A spreadsheet may have written other line ends.
    return PairLabel(texts=(kept(left), kept(right)), value=fmean(_values(given)), line=shown.line)


def _values(given: list[tuple[Label, SideName]]) -> Iterator[float]:
    for label, first in given:
        if label.label == "tie":
            yield 0.5
        else:
            yield float((label.label == "first") == (first == "candidate"))


def _drawn(labels: tuple[Label, ...]) -> int:
    """Pairs in the draws that the labels come from, as far as their notes say."""
    draws = {label.note.partition(" key=")[0] for label in labels}
    return sum(int(found[1]) for draw in draws if (found := _DRAWN.search(draw)))
