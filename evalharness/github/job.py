"""The job as the runner describes it: repository, run, event, token. Read from the environment once, at the edge."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from evalharness.errors import UsageError

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
"""What a gate may be called: the name goes into a comment's marker, a cache key and the name of an artefact."""
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}/[A-Za-z0-9._-]{1,100}")
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a job on GitHub or GitHub Enterprise knows of itself.

    Attributes:
        api, server: addresses without a slash at the end.
        repository: "owner/name".
        event_name, event: what started the workflow, and what GitHub says of it. Its texts are strangers' texts.
        run_id, attempt: of this run; 0 where they are not told. Later runs have higher ids.
        sha: the commit the run is about.
        workspace: the folder of the checkout.
        token: never shown.
    """

    api: str
    server: str
    repository: str
    event_name: str
    workspace: Path
    event: Mapping[str, Any] = field(default_factory=lambda: _NOTHING, repr=False)
    run_id: int = 0
    attempt: int = 1
    sha: str = ""
    token: str = field(default="", repr=False)

    @property
    def run_url(self) -> str:
        """The page of this run."""
        return f"{self.server}/{self.repository}/actions/runs/{self.run_id}"

    @property
    def pull_request(self) -> int | None:
        """The number of the pull request that the event is about, None where it says none."""
        found: Any = self.event.get("pull_request")
        issue = self.event.get("issue")
        if found is None and isinstance(issue, Mapping) and issue.get("pull_request"):
            found = issue
        number = found.get("number") if isinstance(found, Mapping) else None
        return number if type(number) is int and number > 0 else None

    @property
    def head_sha(self) -> str:
        """The commit under review: the pull request's head, or that of the run that ended, or the run's own."""
        for key, path in (("pull_request", ("head", "sha")), ("workflow_run", ("head_sha",))):
            value: Any = self.event.get(key)
            for step in path:
                value = value.get(step) if isinstance(value, Mapping) else None
            if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{40,64}", value):
                return value
        return self.sha


def read_job(environ: Mapping[str, str]) -> Job:
    """The job from the variables that the runner sets.

    Raises:
        UsageError: this is no job on GitHub, or a variable does not hold what it should; all of them are named.
    """
    problems = []
    repository = environ.get("GITHUB_REPOSITORY", "")
    if not _REPOSITORY.fullmatch(repository):
        problems.append("GITHUB_REPOSITORY is not owner/name")
    addresses = {}
    for name, usual in (
        ("GITHUB_API_URL", "https://api.github.com"),
        ("GITHUB_SERVER_URL", "https://github.com"),
    ):
        addresses[name] = (environ.get(name) or usual).rstrip("/")
        if not _is_safe(addresses[name]):
            problems.append(f"{name} is not an https address")
    event = _NOTHING
    try:
        event = read_event(environ)
    except UsageError as error:
        problems.append(str(error))
    if problems:
        raise UsageError(
            "not a job on GitHub: "
            + "; ".join(problems)
            + "; run this inside of a workflow, or set the variables "
            "that its runner sets"
        )
    return Job(
        api=addresses["GITHUB_API_URL"],
        server=addresses["GITHUB_SERVER_URL"],
        repository=repository,
        event_name=environ.get("GITHUB_EVENT_NAME", ""),
        event=event,
        run_id=_number(environ.get("GITHUB_RUN_ID"), 0),
        attempt=_number(environ.get("GITHUB_RUN_ATTEMPT"), 1),
        sha=environ.get("GITHUB_SHA", ""),
        workspace=Path(environ.get("GITHUB_WORKSPACE") or "."),
        token=(environ.get("GITHUB_TOKEN") or environ.get("GH_TOKEN") or "").strip(),
    )


def read_event(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """What GitHub says of the event; empty where the runner names no file.

    Raises:
        UsageError: the file cannot be read, or is no JSON object.
    """
    path = environ.get("GITHUB_EVENT_PATH", "")
    if not path:
        return _NOTHING
    try:
        event = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"GITHUB_EVENT_PATH cannot be read ({error})") from error
    if not isinstance(event, dict):
        raise UsageError("GITHUB_EVENT_PATH is not a JSON object")
    return event


def from_fork(environ: Mapping[str, str]) -> bool:
    """Whether the job is for a pull request of another repository, and so gets no secrets."""
    try:
        pull = read_event(environ).get("pull_request")
    except UsageError:
        return False
    names = []
    for side in ("head", "base"):
        value: Any = pull
        for key in (side, "repo", "full_name"):
            value = value.get(key) if isinstance(value, Mapping) else None
        names.append(value)
    return environ.get("GITHUB_EVENT_NAME") == "pull_request" and None not in names and names[0] != names[1]


def _is_safe(address: str) -> bool:
    """An address that a token may be sent to: https, or this machine."""
    found = re.fullmatch(r"(https?)://([A-Za-z0-9.-]+|\[[0-9a-f:]+\])(:\d+)?(/[A-Za-z0-9._~/-]*)?", address)
    if found is None:
        return False
    return found[1] == "https" or found[2] in ("127.0.0.1", "localhost", "[::1]")


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text and re.fullmatch(r"\d{1,18}", text) else otherwise
