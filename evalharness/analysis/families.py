"""Which family a model belongs to, by its name: a judge may prefer what its own family writes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

FAMILIES: Final[Mapping[str, tuple[str, ...]]] = {
    "Claude": ("claude", "anthropic"),
    "Command": ("command", "cohere", "aya"),
    "DeepSeek": ("deepseek",),
    "GLM": ("glm", "chatglm", "zhipuai"),
    "GPT": ("gpt", "chatgpt", "openai", "o1", "o3", "o4"),
    "Gemini": ("gemini", "gemma", "google"),
    "Granite": ("granite",),
    "Grok": ("grok", "xai"),
    "Kimi": ("kimi", "moonshot", "moonshotai"),
    "Llama": ("llama", "codellama", "nemotron"),
    "Mistral": (
        "mistral",
        "mistralai",
        "mixtral",
        "ministral",
        "codestral",
        "magistral",
        "devstral",
        "pixtral",
    ),
    "Nova": ("nova",),
    "OLMo": ("olmo",),
    "Phi": ("phi",),
    "Qwen": ("qwen", "qwq", "qvq"),
}
"""Family → words of a model's name that give it away: the family's own names and its maker's prefix."""
_WORDS: Final = re.compile(r"[a-z0-9]+")
_LETTERS: Final = re.compile(r"[a-z]+")


def families_of(names: Iterable[str]) -> tuple[str, ...]:
    """The families that the models' names tell of, sorted; () where none does.

    A word counts whole, with or without a version behind it: "gpt-5", "gpt5" and "openai/x" are GPT, "gptq" is not. A
    distilled model may be of two families.
    """
    found = set()
    for name in names:
        lower = name.casefold()
        words = {*_WORDS.findall(lower), *_LETTERS.findall(lower)}
        found |= {family for family, stems in FAMILIES.items() if not words.isdisjoint(stems)}
    return tuple(sorted(found))
