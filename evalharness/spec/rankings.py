"""A golden set from qrels: what a retrieval benchmark ships (judgments and queries) as cards and cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from evalharness._canon import canonical_json
from evalharness.content import PathPolicy
from evalharness.errors import Problem, SpecError, UsageError
from evalharness.spec.checking import part
from evalharness.spec.golden_sets import CARD, CASES
from evalharness.spec.lines import MAX_SHOWN, BadLine, capped, checked_lines, json_lines
from evalharness.spec.models import CardFile
from evalharness.spec.reader import raise_problems
from evalharness.store.files import write_lines, write_text
from evalharness.store.rankings import read_qrels

_TASK: Final = "Find the documents that answer the query."


@dataclass(frozen=True, slots=True, kw_only=True)
class FromQrels:
    """What became a golden set, and what was left out.

    Attributes:
        folder: where card.yaml and cases.jsonl are.
        n_cases: cases written: queries with at least one relevant document.
        n_judgments: their judged documents.
        n_unjudged: queries left out because the qrels do not name them.
        n_without_relevant: queries left out because all their documents are judged not relevant.
    """

    folder: Path
    n_cases: int
    n_judgments: int
    n_unjudged: int
    n_without_relevant: int


def golden_from_qrels(qrels: Path, queries: Path, out: Path, *, name: str, paths: PathPolicy) -> FromQrels:
    """Write a golden set with a case for each query that has a relevant document, in the order of the queries.

    Args:
        qrels: judgments, as `store.rankings.read_qrels` reads them.
        queries: BEIR's JSON Lines (`_id`, `text`), else tab-separated `id<TAB>text`.
        out: a folder without a golden set.
        name: the golden set's.
        paths: how files are named in messages.

    Raises:
        SpecError: every problem of both files, a judged query without a text among them.
        UsageError: the name is not one, or a golden set is there already.
        StoreError: the folder cannot be written.
    """
    card = {
        "name": name,
        "version": "1",
        "task": _TASK,
        "provenance": f"Judgments of {qrels.name}, queries of {queries.name}.",
    }
    if part(CardFile, card) is None:
        raise UsageError(f"{name!r} is not a name; use letters, digits, '.', '_' and '-'")
    there = [paths.show(out / file) for file in (CARD, CASES) if (out / file).exists()]
    if there:
        raise UsageError(f"{', '.join(there)} would be overwritten; name another folder with --out")
    problems: list[Problem] = []
    judgments: dict[str, dict[str, float]] = {}
    try:
        judgments = read_qrels(qrels)
    except SpecError as error:
        problems += error.problems
    texts, found = _read_queries(queries, paths.show(queries))
    problems += found or _without_text(judgments, texts, paths.show(qrels), paths.show(queries))
    raise_problems(problems)
    rows = [
        {"id": query, "input": text, "relevant": {d: _whole(g) for d, g in judgments[query].items()}}
        for query, text in texts.items()
        if any(judgments.get(query, {}).values())
    ]
    if not rows:
        raise SpecError([Problem("judges no document relevant: every grade is 0", paths.show(qrels))])
    write_lines(out / CASES, rows)
    write_text(out / CARD, "".join(f"{key}: {canonical_json(value)}\n" for key, value in card.items()))
    return FromQrels(
        folder=out,
        n_cases=len(rows),
        n_judgments=sum(len(judgments[str(row["id"])]) for row in rows),
        n_unjudged=sum(query not in judgments for query in texts),
        n_without_relevant=sum(not any(judged.values()) for judged in judgments.values()),
    )


def _whole(grade: float) -> int | float:
    return int(grade) if grade.is_integer() else grade


def _read_queries(path: Path, shown: str) -> tuple[dict[str, str], list[Problem]]:
    """Query id → text in the order of the file, and what is wrong."""
    texts: dict[str, str] = {}
    lines: dict[str, int] = {}

    def take(number: int, value: Any) -> None:
        query, text = _pair(value)
        first = lines.setdefault(query, number)
        if first != number:
            raise BadLine(f"the query {query!r} is already on line {first}", "keep one of them")
        texts[query] = text

    if path.suffix == ".jsonl":
        _, problems = checked_lines(json_lines(path), shown, take)
    else:
        _, problems = checked_lines(_tab_lines(path), shown, take)
    if not texts and not problems:
        problems.append(Problem("holds no queries", shown))
    return texts, capped(problems, shown)


def _pair(value: Any) -> tuple[str, str]:
    """(id, text) of one line; other keys of a JSON line are another tool's and are not read."""
    if isinstance(value, tuple):
        query, text = value
    elif isinstance(value, dict):
        query, text = value.get("_id", value.get("id")), value.get("text")
    else:
        raise BadLine("is not an object", 'write {"_id": ..., "text": ...}')
    for key, item in (("_id", query), ("text", text)):
        if not isinstance(item, str):
            raise BadLine(f"{key} is {'missing' if item is None else 'not a text'}", f'write "{key}": "..."')
        if not item.strip():
            raise BadLine(f"{key} is empty")
        if any("\ud800" <= character <= "\udfff" for character in item):
            raise BadLine(f"{key} holds half a character (a lone surrogate such as \\ud800)")
    if not query.isprintable() or query != query.strip():
        raise BadLine(f"the id {query!r} is padded with spaces or holds control characters")
    return query, text


def _tab_lines(path: Path) -> Any:
    """(line number, (id, text) or BadLine) of each line that is not blank."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            try:
                line = raw.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                yield (
                    number,
                    BadLine(f"is not valid UTF-8 (byte 0x{raw[error.start]:02x})", "save it as UTF-8"),
                )
                continue
            if not line.strip():
                continue
            query, tab, text = line.partition("\t")
            if tab:
                yield number, (query, text)
            else:
                yield number, BadLine("holds no tab", "write id, a tab, and the query's text")


def _without_text(
    judgments: Mapping[str, Any], texts: Mapping[str, str], qrels: str, queries: str
) -> list[Problem]:
    """The problem of judged queries whose text is nowhere: dropping them would make the set another one."""
    missing = [query for query in judgments if query not in texts]
    if not missing or not texts:
        return []
    named = ", ".join(missing[:MAX_SHOWN]) + (", …" if len(missing) > MAX_SHOWN else "")
    word = "query has" if len(missing) == 1 else "queries have"
    return [Problem(f"{len(missing):,} judged {word} no text in {queries}: {named}", qrels)]
