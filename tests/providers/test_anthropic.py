"""The anthropic provider through the real SDK against a real server."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import Any

import pytest

from evalharness.core.attempts import Response, Usage
from evalharness.core.protocols import Provider
from evalharness.errors import UsageError
from evalharness.providers.anthropic import Anthropic
from tests.providers.support import ask, ask_all, candidate, failure, request
from tests.servers.fixture import ModelServerHandle


def anthropic(server: ModelServerHandle, model: str, **options: Any) -> Anthropic:
    return Anthropic(candidate("anthropic", model, base_url=server.root_url, **options))


def test_an_answer_has_text_model_reason_usage_and_latency(model_server: ModelServerHandle) -> None:
    response = ask(anthropic(model_server, "renamed"), request("one two three"))
    assert (response.text, response.model, response.finish_reason) == (
        "one two three",
        "renamed-2026-01-01",
        "end_turn",
    )
    assert response.usage is not None
    assert response.usage.output_tokens == 3
    assert response.latency_ms is not None
    assert response.latency_ms > 0
    assert ask(anthropic(model_server, "no-usage"), request()).usage is None
    assert ask(anthropic(model_server, "echo"), request("a b c", max_tokens=2)).finish_reason == "max_tokens"


def test_what_goes_over_the_wire(model_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "other-token")
    monkeypatch.setenv("MY_KEY", "my-key")
    provider = anthropic(
        model_server, "echo", api_key_env="MY_KEY", extra_body={"metadata": {"user_id": "u"}}
    )
    ask(provider, request("hi", system="be kind", temperature=0.5, top_k=3, stop=["\n"]))
    last = model_server.last()
    assert last["path"] == "/v1/messages"
    assert last["key"] == "my-key"
    assert "anthropic-version" in last["headers"]
    assert last["body"] == {
        "model": "echo",
        "max_tokens": 1024,
        "system": "be kind",
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 0.5,
        "top_k": 3,
        "stop_sequences": ["\n"],
        "metadata": {"user_id": "u"},
    }


def test_an_address_with_v1_is_understood(model_server: ModelServerHandle) -> None:
    provider = Anthropic(candidate("anthropic", "echo", base_url=model_server.base_url + "/"))
    assert ask(provider, request("hi", max_tokens=5)).text == "hi"
    assert model_server.last()["body"]["max_tokens"] == 5


@pytest.mark.parametrize(
    ("model", "kind", "retryable", "fatal", "said"),
    [
        ("overloaded", "server", True, False, "HTTP 529"),
        ("always-500", "server", True, False, "HTTP 500"),
        ("echo?code=429", "rate_limited", True, False, "HTTP 429"),
        ("echo?code=400", "bad_request", False, False, "HTTP 400"),
        ("nobody", "bad_request", False, True, "does not exist; check `model`"),
        ("html", "bad_response", True, False, "a web page, not JSON"),
        ("cut-json", "bad_response", True, False, "broken JSON"),
        ("no-choices", "bad_response", True, False, "no text"),
        ("null-content", "bad_response", True, False, "no text"),
        ("tool-call", "bad_response", True, False, "a tool call, not text"),
        ("filtered", "filtered", False, False, "declined to answer"),
        ("refusal", "filtered", False, False, "declined to answer"),
        ("close", "connection", True, False, "lost the connection"),
        ("reset", "connection", True, False, "lost the connection"),
        ("hang", "timeout", True, False, "no complete answer within 0.5 s"),
    ],
)
def test_every_failure_is_typed_and_tried_once(
    model_server: ModelServerHandle, model: str, kind: str, retryable: bool, fatal: bool, said: str
) -> None:
    error = failure(anthropic(model_server, model), request(), timeout_s=0.5)
    assert (error.kind, error.retryable, error.fatal) == (kind, retryable, fatal)
    assert said in str(error)
    assert model_server.counters()["requests"] == 1


def test_what_the_server_asks_to_wait(model_server: ModelServerHandle) -> None:
    assert failure(anthropic(model_server, "overloaded?retry_after=3"), request()).retry_after_s == 3


def test_keys(model_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch) -> None:
    def opening(provider: Provider) -> str:
        with pytest.raises(UsageError) as caught:
            asyncio.run(provider.open())
        return str(caught.value)

    assert "set the environment variable ANTHROPIC_API_KEY" in opening(Anthropic(candidate("anthropic", "m")))
    monkeypatch.setenv("ANTHROPIC_API_KEY", "wrong-key")
    ask(anthropic(model_server, "echo"), request())  # the public endpoint's key is not sent to another host
    assert model_server.last()["key"] != "wrong-key"
    error = failure(anthropic(model_server, "echo", api_key_env="ANTHROPIC_API_KEY"), request())
    assert (error.kind, error.fatal) == ("auth", True)
    assert "check the key in ANTHROPIC_API_KEY" in str(error)
    assert "wrong-key" not in str(error)


def test_settings_that_the_api_does_not_take_are_refused() -> None:
    seeded = dataclasses.replace(candidate("anthropic", "m"), decoding={"seed": 7, "presence_penalty": 1.0})
    with pytest.raises(UsageError, match="takes no seed, presence_penalty"):
        asyncio.run(Anthropic(seeded).open())


def test_many_calls_at_once(model_server: ModelServerHandle) -> None:
    began = time.perf_counter()
    results = ask_all(anthropic(model_server, "echo?latency_ms=100"), [request(f"q{i}") for i in range(50)])
    assert [r.text for r in results if isinstance(r, Response)] == [f"q{i}" for i in range(50)]
    assert time.perf_counter() - began < 4  # one after another would take five seconds


def test_tokens_of_a_prompt_cache_were_read_too(model_server: ModelServerHandle) -> None:
    usage = [ask(anthropic(model_server, f"echo?{how}"), request()).usage for how in ("", "usage=cached")]
    assert usage[0] is not None and usage[1] is not None and usage[1].input_tokens
    assert abs(usage[0].input_tokens - usage[1].input_tokens) <= 4  # type: ignore[operator]


@pytest.mark.parametrize("how", ["negative", "text", "null", "huge"])
def test_usage_that_cannot_be_true_is_not_known(model_server: ModelServerHandle, how: str) -> None:
    assert ask(anthropic(model_server, f"echo?usage={how}"), request()).usage == Usage(None, None)
