"""`doctor`: what would stop tonight's gate, looked for now. No model is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evalharness.api.settings import Settings
from evalharness.core.diagnosis import Finding, State
from evalharness.errors import EvalHarnessError, SpecError, UsageError

if TYPE_CHECKING:
    from evalharness.core.suites import Suite
    from evalharness.engine.sides import SideSource

_RANK: Final = {"problem": 0, "warning": 1}


def doctor(
    files: Sequence[str | Path] = (), *, suite: str | Path | None = None, settings: Settings | None = None
) -> list[Finding]:
    """What would stop or spoil a comparison of these candidates: one finding for each thing looked at.

    Args:
        files: up to two sides, the baseline first: candidate files, run folders, names of blessed baselines. None: only
            the surroundings are looked at.
        suite: in place of the one that the candidates name.
        settings: where to look.

    Returns:
        Findings, what would stop the gate first, then what somebody should look at, then the rest.

    Raises:
        UsageError: more than two sides.
    """
    if len(files) > 2:
        raise UsageError(f"doctor looks at a baseline and a candidate, not at {len(files)} sides")
    use = settings or Settings()
    return sorted(_all(files, suite, use), key=lambda finding: _RANK.get(finding.state, 2))


def diagnosis_text(findings: Sequence[Finding], *, quiet: bool = False, width: int = 100) -> str:
    """Findings as lines for a terminal of `width` columns; `quiet`: only those with something to do."""
    from evalharness.report.diagnosis import render_findings

    return render_findings(findings, quiet=quiet, width=width)


def diagnosis_json(findings: Sequence[Finding]) -> str:
    """Findings as the JSON text of docs/cli.md."""
    from evalharness.report.diagnosis import findings_json

    return findings_json(findings)


def _all(files: Sequence[str | Path], suite: str | Path | None, use: Settings) -> Iterator[Finding]:
    from evalharness.api.diagnosing.blessed import baselines
    from evalharness.api.diagnosing.machine import machine
    from evalharness.api.diagnosing.sides import files_of, sides_of
    from evalharness.api.diagnosing.suites import suite_of

    yield from machine(use)
    if not files and suite is None:
        yield from baselines(None, files, use)
        return
    wrong = list(files_of(files, suite, use))
    yield from wrong
    if any(finding.state == "problem" for finding in wrong):
        yield from baselines(None, files, use)
        return
    sides: tuple[SideSource, ...] = ()
    whole: Suite | None = None
    try:
        sides, whole = _found(files, suite, use)
    except EvalHarnessError as error:
        yield from problems_of("suite", error)
    yield from sides_of(files, sides, whole, use)
    if whole is not None:
        yield from suite_of(files, suite, whole, use)
    yield from baselines(whole, files, use)


def _found(
    files: Sequence[str | Path], suite: str | Path | None, use: Settings
) -> tuple[tuple[SideSource, ...], Suite | None]:
    """The sides, and the suite made complete; None where what other tools collected brings its own."""
    from evalharness.engine.sides import choose_suite, find_sides

    around = use.surroundings
    if not files:
        return (), choose_suite([], suite, around, stored=[None])
    left, right = find_sides(files[0], files[-1], around, results=True)
    if left.brought or right.brought:
        return (left, right)[: len(files)], None
    named, stored = [left.suite_path, right.suite_path], [left.folder, right.folder]
    sides = (left,) if len(files) == 1 else (left, right)
    return sides, choose_suite(named, suite, around, stored=stored)


def problems_of(
    area: str, error: EvalHarnessError, about: str = "", state: State = "problem"
) -> Iterator[Finding]:
    """An error as findings: one for each problem that it holds, its command taken out as the fix."""
    if isinstance(error, SpecError):
        for problem in error.problems:
            where = problem.file or area
            place = where if problem.line is None else f"{where}:{problem.line}"
            yield Finding(area=area, about=place, state=state, text=problem.message, fix=problem.hint or "")
        return
    text, fix = told_apart(str(error))
    yield Finding(area=area, about=about or area, state=state, text=text, fix=fix)


def told_apart(text: str) -> tuple[str, str]:
    """A sentence that ends with a command, without it, and the command; "" where there is none."""
    for mark in (": pip install ", ": evalharness "):
        said, found, command = text.partition(mark)
        if found:
            # "…; to bless one: evalharness …"
            clause = said.rpartition("; ")[0] if mark == ": evalharness " else said
            return clause or said, (found + command).removeprefix(": ")
    return text, ""
