"""Small judges for the tests of this room."""

from __future__ import annotations

from typing import Any

from evalharness.core.judges import Criterion, Judge

PROMPTS = {
    "pairwise": "{{ rubric }}\n{% for c in criteria %}- {{ c.text }}\n{% endfor %}\n{{ input }}\n"
    "{{ first }}\n{{ second }}\n{% for c in contexts %}{{ c }}\n{% endfor %}{% if target %}{{ target }}{% endif %}\n",
    "pointwise": "{{ rubric }}\n{{ input }}\n{{ output }}\n{{ contexts | join('\\n') }}\n{{ target or 'none' }}\n",
    "claims": "{{ rubric }}\n{{ input }}\n{{ output }}\n{{ contexts | join('\\n') }}\n{{ target or 'none' }}\n",
}
CRITERIA = (
    Criterion(id="right", text="Is it right?", weight=3.0),
    Criterion(id="brief", text="Is it brief?"),
)


def judge(mode: str = "pairwise", **changes: Any) -> Judge:
    fields: dict[str, Any] = {
        "name": "j",
        "mode": mode,
        "provider": "openai",
        "model": "m-2026-01-01",
        "criteria": CRITERIA,
        "rubric": "Prefer what is right.",
        "prompt": PROMPTS[mode],
        "digest": f"sha256:{mode}",
        "path": "judges/j",
    }
    return Judge(**(fields | changes))
