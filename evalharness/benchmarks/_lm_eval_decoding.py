"""Generation settings: what the task says, what the candidate sets, what the suite insists on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_LENGTHS: Final = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""Names lm-eval knows for the length of an answer, the first that is set holding."""
_LENGTH: Final = 256
"""lm-eval's default."""


def merged(task: Mapping[str, Any], candidate: Mapping[str, Any], suite: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in lm-eval's words: always `until` (texts), `max_gen_toks`, `do_sample` and `temperature`.

    The suite's `gen_kwargs` hold before all. How tokens are drawn is the candidate's where it says so, else the
    task's; where an answer ends is the task's, and the candidate's `stop` ends it too. `max_tokens` of the candidate
    counts only where the task says nothing: a task that lets a model reason needs its length.

    Args:
        task: `generation_kwargs` of the task, the suite's among them.
        candidate: its `decoding`.
        suite: the suite's `gen_kwargs`. A value of None there is not sent at all.
    """
    made = {key: value for key, value in task.items() if key not in _LENGTHS}
    for key, value in candidate.items():
        if key not in ("stop", "max_tokens", "seed") and key not in suite and value is not None:
            made[key] = value
            if key == "temperature" and "do_sample" not in suite:
                made["do_sample"] = value > 0
    length = next((task[key] for key in _LENGTHS if task.get(key) is not None), None)
    made["max_gen_toks"] = int(length or candidate.get("max_tokens") or _LENGTH)
    made["until"] = [*_texts(task.get("until")), *_texts(candidate.get("stop"))]
    if made.get("temperature", 0.0) is None:
        made["do_sample"] = bool(made.get("do_sample"))
        return made
    made["temperature"] = float(made.get("temperature", 0.0))
    made["do_sample"] = bool(made.get("do_sample", made["temperature"] > 0)) and made["temperature"] > 0
    if not made["do_sample"]:
        made["temperature"] = 0.0
    return made


def _texts(stop: Any) -> list[str]:
    if stop is None:
        return []
    return [str(text) for text in ([stop] if isinstance(stop, str) else stop) if text]
