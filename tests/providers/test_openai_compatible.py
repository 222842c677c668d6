"""The openai provider through the real SDK against a real server."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.protocols import Provider
from evalharness.errors import CallError, UsageError
from evalharness.providers.openai_compatible import VLLM, Ollama, OpenAI
from tests.providers.support import ask, ask_all, candidate, failure, request
from tests.servers.fixture import ModelServerHandle


def openai(server: ModelServerHandle, model: str, **options: Any) -> OpenAI:
    return OpenAI(candidate("openai", model, base_url=server.base_url, **options))


def test_an_answer_has_text_model_reason_usage_and_latency(model_server: ModelServerHandle) -> None:
    response = ask(openai(model_server, "renamed"), request("one two three", temperature=0))
    assert response.text == "one two three"
    assert response.model == "renamed-2026-01-01"
    assert response.finish_reason == "stop"
    assert response.usage is not None
    assert response.usage.output_tokens == 3
    assert response.usage.input_tokens is not None
    assert response.usage.input_tokens > 0
    assert response.latency_ms is not None
    assert 0 < response.latency_ms < 10_000
    assert ask(openai(model_server, "no-usage"), request()).usage is None


def test_what_goes_over_the_wire(model_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "admin-key")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("MY_KEY", " my-key\n")
    provider = openai(
        model_server,
        "base",
        adapter="echo",
        organization="org-1",
        extra_body={"top_k": 5},
        api_key_env="MY_KEY",
    )
    decoding = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 9, "stop": ["\n"], "presence_penalty": 1.0}
    ask(provider, request("hi", system="be kind", seed=7, **decoding))
    last = model_server.last()
    assert last["path"] == "/v1/chat/completions"
    assert last["key"] == "my-key"
    assert last["headers"]["openai-organization"] == "org-1"
    assert last["body"] == {
        "model": "echo",
        "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}],
        "seed": 7,
        "top_k": 5,
        **decoding,
    }


def test_the_name_of_max_tokens_can_be_chosen(model_server: ModelServerHandle) -> None:
    ask(openai(model_server, "echo", max_tokens_field="max_completion_tokens"), request(max_tokens=3))
    body = model_server.last()["body"]
    assert body["max_completion_tokens"] == 3
    assert "max_tokens" not in body


def test_completions(model_server: ModelServerHandle) -> None:
    response = ask(openai(model_server, "echo", api="completions"), request("b", system="a", max_tokens=5))
    assert response.text == "a\n\nb"
    assert response.usage is not None
    last = model_server.last()
    assert last["path"] == "/v1/completions"
    assert last["body"] == {"model": "echo", "prompt": "a\n\nb", "max_tokens": 5}


def test_the_seed_decides_a_sampled_answer(model_server: ModelServerHandle) -> None:
    provider = openai(model_server, "seeded")
    first, again, other = ask_all(provider, [request(seed=1), request(seed=1), request(seed=2)])
    assert isinstance(first, Response)
    assert isinstance(again, Response)
    assert isinstance(other, Response)
    assert first.text == again.text != other.text


def test_a_huge_answer_arrives_whole(model_server: ModelServerHandle) -> None:
    assert len(ask(openai(model_server, "huge-body?mb=5"), request()).text) == 5_000_000


@pytest.mark.parametrize(
    ("model", "kind", "retryable", "fatal", "said"),
    [
        ("html", "bad_response", True, False, "answered with a web page, not JSON: <!doctype html>"),
        ("invalid-json", "bad_response", True, False, "answered with broken JSON: this is [2Jnot JSON"),
        ("cut-json", "bad_response", True, False, "answered with broken JSON"),
        ("empty", "bad_response", True, False, "answered with an empty body"),
        ("not-object", "bad_response", True, False, "answered with JSON that is not an object: [1, 2, 3]"),
        ("no-choices", "bad_response", True, False, "answered with no choices"),
        ("null-content", "bad_response", True, False, "answered with no content"),
        ("tool-call", "bad_response", True, False, "answered with a tool call, not text"),
        ("error-200", "bad_response", True, False, "answered with an error: model is loading"),
        ("refusal", "filtered", False, False, "the model refused: I cannot help with that"),
        ("filtered", "filtered", False, False, "content filter"),
        ("filtered-400", "filtered", False, False, "HTTP 400 from 127.0.0.1"),
        ("context-length", "bad_request", False, False, "Maximum length is 16"),
        ("echo?code=422", "bad_request", False, False, "HTTP 422"),
        (
            "nobody",
            "bad_request",
            False,
            True,
            "The model `nobody` does not exist; check `model` and `base_url`",
        ),
        ("always-500", "server", True, False, "HTTP 500"),
        ("html-502", "server", True, False, "HTTP 502 from 127.0.0.1"),
        ("echo?code=409", "server", True, False, "HTTP 409"),
        ("echo?code=408", "timeout", True, False, "HTTP 408"),
        ("echo?code=402", "auth", False, True, "HTTP 402"),
        ("echo?code=307", "bad_request", False, True, "it redirects to another place"),
        ("quota", "rate_limited", False, True, "You exceeded your current quota"),
        ("echo?code=429", "rate_limited", True, False, "HTTP 429"),
        ("close", "connection", True, False, "lost the connection to 127.0.0.1"),
        ("reset", "connection", True, False, "lost the connection to 127.0.0.1"),
    ],
)
def test_every_failure_is_typed_and_tried_once(
    model_server: ModelServerHandle, model: str, kind: str, retryable: bool, fatal: bool, said: str
) -> None:
    error = failure(openai(model_server, model), request())
    assert (error.kind, error.retryable, error.fatal) == (kind, retryable, fatal)
    assert said in str(error)
    assert str(error).isprintable()
    assert len(str(error)) < 400
    assert model_server.counters()["requests"] == 1


def test_json_under_another_type_is_read_all_the_same(model_server: ModelServerHandle) -> None:
    assert ask(openai(model_server, "wrong-type"), request("hi")).text == "hi"


@pytest.mark.parametrize("model", ["hang", "slow-body?ms=50", "echo?latency_ms=5000"])
def test_the_deadline_covers_the_whole_call(model_server: ModelServerHandle, model: str) -> None:
    began = time.perf_counter()
    error = failure(openai(model_server, model), request(), timeout_s=0.3)
    assert time.perf_counter() - began < 2
    assert (error.kind, error.retryable) == ("timeout", True)
    assert "no complete answer within 0.3 s" in str(error)


def test_a_deadline_spoils_no_other_call(model_server: ModelServerHandle) -> None:
    async def work() -> list[Any]:
        provider = openai(model_server, "lookup")
        hanging = openai(model_server, "hang")
        await provider.open()
        await hanging.open()
        calls = [provider.complete(request(f"q{i}"), timeout_s=10) for i in range(20)]
        calls += [hanging.complete(request(f"h{i}"), timeout_s=0.2) for i in range(20)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        again = await provider.complete(request("q0"), timeout_s=10)
        await provider.close()
        await hanging.close()
        return [*results, again]

    results = asyncio.run(work())
    assert sum(isinstance(r, Response) for r in results) == 21
    assert sum(isinstance(r, CallError) and r.kind == "timeout" for r in results) == 20


def test_cancelling_a_call_leaves_the_provider_usable(model_server: ModelServerHandle) -> None:
    async def work() -> str:
        provider = openai(model_server, "slow-body?ms=3")
        await provider.open()
        task = asyncio.create_task(provider.complete(request(), timeout_s=30))
        await asyncio.sleep(0.15)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        text = (await provider.complete(request("hello"), timeout_s=30)).text
        await provider.close()
        return text

    assert asyncio.run(work()) == "hello"


@pytest.mark.parametrize(
    ("params", "low", "high"),
    [
        ("retry_after=2", 2, 2),
        ("retry_after=0.5", 0.5, 0.5),
        ("retry_after_ms=250", 0.25, 0.25),
        ("retry_after=9&retry_after_ms=250", 0.25, 0.25),
        ("retry_after_date=30", 25, 31),
        ("retry_after_date=-30", 0, 0),
        ("retry_after=-5", 0, 0),
        ("retry_after=soon", None, None),
        ("retry_after=nan", None, None),
        ("", None, None),
    ],
)
@pytest.mark.parametrize("code", [429, 503])
def test_what_the_server_asks_to_wait(
    model_server: ModelServerHandle, code: int, params: str, low: float | None, high: float | None
) -> None:
    wait = failure(openai(model_server, f"echo?code={code}&{params}"), request()).retry_after_s
    if low is None or high is None:
        assert wait is None
    else:
        assert wait is not None
        assert low <= wait <= high


def test_429_once_then_an_answer(model_server: ModelServerHandle) -> None:
    provider = openai(model_server, "rate-limited-once")
    assert failure(provider, request("hi")).retry_after_s == 1
    assert ask(provider, request("hi")).text == "hi"


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = failure(OpenAI(candidate("openai", "m", base_url=f"http://127.0.0.1:{port}/v1")), request())
    assert (error.kind, error.retryable, error.fatal) == ("connection", True, False)
    assert f"cannot connect to 127.0.0.1:{port}" in str(error)


def test_a_host_without_an_address() -> None:
    error = failure(OpenAI(candidate("openai", "m", base_url="http://nowhere.invalid/v1")), request())
    assert (error.kind, error.retryable) == ("connection", True)
    assert "cannot connect to nowhere.invalid" in str(error)


def test_a_server_that_does_not_speak_http() -> None:
    async def work() -> CallError:
        async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            provider = OpenAI(candidate("openai", "m", base_url=f"http://127.0.0.1:{port}/v1"))
            await provider.open()
            try:
                with pytest.raises(CallError) as caught:
                    await provider.complete(request(), timeout_s=5)
            finally:
                await provider.close()
        return caught.value

    error = asyncio.run(work())
    assert (error.kind, error.retryable) == ("connection", True)


def test_a_request_without_json_form_is_refused_before_it_is_sent(model_server: ModelServerHandle) -> None:
    error = failure(openai(model_server, "echo"), request("half \ud83d"))
    assert (error.kind, error.retryable, error.fatal) == ("bad_request", False, False)
    assert model_server.counters()["requests"] == 0


# --- keys ----------------------------------------------------------------------------------------------------------


def test_a_wrong_key_is_fatal_and_never_shown(
    model_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value, status in [("wrong-key", 401), ("forbidden-key", 403)]:
        monkeypatch.setenv("MY_KEY", value)
        error = failure(openai(model_server, "echo", api_key_env="MY_KEY"), request())
        assert (error.kind, error.retryable, error.fatal) == ("auth", False, True)
        assert f"HTTP {status}" in str(error)
        assert "check the key in MY_KEY" in str(error)
        assert value not in str(error)


def test_a_key_that_a_server_repeats_is_cut_out(
    model_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret-0123456789")
    error = failure(openai(model_server, "leak", api_key_env="MY_KEY"), request())
    assert "upstream refused the key [key]" in str(error)
    assert "sk-secret" not in repr(error)


def test_terminal_escapes_of_a_server_are_cut_out(model_server: ModelServerHandle) -> None:
    error = failure(openai(model_server, "control"), request())
    assert "bad [31mred [0m news txt" in str(error)


def test_the_public_key_is_not_sent_to_other_hosts(
    model_server: ModelServerHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-public")
    ask(openai(model_server, "echo"), request())
    assert model_server.last()["key"] != "sk-public"
    ask(VLLM(candidate("vllm", "echo", base_url=model_server.base_url)), request())
    assert model_server.last()["key"] != "sk-public"
    ask(openai(model_server, "echo", api_key_env="OPENAI_API_KEY"), request())
    assert model_server.last()["key"] == "sk-public"


def test_missing_and_broken_keys_are_errors_of_use(monkeypatch: pytest.MonkeyPatch) -> None:
    def opening(provider: Provider) -> str:
        with pytest.raises(UsageError) as caught:
            asyncio.run(provider.open())
        return str(caught.value)

    assert "set the environment variable OPENAI_API_KEY" in opening(OpenAI(candidate("openai", "m")))
    named = candidate("openai", "m", api_key_env="MY_KEY", base_url="http://127.0.0.1:1/v1")
    assert "set the environment variable MY_KEY" in opening(OpenAI(named))
    monkeypatch.setenv("MY_KEY", "sk-one\nsk-two")
    message = opening(OpenAI(named))
    assert "MY_KEY" in message
    assert "sk-one" not in message


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"base_url": "127.0.0.1:8000"}, "is not an http"),
        ({"base_url": "http://127.0.0.1:99999"}, "is not an http"),
        (
            {"base_url": "http://h/v1", "extra_body": {"stream": True, "n": 2}},
            "extra_body may not set n, stream",
        ),
    ],
)
def test_settings_that_cannot_work(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        asyncio.run(OpenAI(candidate("openai", "m", **options)).open())


def test_local_servers_have_their_own_address_and_need_no_key() -> None:
    async def work(provider: Provider) -> None:
        await provider.open()
        await provider.close()

    for cls, port in [(VLLM, 8000), (Ollama, 11434)]:
        provider = cls(candidate(cls.name, "m"))
        asyncio.run(work(provider))
        assert cls.default_url == f"http://127.0.0.1:{port}/v1"
        assert isinstance(provider, Provider)


def test_many_calls_at_once(model_server: ModelServerHandle) -> None:
    requests = [request(f"q{i}", case=Case(id=str(i), input="")) for i in range(200)]
    results = ask_all(openai(model_server, "echo?latency_ms=20"), requests)
    assert [r.text for r in results if isinstance(r, Response)] == [f"q{i}" for i in range(200)]
    assert model_server.counters()["max_in_flight"] >= 90
