"""Provider `anthropic`: the messages API through its own SDK on aiohttp."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Final

from evalharness.core.attempts import Response, Usage
from evalharness.core.candidates import Candidate
from evalharness.core.protocols import Request
from evalharness.errors import CallError, UsageError
from evalharness.providers._endpoint import (
    NO_TOOLS,
    Endpoint,
    Refusable,
    check_fields,
    check_url,
    connection_options,
    find_key,
    schema_name,
    token_count,
)

ANTHROPIC_URL: Final = "https://api.anthropic.com"
DEFAULT_MAX_TOKENS: Final = 1024
_OWNED: Final = frozenset(("model", "messages", "system", "stream"))
_RENAMED: Final = {"stop": "stop_sequences"}
_TOOLS: Final = frozenset(("tools", "mcp_servers", "container"))
_FREE_CHOICE: Final = {"type": "auto"}
_SCHEMA_FIELDS: Final = ("tool_choice", "tools", "input_schema")
_SCHEMA_FIX: Final = (
    "this model cannot be made to call the {} tool: choose another one, switch thinking off, or write "
    "`extra_body: {{tool_choice: {{type: auto}}}}` to let the model choose and rely on the prompt"
)
_CUT_OFF: Final = ("max_tokens", "model_context_window_exceeded")
_CACHED: Final = ("cache_creation_input_tokens", "cache_read_input_tokens")
_NOT_TAKEN: Final = ("seed", "presence_penalty", "frequency_penalty")


class Anthropic:
    """Asks the messages API.

    System messages become `system`; `stop` becomes `stop_sequences`; `max_tokens`, which the API demands, is 1024
    where the candidate says nothing.

    A schema becomes the `input_schema` of one tool, named by its `title`, which the model is made to call; what it
    calls it with is the answer's text, as compact JSON with the keys in the order they came. No other tool is ever
    offered.

    Options:
        base_url: another server; the key variable has to be named where this is set (`api_key_env`).
        extra_body: further fields of the request, as they are. With a schema, `tool_choice: {type: auto}` leaves the
            call to the model, for those that refuse to be made to; a plain answer is then taken as well.
    """

    name: ClassVar[str] = "anthropic"
    version: ClassVar[str] = "1"
    recorded: ClassVar[bool] = False
    cacheable: ClassVar[bool] = True
    log_likelihoods: ClassVar[bool] = True

    def __init__(self, candidate: Candidate) -> None:
        options = candidate.options
        self._candidate = candidate
        # The SDK adds /v1 itself; an address copied from an OpenAI-compatible server has it already.
        self._url = str(options.get("base_url") or ANTHROPIC_URL).rstrip("/").removesuffix("/v1")
        self._extra: dict[str, Any] = dict(options.get("extra_body") or {})
        self._endpoint: Endpoint | None = None

    def ready(self) -> None:
        """Refuse what cannot be asked, before anything is.

        Raises:
            UsageError: as `open` does.
        """
        self._checked_key()

    async def open(self) -> None:
        """Find the key and build the client. Connects to nothing.

        Raises:
            UsageError: no key, no model, a bad URL, or settings that this API does not take.
        """
        candidate, key = self._candidate, self._checked_key()
        # Imported here: it costs more than a second, and only a run that calls this API needs it.
        import anthropic

        client = anthropic.AsyncAnthropic(
            # Given some text, the SDK looks for no other credentials on this machine.
            api_key=key or "none",
            base_url=self._url,
            max_retries=0,
            timeout=None,
            http_client=anthropic.DefaultAioHttpClient(**connection_options(candidate)),
        )
        if key is not None:
            hint = f"check the key in {candidate.api_key_env or 'ANTHROPIC_API_KEY'}"
        else:
            hint = "no key was sent: name its environment variable in `api_key_env`"
        self._endpoint = Endpoint(anthropic, client, secret=key, key_hint=hint, url=self._url)

    def _checked_key(self) -> str | None:
        """The key to send, once everything else about the candidate can be sent."""
        candidate = self._candidate
        check_url(self._url)
        check_fields(self._extra, _OWNED, "extra_body")
        check_fields(candidate.decoding, _OWNED, "decoding")
        if candidate.schema is not None:
            check_fields(self._extra, _TOOLS, "extra_body", NO_TOOLS)
            if self._extra.get("tool_choice", _FREE_CHOICE) != _FREE_CHOICE:
                raise UsageError("extra_body may set tool_choice only to {type: auto}: " + NO_TOOLS)
        refused = [name for name in _NOT_TAKEN if candidate.decoding.get(name) is not None]
        if refused:
            raise UsageError(f"the messages API takes no {', '.join(refused)}: remove it from `decoding`")
        if not candidate.model:
            raise UsageError("provider 'anthropic' needs a model")
        return find_key(candidate, default_env="ANTHROPIC_API_KEY", endpoint="provider 'anthropic'")

    async def complete(self, request: Request, *, timeout_s: float) -> Response:
        """One call.

        Raises:
            CallError: for everything that is not an answer. UsageError: log-likelihoods are asked for.
        """
        assert self._endpoint is not None, "open() comes first"
        if request.want == "log_likelihood":
            raise UsageError(
                "provider 'anthropic' gives no log-likelihoods; use a server with a /completions endpoint that echoes "
                "them (vLLM), or provider: transformers"
            )
        body = self._body(request)
        tool = None if request.schema is None else schema_name(request.schema)
        refusable = None if tool is None else Refusable(_SCHEMA_FIELDS, _SCHEMA_FIX.format(tool))
        data, latency_ms = await self._endpoint.post(
            "/v1/messages", body, timeout_s=timeout_s, refusable=refusable
        )
        blocks = _blocks(data)
        if tool is not None:
            forced = body["tool_choice"] != _FREE_CHOICE
            text = _called(data, blocks, self._endpoint, tool, forced=forced)
        else:
            text = _text(data, blocks, self._endpoint)
        return _response(data, text, latency_ms)

    async def close(self) -> None:
        """Close the connections."""
        if self._endpoint is not None:
            await self._endpoint.close()
            self._endpoint = None

    def _body(self, request: Request) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self._candidate.model, "max_tokens": DEFAULT_MAX_TOKENS}
        body["messages"] = [
            {"role": m.role, "content": m.content} for m in request.messages if m.role != "system"
        ]
        system = [m.content for m in request.messages if m.role == "system"]
        if system:
            body["system"] = "\n\n".join(system)
        body.update((_RENAMED.get(name, name), value) for name, value in request.decoding.items())
        if request.schema is not None:
            name = schema_name(request.schema)
            description = f"Give the {name}. Call this once; it is the whole answer."
            body["tools"] = [{"name": name, "description": description, "input_schema": request.schema}]
            body["tool_choice"] = {"type": "tool", "name": name, "disable_parallel_tool_use": True}
        body.update(self._extra)
        return body


def _blocks(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The content blocks of an answer that was not declined."""
    if data.get("stop_reason") == "refusal":
        raise CallError("filtered", "the endpoint declined to answer (stop reason: refusal)")
    blocks = data.get("content")
    return [b for b in blocks if isinstance(b, dict)] if isinstance(blocks, list) else []


def _texts(blocks: list[dict[str, Any]]) -> list[str]:
    return [b["text"] for b in blocks if b.get("type") == "text" and isinstance(b.get("text"), str)]


def _text(data: dict[str, Any], blocks: list[dict[str, Any]], endpoint: Endpoint) -> str:
    texts = _texts(blocks)
    if not texts:
        called = any(b.get("type") == "tool_use" for b in blocks)
        raise endpoint.bad_response("a tool call, not text" if called else "no text", str(data))
    return "".join(texts)


def _called(
    data: dict[str, Any], blocks: list[dict[str, Any]], endpoint: Endpoint, tool: str, *, forced: bool
) -> str:
    """What the tool was called with, as JSON; the plain text where the answer was cut off before the call."""
    calls = [b for b in blocks if str(b.get("type")).endswith("tool_use")]
    if any((b.get("type"), b.get("name")) != ("tool_use", tool) for b in calls):
        raise endpoint.bad_response("a call of a tool that was not offered", str(data))
    if len(calls) > 1:
        raise endpoint.bad_response(f"more than one {tool}", str(data))
    if calls:
        given = calls[0].get("input")
        if not isinstance(given, dict):
            raise endpoint.bad_response(f"a {tool} that is not an object", str(data))
        return json.dumps(given, ensure_ascii=False, separators=(",", ":"))
    texts = _texts(blocks)
    if data.get("stop_reason") in _CUT_OFF or (texts and not forced):
        return "".join(texts)
    raise endpoint.bad_response(
        f"text where the {tool} tool was asked for" if texts else "no text", str(data)
    )


def _response(data: dict[str, Any], text: str, latency_ms: float) -> Response:
    reason, model = data.get("stop_reason"), data.get("model")
    return Response(
        text=text,
        model=model if isinstance(model, str) else None,
        finish_reason=reason if isinstance(reason, str) else None,
        usage=_usage(data.get("usage")),
        latency_ms=latency_ms,
    )


def _usage(data: Any) -> Usage | None:
    """Tokens in and out. `input_tokens` leaves out what a prompt cache held or took, and that was read, too."""
    if not isinstance(data, dict):
        return None
    tokens_in = token_count(data.get("input_tokens"))
    if tokens_in is not None:
        tokens_in += sum(token_count(data.get(name)) or 0 for name in _CACHED)
    return Usage(tokens_in, token_count(data.get("output_tokens")))
