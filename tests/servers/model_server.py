"""A real model server for tests and benchmarks: OpenAI chat and completions, Anthropic messages, on loopback.

    python tests/servers/model_server.py --port 0 --latency-ms 50        prints `PORT <n>` when it is ready

The endpoint is `http://127.0.0.1:<n>/v1` (OpenAI SDK) or `http://127.0.0.1:<n>` (Anthropic SDK). The model name says
how to behave, as `name` or `name?param=value&param=value`, for example `echo?latency_ms=20&every=5&code=500`.
A name that is not listed is answered with 404.

What the answer says
    echo            the last user message
    answer          a text that depends on the messages alone
    seeded          a text that depends on the messages and `seed`; without a seed it differs at every call
    lookup          what `POST /_answers` {"question": "answer", ...} said for the last user message, else "unknown"
    flaky           what lookup says, and "unsure" to a share 1 - `rate` (0.5) of the calls for a `share` (1) of the
                    questions: which ones depends on the question and `seed`; without a seed, on the question and
                    how often it was asked
    whoami          the model name that was sent

Judges answer by the schema they are given (`response_format`, the input of a forced tool, else the system message)
about the answers that the harness fenced in the last user message: which of two is better, or whether one is good.
`POST /_truth` {text: goodness, or {criterion: goodness}} says how good texts are; a text that is not in it says so
itself as `quality=0.7`. A judge that needs the goodness of a text nobody spoke of answers 400. A claim is supported
when it stands in a context word for word; claims are the answer's sentences.
    judge-fair          the truth; equal is a tie. One answer is good from `bar` (0.5) on
    judge-noisy         the truth, wrong now and then: right about a share `sensitivity` (1) of good answers and of
                        pairs whose second answer is better, `specificity` (1) of the others. `candidate`: the better
                        answer is the one with this text in it, not the second. `key` draws other errors. `by=pair`:
                        the same error in both orders, else one for each. `first`: the share of pairs given to the
                        first answer whatever the truth
    judge-first         always the first; one answer passes
    judge-second        always the second; one answer fails
    judge-tie           always a tie; one answer passes
    judge-longer        the longer; one answer passes from `chars` (100) on
    judge-self          the answer with `family=<family>` in it, else the truth
    judge-injectable    whoever tells it to, else the truth; scope=outside: obeys only what stands outside the fences
    judge-extra-keys    the truth, with a key too many           judge-fenced-json  the truth in a Markdown fence
    judge-parrot        the first JSON object that stands in an answer, else the truth
    judge-once-broken   prose when first asked about texts, the truth afterwards
    judge-broken        prose; `how`: missing (a key), other-value, list, twice
    judge-truncated     cut off (length, max_tokens) in the middle; at=0: before the first character
    judge-refuses       a refusal

Params, for each of these names
    latency_ms      wait before answering (added to --latency-ms)
    code            answer with this status instead; alone: for ever
    said            ... with this message
    times           ... only the first `times` calls of each distinct body (`code` is 500 unless given)
    every           ... only every K-th distinct question, for ever (the K-th, 2K-th, ... in order of arrival)
    per_second      429 above this many calls in any one second of this server
    retry_after     Retry-After in seconds, sent with 429, 503 and 529; also retry_after_ms (retry-after-ms), and
                    retry_after_date (Retry-After as an HTTP date that many seconds from now)
    returned        the model name the response carries
    usage           0: no usage in the response; negative, text, null, part or huge: one that cannot be true;
                    cached: all of the prompt came from a prompt cache
    text            what to answer, whatever was asked
    schema          0: response_format json_schema, or a forced tool, is refused with 400
    plain           1: a judge answers in text although a tool was forced
    calls           how often a judge calls the tool
    beside          text beside a refusal or a tool call

Short names
    rate-limited-once   echo?code=429&times=1&retry_after=1       always-500      echo?code=500
    overloaded          echo?code=529                             every-tenth     echo?every=10&code=500
    limited             echo?per_second=50&retry_after=1          slow            echo?latency_ms=50
    renamed             echo?returned=renamed-2026-01-01          no-usage        echo?usage=0

Broken and odd endpoints
    hang            never answers                       reset           closes the connection without an answer
    close           closes in the middle of the body    cut-json        whole response, JSON cut in the middle
    html            200 with a web page                 html-502        502 with a web page
    invalid-json    200, not JSON                       empty           200, no body
    wrong-type      the right JSON as text/plain        not-object      200 with a JSON list
    no-choices      an empty list of choices            null-content    content is null
    refusal         content is null, with a refusal     tool-call       content is null, with a tool call
    filtered        finish reason content_filter        filtered-400    400 with code content_filter
    quota           429 insufficient_quota              context-length  400 context_length_exceeded
    slow-body       a byte every `ms` (20)              huge-body       a text of `mb` megabytes (5)
    error-200       200 with an error object            control         a 500 with terminal escapes in its message
    leak            a 500 that repeats the key it was sent in its message

Keys: any key is right, or only --api-key where given. `wrong-key` is always 401 and `forbidden-key` always 403.

Watching it
    GET /_counters  {"requests", "in_flight", "max_in_flight", "by_status": {code: n}, "by_model": {name: n},
                     "by_body": {digest: n}, "by_input": {last user message: n}, "distinct_bodies"}
    GET /_last      {"path", "headers", "body"} of the last call (no key in headers: `key` says only which one was seen)
    POST /_reset    forgets counters, answers and truths
    GET /v1/models  the names; keys as for calls
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import itertools
import json
import re
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from model_judges import JUDGES, Judge, Unknown, broken, drawn, read, reply, schema_of, schema_problem

SHORT = {
    "rate-limited-once": "echo?code=429&times=1&retry_after=1",
    "always-500": "echo?code=500",
    "overloaded": "echo?code=529",
    "every-tenth": "echo?every=10&code=500",
    "limited": "echo?per_second=50&retry_after=1",
    "slow": "echo?latency_ms=50",
    "renamed": "echo?returned=renamed-2026-01-01",
    "no-usage": "echo?usage=0",
}
ANSWERS = ("echo", "answer", "seeded", "lookup", "flaky", "whoami", "by-schema")
ODD = (
    "hang", "reset", "close", "cut-json", "html", "html-502", "invalid-json", "empty", "wrong-type", "not-object",
    "no-choices", "null-content", "refusal", "tool-call", "filtered", "filtered-400", "quota", "context-length",
    "slow-body", "huge-body", "error-200", "control", "leak",
)  # fmt: skip
PAGE = "<!doctype html><html><head><title>Gateway</title></head><body>\x1b[31mSign in\x1b[0m to continue</body></html>"
WORDS = ("invoice", "refund", "router", "parcel", "password", "invoice number", "delay", "upgrade")


@lru_cache(maxsize=4096)
def parse_model(model: str) -> tuple[str, Mapping[str, str]] | None:
    """(name, params), or None where no such model is served."""
    name, _, query = model.partition("?")
    if name in SHORT:
        target, _, own = SHORT[name].partition("?")
        return target, {**dict(parse_qsl(own)), **_params(query)}
    if name in ANSWERS or name in ODD or name in JUDGES:
        return name, _params(query)
    return None


def _params(query: str) -> dict[str, str]:
    return dict(parse_qsl(query, keep_blank_values=True))


def last_user(body: Mapping[str, Any]) -> str:
    """The text of the last user message, or the prompt of a completion."""
    if "prompt" in body:
        return str(body["prompt"])
    for message in reversed(body.get("messages") or []):
        if message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, list):
                return "".join(part.get("text", "") for part in content)
            return str(content)
    return ""


def _as_told(usage: dict[str, Any], how: str | None) -> Any:
    """The usage as an endpoint of that kind tells it."""
    if how == "cached" and "input_tokens" in usage:  # Anthropic's leaves them out of its input
        return usage | {"input_tokens": 0, "cache_read_input_tokens": usage["input_tokens"]}
    if how == "cached":
        return usage | {"prompt_tokens_details": {"cached_tokens": usage["prompt_tokens"]}}
    wrong: dict[str | None, Any] = {"negative": -1000, "text": "12", "null": None, "huge": 10**400}
    if how in wrong:
        return dict.fromkeys(usage, wrong[how])
    return dict(list(usage.items())[:1]) if how == "part" else usage


def derived(*parts: object) -> str:
    """A short text that is a function of its parts."""
    state = hashlib.sha256(repr(parts).encode()).digest()
    return " ".join(WORDS[b % len(WORDS)] for b in state[:4]) + f" {state[4:6].hex()}"


class ModelServer:
    """State and behaviour; one instance a process."""

    def __init__(self, *, latency_ms: float, api_key: str | None) -> None:
        self.latency_s = latency_ms / 1000
        self.api_key = api_key
        self.in_flight = 0
        self.reset()

    def reset(self) -> None:
        self.requests = 0
        self.max_in_flight = self.in_flight
        self.by_status: Counter[int] = Counter()
        self.by_model: Counter[str] = Counter()
        self.by_body: Counter[str] = Counter()
        self.by_input: Counter[str] = Counter()
        self.order: dict[str, int] = {}
        self.answers: dict[str, str] = {}
        self.truth: dict[str, Any] = {}
        self.judged: Counter[tuple[str, ...]] = Counter()
        self.recent: deque[float] = deque()
        self.last: dict[str, Any] = {}
        self.numbers = itertools.count(1)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path in ("/v1/chat/completions", "/v1/completions", "/v1/messages") and request.method == "POST":
            self.requests += 1
            self.in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self.in_flight)
            try:
                response = await Call(self, request, await request.read()).respond()
            finally:
                self.in_flight -= 1
            self.by_status[response.status] += 1
            return response
        if path == "/_counters":
            return web.json_response(self.counters())
        if path == "/_last":
            return web.json_response(self.last)
        if path == "/_reset" and request.method == "POST":
            self.reset()
            return web.json_response({})
        if path == "/_answers" and request.method == "POST":
            self.answers.update(json.loads(await request.read()))
            return web.json_response({})
        if path == "/_truth" and request.method == "POST":
            self.truth.update(json.loads(await request.read()))
            return web.json_response({})
        if path == "/v1/models":
            denied = Call(self, request, b"").denied()
            if denied is not None:
                return denied
            names = [{"id": n, "object": "model"} for n in (*ANSWERS, *JUDGES, *SHORT, *ODD)]
            return web.json_response({"object": "list", "data": names})
        return web.json_response({"error": {"message": f"no such path: {path}"}}, status=404)

    def counters(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "by_status": {str(k): v for k, v in self.by_status.items()},
            "by_model": self.by_model,
            "by_body": self.by_body,
            "by_input": self.by_input,
            "distinct_bodies": len(self.by_body),
        }


class Call:
    """One request to one of the three endpoints."""

    def __init__(self, server: ModelServer, request: web.BaseRequest, raw: bytes) -> None:
        self.server = server
        self.request = request
        self.raw = raw
        self.path = request.path
        self.anthropic = self.path == "/v1/messages"
        # Anthropic's SDK has sent its key either way.
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.key = request.headers.get("x-api-key") or bearer

    async def respond(self) -> web.StreamResponse:
        try:
            body = json.loads(self.raw)
            model = str(body["model"])
        except (ValueError, KeyError, TypeError):
            return self.error(400, "invalid_request_error", "the body is not a JSON object with a model")
        self.body: dict[str, Any] = body
        server = self.server
        digest = hashlib.blake2b(self.raw, digest_size=8).hexdigest()
        self.question = last_user(body)
        server.by_model[model] += 1
        server.by_body[digest] += 1
        server.by_input[self.question] += 1
        server.order.setdefault(self.question, len(server.order) + 1)
        secret = {"authorization", "x-api-key"}
        server.last = {
            "path": self.path,
            "headers": {k.lower(): v for k, v in self.request.headers.items() if k.lower() not in secret},
            "key": self.key,
            "body": body,
        }
        denied = self.denied()
        if denied is not None:
            return denied
        found = parse_model(model)
        if found is None:
            return self.error(
                404, "not_found_error", f"The model `{model}` does not exist", code="model_not_found"
            )
        if self.anthropic and "max_tokens" not in body:
            return self.error(400, "invalid_request_error", "max_tokens: Field required")
        self.model = model
        self.name, self.params = found
        wait = server.latency_s + float(self.params.get("latency_ms", 0)) / 1000
        if wait:
            await asyncio.sleep(wait)
        refused = self.refused(digest)
        if refused is not None:
            return refused
        problem = self.schema_problem()
        if problem is not None:
            return self.error(400, "invalid_request_error", problem[1], param=problem[0])
        if self.name in ODD:
            return await self.odd()
        if self.name in JUDGES:
            return self.verdict()
        if self.name == "by-schema" and self.anthropic and body.get("tools"):
            return self.json(self.tool_call(json.loads(self.text())))
        return self.answer(self.text())

    def denied(self) -> web.Response | None:
        if self.key == "forbidden-key":
            return self.error(403, "permission_error", "This key may not use this model")
        if self.key == "wrong-key" or (self.server.api_key is not None and self.key != self.server.api_key):
            return self.error(401, "authentication_error", f"Incorrect API key provided: {self.key}")
        return None

    def refused(self, digest: str) -> web.Response | None:
        """The response of a call that the params say must fail."""
        params = self.params
        if "per_second" in params:
            now, recent = time.monotonic(), self.server.recent
            while recent and recent[0] <= now - 1:
                recent.popleft()
            if len(recent) >= float(params["per_second"]):
                return self.error(429, "rate_limit_error", "Rate limit reached")
            recent.append(now)
            return None
        code = int(params.get("code", 500))
        if "times" in params:
            fails = self.server.by_body[digest] <= int(params["times"])
        elif "every" in params:
            fails = self.server.order[self.question] % int(params["every"]) == 0
        else:
            fails = "code" in params
        return (
            self.error(code, "server_error", params.get("said", f"status {code}, as asked"))
            if fails
            else None
        )

    def schema_problem(self) -> tuple[str, str] | None:
        """(param, message) where the schema of this request is one that this model, or any, refuses."""
        if self.path == "/v1/completions":
            return None
        if self.params.get("schema") == "0":
            if self.anthropic and (self.body.get("tool_choice") or {}).get("type") == "tool":
                said = 'tool_choice: type "tool" and "any" are not supported for this model.'
                return "tool_choice", said
            form = (self.body.get("response_format") or {}).get("type")
            if form == "json_schema":
                said = (
                    f"Invalid parameter: 'response_format' of type '{form}' is not supported with this model."
                )
                return "", said
        return schema_problem(self.body, anthropic=self.anthropic)

    def verdict(self) -> web.Response:
        """What a judge answers."""
        if self.name == "judge-refuses":
            finish = "content_filter" if self.anthropic else "stop"
            return self.json(self.payload(None, finish=finish, refusal="I cannot judge this"))
        try:
            asked = read(self.body)
            value = reply(Judge(self.name, self.params, self.server.truth, asked), schema_of(self.body))
        except Unknown as error:
            return self.error(400, "invalid_request_error", str(error))
        self.server.judged[(self.model, *asked.answers)] += 1
        limit = self.body.get("max_tokens") or self.body.get("max_completion_tokens")
        too_long = isinstance(limit, int) and len(json.dumps(value).split()) > limit
        if self.name == "judge-truncated" or too_long:
            return self.cut_off(value)
        said: Any = value
        if self.name == "judge-broken" or (
            self.name == "judge-once-broken" and self.server.judged[(self.model, *asked.answers)] == 1
        ):
            said = broken(value, self.params.get("how", "prose"))
        elif self.name == "judge-fenced-json":
            said = f"```json\n{json.dumps(value, indent=2)}\n```"
        if (
            self.anthropic
            and isinstance(said, dict)
            and self.body.get("tools")
            and self.params.get("plain") != "1"
        ):
            return self.json(self.tool_call(said))
        return self.json(self.payload(said if isinstance(said, str) else json.dumps(said)))

    def tool_call(self, value: Mapping[str, Any], *, finish: str = "tool_use") -> dict[str, Any]:
        """A call of the one tool that was offered."""
        call = {"type": "tool_use", "id": "t1", "name": self.body["tools"][0]["name"], "input": value}
        return self.payload(None, finish=finish) | {"content": [call] * int(self.params.get("calls", 1))}

    def cut_off(self, value: Mapping[str, Any]) -> web.Response:
        if self.params.get("at") == "0":
            return self.json(self.payload(None, finish="length"))
        if self.anthropic and self.body.get("tools"):
            first = next(iter(value))
            return self.json(self.tool_call({first: value[first]}, finish="length"))
        text = json.dumps(value)
        return self.json(self.payload(text[: len(text) // 2], finish="length"))

    def text(self) -> str:
        if "text" in self.params:
            return self.params["text"]
        if self.name == "echo":
            return self.question
        if self.name == "lookup":
            return self.server.answers.get(self.question, "unknown")
        if self.name == "flaky":
            seed = self.body.get("seed")
            number = ("asked", self.server.by_input[self.question]) if seed is None else seed
            varies = drawn("varies", self.question) < float(self.params.get("share", 1))
            if varies and drawn(self.question, number) >= float(self.params.get("rate", 0.5)):
                return "unsure"
            return self.server.answers.get(self.question, "unknown")
        if self.name == "by-schema":
            answer = self.server.answers.get(self.question, "{}")
            held = "response_format" in self.body or "tools" in self.body
            return answer if held else f"Certainly! {answer[:-1]}"
        if self.name == "whoami":
            return self.model
        asked = json.dumps(self.body.get("messages") or self.body.get("prompt"), sort_keys=True)
        if self.name == "answer":
            return derived(asked)
        seed = self.body.get("seed")
        return derived(asked, seed if seed is not None else ("call", next(self.server.numbers)))

    def payload(self, text: str | None, *, finish: str = "stop", **message: Any) -> dict[str, Any]:
        model = self.params.get("returned", self.model)
        tokens_in, tokens_out = len(self.raw) // 4, len((text or "").split())
        data: dict[str, Any] = {"id": "call-1", "model": model}
        if self.anthropic:
            reasons = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}
            data |= {"type": "message", "role": "assistant", "stop_reason": reasons.get(finish, finish)}
            data["content"] = [] if text is None else [{"type": "text", "text": text}]
            usage = {"input_tokens": tokens_in, "output_tokens": tokens_out}
        else:
            usage = {
                "prompt_tokens": tokens_in,
                "completion_tokens": tokens_out,
                "total_tokens": tokens_in + tokens_out,
            }
            data |= {"created": 1, "object": "chat.completion"}
            choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
            if self.path == "/v1/completions":
                choice["text"] = text
            else:
                choice["message"] = {"role": "assistant", "content": text, **message}
            data["choices"] = [choice]
        if self.params.get("usage") != "0":
            data["usage"] = _as_told(usage, self.params.get("usage"))
        return data

    def answer(self, text: str) -> web.Response:
        limit = self.body.get("max_tokens") or self.body.get("max_completion_tokens")
        words = text.split(" ")
        if isinstance(limit, int) and len(words) > limit:
            return self.json(self.payload(" ".join(words[:limit]), finish="length"))
        return self.json(self.payload(text))

    def json(self, data: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
        return web.Response(
            body=json.dumps(data).encode(), status=status, content_type="application/json", headers=headers
        )

    def error(
        self, status: int, kind: str, message: str, *, code: str | None = None, param: str | None = None
    ) -> web.Response:
        params: Mapping[str, str] = getattr(self, "params", {})
        headers: dict[str, str] = {}
        if status in (429, 503, 529):
            if "retry_after" in params:
                headers["Retry-After"] = params["retry_after"]
            if "retry_after_ms" in params:
                headers["retry-after-ms"] = params["retry_after_ms"]
            if "retry_after_date" in params:
                headers["Retry-After"] = formatdate(
                    time.time() + float(params["retry_after_date"]), usegmt=True
                )
        if self.anthropic:
            data: dict[str, Any] = {"type": "error", "error": {"type": kind, "message": message}}
        else:
            data = {"error": {"message": message, "type": kind, "code": code, "param": param}}
        return self.json(data, status=status, headers=headers)

    async def odd(self) -> web.StreamResponse:
        name, good = self.name, self.question
        if name == "hang":
            await asyncio.sleep(3600)
        if name in ("reset", "close", "slow-body"):
            return await self.streamed()
        plain = {
            "html": (200, "text/html", PAGE),
            "html-502": (502, "text/html", PAGE),
            "invalid-json": (200, "application/json", "this is \x1b[2Jnot JSON"),
            "empty": (200, "application/json", ""),
            "cut-json": (200, "application/json", json.dumps(self.payload(good))[:60]),
            "wrong-type": (200, "text/plain", json.dumps(self.payload(good))),
            "not-object": (200, "application/json", "[1, 2, 3]"),
        }
        if name in plain:
            status, kind, text = plain[name]
            return web.Response(body=text.encode(), status=status, content_type=kind)
        errors = {
            "filtered-400": (400, "invalid_request_error", "The prompt was filtered", "content_filter"),
            "quota": (429, "insufficient_quota", "You exceeded your current quota", "insufficient_quota"),
            "context-length": (
                400,
                "invalid_request_error",
                "Maximum length is 16",
                "context_length_exceeded",
            ),
            "control": (500, "server_error", "bad \x1b[31mred\x1b[0m\r\nnews \u202etxt", None),
            "leak": (500, "server_error", f"upstream refused the key {self.key}", None),
        }
        if name in errors:
            status, kind, text, code = errors[name]
            return self.error(status, kind, text, code=code)
        if name == "error-200":
            return self.json({"error": {"message": "model is loading", "type": "server_error"}})
        if name == "huge-body":
            return self.json(self.payload("x" * int(float(self.params.get("mb", 5)) * 1_000_000)))
        if name == "refusal":
            finish = "content_filter" if self.anthropic else "stop"
            beside = self.params.get("beside")
            return self.json(self.payload(beside, finish=finish, refusal="I cannot help with that"))
        if name == "tool-call":
            beside = self.params.get("beside")
            if self.anthropic:
                data = self.payload(beside, finish="tool_use")
                data["content"] += [{"type": "tool_use", "id": "t1", "name": "find", "input": {}}]
                return self.json(data)
            call = {"id": "t1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
            return self.json(self.payload(beside, finish="tool_calls", tool_calls=[call]))
        if name == "filtered":
            return self.json(self.payload(None if self.anthropic else "", finish="content_filter"))
        data = self.payload(None)
        if name == "no-choices":
            data["content" if self.anthropic else "choices"] = []
        return self.json(data)

    async def streamed(self) -> web.StreamResponse:
        """Bodies that the transport itself shapes: cut off, never begun, dripping."""
        transport = self.request.transport
        assert transport is not None
        if self.name == "reset":
            transport.abort()
            return web.Response(status=500)
        body = json.dumps(self.payload(self.question)).encode()
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Content-Length": str(len(body))}
        )
        await response.prepare(self.request)
        if self.name == "close":
            await response.write(body[: len(body) // 2])
            await asyncio.sleep(0.01)
            transport.close()
            return response
        pause = float(self.params.get("ms", 20)) / 1000
        for i in range(len(body)):
            await response.write(body[i : i + 1])
            await asyncio.sleep(pause)
        return response


async def _until_stdin_closes() -> None:
    """Return when whoever started this process is gone; it holds the other end of standard input."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


async def serve(args: argparse.Namespace) -> None:
    state = ModelServer(latency_ms=args.latency_ms, api_key=args.api_key)
    runner = web.ServerRunner(web.Server(state.handle, access_log=None), shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", args.port, backlog=1024)
    await site.start()
    port = re.search(r":(\d+)", str(runner.addresses[0]).replace(", ", ":"))
    assert port is not None
    print(f"PORT {port.group(1)}", flush=True)
    if args.exit_with_stdin:
        await _until_stdin_closes()
    else:
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=0, help="0 (default): a free one")
    parser.add_argument("--latency-ms", type=float, default=0, help="wait this long before every answer")
    parser.add_argument("--api-key", default=None, help="refuse every other key with 401")
    parser.add_argument("--exit-with-stdin", action="store_true", help="stop when standard input is closed")
    args = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(args))


if __name__ == "__main__":
    main()
