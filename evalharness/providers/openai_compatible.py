"""Providers `openai`, `vllm` and `ollama`: any server that speaks OpenAI's chat or completions API."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

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
from evalharness.providers._log_likelihood import check_server, echo_fields, read_echo, summed

OPENAI_URL: Final = "https://api.openai.com/v1"
_OWNED: Final = frozenset(("model", "messages", "prompt", "stream", "stream_options", "n", "best_of", "seed"))
_TOOLS: Final = frozenset(("tools", "tool_choice", "functions", "function_call", "web_search_options"))
_SCHEMA: Final = Refusable(
    ("response_format", "json_schema"),
    "choose a model or server that takes a JSON schema as response_format, or write "
    "`extra_body: {response_format: {type: json_object}}` (null: send none) to rely on the prompt alone",
)
# A server of the user's own asks for no key, but the SDK sends none at all only when it is given some text.
_NO_KEY: Final = "none"


class OpenAICompatible:
    """Asks a server through the `openai` SDK on aiohttp.

    A schema is sent as `response_format` of type json_schema, strict, and no tools beside it. OpenAI, vLLM, llama.cpp
    and Ollama hold the model to it while it writes; the completions API has no such field, and there it is ignored.
    Log-likelihoods are asked of /completions, after a check that its values are right.

    Options:
        base_url: the server; the key variable has to be named where this is set (`api_key_env`).
        api: "chat" (default) or "completions", which gets the messages' texts joined by blank lines as its prompt.
        adapter: sent as the model name, where the server serves LoRA adapters by name.
        organization: sent to the endpoint for its bill.
        extra_body: further fields of the request, as they are. A `response_format` here is sent instead of the
            schema's, none at all where it is null.
        max_tokens_field: "max_tokens" or "max_completion_tokens"; by default the latter on OpenAI's own endpoint,
            whose newer models refuse the former, and `max_tokens` everywhere else.
    """

    name: ClassVar[str] = "openai"
    version: ClassVar[str] = "1"
    recorded: ClassVar[bool] = False
    cacheable: ClassVar[bool] = True
    log_likelihoods: ClassVar[bool] = True
    default_url: ClassVar[str] = OPENAI_URL
    needs_key: ClassVar[bool] = True

    def __init__(self, candidate: Candidate) -> None:
        options = candidate.options
        self._candidate = candidate
        self._url: str = options.get("base_url") or self.default_url
        self._chat: bool = options.get("api", "chat") == "chat"
        self._model: str | None = options.get("adapter") or candidate.model
        self._extra: dict[str, Any] = dict(options.get("extra_body") or {})
        official = urlsplit(self._url).hostname == urlsplit(OPENAI_URL).hostname
        default_field = "max_completion_tokens" if official and self._chat else "max_tokens"
        self._max_tokens_field: str = options.get("max_tokens_field") or default_field
        self._endpoint: Endpoint | None = None
        self._checking = asyncio.Lock()
        self._checked = False

    def ready(self) -> None:
        """Refuse what cannot be asked, before anything is.

        Raises:
            UsageError: as `open` does.
        """
        self._checked_key()

    async def open(self) -> None:
        """Find the key and build the client. Connects to nothing.

        Raises:
            UsageError: no key, no model, a bad URL, or settings that clash with what is sent anyway.
        """
        candidate, key = self._candidate, self._checked_key()
        # Imported here: it costs half a second, and only a run that calls a server needs it.
        import openai

        client = openai.AsyncOpenAI(
            api_key=key or _NO_KEY,
            base_url=self._url,
            organization=candidate.options.get("organization"),
            max_retries=0,
            timeout=None,
            http_client=openai.DefaultAioHttpClient(**connection_options(candidate)),
        )
        if key is not None:
            hint = f"check the key in {candidate.api_key_env or 'OPENAI_API_KEY'}"
        else:
            hint = "no key was sent: name its environment variable in `api_key_env`"
        self._endpoint = Endpoint(openai, client, secret=key, key_hint=hint, url=self._url)

    def _checked_key(self) -> str | None:
        """The key to send, once everything else about the candidate can be sent."""
        candidate = self._candidate
        check_url(self._url)
        check_fields(self._extra, _OWNED, "extra_body")
        check_fields(candidate.decoding, _OWNED - {"seed"}, "decoding")
        if candidate.schema is not None:
            check_fields(self._extra, _TOOLS, "extra_body", NO_TOOLS)
        if not self._model:
            raise UsageError(f"provider {self.name!r} needs a model")
        if self.needs_key or candidate.api_key_env is not None:
            return find_key(candidate, default_env="OPENAI_API_KEY", endpoint=f"provider {self.name!r}")
        return None

    async def complete(self, request: Request, *, timeout_s: float) -> Response:
        """One call.

        Raises:
            CallError: for everything that is not an answer.
        """
        assert self._endpoint is not None, "open() comes first"
        if request.want == "log_likelihood":
            return await self._log_likelihood(request, self._endpoint, timeout_s)
        path = "/chat/completions" if self._chat else "/completions"
        by_schema = self._chat and request.schema is not None
        data, latency_ms = await self._endpoint.post(
            path, self._body(request), timeout_s=timeout_s, refusable=_SCHEMA if by_schema else None
        )
        return self._response(data, latency_ms, self._endpoint, by_schema=by_schema)

    async def _log_likelihood(self, request: Request, endpoint: Endpoint, timeout_s: float) -> Response:
        """By the completions API, whichever `api` answers are asked through. The server is checked once, first.

        Raises:
            UsageError: the server's values cannot be trusted, or it gives none.
        """
        usage: list[Usage | None] = []

        async def complete(fields: Mapping[str, Any]) -> dict[str, Any]:
            body = {"model": self._model, **fields}
            data, _ = await endpoint.post("/completions", body, timeout_s=timeout_s)
            usage.append(_usage(data.get("usage")))
            return data

        async with self._checking:
            if not self._checked:
                await check_server(complete, f"the server of provider {self.name!r}")
                self._checked = True
        context = "\n\n".join(m.content for m in request.messages)
        text = context + (request.continuation or "")
        try:
            scores = summed(read_echo(await complete(echo_fields(text)), text), context)
        except ValueError as error:
            raise CallError("bad_response", f"the server's answer holds {error}") from None
        return Response(text="", model=self._model, usage=usage[-1], scores=scores)

    async def close(self) -> None:
        """Close the connections."""
        if self._endpoint is not None:
            await self._endpoint.close()
            self._endpoint = None

    def _body(self, request: Request) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self._model}
        if self._chat:
            body["messages"] = [{"role": m.role, "content": m.content} for m in request.messages]
        else:
            body["prompt"] = "\n\n".join(m.content for m in request.messages)
        body.update(request.decoding)
        if "max_tokens" in body and self._max_tokens_field != "max_tokens":
            body[self._max_tokens_field] = body.pop("max_tokens")
        if request.seed is not None:
            body["seed"] = request.seed
        if self._chat and request.schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": schema_name(request.schema),
                    "strict": True,
                    "schema": request.schema,
                },
            }
        body.update(self._extra)
        if body.get("response_format", ...) is None:
            del body["response_format"]
        return body

    def _response(
        self, data: dict[str, Any], latency_ms: float, endpoint: Endpoint, *, by_schema: bool
    ) -> Response:
        choices = data.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            raise endpoint.bad_response("no choices", str(data))
        finish_reason = choice.get("finish_reason")
        if finish_reason == "content_filter":
            raise CallError("filtered", "the endpoint's content filter held the answer back")
        text = self._text(choice, endpoint, by_schema=by_schema)
        model = data.get("model")
        return Response(
            text=text,
            model=model if isinstance(model, str) else None,
            finish_reason=finish_reason if isinstance(finish_reason, str) else None,
            usage=_usage(data.get("usage")),
            latency_ms=latency_ms,
        )

    def _text(self, choice: dict[str, Any], endpoint: Endpoint, *, by_schema: bool) -> str:
        if not self._chat:
            text = choice.get("text")
            if isinstance(text, str):
                return text
            raise endpoint.bad_response("no text", str(choice))
        message = choice.get("message")
        if not isinstance(message, dict):
            raise endpoint.bad_response("no message", str(choice))
        if message.get("refusal"):
            raise CallError("filtered", f"the model refused: {endpoint.clean(str(message['refusal']))}")
        content = message.get("content")
        if by_schema and message.get("tool_calls"):
            raise endpoint.bad_response("a tool call, though none was offered", str(message))
        if isinstance(content, str):
            return content
        if isinstance(content, list):
            parts = [p.get("text") for p in content if isinstance(p, dict) and p.get("type") == "text"]
            if parts and all(isinstance(part, str) for part in parts):
                return "".join(str(part) for part in parts)
        if by_schema and choice.get("finish_reason") == "length":
            return ""  # every token went into reasoning: cut off before the answer began
        what = "a tool call, not text" if message.get("tool_calls") else "no content"
        raise endpoint.bad_response(what, str(message))


def _usage(data: Any) -> Usage | None:
    if not isinstance(data, dict):
        return None
    return Usage(token_count(data.get("prompt_tokens")), token_count(data.get("completion_tokens")))


class OpenAI(OpenAICompatible):
    """OpenAI's own endpoint, or with `base_url` any that speaks its API."""


class VLLM(OpenAICompatible):
    """A vLLM server, by default the one `vllm serve` starts on this machine."""

    name: ClassVar[str] = "vllm"
    default_url: ClassVar[str] = "http://127.0.0.1:8000/v1"
    needs_key: ClassVar[bool] = False


class Ollama(OpenAICompatible):
    """An Ollama server, by default the one on this machine."""

    name: ClassVar[str] = "ollama"
    default_url: ClassVar[str] = "http://127.0.0.1:11434/v1"
    needs_key: ClassVar[bool] = False
