"""The table and the verdict for a terminal. Foreign text is cleaned; the same width and colour give the same text."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from evalharness.core.verdicts import Outcome, Status, Verdict
from evalharness.report.evidence import EARLY_MARK, EARLY_MEANS, FLAKY_SHOWN, AnchorView, FlakyView
from evalharness.report.movement import GROUPS, fallen
from evalharness.report.text import one_line
from evalharness.report.view import EVEN_MARK, EVEN_MEANS, MetricRow, View, build_view

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
_BLANKS: Final = re.compile("\n{3,}")
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
    for text in view.advisories:
        _item(console, "!", text, "bold yellow")
    if view.metrics:
        console.print(_metrics(view, console.width))
    if any(row.early for row in view.metrics):
        _item(console, EARLY_MARK, EARLY_MEANS)
        console.print()
    if any(row.preference for row in view.metrics):
        _item(console, EVEN_MARK, EVEN_MEANS)
        console.print()
    _outcome(console, view)
    _waivers(console, view)
    _cases(console, verdict, view)
    if view.judges:
        _judges(console, view)
    if view.evidence.anchor is not None:
        _anchor(console, view.evidence.anchor)
    if view.evidence.flakiness:
        _flakiness(console, view.evidence.flakiness)
    _coverage(console, view)
    _steps(console, view)
    text = "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
    return _BLANKS.sub("\n\n", text)  # a table ends with an empty line, and so do sections begin


def _heading(console: Console, view: View) -> None:
    text = Text()
    text.append(view.names[0], "bold")
    text.append(" against ", "dim")
    text.append(view.names[1], "bold")
    text.append(" on suite ", "dim")
    text.append(view.suite, "bold")
    console.print(text)
    for side in view.sides:
        if side.blessed:
            console.print(Text(f"  {side.role}: {side.blessed}", "dim"))


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of short cells. `yields` is the order in which columns give way on a narrow terminal (0: never)."""

    title: str
    cells: Sequence[Text]
    yields: int
    justify: Literal["left", "right"] = "right"

    @property
    def width(self) -> int:
        return max(cell_len(self.title), *(cell.cell_len for cell in self.cells))


_GAP: Final = 3
_TIGHT_GAP: Final = 2  # below _ROOMY columns
_ROOMY: Final = 100
_EDGES: Final = 2  # rich's box leaves one column at each end
_NAME: Final = 32


def _metrics(view: View, width: int) -> Table:
    rows = view.metrics

    def cells(field: str) -> list[Text]:
        return [Text(getattr(row, field), _quiet(row)) for row in rows]

    level = next((row.ci_level for row in rows if row.ci_level), "95%")
    columns = [
        _Column("baseline", cells("baseline_cell"), 2),
        _Column("candidate", cells("candidate"), 1),
        _Column("Δ", cells("delta_cell"), 0),
        _Column(f"{level} CI", cells("ci"), 4),
        _Column("p (adj)", cells("p_adjusted"), 3),
        _Column("margin", cells("margin"), 5),
        _Column("status", [Text(row.status_word, _STATUS_STYLE[row.status]) for row in rows], 0, "left"),
    ]
    return _table("metric", [Text(_name(row), _quiet(row)) for row in rows], columns, width)


def _name(row: MetricRow) -> str:
    """A slice that gates stands under its metric, which names the rest."""
    return f"↳ {row.slice}" if row.slice else row.title


def _quiet(row: MetricRow) -> str:
    return "" if row.gated else "dim"


def _table(title: str, names: Sequence[Text], columns: list[_Column], width: int) -> Table:
    """Named rows of short cells: columns give way until a name of usual length fits."""
    columns = list(columns)
    gap = _GAP if width >= _ROOMY else _TIGHT_GAP
    name = _EDGES + min(_NAME, max(text.cell_len for text in names))
    while sum(c.width + gap for c in columns) + name > width and any(c.yields for c in columns):
        columns.remove(max(columns, key=lambda column: column.yields))
    left = width - sum(c.width + gap for c in columns) - _EDGES
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
        collapse_padding=gap == _TIGHT_GAP,
        header_style="bold",
    )
    table.add_column(title, overflow="fold", max_width=max(8, left))
    for column in columns:
        table.add_column(
            column.title, justify=column.justify, no_wrap=True, min_width=min(column.width, width // 2)
        )
    for row, text in enumerate(names):
        table.add_row(text, *(column.cells[row] for column in columns))
    return table


def _outcome(console: Console, view: View) -> None:
    icon, style = _OUTCOME_STYLE[view.outcome]
    line = Text()
    line.append(f"{icon} {view.word.upper()}", style)
    line.append(f"  exit {view.exit_code}", "dim")
    console.print(line)
    console.print(Padding(Text(view.headline), (0, 0, 0, 2)))
    if view.evidence.looks is not None:
        console.print(Padding(Text(view.evidence.looks.line, "dim"), (0, 0, 0, 2)))
    for reason in (*view.reasons, *view.problems):
        _item(console, "•", reason)
    if view.warnings:
        console.print()
        console.print(Text("Warnings", "bold yellow"))
        for warning in view.warnings[:_WARNINGS]:
            _item(console, "!", warning, "yellow")
        if len(view.warnings) > _WARNINGS:
            _item(console, "!", f"{len(view.warnings) - _WARNINGS:,} more in report.html", "yellow")


def _waivers(console: Console, view: View) -> None:
    waivers = [waiver for waiver in view.evidence.waivers if not waiver.told]
    if not waivers:
        return
    console.print()
    console.print(Text("Waivers", "bold"))
    for waiver in waivers:
        _item(console, "•" if waiver.active else "!", waiver.line, "" if waiver.active else "yellow")


def _cases(console: Console, verdict: Verdict, view: View) -> None:
    console.print()
    console.print(Text(view.changes_line))
    comparison = verdict.comparison
    critical = dict.fromkeys(failure.key for failure in comparison.critical)
    _keys(console, "critical", list(critical), "bold red")
    regressed = [c.key for c in comparison.changes if c.regressed and c.key not in critical]
    _keys(console, GROUPS["regressed"], regressed, "red")
    _keys(console, f"{GROUPS['worse']}, largest falls first", [*fallen(verdict)], "red")


def _keys(console: Console, label: str, keys: list[str], style: str) -> None:
    if not keys:
        return
    line = Text(f"{label}: ", style)
    line.append(", ".join(one_line(key, 60) for key in keys[:_NAMED_CASES]), "")
    if len(keys) > _NAMED_CASES:
        line.append(f" and {len(keys) - _NAMED_CASES:,} more", "dim")
    console.print(Padding(line, (0, 0, 0, 2)))


def _judges(console: Console, view: View) -> None:
    console.print()
    console.print(Text("Judges", "bold"))
    for judge in view.judges:
        mark, style = ("•", "") if judge.may_gate else ("!", "yellow")
        _item(console, mark, f"{judge.metric}, judge {judge.name}: {judge.first_line}", style)
        if judge.second_line:
            _item(console, "", judge.second_line)


def _anchor(console: Console, anchor: AnchorView) -> None:
    console.print()
    console.print(Text.assemble(("Since the anchor ", "bold"), (anchor.name, "bold")))
    rows = anchor.rows
    if not rows:
        _item(console, "•", "no gated metric was compared with it")
        return
    columns = [
        _Column("anchor", [Text(row.anchor) for row in rows], 3),
        _Column("baseline", [Text(row.baseline) for row in rows], 2),
        _Column("candidate", [Text(row.candidate) for row in rows], 1),
        _Column("Δ", [Text(row.delta) for row in rows], 0),
        _Column(f"{anchor.ci_level} CI", [Text(row.ci) for row in rows], 4),
        _Column("margin", [Text(row.margin) for row in rows], 5),
        _Column(
            "", [Text(row.mark_word, "bold yellow" if row.exceeds else "dim") for row in rows], 0, "left"
        ),
    ]
    console.print(_table("metric", [Text(row.title) for row in rows], columns, console.width))
    for row in rows:
        if row.problem:
            _item(console, "!", f"{row.title}: {row.problem}", "yellow")


def _flakiness(console: Console, metrics: Sequence[FlakyView]) -> None:
    console.print()
    console.print(Text("Flakiness: one candidate, compared with itself", "bold"))
    columns = [
        _Column("cases", [Text(m.cases) for m in metrics], 3),
        _Column("flips", [Text(m.flips) for m in metrics], 0),
        _Column("var within", [Text(m.within) for m in metrics], 1),
        _Column("var between", [Text(m.between) for m in metrics], 2),
        _Column("false drop", [Text(m.false_drops) for m in metrics], 0),
    ]
    console.print(_table("metric", [Text(m.metric) for m in metrics], columns, console.width))
    for m in metrics:
        if m.flaky:
            line = Text(f"{m.metric}, flaky cases (share of passes): ", "yellow")
            shown = [f"{key} ({rate})" for key, rate, _ in m.flaky[:FLAKY_SHOWN]]
            line.append(" ".join(filter(None, [", ".join(shown), m.more(len(shown))])), "")
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
