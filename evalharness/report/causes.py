"""What changed in a case, told from its two answers and its scores alone: another label, a refusal, no JSON."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from evalharness.core.attempts import Failure, Response
from evalharness.core.cases import Case
from evalharness.core.comparisons import CaseChange, Comparison, MetricComparison
from evalharness.core.suites import JUDGE_METRIC
from evalharness.report.movement import group_of, metrics_of
from evalharness.report.text import one_line
from evalharness.scorers.surface import refuses

Kind: TypeAlias = Literal[
    "no_answer", "empty", "refusal", "cut", "tests", "format", "fields", "rank", "label",
    "judge", "same", "spacing", "number", "shorter", "longer", "wording",
]  # fmt: skip

LABELS: Final[Mapping[Kind, tuple[str, str]]] = {
    "no_answer": ("No answer", "Answers again"),
    "empty": ("Empty answer", "Empty no longer"),
    "refusal": ("Refuses", "Refuses no longer"),
    "cut": ("Cut off at the token limit", "Cut off no longer"),
    "tests": ("Tests fail", "Tests pass"),
    "format": ("Format broke", "Format mended"),
    "fields": ("Other fields of the JSON", "Other fields of the JSON"),
    "rank": ("Relevant documents fell", "Relevant documents rose"),
    "label": ("Wrong label", "Right label"),
    "judge": ("The judge likes it less", "The judge likes it more"),
    "same": ("Same text, another score", "Same text, another score"),
    "spacing": ("Only spacing or letter case", "Only spacing or letter case"),
    "number": ("Another number", "Another number"),
    "shorter": ("Less than half as long", "Less than half as long"),
    "longer": ("More than twice as long", "More than twice as long"),
    "wording": ("Other words", "Other words"),
}
"""What a kind of change is called where the case got worse, and where it got better."""

_TESTS: Final = frozenset(("pass", "tests_passed"))
_FORMATS: Final = frozenset(("json_valid", "json_schema", "format_compliance", "syntax_valid", "sections"))
_LONGEST_LABEL: Final = 40
_FEWEST: Final = 6
_PARSED: Final = 200_000
_NUMBER: Final = re.compile(r"[-−+]?\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True, slots=True, order=True)
class Cause:
    """One kind of change. `label` is what it is called, `detail` which one of its kind, "" where all are alike."""

    label: str
    detail: str


class Causes:
    """Reads the changes of one comparison. The first kind that fits a case is its cause.

    A golden set whose targets repeat holds labels: few values, short, most of them met more than once.
    """

    def __init__(self, comparison: Comparison) -> None:
        self._metrics = metrics_of(comparison)
        self._labels = _label_sets(comparison.changes)

    def of(self, change: CaseChange) -> Cause:
        """The cause of one change."""
        better = group_of(change, self._metrics) in ("better", "fixed")
        kind, detail = self._kind(change, better)
        return Cause(LABELS[kind][better], one_line(detail, 120))

    def _kind(self, change: CaseChange, better: bool) -> tuple[Kind, str]:
        """Read in the direction of the change: `good` is the side that did better."""
        bad, good = (change.before, change.after) if better else (change.after, change.before)
        if isinstance(bad, Failure):
            return "no_answer", bad.kind.replace("_", " ")
        if isinstance(good, Failure):  # the side with an answer did worse than the one without
            return "wording", ""
        return (
            _broken(bad, good)
            or self._by_metric(change, better)
            or _format(bad, good)
            or _rank(change.case, bad, good, better)
            or self._label(change, bad, better)
            or self._judged(change)
            or _text(change.case, change.before, change.after, bad)
        )

    def _by_metric(self, change: CaseChange, better: bool) -> tuple[Kind, str] | None:
        """What scorers of code and of form say, where they moved as the case did."""
        said = {
            _scorer(self._metrics[m])
            for m, delta in change.deltas.items()
            if m in self._metrics and (delta > 0 if better else delta < 0)
        }
        if said & _TESTS:
            return "tests", ""
        return ("format", "") if said & _FORMATS else None

    def _label(self, change: CaseChange, bad: Response, better: bool) -> tuple[Kind, str] | None:
        known = self._labels.get(change.golden_set)
        target = _only_target(change.case)
        if known is None or target is None:
            return None
        said = _folded(bad.text)
        if said == _folded(target):
            return None
        instead = known.get(said, "something else")
        return "label", f"{target}, called {instead} before" if better else f"{target} called {instead}"

    def _judged(self, change: CaseChange) -> tuple[Kind, str] | None:
        moved = [self._metrics[m] for m in change.deltas if m in self._metrics]
        judged = moved and all(m.kind == "preference" or m.scorer == JUDGE_METRIC for m in moved)
        return ("judge", "") if judged else None


def _scorer(metric: MetricComparison) -> str:
    return re.split(r"[^a-z0-9_]", metric.scorer, maxsplit=1)[0]


def _broken(bad: Response, good: Response) -> tuple[Kind, str] | None:
    if not bad.text.strip() and not bad.ranking and (good.text.strip() or good.ranking):
        return "empty", ""
    if refuses(bad) and not refuses(good):
        return "refusal", ""
    if bad.finish_reason == "length" and good.finish_reason != "length":
        return "cut", ""
    return None


def _format(bad: Response, good: Response) -> tuple[Kind, str] | None:
    worse, better = _json(bad.text), _json(good.text)
    if better is None:
        return None
    if worse is None:
        return "format", "JSON on one side alone"
    if not isinstance(worse, dict) or not isinstance(better, dict) or worse == better:
        return None
    moved = sorted(key for key in worse.keys() | better.keys() if worse.get(key, ...) != better.get(key, ...))
    return "fields", ", ".join(moved) if len(moved) <= 2 else "three or more"


def _json(text: str) -> dict[str, Any] | list[Any] | None:
    """The object or array that a text is, else None."""
    start = text[:_PARSED].lstrip()
    if not start.startswith(("{", "[")) or len(text) > _PARSED:
        return None
    try:
        found: dict[str, Any] | list[Any] = json.loads(start)
    except (ValueError, RecursionError):
        return None
    return found


def _rank(case: Case, bad: Response, good: Response, rose: bool) -> tuple[Kind, str] | None:
    if not bad.ranking or not good.ranking:
        return None
    low, high = _first_relevant(case, bad), _first_relevant(case, good)
    if high is None or (low is not None and low <= high):
        return "rank", "not the first of them"
    if low is None:
        return "rank", "into the ranking" if rose else "out of the ranking"
    if high == 1:
        return "rank", "to the first place" if rose else "from the first place"
    return "rank", "the first of them"


def _first_relevant(case: Case, side: Response) -> int | None:
    places = (place for place, found in enumerate(side.ranking, start=1) if case.relevant.get(found, 0) > 0)
    return next(places, None)


def _text(
    case: Case, before: Response | Failure, after: Response | Failure, bad: Response
) -> tuple[Kind, str]:
    assert isinstance(before, Response) and isinstance(after, Response)
    old, new = before.text, after.text
    if old == new:
        return "same", ""
    if _folded(old) == _folded(new):
        return "spacing", ""
    target = _only_target(case)
    if target is not None and _NUMBER.fullmatch(target.strip()) and _last_number(old) != _last_number(new):
        return "number", "" if _last_number(bad.text) else "no number on one side"
    if _NUMBER.sub("0", _folded(old)) == _NUMBER.sub("0", _folded(new)):
        return "number", ""
    if len(new) * 2 < len(old):
        return "shorter", ""
    if len(old) * 2 < len(new):
        return "longer", ""
    return "wording", ""


def _last_number(text: str) -> str | None:
    found = _NUMBER.findall(text[-2000:])
    return found[-1].replace(",", "") if found else None


def _folded(text: str) -> str:
    return " ".join(text[: 4 * _PARSED].split()).casefold()


def _only_target(case: Case) -> str | None:
    if len(case.targets) != 1 or isinstance(case.targets[0], (dict, list)):
        return None
    return str(case.targets[0])


def _label_sets(changes: Sequence[CaseChange]) -> dict[str, dict[str, str]]:
    """Golden set → its labels, folded → as written; golden sets of free answers are not in it.

    Labels are its targets and, since a label may be the target of no changed case, every answer that is met twice.
    """
    targets: dict[str, Counter[str]] = {}
    answers: dict[str, Counter[str]] = {}
    for change in changes:
        target = _only_target(change.case)
        if target is not None and len(target) <= _LONGEST_LABEL:
            targets.setdefault(change.golden_set, Counter())[one_line(target)] += 1
        for side in (change.before, change.after):
            if isinstance(side, Response) and len(side.text) <= _LONGEST_LABEL:
                answers.setdefault(change.golden_set, Counter())[one_line(side.text)] += 1
    return {
        name: {
            **{_folded(said): said for said, times in answers.get(name, Counter()).items() if times > 1},
            **{_folded(target): target for target in counted},
        }
        for name, counted in targets.items()
        if counted.total() >= _FEWEST
        and 2 * len(counted) <= counted.total()
        and not all(_NUMBER.fullmatch(target) for target in counted)
    }
