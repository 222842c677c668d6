"""Provider `inspect`: any model that Inspect AI can call, by its name there (`google/…`, `bedrock/…`, `hf/…`)."""

from __future__ import annotations

import asyncio
import time
from typing import Any, ClassVar

from evalharness._lazy import refuse_missing, require
from evalharness.core.attempts import Response, Usage
from evalharness.core.candidates import Candidate
from evalharness.core.protocols import Request
from evalharness.errors import CallError, UsageError


def tokens_read(usage: Any) -> int:
    """Tokens in, of one of Inspect's `ModelUsage`: its `input_tokens` leave out what a prompt cache held or took."""
    cached = (usage.input_tokens_cache_read or 0) + (usage.input_tokens_cache_write or 0)
    return int(usage.input_tokens + cached)


class InspectModel:
    """Asks through one of Inspect's model providers. `model` is Inspect's own name for it, `provider/model`.

    Keys and endpoints are found where Inspect finds them (its providers' environment variables); `base_url` is handed
    on. The engine retries, Inspect does not. A benchmark of Inspect's gets the model itself, with tools.

    Options:
        base_url: where the model is served, for providers that take one.
        extra_body: further fields of the request, for providers that speak OpenAI's API.
    """

    name: ClassVar[str] = "inspect"
    version: ClassVar[str] = "1"
    recorded: ClassVar[bool] = False
    cacheable: ClassVar[bool] = True

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self._model: Any = None

    def ready(self) -> None:
        """Raises MissingExtraError where Inspect is not installed."""
        refuse_missing("inspect_ai", extra="benchmarks", why="run provider: inspect")

    async def open(self) -> None:
        """Make the model. Connects to nothing.

        Raises:
            UsageError: Inspect knows no such model, or its key is missing. MissingExtraError: Inspect is not installed.
        """
        require("inspect_ai", extra="benchmarks", why="run provider: inspect")
        from inspect_ai.model import GenerateConfig, get_model

        decoding = self._candidate.decoding
        stop = decoding.get("stop")
        try:
            self._model = get_model(
                str(self._candidate.model),
                base_url=self._candidate.options.get("base_url"),
                config=GenerateConfig(
                    max_retries=0,
                    max_connections=self._candidate.limits.concurrency,
                    stop_seqs=[stop] if isinstance(stop, str) else stop,
                    extra_body=self._candidate.options.get("extra_body"),
                    **{k: v for k, v in decoding.items() if k not in ("seed", "stop")},
                ),
                memoize=False,
            )
        except Exception as error:
            said = " ".join(str(error).split())[:400]
            raise UsageError(
                f"Inspect cannot make the model {self._candidate.model!r}: {said}; write it as provider/model"
            ) from error

    async def complete(self, request: Request, *, timeout_s: float) -> Response:
        """One call.

        Raises:
            CallError: for everything that is not an answer. UsageError: log-likelihoods are asked for.
        """
        from inspect_ai.model import (
            ChatMessageAssistant,
            ChatMessageSystem,
            ChatMessageUser,
            GenerateConfig,
            ResponseSchema,
        )
        from inspect_ai.util import JSONSchema

        if request.want == "log_likelihood":
            raise UsageError(
                "provider 'inspect' gives no log-likelihoods; use provider: transformers or vllm"
            )
        kinds = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
        schema = request.schema
        config = GenerateConfig(
            seed=request.seed,
            response_schema=ResponseSchema(
                name="answer", json_schema=JSONSchema.model_validate(schema), strict=True
            )
            if schema is not None
            else None,
        )
        began = time.perf_counter()
        try:
            async with asyncio.timeout(timeout_s):
                output = await self._model.generate(
                    [kinds[m.role](content=m.content) for m in request.messages], config=config
                )
        except TimeoutError:
            raise CallError("timeout", f"no complete answer within {timeout_s:g} s", retryable=True) from None
        except Exception as error:
            raise self._call_error(error) from error
        latency_ms = (time.perf_counter() - began) * 1000
        if output.error:
            raise CallError("bad_response", " ".join(output.error.split())[:300])
        if not output.choices:
            raise CallError("bad_response", "the model gave no choices", retryable=True)
        if output.stop_reason == "content_filter":
            raise CallError("filtered", "the endpoint's content filter held the answer back")
        usage = output.usage
        return Response(
            text=output.completion,
            model=output.model or None,
            finish_reason="length" if output.stop_reason == "max_tokens" else output.stop_reason,
            usage=Usage(tokens_read(usage), usage.output_tokens) if usage is not None else None,
            latency_ms=latency_ms,
        )

    async def close(self) -> None:
        """Close what the model holds open."""
        if self._model is not None:
            await self._model.api.aclose()
            self._model = None

    def _call_error(self, error: Exception) -> CallError:
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        said = " ".join(str(cause).split())[:300]
        api = self._model.api
        if api.is_auth_failure(cause):
            return CallError("auth", said, fatal=True)
        status = getattr(cause, "status_code", None)
        if status == 429:
            return CallError("rate_limited", said, retryable=True)
        again = api.should_retry(cause)
        retryable = again if isinstance(again, bool) else bool(getattr(again, "retry", False))
        return CallError("server" if retryable else "bad_request", said, retryable=retryable)
