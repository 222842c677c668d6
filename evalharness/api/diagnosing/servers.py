"""Whether servers answer, in a bounded time: their list of models is asked for, which costs nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import wait
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from evalharness._waiting import begun

TIMEOUT_S: Final = 5.0
_MOST_BYTES: Final = 4 << 20
_GRACE_S: Final = 1.0
"""For what is cut off by itself to be told."""


@dataclass(frozen=True, slots=True)
class Server:
    """Whom to ask, and with which key ("": none). `anthropic`: it speaks the messages API."""

    url: str
    key: str = ""
    anthropic: bool = False

    @property
    def host(self) -> str:
        """Name and port, without what else an address may hold."""
        return urlsplit(self.url).netloc.rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class Reached:
    """What came of it: `status` 0 where nothing answered, and `failure` says why. `models`: None where not told."""

    status: int
    failure: str = ""
    models: frozenset[str] | None = None


def reach(servers: Sequence[Server]) -> Mapping[Server, Reached]:
    """Ask each server once, all of them at a time, and wait for `TIMEOUT_S` seconds and a moment more."""
    answers = {server: begun(partial(_ask, server)) for server in dict.fromkeys(servers)}
    # the client's own limits hold for a step; a name that is looked up, or a trickle of headers, takes any time
    wait(answers.values(), TIMEOUT_S + _GRACE_S)
    return {server: answer.result() if answer.done() else _silent() for server, answer in answers.items()}


def _ask(server: Server) -> Reached:
    import httpx2

    root = server.url.rstrip("/")
    # as the Anthropic SDK, which adds /v1 itself
    url = root.removesuffix("/v1") + "/v1/models?limit=1000" if server.anthropic else root + "/models"
    headers = {"anthropic-version": "2023-06-01"} if server.anthropic else {}
    if server.key:
        headers |= (
            {"x-api-key": server.key} if server.anthropic else {"Authorization": f"Bearer {server.key}"}
        )
    until = time.monotonic() + TIMEOUT_S
    try:
        with httpx2.stream(
            "GET", url, headers=headers, timeout=TIMEOUT_S, follow_redirects=False
        ) as response:
            body = bytearray()
            for part in response.iter_bytes():
                body += part
                if len(body) > _MOST_BYTES or time.monotonic() > until:
                    break
            return Reached(response.status_code, models=_models(bytes(body)))
    except httpx2.TimeoutException:
        return _silent()
    except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError, ValueError, OSError) as error:
        return Reached(0, _why(error))


def _silent() -> Reached:
    return Reached(0, f"no answer within {TIMEOUT_S:g} s")


def _why(error: BaseException) -> str:
    """What lies at the bottom of a failed connection, without what an address may hold."""
    text = str(error)
    if "SSL" in text or "CERTIFICATE" in text.upper():
        return "TLS: " + " ".join(text.replace("[SSL: ", "").split())[:200]
    known = {"Connection refused": "the connection was refused", "Name or service not known": "no such host"}
    known |= {"nodename nor servname": "no such host", "Temporary failure in name resolution": "no such host"}
    return next((said for sign, said in known.items() if sign in text), type(error).__name__)


def _models(body: bytes) -> frozenset[str] | None:
    """The models of OpenAI's, Anthropic's and alike servers' list."""
    try:
        data: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    rows = data.get("data") if isinstance(data, dict) else None
    if not isinstance(rows, list):
        return None
    return frozenset(row["id"] for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str))
