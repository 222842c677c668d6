"""Text that is drawn from a seed, and a check of rows that are written to files first, as users have them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalharness.contamination import Contamination, Options, check_contamination
from evalharness.core.cases import Case, Message

Check = Callable[..., Contamination]


def drawn(rng: np.random.Generator, count: int, prefix: str = "w") -> list[str]:
    """Words of a vocabulary of 5,000."""
    return [f"{prefix}{number}" for number in rng.integers(0, 5_000, count)]


def sentence(seed: int, count: int = 40, prefix: str = "w") -> str:
    return " ".join(drawn(np.random.default_rng(seed), count, prefix))


def case(
    name: str,
    text: str | Sequence[tuple[str, str]],
    target: Any = None,
    *,
    critical: bool = False,
    line: int = 1,
) -> Case:
    targets = () if target is None else (target,)
    if isinstance(text, str):
        return Case(id=name, input=text, targets=targets, critical=critical, line=line)
    messages = tuple(Message(role, content) for role, content in text)
    return Case(id=name, messages=messages, targets=targets, critical=critical, line=line)


def jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Cases against rows (written as JSONL), or against files."""

    def run(
        cases: Sequence[Case],
        rows: Sequence[Mapping[str, Any]] | None = None,
        *,
        files: Sequence[Path] = (),
        threshold: float = 0.7,
        ngram: int = 13,
        **more: Any,
    ) -> Contamination:
        if rows is not None:
            files = [*files, jsonl(tmp_path / "train.jsonl", rows)]
        named = [(path, path.name) for path in files]
        return check_contamination(
            {"golden": cases}, named, Options(threshold=threshold, ngram=ngram), **more
        )

    return run
