"""How a task's prompts reach the candidate: as texts, as chat messages, and never through a template twice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from evalharness.core.candidates import Candidate
from evalharness.core.cases import Message
from evalharness.errors import UsageError

MARKERS: Final = (
    "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|eot_id|>", "<|begin_of_text|>", "[INST]", "[/INST]",
    "<start_of_turn>", "<end_of_turn>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<|turn|>",
    "<|start|>", "<|message|>", "<｜User｜>", "<｜Assistant｜>", "<|START_OF_TURN_TOKEN|>", "### Instruction:",
)  # fmt: skip
"""What chat templates that are in use put around a message."""


def system_text(candidate: Candidate) -> str | None:
    """The candidate's system prompt, which is put in front of every prompt of the task.

    Raises:
        UsageError: it is a template; the cases of a task have nothing to fill it with.
    """
    text = candidate.prompt.system
    if text is not None and any(mark in text for mark in ("{{", "{%")):
        raise UsageError(
            f"the system prompt of {candidate.name} is a template, and lm-eval's tasks word their prompts themselves; "
            "write it as plain text in a candidate file for benchmarks"
        )
    return text or None


def to_json(history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
    """A chat as lm-eval wants it back from a template, to be read by `messages_of`."""
    return json.dumps(list(history), ensure_ascii=False)


def messages_of(prompt: str) -> tuple[Message, ...]:
    """The inverse of `to_json`."""
    return tuple(Message(turn["role"], turn["content"]) for turn in json.loads(prompt))


def refuse_doubled(
    prompts: Iterable[str], *, task: str, around: str, fix: str, more: Sequence[str] = ()
) -> None:
    """Refuse a chat template around prompts that hold one already.

    Args:
        prompts: as the task words them.
        task: its name.
        around: who applies the template, as it reads after "and".
        fix: what to do about it.
        more: marks of the candidate's own template.

    Raises:
        UsageError: a prompt holds a mark of a template.
    """
    marks = [*MARKERS, *(mark for mark in more if len(mark) > 3)]
    for prompt in prompts:
        for mark in marks:
            if mark in prompt:
                raise UsageError(
                    f"a chat template would be applied twice: the prompts of lm-eval task {task!r} hold {mark!r} "
                    f"already (its doc_to_text or description), and {around}; {fix}"
                )


def template_marks(tokenizer: Any) -> list[str]:
    """What a tokenizer's chat template puts around a user's message."""
    content = "evalharness"
    try:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
    except Exception:  # noqa: BLE001 - a template of its own kind; the well-known marks remain
        return []
    before, _, after = str(text).partition(content)
    lines = [*before.splitlines()[-1:], *after.splitlines()]
    return [line.strip() for line in lines if any(not c.isalnum() and not c.isspace() for c in line)]
