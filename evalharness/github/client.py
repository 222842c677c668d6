"""GitHub's REST API: pages, limits, retries, and errors that say what to change. The token goes nowhere else."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import httpx2

from evalharness.errors import EXIT_PROVIDER, EvalHarnessError
from evalharness.github.job import Job

PATIENCE_S: Final = 180.0
"""Seconds that one command waits for rate limits and failing servers, all its calls together."""
PAGE: Final = 100
"""The most entries that GitHub gives at a time."""
_MOST_PAGES: Final = 100
_TRIES: Final = 5
_REDIRECTS: Final = 3
_MINUTE_S: Final = 60.0
_PERMISSIONS: Final = {
    "/issues/": "pull-requests: write",
    "/check-runs": "checks: write",
    "/actions/": "actions: read",
    "/pulls": "pull-requests: read",
}
_NEXT: Final = re.compile(r'<([^<>]+)>\s*;[^,]*\brel="?next"?')


class GitHubError(EvalHarnessError):
    """GitHub refused a call or could not be reached. `status` is its HTTP status, None where there was no answer."""

    exit_code = EXIT_PROVIDER

    def __init__(self, message: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)


class Client:
    """Calls to one repository's API.

    Limits are waited for as GitHub asks: `Retry-After`, else the reset of an exhausted limit by the server's own
    clock, else a minute that doubles (secondary limits). Servers that fail are asked again after 1, 2, 4… seconds.
    """

    def __init__(
        self, job: Job, *, patience_s: float = PATIENCE_S, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._job = job
        self._left_s = patience_s
        self._sleep = sleep
        headers = {
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
            "User-Agent": "evalharness",
        }
        self._http = httpx2.Client(headers=headers, timeout=30.0, follow_redirects=False)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str) -> Any:
        """What stands at `path`, which starts after the API's address.

        Raises:
            GitHubError: refused, not there, or not reached within the patience.
        """
        return self._json(self._ask("GET", self._job.api + path))

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """POST, PATCH or DELETE; returns the answer, None where it is empty.

        Raises:
            GitHubError: as `get`.
        """
        return self._json(self._ask(method, self._job.api + path, body))

    def pages(self, path: str) -> Iterator[Any]:
        """Every entry of a list, page after page as the `Link` header leads.

        Raises:
            GitHubError: as `get`; the list does not end, or leads to another server.
        """
        url = self._job.api + path + ("&" if "?" in path else "?") + f"per_page={PAGE}"
        for _ in range(_MOST_PAGES):
            response = self._ask("GET", url)
            entries = self._json(response)
            if not isinstance(entries, list):
                raise GitHubError(f"GitHub's answer to {path} is not a list", response.status_code)
            yield from entries
            following = _NEXT.search(response.headers.get("link", ""))
            if following is None:
                return
            url = urljoin(url, following[1])
            if _origin(url) != _origin(self._job.api):
                raise GitHubError(f"GitHub's list {path} goes on at another server, which gets no token")
        raise GitHubError(f"GitHub's list {path} has more than {_MOST_PAGES * PAGE:,} entries")

    def download(self, path: str, target: Path, *, most_bytes: int) -> None:
        """Write what stands at `path` to a file. A redirect to another server is followed without the token.

        Raises:
            GitHubError: as `get`, or it is larger than `most_bytes`. OSError: `target` cannot be written.
        """
        url, token = self._job.api + path, True
        for _ in range(_REDIRECTS + 1):
            headers = self._headers() if token else {}
            try:
                with self._http.stream("GET", url, headers=headers) as response:
                    if response.is_redirect:
                        url = urljoin(url, response.headers.get("location", ""))
                        token = token and _origin(url) == _origin(self._job.api)
                        continue
                    if response.status_code != 200:
                        response.read()
                        raise self._refused("GET", path, response)
                    size = 0
                    with target.open("wb") as file:
                        for chunk in response.iter_bytes():
                            size += len(chunk)
                            if size > most_bytes:
                                raise GitHubError(f"{path} is larger than {most_bytes // 1_000_000} MB")
                            file.write(chunk)
                    return
            except httpx2.TransportError as error:
                raise GitHubError(
                    f"{path} cannot be downloaded: {type(error).__name__}: {self._clean(str(error))}"
                ) from error
        raise GitHubError(f"{path} is redirected without end")

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._job.token}"} if self._job.token else {}

    def _ask(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> httpx2.Response:
        redirects = 0
        tried = 0
        while True:
            tried += 1
            try:
                response = self._http.request(method, url, json=body, headers=self._headers())
            except httpx2.TransportError as error:
                failed = GitHubError(
                    f"{_origin(url)} cannot be reached: {type(error).__name__}: {self._clean(str(error))}"
                )
                wait: float | None = 2.0 ** (tried - 1)
            except httpx2.InvalidURL as error:
                raise GitHubError(f"not an address: {url[:200]}") from error
            else:
                if response.is_success:
                    return response
                if response.is_redirect and redirects < _REDIRECTS:
                    redirects += 1
                    url = self._moved(method, url, response)
                    continue
                failed = self._refused(method, urlsplit(url).path, response)
                wait = _wait(response, tried)
            if wait is None or tried == _TRIES:
                raise failed
            if wait > self._left_s:
                raise GitHubError(f"{failed}; asked to wait {wait:,.0f} s, which is too long", failed.status)
            self._left_s -= wait
            self._sleep(wait)

    def _moved(self, method: str, url: str, response: httpx2.Response) -> str:
        """Where a repository that was renamed answers now: on the same server, with the same method."""
        there = urljoin(url, response.headers.get("location", ""))
        same = _origin(there) == _origin(self._job.api)
        if not same or (method != "GET" and response.status_code not in (307, 308)):
            raise GitHubError(f"{method} {urlsplit(url).path} is redirected elsewhere", response.status_code)
        return there

    def _json(self, response: httpx2.Response) -> Any:
        if not response.content:
            return None
        try:
            return response.json()
        except (ValueError, RecursionError) as error:
            raise GitHubError(
                f"{_origin(str(response.url))} answered with something that is no JSON; is GITHUB_API_URL right?",
                response.status_code,
            ) from error

    def _refused(self, method: str, path: str, response: httpx2.Response) -> GitHubError:
        said = _message(response)
        status = response.status_code
        hint = ""
        if status == 401:
            hint = "; the token is wrong or has expired"
        elif status == 403 and not re.search(r"rate limit|locked", said, re.IGNORECASE):
            hint = f"; the token lacks the permission{_needed(path)}"
        elif status == 404:
            hint = "; it is not there, or the token may not see it"
        return GitHubError(f"GitHub said {status} to {method} {path}: {self._clean(said)}{hint}", status)

    def _clean(self, text: str) -> str:
        text = text.replace(self._job.token, "[token]") if self._job.token else text
        return " ".join(text.split())[:400]


def _needed(path: str) -> str:
    """What a job's `permissions` have to say for calls to `path`. That of a fork's pull request only reads."""
    for part, permission in _PERMISSIONS.items():
        if part in path:
            return f" `{permission}`" + (", which no fork's job gets" if permission.endswith("write") else "")
    return ""


def _wait(response: httpx2.Response, tried: int) -> float | None:
    """Seconds to wait before the same call is worth another try; None: it is not."""
    status, headers = response.status_code, response.headers
    if status >= 500 or status == 408:
        return _asked(headers) or 2.0 ** (tried - 1)
    if status not in (403, 429):
        return None
    asked = _asked(headers)
    if asked is not None:
        return asked
    if headers.get("x-ratelimit-remaining") == "0" and headers.get("x-ratelimit-reset", "").isdigit():
        return max(1.0, float(headers["x-ratelimit-reset"]) - _now(headers) + 1.0)
    if status == 429 or "rate limit" in _message(response).lower():
        return _MINUTE_S * 2.0 ** (tried - 1)
    return None


def _asked(headers: httpx2.Headers) -> float | None:
    """`Retry-After` in seconds: a number, or a time, held against the server's own clock."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}", text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - _now(headers))
    except (ValueError, TypeError):
        return None


def _now(headers: httpx2.Headers) -> float:
    """The server's time, so that a wrong clock here makes no wait too short or too long."""
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (ValueError, TypeError):
        return time.time()


def _message(response: httpx2.Response) -> str:
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return response.reason_phrase or "no reason given"
    if not isinstance(body, dict):
        return response.reason_phrase
    parts = [str(body.get("message", ""))]
    errors = body.get("errors")
    for error in errors if isinstance(errors, list) else ():
        said = error.get("message") if isinstance(error, dict) else error
        if said:
            parts.append(str(said))
    return ": ".join(part for part in parts if part)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
