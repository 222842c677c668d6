"""Compare inside of a job, the base in the files of its own commit where asked for, and keep what came of it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal, TypeAlias

from evalharness import api
from evalharness.api.ci.code import code_of
from evalharness.api.ci.outcome import ITSELF, MOST_CASES, Outcome, write_outcome
from evalharness.api.refusing import from_here, write_refusal
from evalharness.api.settings import Settings
from evalharness.core.suites import Redaction, Suite
from evalharness.core.verdicts import Verdict
from evalharness.engine.collect import collect
from evalharness.engine.sides import choose_suite, spending, suite_of
from evalharness.errors import (
    EXIT_INCONCLUSIVE,
    EXIT_INTERNAL,
    EXIT_INTERRUPTED,
    EXIT_PASS,
    EXIT_USAGE,
    EvalHarnessError,
    InvalidComparisonError,
    SpecError,
    UsageError,
)
from evalharness.github.commands import Mark
from evalharness.github.git import base_tree, head
from evalharness.github.guard import refuse_stranger
from evalharness.github.job import from_fork
from evalharness.redaction import Redactor, secret_values
from evalharness.report.cases import Limits, build_cases
from evalharness.report.folder import clear_report, read_report_manifest
from evalharness.report.movement import fallen
from evalharness.report.text import one_line
from evalharness.store.folder import is_run_folder

OnInconclusive: TypeAlias = Literal["failure", "neutral"]
_SAID: Final = 200
_BASE: Final = "-base"
"""What the name of a base gains whose run its file alone does not tell from the candidate's."""


def gate(
    baseline: str,
    candidate: str,
    out: str | Path,
    *,
    suite: str | None = None,
    anchor: str | None = None,
    extend: bool = False,
    base_ref: str | None = None,
    on_inconclusive: OnInconclusive = "failure",
    settings: Settings | None = None,
) -> tuple[Verdict, int]:
    """Compare as `api.compare_to` does and keep what the job tells of it in `out`/ci.json.

    With `base_ref` the baseline file is read, and asked, in the files of that commit, on the suite as it is here.

    Returns:
        The verdict, and what the step ends with.

    Raises:
        UsageError: the job holds secrets and a stranger's code. And as `api.compare_to`; ci.json then says why.
    """
    use = settings or Settings()
    folder = Path(out)
    clear_report(folder)  # first of all: what is refused leaves no verdict of an earlier job to tell
    refuse_stranger(use.environ, use.cwd)
    use = replace(use, commit=_commit(use))
    try:
        with _baseline(baseline, candidate, suite, base_ref, use) as (side, commit):
            verdict, _ = api.compare_to(
                folder, side, candidate, suite=suite, anchor=anchor, extend=extend, settings=use
            )
        neutral = on_inconclusive == "neutral" and verdict.exit_code == EXIT_INCONCLUSIVE
        marks, total = _marks(verdict, folder, use)
        outcome = Outcome(
            verdict=verdict.outcome,
            exit_code=verdict.exit_code,
            returned=EXIT_PASS if neutral else verdict.exit_code,
            problems=verdict.comparison.problems,
            cases=marks,
            n_cases=total,
            base_sha=commit,
        )
    except BaseException as error:
        with contextlib.suppress(EvalHarnessError):
            if isinstance(error, InvalidComparisonError):  # under the names that the job gave
                write_refusal(folder, error, baseline, candidate, suite=suite, settings=use)
            write_outcome(folder, _failed(error, use))
        raise
    write_outcome(folder, outcome)
    return verdict, outcome.returned


def _commit(use: Settings) -> str:
    """The commit whose code answers here, "" where neither git nor the runner says."""
    found = None
    with contextlib.suppress(UsageError):  # no git in this job's container
        found = head(use.cwd)
    return found or use.environ.get("GITHUB_SHA", "")


@contextlib.contextmanager
def _baseline(
    given: str, candidate: str, suite: str | None, ref: str | None, use: Settings
) -> Iterator[tuple[str, str]]:
    """The baseline as `compare` takes it, and its commit: as given (""), or the run of the file as it stands at `ref`.

    What both sides are judged by is the checkout's: a case or a scorer that a change brings counts for both.
    """
    if ref is None:
        yield given, ""
        return
    if Path(given).is_absolute() or ".." in Path(given).parts:
        raise UsageError(
            f"{given}: with a base-ref the baseline is a file of that commit; give its path in the repository"
        )
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evalharness-")))
        tree = stack.enter_context(base_tree(use.cwd, ref, scratch))
        if not (tree.folder / given).is_file():
            raise InvalidComparisonError(
                f"there is no {given} in {ref}: the base branch has no such candidate yet; merge it with its suite "
                "first, or bless a run and give its name as base: evalharness baseline bless RUN --as main"
            )
        judged_by = choose_suite([_suite_of(candidate, use)], suite, use.surroundings)
        store = use.store if use.store is not None else use.cwd / ".evalharness"
        allow = tuple(tree.place_of(use.cwd / folder) for folder in use.allow)
        there = replace(use, cwd=tree.folder, store=store.absolute(), allow=allow, commit=tree.commit)
        use.progress.note(f"baseline: {given} in the files of {ref} ({tree.commit[:12]})")
        if tree.commit == use.commit:
            use.progress.note(f"base-ref {ref!r}: {ITSELF}")
        with contextlib.chdir(tree.folder), code_of(tree):
            place = _run(given, judged_by, ref, there)
        yield str(place), tree.commit


def _suite_of(candidate: str, use: Settings) -> str | None:
    path = use.paths.argument(candidate)
    return suite_of(path, use.paths) if is_run_folder(path) else api.load_candidate(path, use).suite_path


def _run(given: str, suite: Suite, ref: str, there: Settings) -> Path:
    """Ask a candidate file of another commit; what is wrong with it is said as git writes it: `HEAD^1:base.yaml`."""
    try:
        model = api.load_candidate(given, there)
    except SpecError as error:
        problems = [
            replace(problem, file=f"{ref}:{problem.file}") if problem.file else problem
            for problem in error.problems
        ]
        raise SpecError(problems) from error
    around = there.surroundings
    provider = around.registry.load("providers", model.provider)
    if not (provider.recorded or (provider.cacheable and not around.how.fresh)):
        # a file tells nothing of the code that answers: the candidate's run would be stored over this one
        model = replace(model, name=model.name + _BASE)
    return collect(suite, model, around.registry, spending(around, suite).how)[1]


def _failed(error: BaseException, use: Settings) -> Outcome:
    if isinstance(error, SpecError):
        said: Sequence[str] = [str(problem) for problem in error.problems]
    elif isinstance(error, EvalHarnessError):
        said = [str(error)]
    elif isinstance(error, KeyboardInterrupt):
        said = ["interrupted"]
    else:
        said = [f"internal error: {type(error).__name__}: {error}"]
    code = error.exit_code if isinstance(error, EvalHarnessError) else EXIT_INTERNAL
    if isinstance(error, KeyboardInterrupt):
        code = EXIT_INTERRUPTED
    if code == EXIT_USAGE and from_fork(use.environ):
        said = [*said, "this job is for a fork's pull request: it gets no secrets (docs/github.md, forks)"]
    clean = Redactor(Redaction(), secret_values(use.environ))
    return Outcome(
        verdict="invalid" if isinstance(error, InvalidComparisonError) else None,
        exit_code=code,
        returned=code,
        problems=tuple(one_line(clean.text(from_here(text, use)), 1000) for text in said),
    )


def _marks(verdict: Verdict, folder: Path, use: Settings) -> tuple[tuple[Mark, ...], int]:
    """The cases that broke at their lines, and how many: critical, regressed, fallen on a metric without flips."""
    comparison, fell = verdict.comparison, fallen(verdict)
    files = _files(folder, use)
    changes = {one_line(change.key, _SAID): change for change in comparison.changes}
    limits = Limits(regressed=MOST_CASES, worse=min(len(fell), MOST_CASES), better=0, fixed=0)
    shown = build_cases(verdict, limits)
    said = {
        view.key: ", ".join(f"{move.metric} {move.text}" for move in view.moves[:3]) for view in shown.all
    }
    worse = {view.key for view in shown.worse.cases}
    critical = {one_line(failure.key, _SAID): f"{failure.metric} fails" for failure in comparison.critical}
    title = dict.fromkeys(worse, "case scored worse") | dict.fromkeys(critical, "critical case regressed")
    marks = []
    for key, text in {**critical, **said}.items():
        change = changes.get(key)
        mark = Mark(
            title=title.get(key, "case regressed"),
            message=one_line(f"{key}: {text}", _SAID),
            file=files.get(change.golden_set, "") if change is not None else "",
            line=change.case.line if change is not None else 0,
        )
        marks.append(mark)
    hidden = len(critical.keys() - said.keys()) if not shown.regressed.left_out else 0
    return tuple(marks[:MOST_CASES]), shown.regressed.total + len(fell) + hidden


def _files(folder: Path, use: Settings) -> dict[str, str]:
    """Golden set → its cases.jsonl as a user would write it; empty where the suite's files are not at hand."""
    try:
        suite = api.load_suite(read_report_manifest(folder)["suite"], use)
    except EvalHarnessError:
        return {}
    return {
        golden_set.name: use.paths.show((use.cwd / golden_set.path / "cases.jsonl").resolve())
        for golden_set in suite.golden_sets
        if golden_set.path
    }
