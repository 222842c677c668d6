"""Answer every golden case with a trained model and write a replay file: greedy, one line a case."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import yaml
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="a folder that train.py wrote")
    parser.add_argument("outputs", type=Path, help="the replay file to write")
    parser.add_argument("--batch", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    template = yaml.safe_load((HERE / "models.yaml").read_text("utf-8"))["template"]
    tokenizer = PreTrainedTokenizerFast.from_pretrained(arguments.model)
    model = LlamaForCausalLM.from_pretrained(arguments.model, dtype=torch.float32).eval()
    cases = []
    for folder in sorted((HERE.parents[2] / "golden_sets").glob("support-*")):
        task = yaml.safe_load((folder / "card.yaml").read_text("utf-8"))["task"]
        lines = (folder / "cases.jsonl").read_text("utf-8").splitlines()
        cases += [
            (case["id"], template.format(task=task, input=case["input"])) for case in map(json.loads, lines)
        ]
    with arguments.outputs.open("w", encoding="utf-8") as file, torch.inference_mode():
        for start in range(0, len(cases), arguments.batch):
            part = cases[start : start + arguments.batch]
            chats = [[{"role": "user", "content": text}] for _, text in part]
            asked = tokenizer.apply_chat_template(
                chats, add_generation_prompt=True, return_dict=True, return_tensors="pt", padding=True
            )
            began = time.perf_counter()
            written = model.generate(
                input_ids=asked["input_ids"],
                attention_mask=asked["attention_mask"],
                max_new_tokens=80,
                do_sample=False,
            )
            latency = round((time.perf_counter() - began) * 1000)
            for (case, _), mask, row in zip(part, asked["attention_mask"], written, strict=True):
                answer = row[asked["input_ids"].shape[1] :]
                usage = {
                    "input_tokens": int(mask.sum()),
                    "output_tokens": int((answer != tokenizer.pad_token_id).sum()),
                }
                output = tokenizer.decode(answer, skip_special_tokens=True)
                record = {"id": case, "output": output, "repeat": 0, "usage": usage, "latency_ms": latency}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
