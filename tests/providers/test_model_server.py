"""The test server itself: others rely on its counters."""

from __future__ import annotations

import json
import urllib.request

from tests.servers.fixture import ModelServerHandle


def ask(server: ModelServerHandle, model: str, text: str) -> str:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}]}).encode()
    with urllib.request.urlopen(server.base_url + "/chat/completions", data=body, timeout=10) as response:
        return str(json.load(response)["choices"][0]["message"]["content"])


def test_counts_calls_by_body_and_by_question(model_server: ModelServerHandle) -> None:
    assert ask(model_server, "echo", "one") == "one"
    ask(model_server, "echo", "one")
    ask(model_server, "answer", "two")
    counters = model_server.counters()
    assert counters["requests"] == 3
    assert counters["by_input"] == {"one": 2, "two": 1}
    assert sorted(counters["by_body"].values()) == [1, 2]
    assert counters["by_model"] == {"echo": 2, "answer": 1}


def test_answers_are_given_from_the_table(model_server: ModelServerHandle) -> None:
    model_server.answers({"capital of France?": "Paris"})
    assert ask(model_server, "lookup", "capital of France?") == "Paris"
    assert ask(model_server, "lookup", "capital of Spain?") == "unknown"
