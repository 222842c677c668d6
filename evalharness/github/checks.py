"""A check run: a verdict on a commit whose pull request does not show the workflow that came to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from evalharness.github.client import Client, GitHubError
from evalharness.github.job import Job

Conclusion: TypeAlias = Literal["success", "failure", "neutral"]
LIMIT: Final = 65_535
"""Characters of a check run's summary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a check run shows. `url` is where its details lead."""

    name: str
    conclusion: Conclusion
    title: str
    summary: str
    url: str


def create(client: Client, job: Job, shown: Shown) -> str:
    """Put a finished check run on the commit under review; returns its address.

    Raises:
        GitHubError: GitHub refused (the token needs `checks: write`), or could not be reached.
    """
    if not job.head_sha:
        raise GitHubError("the event names no commit to put a check on")
    made = client.send(
        "POST",
        f"/repos/{job.repository}/check-runs",
        {
            "name": shown.name,
            "head_sha": job.head_sha,
            "status": "completed",
            "conclusion": shown.conclusion,
            "details_url": shown.url,
            "output": {"title": shown.title, "summary": shown.summary},
        },
    )
    url = made.get("html_url") if isinstance(made, dict) else None
    return url if isinstance(url, str) else ""
