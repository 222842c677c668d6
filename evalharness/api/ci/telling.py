"""Tell what became of a gate: outputs, summary, annotations, comment, check run. Telling never decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from evalharness.api.ci.outcome import ITSELF, Outcome, read_outcome
from evalharness.api.settings import Settings
from evalharness.errors import EXIT_INCONCLUSIVE, StoreError, UsageError
from evalharness.github import checks, commands, comments, incoming
from evalharness.github.client import Client
from evalharness.github.job import NAME, Job, read_job
from evalharness.report.comment import Link, comment_text, failure_text


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
    """Workflow commands that show the cases that broke at their lines: errors where the gate blocks, else warnings."""
    use = settings or Settings()
    found = read_outcome(report)
    root = Path(use.environ.get("GITHUB_WORKSPACE") or use.cwd).resolve()
    level: commands.Level = "error" if found.returned else "warning"
    marks = [_placed(mark, use.cwd, root) for mark in found.cases]
    lines = commands.annotate(
        level,
        marks,
        total=found.n_cases,
        most=most,
        rest="cases that got worse and that only the report shows",
    )
    if found.base_sha and found.base_sha == use.environ.get("GITHUB_SHA"):
        lines.append(
            commands.annotation(
                "warning", commands.Mark(title="evalharness: nothing compared", message=ITSELF)
            )
        )
    if found.verdict is None:
        said = "; ".join(found.problems[:3]) or "the gate did not finish; its log says why"
        lines.append(
            commands.annotation("error", commands.Mark(title="evalharness: no verdict", message=said))
        )
    elif found.verdict == "invalid":
        said = "; ".join(found.problems[:3]) or "the report says why"
        lines.append(commands.annotation("error", commands.Mark(title="evalharness: invalid", message=said)))
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
    found = read_outcome(report)
    text = _text(Path(report), found)
    links = [Link("report", report_url)] if report_url else []
    if job.run_id:
        links.append(Link("run", job.run_url))
    with _client(job, patience_s) as client:
        number = pull_request or job.pull_request or incoming.pull_request_of(client, job)
        if number is None:
            return None
        return comments.upsert(
            client,
            job,
            number,
            name,
            lambda limit: comment_text(text, links, limit, sha=job.head_sha, base_sha=found.base_sha),
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
        summary=comment_text(text, [], checks.LIMIT),
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
    lost = bool(found.problems) and not (folder / "summary.md").is_file()
    if found.verdict is None or lost:
        return failure_text(found.exit_code, found.problems)
    try:
        return (folder / "summary.md").read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise StoreError(f"{folder / 'summary.md'}: cannot be read: {error}") from error


def notice(title: str, message: str) -> str:
    """A workflow command that shows a warning on the run."""
    return commands.annotation("warning", commands.Mark(title=title, message=message))
