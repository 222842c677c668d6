"""The suite: its golden sets, its judges' standing, what its scorers need, what it can see, what it may spend."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evalharness.api.settings import Settings
from evalharness.core.diagnosis import Finding, State
from evalharness.errors import EvalHarnessError

if TYPE_CHECKING:
    from evalharness.core.suites import Suite

_SOON_DAYS: Final = 30


def suite_of(
    files: Sequence[str | Path], suite: str | Path | None, whole: Suite, use: Settings
) -> Iterator[Finding]:
    """What would stop or spoil a comparison on this suite, whoever is compared."""
    from evalharness.spec.load import suite_warnings

    yield from _golden_sets(whole, use)
    for text in suite_warnings(whole):
        if " is not locked: " not in text:  # told with its folder
            yield _found("suite", whole.name, "warning", text)
    yield from _standings(whole, use)
    yield from _scorers(whole, use)
    if files:
        yield from _plan(files, suite, whole, use)


def _found(area: str, about: str, state: State, text: str, fix: str = "") -> Finding:
    return Finding(area=area, about=about, state=state, text=text, fix=fix)


def _golden_sets(suite: Suite, use: Settings) -> Iterator[Finding]:
    """Locks, and the days after which sets were to be renewed."""
    today = use.now().date()
    for one in suite.golden_sets:
        if one.name in suite.benchmark_sets:
            continue
        folder = shlex.quote(use.paths.show(Path(one.path))) if one.path else "FOLDER"
        if not one.card.cases_digest:
            yield _found(
                "suite",
                one.name,
                "warning",
                "the golden set is not locked: its cases can change unseen",
                f"evalharness golden lock {folder}",
            )
        try:
            due = date.fromisoformat(one.card.rotate_after) if one.card.rotate_after else None
        except ValueError:
            due = None
        if due is not None and (due - today).days <= _SOON_DAYS:
            late = today > due
            said = "was to be renewed after" if late else "is to be renewed after"
            why = ": models may have seen it by now" if late else ""
            yield _found(
                "suite",
                one.name,
                "warning",
                f"the golden set {said} {due}{why}",
                f"bring new cases, then: evalharness golden check {folder}",
            )
        else:
            until = f", to be renewed after {due}" if due is not None else ""
            yield _found(
                "suite", one.name, "ok", f"version {one.card.version}, {len(one.cases):,} cases{until}"
            )


def _standings(suite: Suite, use: Settings) -> Iterator[Finding]:
    from evalharness.engine.judging import heard

    for metric_id, item, judge in suite.judged:
        standing = heard(item.id, judge, ()).standing
        if standing.may_gate:
            yield _found("judges", metric_id, "ok", f"{judge.name} has earned to gate")
            continue
        wants = not suite.gate.rule(metric_id).advisory
        place = Path(judge.path)
        folder = shlex.quote(use.paths.show(place if place.is_dir() else place.parent))
        reason = standing.reasons[0].partition(", then run: ")[0]  # which knows the judge by its name alone
        yield _found(
            "judges",
            metric_id,
            "warning" if wants else "note",
            f"advisory: {reason}",
            f"evalharness judge calibrate {folder}" if wants else "",
        )


def _scorers(suite: Suite, use: Settings) -> Iterator[Finding]:
    """What scorers need of the machine: they are built, which refuses what is missing, and nothing is scored."""
    from evalharness.api.diagnosing import problems_of
    from evalharness.engine.ready import refuse_unready

    try:
        refuse_unready(suite, use.registry)
    except EvalHarnessError as error:
        yield from problems_of("scorers", error)
    else:
        count = sum(len(item.scorers) for item in suite.evals)
        yield _found("scorers", suite.name, "ok", f"{count} scorer{'' if count == 1 else 's'} can score here")


def _plan(
    files: Sequence[str | Path], suite: str | Path | None, whole: Suite, use: Settings
) -> Iterator[Finding]:
    """Whether the gated metrics could see a drop of their margin, and whether what is capped is enough."""
    from evalharness.api.diagnosing import problems_of
    from evalharness.api.planning import plan

    try:
        planned = plan(files[0], files[-1] if len(files) > 1 else None, suite=suite, settings=use)
    except EvalHarnessError as error:
        yield from problems_of("power", error)
        return
    for problem in planned.problems:  # a comparison would go on, and could not see what it is there to see
        yield _found("power", whole.name, "warning", problem.message, problem.hint or "")
    if not planned.problems:
        yield _found("power", whole.name, "ok", "every primary metric could see twice its margin")
    where = use.paths.show(Path(whole.path)) if whole.path else whole.name
    for text in planned.warnings:
        if text.startswith("budget.usd is set"):
            continue  # told with the model whose price is missing
        if "may stop" in text or text.startswith("budget."):
            yield _found("money", whole.name, "warning", text, f"raise it in {where}")
        elif "asks a model itself" in text or "no cap or budget holds" in text:
            yield _found("money", whole.name, "note", text)
    asked = [side for side in (*planned.sides, *planned.judges) if side.stages[-1].total.calls]
    calls = sum(side.stages[-1].total.calls for side in asked)
    money = [side.stages[-1].usd for side in asked]
    known = [usd for usd in money if usd is not None]
    cost = f"about ${sum(known):,.2f}" if len(known) == len(money) else "at a cost that is not known"
    yield _found("money", whole.name, "ok", f"{calls:,} calls to make" + (f", {cost}" if calls else ""))
