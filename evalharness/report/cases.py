"""The changed cases a report shows: which ones, in what order, and each as display-ready words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from evalharness.core.attempts import Failure, Response
from evalharness.core.cases import Case
from evalharness.core.comparisons import CaseChange, CriticalFailure, MetricComparison
from evalharness.core.verdicts import Verdict
from evalharness.report import numbers
from evalharness.report.causes import Cause, Causes
from evalharness.report.diff import SHOWN, Effort, Marked, Part, plain, word_diff
from evalharness.report.groups import Tally, tallies
from evalharness.report.movement import GROUPS, Group, best_gain, fallen, group_of, metrics_of, worst_fall
from evalharness.report.opinions import CaseVerdict, Verdicts, by_case, case_verdicts, preference
from evalharness.report.text import one_line, strip_control

_QUESTION: Final = 700
_TARGETS: Final = 4
_TARGET: Final = 240
_RANKS: Final = 20
_WHY: Final = 500
_WHYS: Final = 8


_CRITICAL: Final = 200
_LEAST: Final = 240


@dataclass(frozen=True, slots=True)
class Limits:
    """How many cases a report holds at most: of each group, in all, and about how many characters of their answers."""

    regressed: int = 10_000
    worse: int = 10_000
    better: int = 10_000
    fixed: int = 10_000
    cases: int = 10_000
    characters: int = 8_000_000

    def of_text(self, cases: int) -> int:
        """How much of an answer is shown where `cases` cases share the room: 240 to 1,500 characters."""
        return max(_LEAST, min(SHOWN, self.characters // (2 * max(1, cases))))


@dataclass(frozen=True, slots=True)
class Move:
    """One metric of one case: before → after on the metric's own scale, and whether that is for the better.

    Where the value is a preference between the answers there is no before, and `after` says what was preferred.
    """

    metric: str
    before: str
    after: str
    better: bool | None

    @property
    def text(self) -> str:
        """The movement: "0.71 → 0.44", "prefers the baseline"."""
        return f"{self.before} → {self.after}" if self.before else self.after


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseView:
    """One changed case as shown. `anchor` is stable: it depends on the key alone. `failed_*` name a missing answer.

    `cause` is what changed. `whys` are (metrics, what their scorers say of the worse answer).
    """

    key: str
    anchor: str
    group: Group
    critical: bool
    cause: Cause
    where: str
    tags: tuple[str, ...]
    question: str
    question_more: int
    targets: tuple[str, ...]
    targets_more: int
    moves: tuple[Move, ...]
    before: Marked
    after: Marked
    failed_before: str
    failed_after: str
    note: str
    whys: tuple[tuple[str, str], ...]
    verdicts: tuple[CaseVerdict, ...]


@dataclass(frozen=True, slots=True)
class CriticalView:
    """A critical case that failed. `anchor` is empty where the case itself is not among those shown."""

    key: str
    metric: str
    before: str
    after: str
    confirmed: bool
    anchor: str


@dataclass(frozen=True, slots=True)
class Shown:
    """The cases of one group, and how many there are in all."""

    cases: tuple[CaseView, ...]
    total: int

    @property
    def left_out(self) -> int:
        """Cases of the group that are not shown."""
        return self.total - len(self.cases)


@dataclass(frozen=True, slots=True, kw_only=True)
class CasesView:
    """Every case a report shows: critical failures first, then what regressed, scored worse, scored better, is fixed.

    Among those that scored worse, what is behind a drop that fails comes first (`movement.fallen`), the largest falls
    first. `tallies` count all changed cases, those that are not shown among them, by what changed.
    """

    critical: tuple[CriticalView, ...]
    critical_total: int
    regressed: Shown
    worse: Shown
    better: Shown
    fixed: Shown
    tallies: tuple[Tally, ...]

    @property
    def groups(self) -> tuple[tuple[Group, Shown], ...]:
        """The groups in order."""
        return tuple((group, getattr(self, group)) for group in GROUPS)

    @property
    def all(self) -> tuple[CaseView, ...]:
        """The shown cases of all groups in order."""
        return tuple(case for _, shown in self.groups for case in shown.cases)


def build_cases(verdict: Verdict, limits: Limits | None = None) -> CasesView:
    """Pick and prepare the cases to show. Time and size are bounded by `limits`, whatever the comparison holds."""
    limits, comparison = limits or Limits(), verdict.comparison
    critical = {failure.key for failure in comparison.critical}
    metrics = metrics_of(comparison)
    reader = Causes(comparison)
    causes = {change.key: reader.of(change) for change in comparison.changes}
    grouped: dict[Group, list[CaseChange]] = {group: [] for group in GROUPS}
    for change in comparison.changes:
        grouped[group_of(change, metrics)].append(change)
    place = {key: number for number, key in enumerate(fallen(verdict))}
    # Stable: given order within the critical ones and within the rest.
    grouped["regressed"].sort(key=lambda c: c.key not in critical)
    grouped["worse"].sort(key=lambda c: (place.get(c.key, len(place)), worst_fall(c, metrics)))
    grouped["better"].sort(key=lambda c: -best_gain(c, metrics))
    # In the order a reader meets them: what room and effort there is goes to those that broke.
    chosen: dict[Group, list[CaseChange]] = {}
    left = limits.cases
    for group, changes in grouped.items():
        chosen[group] = changes[: max(0, min(getattr(limits, group), left))]
        left -= len(chosen[group])
    room = limits.of_text(sum(map(len, chosen.values())))
    maker = _Maker(critical, metrics, by_case(comparison.judges), Effort(), room, causes)
    shown = {group: tuple(maker.view(c, group) for c in changes) for group, changes in chosen.items()}
    anchors = {view.anchor for views in shown.values() for view in views}
    return CasesView(
        critical=tuple(_critical(failure, anchors) for failure in comparison.critical[:_CRITICAL]),
        critical_total=len(comparison.critical),
        tallies=tallies(comparison, causes),
        **{group: Shown(views, len(grouped[group])) for group, views in shown.items()},
    )


def anchor(key: str) -> str:
    """The fragment a case is linked by."""
    return "case-" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _critical(failure: CriticalFailure, anchors: set[str]) -> CriticalView:
    target = anchor(failure.key)
    return CriticalView(
        key=one_line(failure.key, 200),
        metric=one_line(failure.metric, 120),
        before=one_line(failure.passed_before, 400),
        after=one_line(failure.failed_after, 400),
        confirmed=failure.confirmed,
        anchor=target if target in anchors else "",
    )


@dataclass(frozen=True, slots=True)
class _Maker:
    """What it takes to make the views of the cases of one comparison. `room` is the most of a text that is shown."""

    critical: set[str]
    metrics: dict[str, MetricComparison]
    verdicts: Verdicts
    effort: Effort
    room: int
    causes: dict[str, Cause]

    def view(self, change: CaseChange, group: Group) -> CaseView:
        case, before, after = change.case, change.before, change.after
        if isinstance(before, Response) and isinstance(after, Response) and _ranked(before, after):
            old, new = _listed(before, after, case), _listed(after, before, case)
        elif isinstance(before, Response) and isinstance(after, Response):
            old, new = word_diff(_said(before, case), _said(after, case), self.effort, self.room)
        else:
            old, new = _alone(before, case, self.room), _alone(after, case, self.room)
        question, limit = case.question, min(_QUESTION, self.room)
        wanted = case.targets or _relevant(case)
        targets = [_target(target) for target in wanted[:_TARGETS]]
        return CaseView(
            key=one_line(change.key, 200),
            anchor=anchor(change.key),
            group=group,
            critical=change.key in self.critical or case.critical,
            cause=self.causes[change.key],
            where=one_line(f"{change.golden_set}, line {case.line}" if case.line else change.golden_set, 200),
            tags=tuple(one_line(f"{key}={value}", 120) for key, value in sorted(case.tags.items())),
            question=strip_control(question[:limit]),
            question_more=max(0, len(question) - limit),
            targets=tuple(targets),
            targets_more=max(0, len(wanted) - _TARGETS),
            moves=tuple(_moves(change, self.metrics)),
            before=old,
            after=new,
            failed_before=_failed(before),
            failed_after=_failed(after),
            note=_note(before, after, case, old, new),
            whys=_whys(change),
            verdicts=case_verdicts(self.verdicts.get((change.golden_set, case.id), ()), self.room),
        )


def _whys(change: CaseChange) -> tuple[tuple[str, str], ...]:
    """What scorers say, each thing once."""
    found: dict[str, list[str]] = {}
    for metric, why in change.whys.items():
        found.setdefault(one_line(why, _WHY), []).append(one_line(metric, 120))
    return tuple((", ".join(metrics), why) for why, metrics in list(found.items())[:_WHYS])


def _ranked(before: Response, after: Response) -> bool:
    return bool(before.ranking and after.ranking) and not before.text and not after.text


def _listed(side: Response, other: Response, case: Case) -> Marked:
    """A ranking, a document a line; marked are those that the other side does not have."""
    theirs, parts = set(other.ranking), []
    for rank, document in enumerate(side.ranking[:_RANKS], start=1):
        parts.append(Part(False, f"{rank}. " if rank == 1 else f"\n{rank}. "))
        parts.append(Part(document not in theirs, one_line(_graded(document, case), 200)))
    if len(side.ranking) > _RANKS:
        parts.append(Part(False, f"\nand {len(side.ranking) - _RANKS:,} more"))
    return Marked(tuple(parts), 0, 0)


def _said(side: Response, case: Case) -> str:
    """The answer as text. A ranking without one is a document a line, with the grades of those that are judged."""
    if side.text or not side.ranking:
        return side.text
    lines = [f"{rank}. {_graded(d, case)}" for rank, d in enumerate(side.ranking[:_RANKS], start=1)]
    if len(side.ranking) > _RANKS:
        lines.append(f"and {len(side.ranking) - _RANKS:,} more")
    return "\n".join(lines)


def _graded(document: str, case: Case) -> str:
    grade = case.relevant.get(document)
    return document if grade is None else f"{document} (grade {grade:g})"


def _relevant(case: Case) -> tuple[str, ...]:
    """The relevant documents of a case, the highest grade first."""
    relevant = [document for document, grade in case.relevant.items() if grade > 0]
    relevant.sort(key=lambda document: -case.relevant[document])
    return tuple(_graded(document, case) for document in relevant)


def _alone(side: Response | Failure, case: Case, room: int) -> Marked:
    return plain(_said(side, case), room) if isinstance(side, Response) else Marked((), 0, 0)


def _failed(side: Response | Failure) -> str:
    if isinstance(side, Response):
        return ""
    return one_line(f"{side.kind.replace('_', ' ')}: {side.message}", 400)


def _note(before: Response | Failure, after: Response | Failure, case: Case, old: Marked, new: Marked) -> str:
    if isinstance(before, Failure) or isinstance(after, Failure):
        return ""
    if _said(before, case) == _said(after, case):
        return "Both outputs are the same text; another repeat, or the scorer, made the difference."
    if not any(part.changed for part in (*old.parts, *new.parts)):
        if _joined(old.parts) == _joined(new.parts):
            return "The outputs differ only in characters that cannot be seen, or past the part shown."
        return "The outputs differ only in white space."
    return ""


def _joined(parts: Iterable[Part]) -> str:
    return "".join(part.text for part in parts)


def _target(target: Any) -> str:
    text = target if isinstance(target, str) else json.dumps(target, ensure_ascii=False, default=str)
    return one_line(text, _TARGET)


def _moves(change: CaseChange, metrics: dict[str, MetricComparison]) -> Iterable[Move]:
    order = [*metrics, *(m for m in change.deltas if m not in metrics)]
    for metric_id in order:
        if metric_id not in change.values_before and metric_id not in change.values_after:
            continue
        old, new = change.values_before.get(metric_id), change.values_after.get(metric_id)
        delta = change.deltas.get(metric_id)
        if old == new and not delta:
            continue
        metric = metrics.get(metric_id)
        unit = "" if metric is None else metric.unit
        pairs = metric is not None and metric.kind == "preference" and new is not None
        yield Move(
            metric=one_line(metric_id, 120),
            before="" if pairs else numbers.case_value(old, unit),
            after=preference(new) if pairs and new is not None else numbers.case_value(new, unit),
            better=None if not delta else delta > 0,
        )
