"""A stranger's code never meets this repository's secrets: jobs that have both are refused before anything runs.

Under `pull_request_target`, `workflow_run` and `issue_comment` a job holds the secrets and a token that can write, and
anybody can cause it. Checking out the head of the pull request there hands them to whoever wrote it: suites may name
Python modules, and so may installed packages. A reusable workflow runs under the event of the workflow that calls it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from evalharness.errors import UsageError
from evalharness.github.git import contains, head, remote
from evalharness.github.job import read_event

SECRET_EVENTS: Final = ("pull_request_target", "workflow_run", "issue_comment")
"""Events that strangers cause and that run for the default branch, with its secrets and its cache."""
_ADVICE: Final = (
    "score recorded outputs in a second workflow instead: docs/github.md, Pull requests from forks"
)
_ADVICE_ON_COMMENTS: Final = (
    "check out without `ref`; to gate a branch on demand, start the workflow on it by `workflow_dispatch`"
)


@dataclass(frozen=True, slots=True)
class _Stranger:
    """What the event says of a pull request: its commits, and "owner/name" of its repository where that is told."""

    shas: tuple[str, ...]
    repository: str | None
    advice: str


def refuse_stranger(environ: Mapping[str, str], folder: Path) -> None:
    """Refuse a job that holds secrets and has the code of a pull request checked out.

    Looked at: the workspace, `folder`, and every folder right below the workspace. Each has to hold the commit that
    the job is for (GITHUB_SHA, of the default branch under these events), or another repository.

    Raises:
        UsageError: one does not, or git cannot tell which commit is checked out.
    """
    name = environ.get("GITHUB_EVENT_NAME", "")
    if name not in SECRET_EVENTS:
        return
    stranger = _stranger(name, read_event(environ))
    if stranger is None:
        return
    own, expected = environ.get("GITHUB_REPOSITORY", ""), environ.get("GITHUB_SHA", "")
    workspace = Path(environ.get("GITHUB_WORKSPACE") or ".")
    for place in _checkouts(workspace, folder):
        shown = place.name or str(place)
        commit = head(place)
        if commit is None:
            raise UsageError(
                f"{name}: git cannot tell which commit {shown} holds, so nothing here may see secrets; "
                + stranger.advice
            )
        if commit == expected:
            continue
        for sha in stranger.shas:
            if contains(place, commit, sha):
                raise UsageError(
                    f"{name} with a checkout of the pull request's own code ({sha[:12]} in {shown}): it would run "
                    f"with this repository's secrets; {stranger.advice}"
                )
        beside = place not in (workspace, folder)
        if expected and not _is_another(remote(place), own, stranger, beside=beside):
            raise UsageError(
                f"{name} with a checkout of {commit[:12]} in {shown}, where this job is for {expected[:12]}: it may be "
                f"a pull request's own code, and would run with this repository's secrets; {stranger.advice}"
            )


def _stranger(name: str, event: Mapping[str, Any]) -> _Stranger | None:
    """What is known of the pull request that the event is about; None where it is about no stranger's code.

    Raises:
        UsageError: the event should name its commits and does not.
    """
    if name == "issue_comment":
        issue = _mapping(event.get("issue"))
        return _Stranger((), None, _ADVICE_ON_COMMENTS) if issue.get("pull_request") else None
    shas: list[Any]
    if name == "workflow_run":
        run = _mapping(event.get("workflow_run"))
        kind = run.get("event")
        if not (isinstance(kind, str) and kind.startswith("pull_request")):
            return None
        repository = _full_name(run.get("head_repository"))
        own = _full_name(run.get("repository"))
        if own is not None and repository == own:
            return None  # a branch of this repository: whoever pushed it may read its secrets anyway
        shas = [_mapping(run.get("head_commit")).get("id")]
        if kind != "pull_request_target":  # whose runs are for the base branch, and so is their head_sha
            shas.append(run.get("head_sha"))
    else:
        pull = _mapping(event.get("pull_request"))
        if pull.get("merged") is True:
            return None
        repository = _full_name(_mapping(pull.get("head")).get("repo"))
        shas = [_mapping(pull.get("head")).get("sha"), pull.get("merge_commit_sha")]
    found = tuple(dict.fromkeys(sha for sha in shas if isinstance(sha, str) and sha))
    if not found:
        raise UsageError(f"{name}: GITHUB_EVENT_PATH does not name the commit under review; {_ADVICE}")
    return _Stranger(found, repository, _ADVICE)


def _is_another(found: str | None, own: str, stranger: _Stranger, *, beside: bool) -> bool:
    """Whether a checkout comes from a repository that is neither this one nor the pull request's.

    A comment does not say which repository that is. A fork has this one's name, unless it was renamed: so nothing is
    taken for another project but a checkout of another name `beside` the one that is worked in.
    """
    if found is None:
        return False
    if stranger.repository is None:
        return beside and found.rpartition("/")[2].lower() != own.rpartition("/")[2].lower()
    return found.lower() not in (own.lower(), stranger.repository.lower())


def _checkouts(workspace: Path, folder: Path) -> Iterator[Path]:
    """Folders that may hold a checkout: the workspace always, others where they hold a repository."""
    seen = {workspace.resolve()}
    yield workspace
    below = sorted(workspace.iterdir()) if workspace.is_dir() else []
    for place in (folder, *below):
        if place.is_dir() and (place / ".git").exists() and place.resolve() not in seen:
            seen.add(place.resolve())
            yield place


def _full_name(value: Any) -> str | None:
    found = _mapping(value).get("full_name")
    return found if isinstance(found, str) and re.fullmatch(r"[^/\s]+/[^/\s]+", found) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
