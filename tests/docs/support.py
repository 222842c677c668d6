"""Reading the documents: fenced blocks under a mark, tables, links."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(
    r"<!-- file: (?P<name>[^ ]+) -->\n+```[a-z]*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_REGION = r"<!-- {kind}: {name} -->\n(?P<body>.*?)<!-- /{kind} -->"


def documents() -> list[Path]:
    """Every Markdown file of the project that is written for readers."""
    top = [p for p in ROOT.glob("*.md")]
    return sorted(top + [p for p in (ROOT / "docs").rglob("*.md")])


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def files_in(text: str) -> dict[str, str]:
    """The blocks that stand for a file: `<!-- file: NAME -->` and a fence."""
    return {m["name"]: m["text"] for m in _FENCE.finditer(text)}


def write_files(text: str, folder: Path) -> list[Path]:
    """Write every file block of a document below `folder`."""
    written = []
    for name, content in files_in(text).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        written.append(path)
    return written


def region(text: str, kind: str, name: str) -> str:
    """What stands between `<!-- kind: name -->` and `<!-- /kind -->`."""
    found = re.search(_REGION.format(kind=kind, name=name), text, re.DOTALL)
    assert found is not None, f"there is no {kind} region {name!r}"
    return found["body"]


def replaced(text: str, kind: str, name: str, body: str) -> str:
    """The text with the inside of a region replaced."""
    region(text, kind, name)
    new = f"<!-- {kind}: {name} -->\n{body}<!-- /{kind} -->"
    return re.sub(_REGION.format(kind=kind, name=name), lambda _: new, text, count=1, flags=re.DOTALL)


def table_rows(text: str) -> Iterator[list[str]]:
    """Cells of every Markdown table row outside of code fences."""
    for line in without_fences(text).splitlines():
        if line.startswith("|") and not re.fullmatch(r"\|[\s|:-]+\|", line):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def code_words(text: str) -> set[str]:
    """Everything in `backticks`."""
    return set(re.findall(r"`([^`\n]+)`", without_fences(text)))


def section(text: str, title: str) -> str:
    """The body under a heading of level two, up to the next one."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"there is no section {title!r}"
    return found[1]


def evalharness(*arguments: str, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, with `path` in front of the import path."""
    places = os.pathsep.join([str(p) for p in (path, ROOT) if p is not None])
    env = {**os.environ, "PYTHONPATH": places, "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, "-m", "evalharness", *arguments],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
