"""One HTTP endpoint behind its own SDK: exactly one try a call, every outcome typed.

The OpenAI and the Anthropic SDK share their shape (`client.post`, the exception names, the aiohttp client), so this
module serves both. The response is taken raw and parsed here: that halves the SDK's cost per call, and it is the only
way to tell a page of HTML or half a body from an answer.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import ModuleType
from typing import Any, Final
from urllib.parse import urlsplit

from evalharness.core.candidates import Candidate
from evalharness.errors import CallError, UsageError

_EXCERPT: Final = 200
_MOST_TOKENS: Final = 1 << 40
_KEEPALIVE_S: Final = 5.0
_SENDABLE: Final = re.compile(r"[\x21-\x7e]+")
_NO_MONEY: Final = frozenset(("insufficient_quota", "billing_hard_limit_reached", "billing_error"))
_FILTERED: Final = frozenset(("content_filter", "content_policy_violation"))
NO_TOOLS: Final = "an answer by a schema is the model's own, without tools"
# How far into a server's message its own words are taken to reach: further on, some repeat what they were sent.
_OWN_WORDS: Final = 120


_NOT_A_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")


def schema_name(schema: Mapping[str, Any]) -> str:
    """What an API that wants a name for a schema is told: its `title`, and "verdict" where it has none."""
    title = schema.get("title")
    return (_NOT_A_NAME.sub("_", title).strip("_") if isinstance(title, str) else "")[:64] or "verdict"


@dataclass(frozen=True, slots=True)
class Refusable:
    """Fields of a request that not every server takes, and what to do about one that refuses them."""

    fields: tuple[str, ...]
    fix: str

    def names(self, error: Any, message: str) -> bool:
        """Whether a refusal is about these fields. `error` is the answer's error object."""
        param = error.get("param") if isinstance(error, dict) else None
        said = (str(param or ""), message[:_OWN_WORDS])
        return any(field in text for text in said for field in self.fields)


def find_key(candidate: Candidate, *, default_env: str, endpoint: str) -> str | None:
    """The key to send, from the environment, or None where none is needed.

    An endpoint of the user's own gets a key only where the candidate names its variable: the key of the public
    endpoint is never sent to a host that a data file names.

    Raises:
        UsageError: the variable is not set, or holds what no header can carry. The value is never shown.
    """
    own = candidate.options.get("base_url") is not None
    variable = candidate.api_key_env or (None if own else default_env)
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UsageError(f"{endpoint} needs a key: set the environment variable {variable}")
    if not _SENDABLE.fullmatch(key):
        raise UsageError(
            f"the value of {variable} is not a key: it holds spaces, line ends or other characters"
        )
    return key


def check_url(url: str) -> str:
    """`url`, or a UsageError where nothing can be sent to it."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"base_url {url!r} is not an http(s) URL; write http://host:port/v1")
    return url


def check_fields(
    fields: Mapping[str, Any], owned: frozenset[str], where: str, why: str = "the provider fills that in"
) -> None:
    """Refuse settings that would change what this provider itself decides.

    Raises:
        UsageError: naming them.
    """
    taken = sorted(owned & fields.keys())
    if taken:
        raise UsageError(f"{where} may not set {', '.join(taken)}: {why}")


def connection_options(candidate: Candidate) -> dict[str, Any]:
    """Arguments of an SDK's aiohttp client."""
    import httpx2

    return {
        "timeout": None,
        "limits": httpx2.Limits(
            max_connections=max(100, candidate.limits.concurrency), keepalive_expiry=_KEEPALIVE_S
        ),
        # Following a redirect would carry the key to another place, and turns a POST into a GET.
        "follow_redirects": False,
    }


class Endpoint:
    """Makes calls through `client`. `secret` never appears in an error."""

    def __init__(self, sdk: ModuleType, client: Any, *, secret: str | None, key_hint: str, url: str) -> None:
        import aiohttp
        import httpx2

        self._sdk = sdk
        self._client = client
        self._secret = secret
        self._key_hint = key_hint
        self._host = urlsplit(url).netloc
        self._raw_response = httpx2.Response
        self._not_sent = (aiohttp.ClientConnectorError, aiohttp.ClientProxyConnectionError)
        self._transport_errors = (aiohttp.ClientError,)

    async def post(
        self, path: str, body: Mapping[str, Any], *, timeout_s: float, refusable: Refusable | None = None
    ) -> tuple[dict[str, Any], float]:
        """Send one request. `refusable` names fields of `body` whose refusal is worth a word on how to mend it.

        Returns:
            The JSON object of a successful answer, and the call's wall time in milliseconds.

        Raises:
            CallError: for everything else.
        """
        sdk = self._sdk
        began = time.perf_counter()
        try:
            # One deadline from the first connect to the last byte; the SDK's own clocks restart with every read.
            async with asyncio.timeout(timeout_s):
                response = await self._client.post(path, cast_to=self._raw_response, body=body)
        except TimeoutError:
            raise CallError("timeout", f"no complete answer within {timeout_s:g} s", retryable=True) from None
        except sdk.APIStatusError as error:
            raise self._status_error(error.response, refusable) from None
        except (sdk.APIConnectionError, *self._transport_errors) as error:
            raise self._connection_error(error) from None
        except (ValueError, TypeError) as error:
            # Half a surrogate pair, NaN: the request has no JSON form, now or later.
            raise CallError("bad_request", f"the request cannot be sent: {self.clean(str(error))}") from None
        latency_ms = (time.perf_counter() - began) * 1000
        return self._object(response), latency_ms

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def clean(self, text: str) -> str:
        """A short single line for an error message: no key, no control characters."""
        if self._secret is not None:
            text = text.replace(self._secret, "[key]")
        line = " ".join("".join(c if c.isprintable() else " " for c in text[: 20 * _EXCERPT]).split())
        return line if len(line) <= _EXCERPT else line[: _EXCERPT - 1] + "…"

    def bad_response(self, what: str, content: str = "") -> CallError:
        """The endpoint said 200 and gave no answer."""
        shown = f": {self.clean(content)}" if content else ""
        return CallError("bad_response", f"{self._host} answered with {what}{shown}", retryable=True)

    def _object(self, response: Any) -> dict[str, Any]:
        content: bytes = response.content
        if not content.strip():
            raise self.bad_response("an empty body")
        try:
            data = json.loads(content)
        except (ValueError, RecursionError):
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            what = {"application/json": "broken JSON", "text/html": "a web page"}.get(
                kind, f"{kind or 'no type'}"
            )
            raise self.bad_response(
                f"{what}, not JSON" if kind != "application/json" else what, _text(content)
            ) from None
        if not isinstance(data, dict):
            raise self.bad_response("JSON that is not an object", _text(content))
        if data.get("error"):
            raise self.bad_response("an error", _message(data) or _text(content))
        return data

    def _status_error(self, response: Any, refusable: Refusable | None) -> CallError:
        status: int = response.status_code
        headers: Mapping[str, str] = response.headers
        try:
            data = json.loads(response.content)
        except (ValueError, RecursionError):
            data = None
        text = self.clean(_message(data) or _text(response.content) or response.reason_phrase)
        message = f"HTTP {status} from {self._host}: {text}" if text else f"HTTP {status} from {self._host}"
        codes = _codes(data)
        wait = retry_after_s(headers)
        if status in (401, 402, 403):
            return CallError("auth", f"{message}; {self._key_hint}", fatal=True)
        if codes & _FILTERED:
            return CallError("filtered", message)
        if status == 429:
            if codes & _NO_MONEY:
                return CallError(
                    "rate_limited", f"{message}; no retry helps until the account has credit", fatal=True
                )
            return CallError("rate_limited", message, retryable=True, retry_after_s=wait)
        if status == 408:
            return CallError("timeout", message, retryable=True, retry_after_s=wait)
        if status >= 500 or status in (409, 425):
            return CallError("server", message, retryable=True, retry_after_s=wait)
        if status == 404:
            return CallError("bad_request", f"{message}; check `model` and `base_url`", fatal=True)
        if 300 <= status < 400:
            target = self.clean(headers.get("location", "another place"))
            return CallError(
                "bad_request", f"{message}: it redirects to {target}; check `base_url`", fatal=True
            )
        if refusable is not None and refusable.names(_error_object(data), _message(data)):
            return CallError("bad_request", f"{message}; {refusable.fix}", fatal=True)
        return CallError("bad_request", message)

    def _connection_error(self, error: BaseException) -> CallError:
        # The SDK's transport calls every lost connection a timeout; the first error of the chain says what it was.
        root = list(_chain(error))[-1]
        text = self.clean(str(root) or type(root).__name__)
        if any(isinstance(e, self._not_sent) for e in _chain(error)):
            message = (
                f"cannot connect to {self._host}: {text}; is the server running, and is `base_url` right?"
            )
        else:
            message = f"lost the connection to {self._host}: {text}"
        return CallError("connection", message, retryable=True)


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _error_object(data: Any) -> Any:
    """The `error` of an answer: {"error": {...}}, {"error": "text"} or, as some servers have it, the whole object."""
    return data.get("error", data) if isinstance(data, dict) else None


def _message(data: Any) -> str:
    error = _error_object(data)
    if isinstance(error, dict):
        for name in ("message", "detail"):
            if error.get(name):
                return str(error[name])
    return error if isinstance(error, str) else ""


def _codes(data: Any) -> set[str]:
    error = _error_object(data)
    if not isinstance(error, dict):
        return set()
    return {value for value in (error.get("code"), error.get("type")) if isinstance(value, str)}


def token_count(value: Any) -> int | None:
    """A number of tokens as an endpoint told it: whole, from 0, and one that can be true. None: not told."""
    return value if type(value) is int and 0 <= value < _MOST_TOKENS else None


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that `retry-after-ms` or `Retry-After` (seconds or an HTTP date, RFC 9110 §10.2.3) asks to wait.

    None where the server said nothing that can be read; never negative.
    """
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _seconds(value)
    if seconds is not None or value is None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError, OSError):
        return None


def _seconds(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return max(0.0, value) if math.isfinite(value) else None
