"""Tiny BERT folders with random weights, made from a configuration: what a model's files look like, in seconds."""

from __future__ import annotations

import json
from pathlib import Path

WORDS = """the a cat dog sat ran on mat is was paris berlin capital of france germany where what who refund
order in days five ten you get your money back no yes and it . , ? !"""


def save_bert(folder: Path, *, seed: int = 0) -> Path:
    """A BertModel of two layers with a word tokenizer; other seeds give other weights."""
    import torch
    import transformers
    from transformers import BertConfig, BertModel, BertTokenizerFast

    from evalharness._lazy import quiet

    folder.mkdir(parents=True, exist_ok=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()]
    vocabulary = {word: place for place, word in enumerate([*words, *"abcdefghijklmnopqrstuvwxyz"])}
    BertTokenizerFast(vocab=vocabulary, model_max_length=64).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64,
    )  # fmt: skip
    with torch.random.fork_rng(), quiet(transformers):
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(folder)
    return folder


def save_sentence_model(folder: Path, *, seed: int = 0) -> Path:
    """The same as a sentence-transformers model with mean pooling, and a prompt for queries."""
    save_bert(folder, seed=seed)
    (folder / "1_Pooling").mkdir(exist_ok=True)
    pooling = {"embedding_dimension": 32, "pooling_mode": "mean"}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    about = {"prompts": {"query": "what is ", "document": ""}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(about))
    return folder
