"""Answers by a schema through the real SDKs: what is sent, what comes back, and every way it can go wrong."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalharness.core.protocols import Provider
from evalharness.errors import UsageError
from evalharness.providers.anthropic import Anthropic
from evalharness.providers.openai_compatible import VLLM, Ollama, OpenAI
from evalharness.providers.python_callable import PythonCallable
from tests.providers.support import PAIRWISE, ask, candidate, failure, fenced, request, strict
from tests.servers.fixture import ModelServerHandle

Make = Callable[..., Provider]
RESPONSE_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "verdict", "strict": True, "schema": PAIRWISE},
}


def openai(server: ModelServerHandle, model: str, **options: Any) -> OpenAI:
    made = candidate("openai", model, base_url=server.base_url, **options)
    return OpenAI(dataclasses.replace(made, schema=PAIRWISE))


def anthropic(server: ModelServerHandle, model: str, **options: Any) -> Anthropic:
    made = candidate("anthropic", model, base_url=server.root_url, **options)
    return Anthropic(dataclasses.replace(made, schema=PAIRWISE))


both = pytest.mark.parametrize("make", [openai, anthropic])
PAIR = request(fenced("quality=0.2", "quality=0.9"), schema=PAIRWISE)


# --- what is sent --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", [OpenAI, VLLM, Ollama])
def test_openai_and_its_like_get_a_response_format(
    model_server: ModelServerHandle, provider: type[OpenAI]
) -> None:
    made = provider(candidate(provider.name, "judge-fair", base_url=model_server.base_url))
    response = ask(made, PAIR)
    assert json.loads(response.text)["winner"] == "B"
    assert response.finish_reason == "stop"
    body = model_server.last()["body"]
    assert body["response_format"] == RESPONSE_FORMAT
    assert set(body) == {"model", "messages", "response_format"}


def test_anthropic_gets_one_tool_that_it_has_to_call(model_server: ModelServerHandle) -> None:
    response = ask(anthropic(model_server, "judge-fair"), PAIR)
    assert response.text == '{"rationale":"Judged by judge-fair.","winner":"B"}'
    assert response.finish_reason == "tool_use"
    assert response.usage is not None
    body = model_server.last()["body"]
    (tool,) = body["tools"]
    assert (tool["name"], tool["input_schema"]) == ("verdict", PAIRWISE)
    assert body["tool_choice"] == {"type": "tool", "name": "verdict", "disable_parallel_tool_use": True}
    assert "response_format" not in body


def test_a_verdict_keeps_its_letters_and_the_order_of_its_keys(model_server: ModelServerHandle) -> None:
    schema = strict(**{"zürich": {"const": "größer → 大"}, "a": {"type": "boolean"}})
    response = ask(anthropic(model_server, "judge-first"), request(fenced("one"), schema=schema))
    assert response.text == '{"zürich":"größer → 大","a":true}'


def test_without_a_schema_nothing_of_it_is_sent(model_server: ModelServerHandle) -> None:
    ask(openai(model_server, "echo"), request())
    assert set(model_server.last()["body"]) == {"model", "messages"}
    ask(anthropic(model_server, "echo"), request())
    assert set(model_server.last()["body"]) == {"model", "messages", "max_tokens"}


def test_a_provider_without_a_native_way_ignores_the_schema(
    model_server: ModelServerHandle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask(openai(model_server, "echo", api="completions"), request("hi", schema=PAIRWISE)).text == "hi"
    assert set(model_server.last()["body"]) == {"model", "prompt"}
    monkeypatch.chdir(tmp_path)
    source = "def shout(case):\n    assert 'schema' not in case\n    return case['input'].upper()\n"
    (tmp_path / "shouting.py").write_text(source, encoding="utf-8")
    called = PythonCallable(candidate("python", target="shouting:shout"))
    assert ask(called, request("hi", schema=PAIRWISE)).text == "HI"


# --- what comes back -----------------------------------------------------------------------------------------------


@both
def test_a_refusal_is_no_answer(model_server: ModelServerHandle, make: Make) -> None:
    error = failure(make(model_server, "judge-refuses"), PAIR)
    assert (error.kind, error.retryable, error.fatal) == ("filtered", False, False)


def test_a_refusal_beside_empty_text_is_a_refusal_too(model_server: ModelServerHandle) -> None:
    error = failure(openai(model_server, "refusal?beside="), PAIR)
    assert error.kind == "filtered"
    assert "the model refused: I cannot help with that" in str(error)


@pytest.mark.parametrize(
    ("make", "model", "reason", "text"),
    [
        (openai, "judge-truncated", "length", '{"rationale": "Judged by judg'),
        (openai, "judge-truncated?at=0", "length", ""),
        (openai, "echo?text=The+first+one", "length", "The first"),
        (anthropic, "judge-truncated", "max_tokens", '{"rationale":"Judged by judge-truncated."}'),
        (anthropic, "judge-truncated?at=0", "max_tokens", ""),
        (anthropic, "echo?text=The+first+one", "max_tokens", "The first"),
    ],
)
def test_an_answer_that_was_cut_off_says_so(
    model_server: ModelServerHandle, make: Make, model: str, reason: str, text: str
) -> None:
    asked = request(fenced("quality=0.2", "quality=0.9"), schema=PAIRWISE, max_tokens=2)
    response = ask(make(model_server, model), asked)
    assert (response.finish_reason, response.text) == (reason, text)


@both
def test_a_call_of_any_other_tool_is_no_answer(model_server: ModelServerHandle, make: Make) -> None:
    for model in ("tool-call", "tool-call?beside=B"):
        error = failure(make(model_server, model), PAIR)
        assert (error.kind, error.retryable) == ("bad_response", True)
        assert "a call of a tool that was not offered" in str(error) or "though none was offered" in str(
            error
        )


def test_text_beside_the_forced_tool_is_not_a_verdict(model_server: ModelServerHandle) -> None:
    error = failure(anthropic(model_server, "judge-fair?plain=1"), PAIR)
    assert (error.kind, error.retryable) == ("bad_response", True)
    assert "text where the verdict tool was asked for" in str(error)
    assert "no text" in str(failure(anthropic(model_server, "null-content"), PAIR))
    assert "more than one verdict" in str(failure(anthropic(model_server, "judge-fair?calls=2"), PAIR))


@both
@pytest.mark.parametrize(("code", "kind"), [(429, "rate_limited"), (529, "server"), (503, "server")])
def test_a_busy_server_is_asked_again_later(
    model_server: ModelServerHandle, make: Make, code: int, kind: str
) -> None:
    error = failure(make(model_server, f"judge-fair?code={code}&retry_after=3"), PAIR)
    assert (error.kind, error.retryable, error.retry_after_s) == (kind, True, 3)


@both
def test_prose_is_handed_on_or_refused_but_never_read_as_a_verdict(
    model_server: ModelServerHandle, make: Make
) -> None:
    provider = make(model_server, "judge-broken")
    if make is anthropic:
        assert failure(provider, PAIR).kind == "bad_response"
    else:
        assert ask(provider, PAIR).text.startswith("Both answers")


# --- a schema that is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            openai,
            "is not supported with this model.; choose a model or server that takes a JSON schema as response_format",
        ),
        (anthropic, "are not supported for this model.; this model cannot be made to call the verdict tool"),
    ],
)
def test_a_model_that_takes_no_schema_stops_the_run_and_says_what_to_do(
    model_server: ModelServerHandle, make: Make, said: str
) -> None:
    error = failure(make(model_server, "judge-fair?schema=0"), PAIR)
    assert (error.kind, error.retryable, error.fatal) == ("bad_request", False, True)
    assert said in str(error)
    assert "extra_body: {" in str(error)
    assert model_server.counters()["requests"] == 1


def test_what_the_error_advises_works(model_server: ModelServerHandle) -> None:
    for extra in ({"type": "json_object"}, None):
        provider = openai(model_server, "echo?schema=0", extra_body={"response_format": extra})
        assert ask(provider, request("hi", schema=PAIRWISE)).text == "hi"
        assert model_server.last()["body"].get("response_format") == extra
    for model in ("judge-fair?schema=0", "judge-fair?schema=0&plain=1"):
        provider = anthropic(model_server, model, extra_body={"tool_choice": {"type": "auto"}})
        assert json.loads(ask(provider, PAIR).text)["winner"] == "B"
        assert model_server.last()["body"]["tool_choice"] == {"type": "auto"}


def test_a_schema_that_strict_mode_refuses_is_named(model_server: ModelServerHandle) -> None:
    loose = {**PAIRWISE, "required": ["winner"]}
    error = failure(openai(model_server, "echo"), request(schema=loose))
    assert (error.kind, error.fatal) == ("bad_request", True)
    assert "Missing 'rationale'" in str(error)


@both
def test_a_request_that_is_refused_for_another_reason_concerns_that_case_alone(
    model_server: ModelServerHandle, make: Make
) -> None:
    repeated = "too+long:+" + 30 * "word+" + "response_format+tool_choice"
    error = failure(make(model_server, f"judge-fair?code=400&said={repeated}"), PAIR)
    assert (error.kind, error.fatal) == ("bad_request", False)
    assert "extra_body" not in str(error)


@pytest.mark.parametrize(
    ("make", "extra", "said"),
    [
        (
            openai,
            {"tools": [], "web_search_options": {}},
            "may not set tools, web_search_options: an answer by",
        ),
        (openai, {"functions": []}, "may not set functions"),
        (anthropic, {"tools": []}, "may not set tools"),
        (anthropic, {"mcp_servers": []}, "may not set mcp_servers"),
        (anthropic, {"tool_choice": {"type": "any"}}, "may set tool_choice only to"),
    ],
)
def test_a_judge_has_no_tools(
    model_server: ModelServerHandle, make: Make, extra: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        asyncio.run(make(model_server, "echo", extra_body=extra).open())
