"""What people label in: a sheet (JSONL or CSV) or a page that opens without a network, and reading it back.

A sheet has the lines of calibration.jsonl with empty labels. Which of two answers is whose is not shown: `note` has a
key that tells it to a program (`first_side`) and nothing to a reader.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from evalharness._canon import digest
from evalharness.core.judges import Mode, SideName
from evalharness.errors import Problem, SpecError
from evalharness.spec.judge_lines import LABELS, TEXTS
from evalharness.spec.lines import BadLine, capped, checked_lines, json_lines
from evalharness.spec.reader import MAX_BYTES, read_text

Format: TypeAlias = Literal["jsonl", "csv", "html"]
FORMATS: Final[tuple[Format, ...]] = ("jsonl", "csv", "html")

_PAGE: Final = Path(__file__).parent / "labelling_page.html"
_KEY: Final = re.compile(r"(?:^| )key=([0-9a-f]{16})(?: |$)")
# What a spreadsheet takes for a formula, at the start of a cell; a cell that looks escaped already is escaped again.
_FORMULA: Final = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_ESCAPED: Final = re.compile(r"''*[=+\-@\t\r\n＝＋－＠]")
_SIGNS: Final = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n\r"},
    0x7F: 0x2421,
    **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD),
}
_LINE_ENDS: Final = re.compile("\r\n?")
_COLUMNS: Final = ("contexts", "target", "label", "labeller", "note")
_LIMIT: Final = 10_000_000
"""Characters of one cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToLabel:
    """One item for people to label; `answers` in the order they are shown, `note` as it will stand in the label."""

    id: str
    input: str
    answers: tuple[str, ...]
    contexts: tuple[str, ...] = ()
    target: str | None = None
    note: str = ""


def blind_key(item_id: str, seed: int, first: SideName) -> str:
    """16 hex digits that stand for the side whose answer is shown first, and do not show it."""
    tries = (digest([item_id, seed, number]).rpartition(":")[2][:16] for number in count())
    return next(key for key in tries if _side(key) == first)


def first_side(note: str) -> SideName | None:
    """Whose answer was shown first, by the key in a label's `note`; None where there is no key."""
    found = _KEY.search(note)
    return None if found is None else _side(found[1])


def _side(key: str) -> SideName:
    return "candidate" if hashlib.sha256(key.encode()).digest()[0] % 2 else "baseline"


# --- writing --------------------------------------------------------------------------------------------------------


def sheet(items: Sequence[ToLabel], mode: Mode, form: Format, title: str) -> str:
    """The text of a sheet or page.

    Args:
        items: what is to be labelled, in the order people see it.
        mode: a judge's: two answers or one.
        form: "jsonl" and "csv" to fill in, "html" to label in and save from.
        title: shown on the page.
    """
    rows = [_row(item, mode) for item in items]
    if form == "jsonl":
        return "".join(json.dumps({**row, "label": ""}) + "\n" for row in rows)
    return _csv(rows, mode) if form == "csv" else _page(rows, mode, title)


def _row(item: ToLabel, mode: Mode) -> dict[str, Any]:
    """One item, its texts as every format keeps them: labels from a spreadsheet and from the page can be joined."""
    row: dict[str, Any] = {
        "id": item.id,
        "input": kept(item.input),
        **dict(zip(TEXTS[mode], map(kept, item.answers), strict=True)),
    }
    if item.contexts:
        row["contexts"] = list(map(kept, item.contexts))
    if item.target is not None:
        row["target"] = kept(item.target)
    return row | ({"note": item.note} if item.note else {})


def kept(text: str) -> str:
    """A text as every sheet holds it: line ends as LF, and as signs what no spreadsheet keeps.

    Those are control characters and lone surrogates.
    """
    return _LINE_ENDS.sub("\n", text).translate(_SIGNS)


def _csv(rows: Iterable[Mapping[str, Any]], mode: Mode) -> str:
    """Comma-separated, every cell quoted, contexts as a JSON list; with the mark by which spreadsheets know UTF-8."""
    names = ("id", "input", *TEXTS[mode], *_COLUMNS)
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(names)
    for row in rows:
        cells = dict(row)
        if "contexts" in cells:
            cells["contexts"] = json.dumps(cells["contexts"], ensure_ascii=False)
        writer.writerow([_defused(str(cells.get(name, ""))) for name in names])
    return "\ufeff" + out.getvalue()


def _defused(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _restored(cell: str) -> str:
    return cell[1:] if _ESCAPED.match(cell) else cell


def _page(rows: Sequence[Mapping[str, Any]], mode: Mode, title: str) -> str:
    """The page with the rows as data: nothing of them is markup or script, whatever they hold."""
    whole = {
        "title": title,
        "texts": TEXTS[mode],
        "labels": LABELS[mode],
        "draw": digest([dict(row) for row in rows]),
        "rows": rows,
    }
    # In a script element only `<` can end it; ASCII escapes take care of line separators and lone surrogates.
    data = json.dumps(whole).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    page, css, js = _template()
    policy = (
        f"default-src 'none'; style-src {_source(css)}; script-src {_source(js)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    return page.replace("{{ policy }}", policy, 1).replace("{{ data }}", data, 1)


@cache
def _template() -> tuple[str, str, str]:
    """The page, and what stands in its style and its script."""
    page = _PAGE.read_text(encoding="utf-8")
    css = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    js = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    assert css is not None
    assert js is not None
    return page, css[1], js[1]


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


# --- reading back ---------------------------------------------------------------------------------------------------


def filled_lines(path: Path, shown: str) -> tuple[list[dict[str, Any]], int]:
    """The labelled lines of a sheet, as calibration.jsonl has them, and the number of lines without a label.

    Args:
        path: a `.csv` file, or JSONL.
        shown: its name in messages.

    Raises:
        SpecError: it cannot be read, or is no such sheet; every problem at once, the first 50 in words.
    """
    if path.suffix.lower() in (".html", ".htm"):
        hint = "open it in a browser, label, save, and give the JSONL that it saves"
        raise SpecError([Problem("this is the page to label in and holds no labels", shown, hint=hint)])
    lines = _csv_rows(path, shown) if path.suffix.lower() == ".csv" else json_lines(path)
    rows, problems = checked_lines(lines, shown, _filled)
    if problems:
        raise SpecError(capped(problems, shown))
    labelled = [row for row in rows if row is not None]
    return labelled, len(rows) - len(labelled)


def _filled(_: int, row: Any) -> dict[str, Any] | None:
    """A line with a label, None without one."""
    if type(row) is not dict:
        raise BadLine("a label must be a JSON object")
    if row.get("label") in ("", None):
        return None
    return {key: value for key, value in row.items() if key != "labeller" or value}


def _csv_rows(path: Path, shown: str) -> Iterator[tuple[int, dict[str, Any] | BadLine]]:
    text = read_text(path, shown, limit=MAX_BYTES)
    head = text.partition("\n")[0]
    # Spreadsheets of some languages save semicolons.
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=";" if ";" in head and "," not in head else ","
    )
    names: list[str] = []
    before = csv.field_size_limit(_LIMIT)  # the whole process has one
    try:
        for cells in reader:
            if not names:
                names = [name.strip() for name in cells]
                if not {"id", "input", "label"} <= set(names):
                    yield (
                        1,
                        BadLine("the first line must name the columns, with id, input and label among them"),
                    )
                    return
            elif any(cells):
                yield reader.line_num, _csv_row(names, cells)
    except csv.Error as error:
        yield reader.line_num, BadLine(f"is not CSV: {error}")
    finally:
        csv.field_size_limit(before)


def _csv_row(names: Sequence[str], cells: Sequence[str]) -> dict[str, Any] | BadLine:
    if len(cells) > len(names):
        return BadLine(f"has {len(cells)} cells, and the first line names {len(names)} columns")
    row: dict[str, Any] = {name: _restored(cell) for name, cell in zip(names, cells, strict=False)}
    for name in ("label", "labeller"):
        row[name] = row.get(name, "").strip()
    for name in ("contexts", "target", "note", "labeller"):
        if row.get(name) == "":
            del row[name]
    if "contexts" in row:
        try:
            row["contexts"] = json.loads(row["contexts"])
        except (ValueError, RecursionError):
            return BadLine("contexts must be a JSON list of texts, as it was written")
    return row
