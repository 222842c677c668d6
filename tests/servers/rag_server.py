"""A real OpenAI-compatible server for embeddings and for Ragas' judge, as a process of its own.

`/v1/embeddings` gives each text the counts of its words, hashed into `dimensions` (64) places, at length 1: texts with
the same words have cosine 1. A text that holds TOO-LONG is refused with 400. By model name: `words`; `reversed`
answers in the opposite order with right indices; `small` takes two texts at most; `busy` says 429 twice to each batch
and then answers; `down` says 500; `changing` gives 64 dimensions at its first call and 32 after it; `nan`, `short`,
`page` answer with what is no embedding; `secret` repeats the key.

`/v1/chat/completions` plays the judge of Ragas' prompts by plain rules: a statement is a sentence; it is supported
where the context holds it; a context is useful where it shares a sentence with the answer; the question of an answer
is what stands after "Q:" in it. By model name: `judge`; `broken` writes no JSON; `refuses`; `fails` says 500; `slow`
sleeps; and `judge` itself does so for an answer that says BROKEN, REFUSE, FAIL or SLOW. `silent` finds no statements.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
import sys
from collections import Counter
from typing import Any

from aiohttp import web

COUNTERS: Counter[str] = Counter()
BUSY: Counter[str] = Counter()
LAST: dict[str, Any] = {}


def vector(text: str, dimensions: int) -> list[float]:
    found = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()):
        found[int(hashlib.sha256(word.encode()).hexdigest(), 16) % dimensions] += 1.0
    length = sum(x * x for x in found) ** 0.5 or 1.0
    return [x / length for x in found]


def error(status: int, message: str, **headers: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "error"}}, status=status, headers=headers)


def embeddings(body: dict[str, Any], key: str) -> web.Response:
    model, texts = body["model"], body["input"]
    texts = [texts] if isinstance(texts, str) else texts
    COUNTERS["texts"] += len(texts)
    if model == "down":
        return error(500, "out of order")
    if model == "secret":
        return error(401, f"wrong key {key}")
    if model == "busy":
        BUSY[json.dumps(texts)] += 1
        if BUSY[json.dumps(texts)] <= 2:
            return error(429, "slow down", **{"retry-after-ms": "1"})
    if model == "small" and len(texts) > 2:
        return error(413, "batch size > 2")
    if any("TOO-LONG" in text or not text for text in texts):
        return error(400, "a text is too long or empty")
    if model == "page":
        return web.Response(text="<html>welcome</html>", content_type="text/html")
    COUNTERS[model] += 1
    dimensions = 32 if model == "changing" and COUNTERS[model] > 1 else body.get("dimensions") or 64
    rows = [
        {"object": "embedding", "index": i, "embedding": vector(text, dimensions)}
        for i, text in enumerate(texts)
    ]
    if model == "nan":
        rows[0]["embedding"] = [float("nan")] * 64
    if model == "short":
        rows.pop()
    if model == "reversed":
        rows.reverse()
    return web.json_response({"object": "list", "model": model, "data": rows, "usage": {"total_tokens": 1}})


def sentences(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+", text) if part.strip()]


def judged(asked: dict[str, Any], prompt: str, model: str) -> dict[str, Any]:
    """What the judge says to the input of one of Ragas' prompts."""
    if "statements" in asked:
        return {
            "statements": [
                {"statement": s, "reason": "as the context has it", "verdict": int(s in asked["context"])}
                for s in asked["statements"]
            ]
        }
    if "response" in asked:
        text = asked["response"]
        _, found, question = text.partition("Q:")
        return {"question": question.strip() if found else text, "noncommittal": int("don't know" in text)}
    if "context" in asked and "classifications" in prompt:
        found = sentences(asked["answer"])
        return {
            "classifications": [
                {"statement": s, "reason": "as the context has it", "attributed": int(s in asked["context"])}
                for s in found
            ]
        }
    if "context" in asked:
        useful = any(s in asked["answer"] for s in sentences(asked["context"]))
        return {"reason": "what they share", "verdict": int(useful)}
    return {"statements": [] if model == "silent" else sentences(asked["answer"])}


async def chat(body: dict[str, Any], key: str) -> web.Response:
    model, prompt = body["model"], body["messages"][-1]["content"]
    if model == "locked":
        return error(401, f"wrong key {key}")
    # Ragas ends its prompts with the input as JSON; with instructor another message may follow on a retry.
    for message in body["messages"]:
        if "Now perform the same" in str(message["content"]):
            prompt = str(message["content"])
    start = prompt.index("\ninput:", prompt.index("Now perform the same"))
    asked, _ = json.JSONDecoder().raw_decode(prompt[start + len("\ninput:") :].lstrip())
    text = json.dumps(asked)
    if model == "fails" or "FAIL" in text:
        return error(500, "out of order")
    if model == "slow" or "SLOW" in text:
        await asyncio.sleep(30)
    said: str = json.dumps(judged(asked, prompt, model))
    if model == "broken" or "BROKEN" in text:
        said = "Well, {that depends"
    elif model == "refuses" or "REFUSE" in text:
        said = "I cannot help with that."
    message = {"role": "assistant", "content": said}
    return web.json_response(
        {
            "id": "1", "object": "chat.completion", "created": 1, "model": model,
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
    )  # fmt: skip


async def handle(request: web.BaseRequest) -> web.StreamResponse:
    if request.path == "/_counters":
        return web.json_response(dict(COUNTERS))
    if request.path == "/_last":
        return web.json_response(LAST)
    if request.path == "/_reset":
        COUNTERS.clear()
        BUSY.clear()
        return web.json_response({})
    body = json.loads(await request.read())
    COUNTERS[request.path] += 1
    COUNTERS["in_flight"] += 1
    COUNTERS["max_in_flight"] = max(COUNTERS["max_in_flight"], COUNTERS["in_flight"])
    LAST.clear()
    LAST.update({"body": body, "authorization": request.headers.get("Authorization")})
    try:
        await asyncio.sleep(0.001)
        if request.path == "/v1/embeddings":
            return embeddings(body, request.headers.get("Authorization", ""))
        if request.path == "/v1/chat/completions":
            return await chat(body, request.headers.get("Authorization", ""))
    finally:
        COUNTERS["in_flight"] -= 1
    return error(404, "no such path")


async def serve(port: int) -> None:
    runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=256).start()
    print(f"PORT {runner.addresses[0][1]}", flush=True)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()  # whoever started this process holds the other end


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument(
        "--exit-with-stdin", action="store_true", help="always so; here as for the model server"
    )
    asyncio.run(serve(parser.parse_args().port))
