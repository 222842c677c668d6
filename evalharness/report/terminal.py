"""The table and the verdict for a terminal. Foreign text is cleaned; the same width and colour give the same text."""

from __future__ import annotations

import io
from typing import Final, Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from evalharness.core.verdicts import Outcome, Status, Verdict
from evalharness.report.text import one_line
from evalharness.report.view import View, build_view

_STATUS_STYLE: Final[dict[Status, str]] = {
    "regression": "bold red",
    "suspect": "bold yellow",
    "invalid": "bold magenta",
    "underpowered": "yellow",
    "pass": "green",
    "improved": "bold green",
    "advisory": "dim",
}
_OUTCOME_STYLE: Final[dict[Outcome, tuple[str, str]]] = {
    "pass": ("✓", "bold green"),
    "regression": ("✗", "bold red"),
    "inconclusive": ("?", "bold yellow"),
    "invalid": ("!", "bold magenta"),
}
_NAMED_CASES: Final = 8
_WARNINGS: Final = 12


def render_terminal(verdict: Verdict, *, width: int, color: bool) -> str:
    """The verdict as terminal text.

    Args:
        verdict: what the gate said.
        width: columns of the terminal, at least 40 (less is read as 40). Narrow ones get fewer columns of numbers.
        color: whether ANSI colours are written. Without them the text is plain.
    """
    view = build_view(verdict)
    out = io.StringIO()
    # _environ={}: neither TERM, COLUMNS nor NO_COLOR may change what the arguments ask for.
    console = Console(
        file=out,
        width=max(40, width),
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        legacy_windows=False,
        markup=False,
        highlight=False,
        emoji=False,
        _environ={},
    )
    _heading(console, view)
    if view.metrics:
        console.print(_table(view, max(40, width)))
    _outcome(console, view)
    _cases(console, verdict, view)
    _coverage(console, view)
    _steps(console, view)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _heading(console: Console, view: View) -> None:
    text = Text()
    text.append(view.candidate.name, "bold")
    text.append(" against ", "dim")
    text.append(view.baseline.name, "bold")
    text.append(" on suite ", "dim")
    text.append(view.suite, "bold")
    console.print(text)


# Title, field of MetricRow, alignment, and the order in which columns give way on a narrow terminal (0: never).
_COLUMNS: Final[list[tuple[str, str, Literal["left", "right"], int]]] = [
    ("baseline", "baseline", "right", 2),
    ("candidate", "candidate", "right", 1),
    ("Δ", "delta", "right", 0),
    ("95% CI", "ci", "right", 4),
    ("p (adj)", "p_adjusted", "right", 3),
    ("margin", "margin", "right", 5),
    ("status", "status_word", "left", 0),
]
_GAP: Final = 3
_TIGHT_GAP: Final = 2  # below _ROOMY columns
_ROOMY: Final = 100
_EDGES: Final = 2  # rich's box leaves one column at each end
_NAME: Final = 32


def _table(view: View, width: int) -> Table:
    widths = {
        field: max(cell_len(title), *(cell_len(getattr(row, field)) for row in view.metrics))
        for title, field, _, _ in _COLUMNS
    }
    columns = list(_COLUMNS)
    gap = _GAP if width >= _ROOMY else _TIGHT_GAP
    name = _EDGES + min(_NAME, max(cell_len(row.title) for row in view.metrics))
    while sum(widths[field] + gap for _, field, _, _ in columns) + name > width and any(
        c[3] for c in columns
    ):
        columns.remove(max(columns, key=lambda column: column[3]))
    left = width - sum(widths[field] + gap for _, field, _, _ in columns) - _EDGES
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
        collapse_padding=gap == _TIGHT_GAP,
        header_style="bold",
    )
    table.add_column("metric", overflow="fold", max_width=max(8, left))
    for title, field, justify, _ in columns:
        table.add_column(
            _title(title, view), justify=justify, no_wrap=True, min_width=min(widths[field], width // 2)
        )
    for row in view.metrics:
        quiet = "" if row.gated else "dim"
        cells = [Text(getattr(row, field), quiet) for _, field, _, _ in columns[:-1]]
        table.add_row(Text(row.title, quiet), *cells, Text(row.status_word, _STATUS_STYLE[row.status]))
    return table


def _title(title: str, view: View) -> str:
    level = next((row.ci_level for row in view.metrics if row.ci_level), "95%")
    return f"{level} CI" if title == "95% CI" else title


def _outcome(console: Console, view: View) -> None:
    icon, style = _OUTCOME_STYLE[view.outcome]
    line = Text()
    line.append(f"{icon} {view.word.upper()}", style)
    line.append(f"  exit {view.exit_code}", "dim")
    console.print(line)
    console.print(Padding(Text(view.headline), (0, 0, 0, 2)))
    for reason in (*view.reasons, *view.problems):
        _item(console, "•", reason)
    if view.warnings:
        console.print()
        console.print(Text("Warnings", "bold yellow"))
        for warning in view.warnings[:_WARNINGS]:
            _item(console, "!", warning, "yellow")
        if len(view.warnings) > _WARNINGS:
            _item(console, "!", f"{len(view.warnings) - _WARNINGS:,} more in report.html", "yellow")


def _cases(console: Console, verdict: Verdict, view: View) -> None:
    console.print()
    console.print(Text(view.changes_line))
    comparison = verdict.comparison
    critical = dict.fromkeys(failure.key for failure in comparison.critical)
    _keys(console, "critical", list(critical), "bold red")
    _keys(
        console,
        "regressed",
        [c.key for c in comparison.changes if c.regressed and c.key not in critical],
        "red",
    )


def _keys(console: Console, label: str, keys: list[str], style: str) -> None:
    if not keys:
        return
    line = Text(f"{label}: ", style)
    line.append(", ".join(one_line(key, 60) for key in keys[:_NAMED_CASES]), "")
    if len(keys) > _NAMED_CASES:
        line.append(f" and {len(keys) - _NAMED_CASES:,} more", "dim")
    console.print(Padding(line, (0, 0, 0, 2)))


def _coverage(console: Console, view: View) -> None:
    console.print()
    for side in view.sides:
        style = "" if side.complete else "yellow"
        line = Text(f"{side.role + ' coverage:':<20} ", "dim")
        line.append(side.coverage, style)
        if side.reasons:
            line.append(" (" + ", ".join(f"{reason}: {n}" for reason, n in side.reasons[:4]) + ")", style)
        console.print(line)


def _steps(console: Console, view: View) -> None:
    if not view.steps:
        return
    console.print()
    console.print(Text("Next", "bold"))
    for step in view.steps:
        _item(console, "→", step)


def _item(console: Console, mark: str, text: str, style: str = "") -> None:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=3, justify="right")
    grid.add_column(overflow="fold")
    grid.add_row(Text(mark, style), Text(text))
    console.print(grid)
