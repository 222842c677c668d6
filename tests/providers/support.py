"""Small builders for provider tests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from evalharness.core.attempts import Response
from evalharness.core.candidates import Candidate
from evalharness.core.cases import Case, Message
from evalharness.core.protocols import Provider, Request
from evalharness.errors import CallError


def candidate(
    provider: str, model: str | None = None, *, api_key_env: str | None = None, **options: Any
) -> Candidate:
    return Candidate(
        name="c", provider=provider, model=model, digest="sha256:0", options=options, api_key_env=api_key_env
    )


def request(
    text: str = "hello",
    *,
    model: str | None = None,
    repeat: int = 0,
    seed: int | None = None,
    system: str | None = None,
    case: Case | None = None,
    golden_set: str = "g",
    schema: Mapping[str, Any] | None = None,
    **decoding: Any,
) -> Request:
    messages = (Message("user", text),)
    if system is not None:
        messages = (Message("system", system), *messages)
    return Request(
        golden_set=golden_set,
        case=case or Case(id="c1", input=text),
        repeat=repeat,
        messages=messages,
        model=model,
        decoding=decoding,
        seed=seed,
        schema=schema,
    )


def strict(**properties: Any) -> dict[str, Any]:
    """A schema as strict mode wants it: every key required, no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


PAIRWISE = strict(rationale={"type": "string"}, winner={"type": "string", "enum": ["A", "B", "TIE"]})


def fenced(*answers: str) -> str:
    """A judge's prompt: the answers between fences, as the harness writes them."""
    names = ("answer A", "answer B") if len(answers) > 1 else ("answer",)
    texts = [
        f"<<<begin {name} 5ca1ab1e>>>\n{text}\n<<<end {name} 5ca1ab1e>>>"
        for name, text in zip(names, answers, strict=True)
    ]
    return "\n\n".join(("Which answer is better?", *texts))


def ask_all(
    provider: Provider, requests: Iterable[Request], *, timeout_s: float = 10.0
) -> list[Response | BaseException]:
    """Open, ask everything at once, close."""

    async def work() -> list[Response | BaseException]:
        await provider.open()
        try:
            calls = (provider.complete(r, timeout_s=timeout_s) for r in requests)
            return await asyncio.gather(*calls, return_exceptions=True)
        finally:
            await provider.close()

    return asyncio.run(work())


def ask(provider: Provider, one: Request, *, timeout_s: float = 10.0) -> Response:
    """One response, or the error."""
    (result,) = ask_all(provider, [one], timeout_s=timeout_s)
    if isinstance(result, BaseException):
        raise result
    return result


def failure(provider: Provider, one: Request, *, timeout_s: float = 10.0) -> CallError:
    """The CallError of a call that must fail."""
    (result,) = ask_all(provider, [one], timeout_s=timeout_s)
    assert isinstance(result, CallError), result
    return result
