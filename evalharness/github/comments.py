"""One comment on a pull request that is edited in place, whoever else writes there and however many runs race."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from evalharness.github.client import Client, GitHubError
from evalharness.github.job import Job

LIMIT: Final = 65_536
"""Characters (code points) of a comment. GitHub stores 262,144 bytes of UTF-8, which so many characters never pass."""
_RUN: Final = re.compile(r"<!-- evalharness-run:(\d{1,18})\.(\d{1,9}) -->")
_ROUNDS: Final = 3
_SHORTER: Final = (1, 2, 4)

Text: TypeAlias = Callable[[int], str]
"""The comment's text in at most so many characters."""


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of a comment. `left`: a later run had written it already, and it stays as that run left it."""

    done: Literal["created", "edited", "left"]
    url: str


@dataclass(frozen=True, slots=True)
class _Comment:
    id: int
    body: str
    url: str

    @property
    def run(self) -> tuple[int, int]:
        """Run id and attempt that wrote it."""
        found = _RUN.search(self.body[:400])
        return (int(found[1]), int(found[2])) if found else (0, 0)


def marker(name: str) -> str:
    """The first line of a gate's comment, by which it is found again. GitHub does not show it."""
    return f"<!-- evalharness:{name} -->"


def upsert(client: Client, job: Job, number: int, name: str, text: Text) -> Posted:
    """Write the comment of the gate `name` on a pull request: edit the one that is there, else create it.

    A comment is the gate's own when it starts with the marker and was written by whoever holds the token. Of several
    the oldest stays, with the text of the latest run, and the others are deleted. A comment that disappears before it
    is edited is created anew; one that GitHub finds too long is written again at half the length.

    Raises:
        GitHubError: GitHub refused, or could not be reached.
    """
    comments = _Comments(client, job, number, marker(name), author(client))
    run = (job.run_id, job.attempt)
    head = f"{comments.marker}\n<!-- evalharness-run:{run[0]}.{run[1]} -->\n"

    def body(part: int) -> str:
        return head + text(LIMIT // part - len(head))

    for _ in range(_ROUNDS):
        own = comments.own()
        if any(comment.run > run for comment in own):
            return Posted("left", comments.settle(own).url)
        if not own:
            created = _fitting(lambda part: comments.create(body(part)))
            # Another run may have created one meanwhile. Both look again, and both keep the oldest.
            own = comments.own()
            kept = comments.settle(own) if own else created
            return Posted("created" if kept.id == created.id else "edited", kept.url)
        try:
            kept = _fitting(lambda part, own=own: comments.edit(own[0], body(part)))  # type: ignore[misc]
        except GitHubError as error:
            if error.status != 404:
                raise
            continue
        comments.settle([kept, *own[1:]])
        return Posted("edited", kept.url)
    raise GitHubError(f"the comment of {name} on #{number} disappears as often as it is written")


def author(client: Client) -> str | None:
    """The login of whoever holds the token; None for the token of a job, which GitHub does not let ask."""
    try:
        user = client.get("/user")
    except GitHubError as error:
        if error.status in (403, 404):
            return None
        raise
    login = user.get("login") if isinstance(user, dict) else None
    return login if isinstance(login, str) else None


class _Comments:
    """The comments of one gate on one pull request."""

    def __init__(self, client: Client, job: Job, number: int, marker: str, author: str | None) -> None:
        self._client = client
        self._list = f"/repos/{job.repository}/issues/{number}/comments"
        self._one = f"/repos/{job.repository}/issues/comments"
        self.marker = marker
        self._author = author

    def own(self) -> list[_Comment]:
        """Those of this gate, the oldest first."""
        found = [_read(row) for row in self._client.pages(self._list) if self._is_own(row)]
        return sorted(found, key=lambda comment: comment.id)

    def _is_own(self, row: Any) -> bool:
        if not isinstance(row, Mapping) or not isinstance(row.get("body"), str):
            return False
        user = row.get("user")
        user = user if isinstance(user, Mapping) else {}
        # A person who quotes the comment, marker and all, does not become its author. The token of a job cannot ask
        # for its own name; what it writes is a bot's.
        mine = user.get("login") == self._author if self._author is not None else user.get("type") == "Bot"
        return mine and row["body"].startswith(self.marker)

    def create(self, body: str) -> _Comment:
        return _read(self._client.send("POST", self._list, {"body": body}))

    def edit(self, comment: _Comment, body: str) -> _Comment:
        return _read(self._client.send("PATCH", f"{self._one}/{comment.id}", {"body": body}))

    def settle(self, own: Sequence[_Comment]) -> _Comment:
        """Leave the oldest, with the text of the latest run; returns it."""
        oldest = min(own, key=lambda comment: comment.id)
        latest = max(own, key=lambda comment: (comment.run, comment.id))
        kept = oldest
        if latest.body != oldest.body:
            try:
                kept = self.edit(oldest, latest.body)
            except GitHubError as error:
                if error.status != 404:
                    raise
                kept = latest
        for comment in own:
            if comment.id != kept.id:
                self._delete(comment)
        return kept

    def _delete(self, comment: _Comment) -> None:
        try:
            self._client.send("DELETE", f"{self._one}/{comment.id}")
        except GitHubError as error:
            if error.status != 404:  # the other run was faster
                raise


def _fitting(write: Callable[[int], _Comment]) -> _Comment:
    """Write at full length, then at a half and a quarter where GitHub finds it too long."""
    for part in _SHORTER:
        try:
            return write(part)
        except GitHubError as error:
            if error.status != 422 or "too long" not in str(error) or part == _SHORTER[-1]:
                raise
    raise AssertionError("unreachable")


def _read(row: Any) -> _Comment:
    if not isinstance(row, Mapping) or type(row.get("id")) is not int:
        raise GitHubError("GitHub's answer is not a comment; is GITHUB_API_URL right?")
    return _Comment(row["id"], str(row.get("body") or ""), str(row.get("html_url") or ""))
