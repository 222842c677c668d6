"""Answers golden_sets/shop-knowledge and ranks for golden_sets/shop-search without any model, and writes what came out.

python examples/shop-rag/answer.py

A stand-in for a RAG system: it takes the sentence of the passages that shares most with the question (BM25 over
sentences) and answers with the words of it that the question does not hold, or with "not in the passages" where
no sentence shares half of the question's weight. `base` reads all passages of a case, `candidate` the first one alone.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "shop-search"))

from rank import Index, indexes, lines, words  # noqa: E402  (a neighbouring folder, not a package)

GOLDEN_SETS = HERE.parents[1] / "golden_sets"
SILENT = "not in the passages"
SMALL = frozenset(
    words(
        "a an the is are was were be of in on at to for from by with and or as it its how what which who when where "
        "does do did can must may many much long"
    )
)


def answer(question: str, passages: list[str]) -> str:
    """The words that answer, as they stand in the best sentence."""
    asked = [word for word in words(question) if word not in SMALL]
    sentences = [part for passage in passages for part in re.split(r"(?<=[.;:])\s", passage)]
    index = Index({str(place): words(sentence) for place, sentence in enumerate(sentences)})
    found = index.search(asked, depth=1)
    if not found:
        return SILENT
    sentence = sentences[int(found[0])]
    held = set(words(sentence))
    if sum(word in held for word in asked) * 2 < len(asked):
        return SILENT
    kept = [word for word in sentence.split() if not set(words(word)) <= {*asked, *SMALL}]
    return " ".join(kept).strip(".,;: ") or SILENT


def main() -> None:
    """Write the outputs of both sides."""
    search = indexes()["bm25"]
    ranked = [
        {"id": case["id"], "golden_set": "shop-search", "ranking": search.search(words(case["input"]))}
        for case in lines(GOLDEN_SETS / "shop-search" / "cases.jsonl")
    ]
    for name, passages in (("base", 2), ("candidate", 1)):
        answered = [
            {
                "id": case["id"],
                "golden_set": "shop-knowledge",
                "output": answer(case["input"], case["contexts"][:passages]),
            }
            for case in lines(GOLDEN_SETS / "shop-knowledge" / "cases.jsonl")
        ]
        text = "".join(f"{json.dumps(row)}\n" for row in [*ranked, *answered])
        (HERE / "outputs" / f"{name}.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
