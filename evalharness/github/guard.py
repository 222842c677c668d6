"""A stranger's code never meets this repository's secrets: jobs that have both are refused before anything runs.

Under `pull_request_target` and `workflow_run` a job holds the secrets and a token that can write. Checking out the head
of the pull request there hands them to whoever wrote it: suites may name Python modules, and so may installed packages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from evalharness.errors import UsageError
from evalharness.github.git import contains, head
from evalharness.github.job import read_event

_SECRET: Final = ("pull_request_target", "workflow_run")
_ADVICE: Final = (
    "score recorded outputs in a second workflow instead: docs/github.md, Pull requests from forks"
)


def refuse_stranger(environ: Mapping[str, str], folder: Path) -> None:
    """Refuse a job that holds secrets and has the code of a pull request checked out.

    Looked at: the workspace, `folder`, and every folder right below the workspace.

    Raises:
        UsageError: it has, or git cannot tell which commit is checked out.
    """
    name = environ.get("GITHUB_EVENT_NAME", "")
    if name not in _SECRET:
        return
    event = read_event(environ)
    foreign = _foreign(name, event)
    if foreign is None:
        return
    workspace = Path(environ.get("GITHUB_WORKSPACE") or ".")
    for place in _checkouts(workspace, folder):
        commit = head(place)
        if commit is None:
            raise UsageError(
                f"{name}: git cannot tell which commit {place.name or place} holds, so nothing here may see secrets; "
                + _ADVICE
            )
        for sha in foreign:
            if contains(place, commit, sha):
                raise UsageError(
                    f"{name} with a checkout of the pull request's own code ({sha[:12]} in {place.name or place}): "
                    f"it would run with this repository's secrets; {_ADVICE}"
                )


def _foreign(name: str, event: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The commits of the pull request; None where the event is about no stranger's code.

    Raises:
        UsageError: the event does not say which commits those are.
    """
    if name == "workflow_run":
        run = _mapping(event.get("workflow_run"))
        own = _mapping(run.get("repository")).get("full_name")
        if run.get("event") not in ("pull_request", "pull_request_target"):
            return None
        if own is not None and _mapping(run.get("head_repository")).get("full_name") == own:
            return None  # a branch of this repository: whoever pushed it may read its secrets anyway
        shas = [run.get("head_sha")]
    else:
        pull = _mapping(event.get("pull_request"))
        if pull.get("merged") is True:
            return None
        shas = [_mapping(pull.get("head")).get("sha"), pull.get("merge_commit_sha")]
    found = tuple(sha for sha in shas if isinstance(sha, str) and sha)
    if not found:
        raise UsageError(f"{name}: GITHUB_EVENT_PATH does not name the commit under review; {_ADVICE}")
    return found


def _checkouts(workspace: Path, folder: Path) -> Iterator[Path]:
    """Folders that may hold a checkout: the workspace always, others where they hold a repository."""
    seen = {workspace.resolve()}
    yield workspace
    below = sorted(workspace.iterdir()) if workspace.is_dir() else []
    for place in (folder, *below):
        if place.is_dir() and (place / ".git").exists() and place.resolve() not in seen:
            seen.add(place.resolve())
            yield place


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
