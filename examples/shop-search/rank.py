"""Ranks the shop's passages for every query of golden_sets/shop-search, in two ways, and writes the rankings.

python examples/shop-search/rank.py

`bm25` reads a passage's title and all of its text; `first_words` only the title and the first ten words. Both are BM25
(Robertson and Zaragoza 2009, with the idf of Lucene, which is never negative) over words as they are written.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
GOLDEN_SET = HERE.parents[1] / "golden_sets" / "shop-search"
K1, B = 1.2, 0.75
DEPTH = 10


def words(text: str) -> list[str]:
    """The words of a text in small letters."""
    return re.findall(r"\w+", text.lower())


class Index:
    """Documents by id, to be searched by words they share with a query."""

    def __init__(self, documents: Mapping[str, Sequence[str]]) -> None:
        self._counts = {name: Counter(found) for name, found in documents.items()}
        self._lengths = {name: len(found) for name, found in documents.items()}
        self._mean = sum(self._lengths.values()) / len(documents)
        holding = Counter(word for counts in self._counts.values() for word in counts)
        n = len(documents)
        self._idf = {word: math.log(1 + (n - held + 0.5) / (held + 0.5)) for word, held in holding.items()}

    def score(self, query: Sequence[str], name: str) -> float:
        """BM25 of one document."""
        norm = K1 * (1 - B + B * self._lengths[name] / self._mean)
        counts = self._counts[name]
        return sum(
            self._idf[word] * counts[word] * (K1 + 1) / (counts[word] + norm)
            for word in query
            if word in counts
        )

    def search(self, query: Sequence[str], depth: int = DEPTH) -> list[str]:
        """Ids of the best documents that share a word with the query, best first; equal scores by id."""
        scores = {name: self.score(query, name) for name in self._counts}
        found = [name for name, score in scores.items() if score > 0]
        return sorted(found, key=lambda name: (-scores[name], name))[:depth]


def lines(path: Path) -> list[dict]:
    """The objects of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def indexes() -> dict[str, Index]:
    """Both ways by name."""
    documents = lines(HERE / "documents.jsonl")
    whole = {item["_id"]: words(f"{item['title']} {item['text']}") for item in documents}
    start = {item["_id"]: words(item["title"]) + words(item["text"])[:10] for item in documents}
    return {"bm25": Index(whole), "first-words": Index(start)}


if __name__ == "__main__":
    queries = lines(GOLDEN_SET / "cases.jsonl")
    for name, index in indexes().items():
        rows = [{"id": case["id"], "ranking": index.search(words(case["input"]))} for case in queries]
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        (HERE / "outputs" / f"{name}.jsonl").write_text(text, encoding="utf-8")
