"""Record the example's judge again: `python examples/support-desk/record/judge.py`.

A rule written for this demonstration, not a model: of two answers the one that shares more words with the reference
wins, and near ties are ties. It knows nothing of meaning. It is asked like a judge all the same, about each pair in
both orders, so that the report has verdicts to show. Pairs of equal answers are left out: the harness settles those
without a verdict.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "examples" / "support-desk"
CASES = ROOT / "golden_sets" / "support-answers" / "cases.jsonl"
VERDICTS = EXAMPLE / "judge" / "verdicts.jsonl"
NAME = "shared-words rule (no model)"
NEAR = 0.1
"""Answers whose shares lie this close together are a tie."""


def shared(answer: str, references: list[str]) -> float:
    """F1 of the words an answer shares with the accepted wording it fits best, in [0, 1]."""
    return max(_f1(_words(answer), _words(reference)) for reference in references)


def verdict(first: str, second: str, references: list[str]) -> tuple[str, str]:
    """The rule: "A", "B" or "TIE", and why."""
    a, b = shared(first, references), shared(second, references)
    why = f"Words shared with the reference (F1): A {a:.2f}, B {b:.2f}."
    if abs(a - b) < NEAR:
        return "TIE", why
    return ("A" if a > b else "B"), why


def _words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text.casefold()))


def _f1(found: Counter[str], wanted: Counter[str]) -> float:
    both = sum((found & wanted).values())
    return 2 * both / (sum(found.values()) + sum(wanted.values())) if both else 0.0


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _digest(text: str) -> str:
    return "sha256:" + sha256(text.encode("utf-8")).hexdigest()


def main() -> None:
    base, candidate = (
        {row["id"]: row["output"] for row in _rows(EXAMPLE / "outputs" / f"{side}.jsonl")}
        for side in ("base", "candidate")
    )
    lines = []
    for case in _rows(CASES):
        answers = base[case["id"]], candidate[case["id"]]
        if answers[0].strip() == answers[1].strip():
            continue
        sides = {"AB": ("baseline", "candidate"), "BA": ("candidate", "baseline")}
        for order, (first, second) in sides.items():
            shown = answers if order == "AB" else answers[::-1]
            winner, why = verdict(*shown, case["target"])
            line = {
                "id": case["id"],
                "golden_set": "support-answers",
                "order": order,
                "winner": {"A": first, "B": second, "TIE": "tie"}[winner],
                "rationale": why,
                "model": NAME,
                "baseline_digest": _digest(answers[0]),
                "candidate_digest": _digest(answers[1]),
            }
            lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    VERDICTS.write_text("".join(lines), encoding="utf-8")
    print(f"{len(lines)} verdicts in {VERDICTS.name}")


if __name__ == "__main__":
    main()
