"""The gate inside of a CI job: compare and keep what the job tells of it, then tell it. Telling never decides.

`gate` writes `ci.json` beside the reports: the exit code, what kept it from a verdict, the regressed cases with their
lines. Everything after reads that file, so that no later step can come to another verdict, or to a better one.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from evalharness import api
from evalharness.api.settings import Settings
from evalharness.core.suites import Redaction
from evalharness.core.verdicts import Verdict
from evalharness.errors import (
    EXIT_INCONCLUSIVE,
    EXIT_INTERNAL,
    EXIT_INTERRUPTED,
    EXIT_PASS,
    EvalHarnessError,
    InvalidComparisonError,
    SpecError,
    StoreError,
    UsageError,
)
from evalharness.github import checks, commands, comments, incoming
from evalharness.github.client import Client, GitHubError
from evalharness.github.commands import quiet
from evalharness.github.git import base_tree
from evalharness.github.guard import refuse_stranger
from evalharness.github.job import NAME, Job, read_job
from evalharness.redaction import Redactor, secret_values
from evalharness.report.cases import Limits, build_cases
from evalharness.report.comment import Link, comment_text, failure_text
from evalharness.report.folder import CI, clear_report, read_report_manifest
from evalharness.report.text import one_line
from evalharness.store.files import read_json, write_json

OnInconclusive: TypeAlias = Literal["failure", "neutral"]
MOST_CASES: Final = 50
"""Regressed cases that ci.json names; GitHub shows no more annotations of a job."""
_SAID: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the gate, as ci.json holds it.

    Attributes:
        verdict: "pass", "regression", "inconclusive", "invalid"; None where there is none.
        exit_code: of the comparison.
        returned: what the job's step ends with: `exit_code`, or 0 for an inconclusive verdict that is to be neutral.
        problems: what kept the gate from a verdict.
        cases: the regressed cases, critical ones first, at most `MOST_CASES`; `n_cases` counts all.
    """

    verdict: str | None
    exit_code: int
    returned: int
    problems: tuple[str, ...] = ()
    cases: tuple[commands.Mark, ...] = ()
    n_cases: int = 0


UNFINISHED: Final = Outcome(verdict=None, exit_code=EXIT_INTERNAL, returned=EXIT_INTERNAL)
"""The gate was ended before it could say anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The commit whose files the baseline is asked with; `shared` are taken from the checkout for both sides."""

    ref: str
    shared: tuple[str, ...] = ()


def gate(
    baseline: str,
    candidate: str,
    out: str | Path,
    *,
    suite: str | None = None,
    anchor: str | None = None,
    extend: bool = False,
    base: Base | None = None,
    on_inconclusive: OnInconclusive = "failure",
    settings: Settings | None = None,
) -> tuple[Verdict, int]:
    """Compare as `api.compare_to` does and keep what the job tells of it in `out`/ci.json.

    With `base` the baseline file is read, and asked, in the files of that commit.

    Returns:
        The verdict, and what the step ends with.

    Raises:
        UsageError: the job holds secrets and a stranger's code. And as `api.compare_to`; ci.json then says why.
    """
    use = settings or Settings()
    folder = Path(out)
    refuse_stranger(use.environ, use.cwd)
    clear_report(folder)
    try:
        with _baseline(baseline, candidate, suite, base, use) as side:
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
        )
    except BaseException as error:
        with contextlib.suppress(EvalHarnessError):
            _write(folder, _failed(error, use))
        raise
    _write(folder, outcome)
    return verdict, outcome.returned


@contextlib.contextmanager
def _baseline(
    given: str, candidate: str, suite: str | None, base: Base | None, use: Settings
) -> Iterator[str]:
    """The baseline as `compare` takes it: as given, or the run of the file as it stands in another commit."""
    if base is None:
        yield given
        return
    if Path(given).is_absolute() or ".." in Path(given).parts:
        raise UsageError(
            f"{given}: with a base-ref the baseline is a file of that commit; give its path in the repository"
        )
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evalharness-")))
        tree = stack.enter_context(base_tree(use.cwd, base.ref, base.shared, scratch))
        if not (tree / given).is_file():
            raise InvalidComparisonError(
                f"there is no {given} in {base.ref}: the base branch has no such candidate yet; merge it with the "
                "suite first, or compare with a blessed baseline (docs/baselines.md)"
            )
        chosen = suite or api.load_candidate(candidate, use).suite_path
        store = use.store if use.store is not None else use.cwd / ".evalharness"
        there = replace(use, cwd=tree, store=store.absolute(), allow=(*use.allow, use.cwd))
        with contextlib.chdir(tree):
            _, place = api.run(given, suite=chosen, settings=there)
        yield str(place)


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
    clean = Redactor(Redaction(), secret_values(use.environ))
    return Outcome(
        verdict=None,
        exit_code=code,
        returned=code,
        problems=tuple(one_line(clean.text(text), 1000) for text in said),
    )


def _marks(verdict: Verdict, folder: Path, use: Settings) -> tuple[tuple[commands.Mark, ...], int]:
    """The regressed cases at their lines, critical ones first, and how many there are."""
    comparison = verdict.comparison
    files = _files(folder, use)
    changes = {one_line(change.key, _SAID): change for change in comparison.changes}
    shown = build_cases(comparison, Limits(regressed=MOST_CASES, fixed=0, changed=0)).regressed
    said = {
        view.key: ", ".join(f"{move.metric} {move.text}" for move in view.moves[:3]) for view in shown.cases
    }
    critical = {one_line(failure.key, _SAID): f"{failure.metric} fails" for failure in comparison.critical}
    marks = []
    for key, text in {**critical, **said}.items():
        change = changes.get(key)
        mark = commands.Mark(
            title="critical case regressed" if key in critical else "case regressed",
            message=one_line(f"{key}: {text}", _SAID),
            file=files.get(change.golden_set, "") if change is not None else "",
            line=change.case.line if change is not None else 0,
        )
        marks.append(mark)
    hidden = len(critical.keys() - said.keys()) if not shown.left_out else 0
    return tuple(marks[:MOST_CASES]), len(shown.cases) + shown.left_out + hidden


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


def read_outcome(report: str | Path) -> Outcome:
    """What `gate` left in a report folder; `UNFINISHED` where it left nothing, or something damaged.

    A folder that `compare` wrote without `gate` has the verdict of its comparison.json.
    """
    folder = Path(report)
    try:
        if (folder / CI).exists():
            return _outcome(read_json(folder / CI))
        found = read_json(folder / "comparison.json")
        code = found["exit_code"]
        return Outcome(verdict=str(found["verdict"]), exit_code=int(code), returned=int(code))
    except (StoreError, KeyError, TypeError, ValueError):
        return UNFINISHED


def outputs(report: str | Path, settings: Settings | None = None) -> Outcome:
    """Set the step's outputs `verdict`, `exit-code` and `report-path`; returns what became of the gate.

    Raises:
        StoreError: the runner's file cannot be written.
    """
    use = settings or Settings()
    found = read_outcome(report)
    values = {
        "verdict": found.verdict or "error",
        "exit-code": str(found.exit_code),
        "report-path": str(report),
    }
    commands.append_outputs(use.environ, values)
    return found


def summary(report: str | Path, settings: Settings | None = None) -> str:
    """Add the summary, or what kept the gate from a verdict, to the summary of the job; returns the Markdown.

    Raises:
        StoreError: the report's summary cannot be read, or the runner's file not written.
    """
    use = settings or Settings()
    text = _text(Path(report), read_outcome(report))
    commands.append_summary(use.environ, text)
    return text


def annotate(report: str | Path, most: int = 10, settings: Settings | None = None) -> list[str]:
    """Workflow commands that show the regressed cases at their lines: errors where the gate blocks, else warnings."""
    use = settings or Settings()
    found = read_outcome(report)
    root = Path(use.environ.get("GITHUB_WORKSPACE") or use.cwd).resolve()
    level: commands.Level = "error" if found.returned else "warning"
    marks = [_placed(mark, use.cwd, root) for mark in found.cases]
    lines = commands.annotate(
        level, marks, total=found.n_cases, most=most, rest="more cases regressed; the report has them all"
    )
    if found.verdict is None:
        said = "; ".join(found.problems[:3]) or "the gate did not finish; its log says why"
        lines.append(
            commands.annotation("error", commands.Mark(title="evalharness: no verdict", message=said))
        )
    elif found.exit_code == EXIT_INCONCLUSIVE and not found.returned:
        lines.append(
            commands.annotation(
                "warning",
                commands.Mark(
                    title="evalharness: inconclusive",
                    message="a drop was seen and cannot be told from noise; it does not block here",
                ),
            )
        )
    return lines


def _placed(mark: commands.Mark, cwd: Path, root: Path) -> commands.Mark:
    """The mark with its file as GitHub wants it, from the top of the repository; without one that lies elsewhere."""
    try:
        path = (cwd / mark.file).resolve()
        return replace(mark, file=path.relative_to(root).as_posix()) if mark.file else mark
    except ValueError:
        return replace(mark, file="", line=0)


def comment(
    report: str | Path,
    name: str,
    *,
    pull_request: int | None = None,
    report_url: str = "",
    patience_s: float | None = None,
    settings: Settings | None = None,
) -> comments.Posted | None:
    """Write or edit the one comment of the gate `name` on its pull request; None where the job is about none.

    Raises:
        UsageError: this is no job on GitHub, or there is no token. GitHubError: GitHub refused or is not reached.
        StoreError: the report's summary cannot be read.
    """
    use = settings or Settings()
    job = _job(name, use)
    text = _text(Path(report), read_outcome(report))
    links = [Link("report", report_url)] if report_url else []
    if job.run_id:
        links.append(Link("run", job.run_url))
    with _client(job, patience_s) as client:
        number = pull_request or job.pull_request or incoming.pull_request_of(client, job)
        if number is None:
            return None
        return comments.upsert(
            client, job, number, name, lambda limit: comment_text(text, links, job.head_sha, limit)
        )


def check(
    report: str | Path,
    name: str,
    *,
    report_url: str = "",
    patience_s: float | None = None,
    settings: Settings | None = None,
) -> str:
    """Put the verdict on the commit under review as a check run; returns its address.

    For workflows whose own result no pull request shows (`workflow_run`).

    Raises:
        UsageError, GitHubError, StoreError: as `comment`.
    """
    use = settings or Settings()
    job = _job(name, use)
    found = read_outcome(report)
    text = _text(Path(report), found)
    shown = checks.Shown(
        name=f"evalharness {name}",
        conclusion=_conclusion(found),
        title=(found.verdict or "no verdict").capitalize(),
        summary=comment_text(text, [], "", checks.LIMIT),
        url=report_url or job.run_url,
    )
    with _client(job, patience_s) as client:
        return checks.create(client, job, shown)


def _conclusion(found: Outcome) -> checks.Conclusion:
    if found.returned:
        return "failure"
    return "neutral" if found.exit_code else "success"


def fetch(
    artifact: str, out: str | Path, *, patience_s: float | None = None, settings: Settings | None = None
) -> list[Path]:
    """Bring the recorded outputs that the run before this one left as an artefact, as data; returns the files.

    Raises:
        UsageError: this is no `workflow_run` job, or there is no token. GitHubError: GitHub refused, or there is no
            such artefact. SpecError: it holds something else than recorded outputs, or too much.
    """
    use = settings or Settings()
    job = _job(artifact, use)
    with _client(job, patience_s) as client:
        return incoming.fetch(client, job, artifact, Path(out))


def _job(name: str, use: Settings) -> Job:
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} is not a name; take letters, digits, '.', '_' and '-', at most 60, a letter or digit first"
        )
    job = read_job(use.environ)
    if not job.token:
        raise UsageError("there is no token; give the step `env: GITHUB_TOKEN: ${{ github.token }}`")
    return job


def _client(job: Job, patience_s: float | None) -> Client:
    return Client(job) if patience_s is None else Client(job, patience_s=patience_s)


def _text(folder: Path, found: Outcome) -> str:
    if found.verdict is None:
        return failure_text(found.exit_code, found.problems)
    try:
        return (folder / "summary.md").read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise StoreError(f"{folder / 'summary.md'}: cannot be read: {error}") from error


def _write(folder: Path, found: Outcome) -> None:
    write_json(
        folder / CI,
        {
            "schema_version": 1,
            "verdict": found.verdict,
            "exit_code": found.exit_code,
            "returned": found.returned,
            "problems": list(found.problems),
            "cases": [
                {"title": mark.title, "message": mark.message, "file": mark.file, "line": mark.line}
                for mark in found.cases
            ],
            "n_cases": found.n_cases,
        },
    )


def _outcome(found: Mapping[str, Any]) -> Outcome:
    """ci.json as it was written. A verdict that does not go with its exit code is none.

    Raises:
        KeyError, TypeError, ValueError: it is damaged.
    """
    verdict, code, returned = found["verdict"], int(found["exit_code"]), int(found["returned"])
    if (code == 0 and verdict not in ("pass", "inconclusive")) or (returned == 0 and code not in (0, 3)):
        raise ValueError("the verdict and the exit code do not go together")
    return Outcome(
        verdict=verdict,
        exit_code=code,
        returned=returned,
        problems=tuple(str(problem) for problem in found["problems"]),
        cases=tuple(
            commands.Mark(
                title=str(row["title"]),
                message=str(row["message"]),
                file=str(row["file"]),
                line=int(row["line"]),
            )
            for row in found["cases"]
        ),
        n_cases=int(found["n_cases"]),
    )


def notice(title: str, message: str) -> str:
    """A workflow command that shows a warning on the run."""
    return commands.annotation("warning", commands.Mark(title=title, message=message))


__all__ = [
    "Base",
    "GitHubError",
    "Outcome",
    "annotate",
    "check",
    "comment",
    "fetch",
    "gate",
    "notice",
    "outputs",
    "quiet",
    "read_outcome",
    "summary",
]
