"""Contamination: 1,000,000 training rows held against 1,000 cases, and how many planted leaks are found.

python benchmarks/contamination.py [--rows N]

The text is drawn from a seed: a Zipf vocabulary whose words have few successors, so that rows and cases share phrases
as texts of one field do. Rows have 60 to 120 words in four formats. Of the cases 200 are planted: whole, inside
a longer row, or with words changed to a known Jaccard similarity. Beside the exact join, datasketch's MinHash-LSH is
timed on the same passages.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measure import EVALHARNESS, cost, report
from numpy.typing import NDArray

SEED = 20260101
VOCABULARY, SUCCESSORS, CASES, PLANTED = 20_000, 300, 1_000, 200
AT_ONCE = 20_000


class Language:
    """Words that follow one another as in a language of few phrases."""

    def __init__(self, rng: np.random.Generator) -> None:
        letters = np.array(list("aeioubcdfglmnprst"))
        sizes = rng.integers(3, 10, VOCABULARY)
        made = ["".join(rng.choice(letters, size)) for size in sizes]
        first = {word: number for number, word in reversed(list(enumerate(made)))}
        self.words = np.array([word if first[word] == i else f"{word}{i}" for i, word in enumerate(made)])
        self._rng = rng
        self._first = _zipf(VOCABULARY, 3)
        self._steps = _zipf(SUCCESSORS, 5)
        self._next = rng.choice(VOCABULARY, (VOCABULARY, SUCCESSORS), p=self._first)

    def texts(self, count: int, low: int, high: int) -> list[list[str]]:
        """`count` texts of `low` to `high` words."""
        lengths = self._rng.integers(low, high + 1, count)
        at = self._rng.choice(VOCABULARY, count, p=self._first)
        columns = [at]
        steps = self._rng.choice(SUCCESSORS, (high, count), p=self._steps)
        for step in steps:
            at = self._next[at, step]
            columns.append(at)
        drawn = self.words[np.stack(columns, axis=1)]
        return [row[:length].tolist() for row, length in zip(drawn, lengths, strict=True)]


def _zipf(count: int, offset: float) -> NDArray[np.float64]:
    """Zipf's law with Mandelbrot's offset: English has about 3."""
    weights = 1 / (np.arange(1, count + 1) + offset)
    return weights / weights.sum()


def changed(words: list[str], similarity: float, rng: np.random.Generator) -> list[str]:
    """The words with some replaced until the Jaccard similarity of triples is just at or above `similarity`."""
    out, best = list(words), list(words)
    for place in rng.permutation(len(words)):
        out[place] = f"zz{place}"
        if jaccard(out, words) < similarity:
            return best
        best = list(out)
    return best


def jaccard(one: list[str], other: list[str]) -> float:
    a, b = triples(one), triples(other)
    return len(a & b) / len(a | b)


def triples(words: list[str]) -> set[tuple[str, ...]]:
    return set(zip(words, words[1:], words[2:], strict=False))


def row(index: int, words: list[str], answer: list[str]) -> dict[str, object]:
    """The same content in one of four formats."""
    question, said = " ".join(words), " ".join(answer)
    if index % 4 == 0:
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": said}]
        return {"messages": turns, "source": f"crawl-{index % 7}"}
    if index % 4 == 1:
        return {"prompt": question, "completion": said}
    if index % 4 == 2:
        return {"instruction": question, "input": "", "output": said}
    return {"text": f"{question} {said}"}


def write(folder: Path, rows: int) -> dict[str, float]:
    """The golden set and the training file; returns the planted cases with their similarity."""
    rng = np.random.default_rng(SEED)
    language = Language(rng)
    cases = language.texts(CASES, 25, 60)
    (folder / "golden").mkdir()
    card = "name: golden\nversion: 1.0.0\ntask: drawn for a benchmark\n"
    (folder / "golden/card.yaml").write_text(card, encoding="utf-8")
    with (folder / "golden/cases.jsonl").open("w", encoding="utf-8") as stream:
        for number, words in enumerate(cases):
            stream.write(
                json.dumps({"id": f"c{number}", "input": " ".join(words), "target": f"t{number}"}) + "\n"
            )
    planted: dict[str, float] = {}
    leaks: dict[int, list[str]] = {}
    for number, place in enumerate(rng.choice(rows, PLANTED, replace=False).tolist()):
        similarity = (1.0, 0.95, 0.9, 0.8, 0.7)[number % 5]
        planted[f"c{number}"] = similarity
        leaks[place] = changed(cases[number], similarity, rng)
    with (folder / "train.jsonl").open("w", encoding="utf-8") as stream:
        for index, words in enumerate(_drawn(language, rows)):
            cut = len(words) // 2
            question = leaks.get(index, words[:cut])
            # a changed case stands alone in its field, so that its similarity is what was planted
            format_ = index - index % 4 + index % 3 if index in leaks else index
            stream.write(json.dumps(row(format_, question, words[cut:])) + "\n")
    return planted


def _drawn(language: Language, rows: int) -> Iterator[list[str]]:
    for start in range(0, rows, AT_ONCE):
        yield from language.texts(min(AT_ONCE, rows - start), 60, 120)


def minhash_seconds(folder: Path, rows: int) -> float:
    """CPU seconds of datasketch's MinHash (128 permutations, in bulk) for the first rows of the file."""
    from datasketch import MinHash

    passages = []
    with (folder / "train.jsonl").open(encoding="utf-8") as stream:
        for _, line in zip(range(rows), stream, strict=False):
            words = " ".join(str(v) for v in json.loads(line).values()).split()
            passages.append([" ".join(triple).encode() for triple in triples(words)])
    started = time.process_time()
    MinHash.bulk(passages, num_perm=128)
    return time.process_time() - started


def main() -> int:
    """Print the figures; 1 when one is over its limit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        planted = write(folder, rows)
        command = [
            *EVALHARNESS,
            "golden",
            "check",
            "golden",
            "--train",
            "train.jsonl",
            "--report",
            "out.json",
        ]
        spent = cost(command, cwd=folder)
        assert spent.code == 4, f"exit {spent.code}"
        found = json.loads((folder / "out.json").read_text(encoding="utf-8"))["contamination"]
        hits = {leak["case_id"] for leak in found["leaks"]}
        size = f"{rows:,} rows × {CASES:,} cases"
        good = report(f"{size}: wall", spent.wall_s, 180 * max(1, rows / 1_000_000), "s")
        good &= report(f"{size}: CPU", spent.cpu_s, 180 * max(1, rows / 1_000_000), "s")
        good &= report(f"{size}: peak memory", spent.peak_mb, 2_000, "MB")
        for similarity in sorted(set(planted.values())):
            ids = {case for case, planted_at in planted.items() if planted_at == similarity}
            name_ = f"planted leaks missed at similarity {similarity:g} (of {len(ids)})"
            good &= report(name_, len(ids - hits), 0, "")
        report("cases said to leak that were not planted", len(hits - planted.keys()), 0, "")
        some = min(rows, 5_000)
        million = minhash_seconds(folder, some) / some * 1_000_000
        print(f"      datasketch's MinHash of 1,000,000 rows alone would take {million:.0f} s of CPU")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
