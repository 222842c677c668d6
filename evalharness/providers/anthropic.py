"""Provider `anthropic`: the messages API through its own SDK on aiohttp."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from evalharness.core.attempts import Response, Usage
from evalharness.core.candidates import Candidate
from evalharness.core.protocols import Request
from evalharness.errors import CallError, UsageError
from evalharness.providers._endpoint import Endpoint, check_fields, check_url, connection_options, find_key

ANTHROPIC_URL: Final = "https://api.anthropic.com"
DEFAULT_MAX_TOKENS: Final = 1024
_OWNED: Final = frozenset(("model", "messages", "system", "stream"))
_RENAMED: Final = {"stop": "stop_sequences"}
_NOT_TAKEN: Final = ("seed", "presence_penalty", "frequency_penalty")


class Anthropic:
    """Asks the messages API.

    System messages become `system`; `stop` becomes `stop_sequences`; `max_tokens`, which the API demands, is 1024
    where the candidate says nothing.

    Options:
        base_url: another server; the key variable has to be named where this is set (`api_key_env`).
        extra_body: further fields of the request, as they are.
    """

    name: ClassVar[str] = "anthropic"
    version: ClassVar[str] = "1"
    recorded: ClassVar[bool] = False
    cacheable: ClassVar[bool] = True

    def __init__(self, candidate: Candidate) -> None:
        options = candidate.options
        self._candidate = candidate
        # The SDK adds /v1 itself; an address copied from an OpenAI-compatible server has it already.
        self._url = str(options.get("base_url") or ANTHROPIC_URL).rstrip("/").removesuffix("/v1")
        self._extra: dict[str, Any] = dict(options.get("extra_body") or {})
        self._endpoint: Endpoint | None = None

    async def open(self) -> None:
        """Find the key and build the client. Connects to nothing.

        Raises:
            UsageError: no key, no model, a bad URL, or settings that this API does not take.
        """
        candidate = self._candidate
        check_url(self._url)
        check_fields(self._extra, _OWNED, "extra_body")
        check_fields(candidate.decoding, _OWNED, "decoding")
        refused = [name for name in _NOT_TAKEN if candidate.decoding.get(name) is not None]
        if refused:
            raise UsageError(f"the messages API takes no {', '.join(refused)}: remove it from `decoding`")
        if not candidate.model:
            raise UsageError("provider 'anthropic' needs a model")
        key = find_key(candidate, default_env="ANTHROPIC_API_KEY", endpoint="provider 'anthropic'")
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

    async def complete(self, request: Request, *, timeout_s: float) -> Response:
        """One call.

        Raises:
            CallError: for everything that is not an answer.
        """
        assert self._endpoint is not None, "open() comes first"
        body = self._body(request)
        data, latency_ms = await self._endpoint.post("/v1/messages", body, timeout_s=timeout_s)
        return _response(data, latency_ms, self._endpoint)

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
        body.update(self._extra)
        return body


def _response(data: dict[str, Any], latency_ms: float, endpoint: Endpoint) -> Response:
    reason = data.get("stop_reason")
    if reason == "refusal":
        raise CallError("filtered", "the endpoint declined to answer (stop reason: refusal)")
    blocks = data.get("content")
    blocks = [b for b in blocks if isinstance(b, dict)] if isinstance(blocks, list) else []
    texts = [b["text"] for b in blocks if b.get("type") == "text" and isinstance(b.get("text"), str)]
    if not texts:
        called = any(b.get("type") == "tool_use" for b in blocks)
        raise endpoint.bad_response("a tool call, not text" if called else "no text", str(data))
    usage, model = data.get("usage"), data.get("model")
    tokens = [usage.get(k) for k in ("input_tokens", "output_tokens")] if isinstance(usage, dict) else None
    return Response(
        text="".join(texts),
        model=model if isinstance(model, str) else None,
        finish_reason=reason if isinstance(reason, str) else None,
        usage=Usage(*(t if type(t) is int else None for t in tokens)) if tokens else None,
        latency_ms=latency_ms,
    )
