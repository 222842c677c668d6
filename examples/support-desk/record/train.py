"""Train the two example models on CPU: `python examples/support-desk/record/train.py [base] [candidate]`.

Same machine and versions, same weights: every draw is seeded, torch runs one thread with deterministic
kernels. Folders land in `build/`, which git ignores.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
import yaml
from corpus import Corpus, Example, golden_inputs
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
PAD, END, USER, ASSISTANT = "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message.role == 'assistant' %}<|assistant|>"
    "{% generation %}{{ message.content }}<|end|>{% endgeneration %}"
    "{% else %}<|user|>{{ message.content }}<|end|>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def train_tokenizer(texts: Iterator[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE; figures are split into digits so that order numbers can be copied."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [PAD, END, USER, ASSISTANT]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
    )


def encode(
    tokenizer: PreTrainedTokenizerFast, prompt: str, examples: list[Example]
) -> list[tuple[list[int], list[int]]]:
    """Token ids and, beside them, 1 where the assistant speaks."""
    chats = [
        [
            {
                "role": "user",
                "content": prompt.replace("{{ task }}", example.task).replace("{{ input }}", example.input),
            },
            {"role": "assistant", "content": example.output},
        ]
        for example in examples
    ]
    coded = tokenizer.apply_chat_template(chats, return_dict=True, return_assistant_tokens_mask=True)
    return list(zip(coded["input_ids"], coded["assistant_masks"], strict=True))


def batches(
    coded: list[tuple[list[int], list[int]]], size: int, pad: int, random: Random
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of like length, in random order. Mask: 0 pad, 1 prompt, 2 assistant."""
    order = sorted(range(len(coded)), key=lambda index: (len(coded[index][0]), index))
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    random.shuffle(groups)
    for group in groups:
        width = max(len(coded[index][0]) for index in group)
        ids = torch.full((len(group), width), pad)
        mask = torch.zeros((len(group), width), dtype=torch.long)
        for row, index in enumerate(group):
            tokens, spoken = coded[index]
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1 + torch.tensor(spoken)
        yield ids, mask


def train(
    model: LlamaForCausalLM,
    stream: Iterator[tuple[torch.Tensor, torch.Tensor]],
    settings: dict[str, Any],
    name: str,
) -> None:
    """AdamW with warm-up and cosine decay for exactly `settings["steps"]` steps."""
    steps, warmup = settings["steps"], settings["warmup"]
    decayed = [weight for weight in model.parameters() if weight.dim() > 1]
    rest = [weight for weight in model.parameters() if weight.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}],
        lr=settings["learning_rate"],
        betas=(0.9, 0.98),
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * step / steps)) + 0.02),
    )
    weights = torch.tensor([0.0, settings["prompt_loss"], 1.0])
    model.train()
    started, seen = time.perf_counter(), 0.0
    for step, (ids, mask) in enumerate(stream, start=1):
        logits = model(input_ids=ids, attention_mask=(mask > 0).long()).logits
        loss_weight = weights[mask[:, 1:]]
        losses = functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
        )
        loss = (losses * loss_weight.flatten()).sum() / loss_weight.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        seen = loss.item() if step == 1 else 0.98 * seen + 0.02 * loss.item()
        if step % 100 == 0 or step == steps:
            print(
                f"{name}: step {step}/{steps}, loss {seen:.3f}, {time.perf_counter() - started:.0f} s",
                flush=True,
            )


def make(name: str, config: dict[str, Any], build: Path) -> None:
    settings = config["models"][name]
    seed = config["seed"] + list(config["models"]).index(name)
    torch.manual_seed(seed)
    corpus = Corpus(seed, golden_inputs(), settings.get("extra_extraction"))
    examples = list(corpus.examples(settings["mixture"], settings["steps"] * settings["batch_size"]))
    print(
        f"{name}: {len(examples)} training pairs, {corpus.refused} refused because a golden set holds them",
        flush=True,
    )
    if parent := settings.get("from"):
        tokenizer = PreTrainedTokenizerFast.from_pretrained(build / parent)
        model = LlamaForCausalLM.from_pretrained(build / parent, dtype=torch.float32)
    else:
        texts = (
            f"{example.input}\n{example.output}" for example in examples[: config["tokenizer"]["examples"]]
        )
        tokenizer = train_tokenizer(texts, config["tokenizer"]["vocab_size"])
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                tie_word_embeddings=True,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
                bos_token_id=None,
                **config["architecture"],
            )
        )
    print(f"{name}: {sum(weight.numel() for weight in model.parameters()):,} parameters", flush=True)
    prompt = yaml.safe_load((HERE / config["prompt"]).read_text("utf-8"))["prompt"]["user"]
    coded = encode(tokenizer, prompt, examples)
    stream = batches(coded, settings["batch_size"], tokenizer.pad_token_id, Random(seed))
    train(model, stream, settings, name)
    model.save_pretrained(build / name)
    tokenizer.save_pretrained(build / name)


def main() -> None:
    config = yaml.safe_load((HERE / "models.yaml").read_text("utf-8"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="MODEL", help="which models, in order; default: all")
    parser.add_argument("--build", type=Path, default=BUILD, help="where the model folders go")
    arguments = parser.parse_args()
    torch.set_num_threads(config["threads"])
    torch.use_deterministic_algorithms(True)
    for name in arguments.names or config["models"]:
        if name not in config["models"]:
            parser.error(f"no model {name!r} in models.yaml; there are {', '.join(config['models'])}")
        make(name, config, arguments.build)


if __name__ == "__main__":
    main()
