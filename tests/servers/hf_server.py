"""An OpenAI-compatible server of a real model in `transformers`, as a process of its own on loopback.

    python tests/servers/hf_server.py --port 0 --model FOLDER        prints `PORT <n>` when it is ready

`/v1/chat/completions` applies the tokenizer's chat template. `/v1/completions` takes a text, texts, token ids or lists
of them, and knows `echo` and `logprobs` (1), greedily. By model name: `tiny`; `off-by-one` reads each echoed value from
the position after its token, as llama-cpp-python's server does; `no-logprobs` gives none; `no-echo` does not echo.
A prompt that leaves no room for the answer is refused with 400, and so is one that says REFUSE-ME. `/_last` is the last
request, `/_counters` how many there were of each path.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from typing import Any

import torch
from aiohttp import web
from transformers import AutoModelForCausalLM, AutoTokenizer

torch.set_num_threads(1)
COUNTERS: Counter[str] = Counter()
LAST: dict[str, Any] = {}


class Model:
    def __init__(self, folder: str) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.limit = self.model.config.max_position_embeddings

    def likely(self, ids: list[int]) -> torch.Tensor:
        """Log-probabilities of what follows each token, shape (tokens, vocabulary)."""
        with torch.inference_mode():
            return self.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(dim=-1)

    def write(self, ids: list[int], most: int, stops: list[str]) -> tuple[list[int], str]:
        made: list[int] = []
        while len(made) < most:
            token = int(self.likely([*ids, *made])[-1].argmax())
            if token == self.tokenizer.eos_token_id:
                break
            made.append(token)
            if any(stop in self.text(made) for stop in stops):
                break
        text = self.text(made)
        places = [text.index(stop) for stop in stops if stop in text]
        return made, text[: min(places)] if places else text

    def text(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)


def refused(message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "invalid_request_error"}}, status=400)


def stops_of(body: dict[str, Any]) -> list[str]:
    stop = body.get("stop") or []
    return [stop] if isinstance(stop, str) else stop


def logprobs_of(model: Model, ids: list[int], start: int, name: str) -> dict[str, Any]:
    """The values of `ids` from `start` on, in the completions API's form."""
    table = model.likely(ids)
    tokens, values, tops, offsets, at = [], [], [], [], len(model.text(ids[:start]))
    for place in range(start, len(ids)):
        row = place if name == "off-by-one" else place - 1
        text = model.tokenizer.decode([ids[place]])
        tokens.append(text)
        offsets.append(at)
        at += len(text)
        if row < 0:
            values.append(None)
            tops.append(None)
            continue
        values.append(float(table[row, ids[place]]))
        best = int(table[row].argmax())
        tops.append({model.tokenizer.decode([best]): float(table[row, best]), text: values[-1]})
    return {"tokens": tokens, "token_logprobs": values, "top_logprobs": tops, "text_offset": offsets}


def completions(model: Model, body: dict[str, Any]) -> web.Response:
    prompt = body["prompt"]
    prompts = prompt if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else [prompt]
    most, name = body.get("max_tokens", 16), body["model"]
    choices, read, made_all = [], 0, 0
    for index, one in enumerate(prompts):
        ids = one if isinstance(one, list) else model.tokenizer(one)["input_ids"]
        if "REFUSE-ME" in model.text(ids) or len(ids) + most > model.limit or not ids:
            return refused("the prompt is empty, too long or refused")
        made, text = model.write(ids, most, stops_of(body))
        read, made_all = read + len(ids), made_all + len(made)
        echo = bool(body.get("echo")) and name != "no-echo"
        told = None
        if body.get("logprobs") and name != "no-logprobs":
            # what was written keeps its right values: only what is echoed is read amiss
            told = logprobs_of(model, [*ids, *made], 0 if echo else len(ids), name if echo else "tiny")
        choices.append(
            {
                "index": index, "text": (model.text(ids) if echo else "") + text, "logprobs": told,
                "finish_reason": "length" if len(made) >= most else "stop",
            }
        )  # fmt: skip
    usage = {"prompt_tokens": read, "completion_tokens": made_all, "total_tokens": read + made_all}
    return web.json_response({"object": "text_completion", "model": name, "choices": choices, "usage": usage})


def chat(model: Model, body: dict[str, Any]) -> web.Response:
    turns = [{"role": m["role"], "content": m["content"]} for m in body["messages"]]
    text = model.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    most = body.get("max_tokens", 16)
    if "REFUSE-ME" in text or len(ids) + most > model.limit:
        return refused("the prompt is too long or refused")
    made, said = model.write(ids, most, stops_of(body))
    return web.json_response(
        {
            "object": "chat.completion", "model": body["model"],
            "choices": [{
                "index": 0, "finish_reason": "length" if len(made) >= most else "stop",
                "message": {"role": "assistant", "content": said},
            }],
            "usage": {"prompt_tokens": len(ids), "completion_tokens": len(made), "total_tokens": len(ids) + len(made)},
        }
    )  # fmt: skip


async def serve(port: int, folder: str) -> None:
    model = Model(folder)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/_counters":
            return web.json_response(dict(COUNTERS))
        if request.path == "/_last":
            return web.json_response(LAST)
        if request.path == "/_reset":
            COUNTERS.clear()
            return web.json_response({})
        body = json.loads(await request.read())
        COUNTERS[request.path] += 1
        LAST.clear()
        LAST.update(body)
        if request.path == "/v1/completions":
            return completions(model, body)
        if request.path == "/v1/chat/completions":
            return chat(model, body)
        return web.json_response({"error": {"message": "no such path"}}, status=404)

    runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print(f"PORT {runner.addresses[0][1]}", flush=True)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()  # whoever started this process holds the other end


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--model", required=True)
    parser.add_argument(
        "--exit-with-stdin", action="store_true", help="always so; here as for the model server"
    )
    given = parser.parse_args()
    asyncio.run(serve(given.port, given.model))
