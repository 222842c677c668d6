"""A plan for a terminal: cost, power, what the gate would say, and power against the number of cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.cells import cell_len

from evalharness.core.plans import Curve, MetricPlan, Outlook, SetCost, SideCost, StageCost, SuitePlan
from evalharness.core.suites import Budget
from evalharness.report import numbers
from evalharness.report.text import one_line

_WIDTH: Final = 80
_NARROWEST: Final = 12
_STAGES: Final = {
    "all": "total",
    "first look": "first look",
    "routine": "all looks",
    "extended": "with --extend",
}
_ROWS: Final = 9
_COLUMNS: Final = 66
_AT, _TWICE, _BOTH = "·", "●", "◉"


def render_plan(plan: SuitePlan, *, width: int = 80) -> str:
    """The plan as text of at most `width` columns (80 at least), without colour."""
    width = max(_WIDTH, width)
    lines = [f"Plan for suite {one_line(plan.suite, 60)}. Nothing was asked."]
    lines += ["", *_cost(plan)]
    if plan.metrics:
        lines += ["", *_power(plan), "", *_verdicts(plan)]
    if plan.suite_outlooks:
        lines += ["", *_suite(plan, width)]
    if plan.curve is not None:
        lines += ["", *_plot(plan.curve)]
    said = list(_said(plan))
    if said:
        lines.append("")
        lines += [part for text in said for part in _wrapped(text, width)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as aligned columns of at most 80 in all: the first to the left and cut where it must be, others right."""
    widths = [max(cell_len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    room = _WIDTH - sum(2 + width for width in widths[1:])
    widths[0] = min(widths[0], max(room, _NARROWEST))

    def cell(text: str, i: int) -> str:
        if i == 0:
            text = _short(text, widths[0])
        gap = " " * (widths[i] - cell_len(text))
        return text + gap if i == 0 else gap + text

    return ["  ".join(cell(text, i) for i, text in enumerate(row)).rstrip() for row in rows]


def _short(text: str, limit: int) -> str:
    """At most `limit` columns; what is cut is the middle, since the end of an id tells it from its neighbours."""
    if cell_len(text) <= limit:
        return text
    tail = limit // 2
    return text[: limit - tail - 1] + "…" + text[-tail:]


def _cost(plan: SuitePlan) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [("Cost", "answers", "stored", "calls", "tokens in", "out", "price")]
    below: list[str] = []
    for side in (*plan.sides, *plan.judges):
        name = one_line(side.label if side.eval is not None else f"{side.role} {one_line(side.name, 60)}")
        planned = side.stages[0] if len(side.stages) == 1 else side.stages[1]
        if side.answers_from != "calls":
            rows.append((name, *_counts(planned.total, side), "$0"))
        else:
            rows.append((name,))
            rows += [(f"  {one_line(part.golden_set)}", *_counts(part, side)) for part in planned.sets]
            for stage in side.stages:
                label = f"  {_STAGES[stage.name]}"
                rows.append((label, *_counts(stage.total, side), _price(stage.usd, stage.total, side)))
        below += _about(side)
    asked = [(side, stage.total, stage.usd) for side, stage in _planned(plan)]
    if len(asked) > 1:
        rows.append(_altogether(asked))
    if plan.budget is not None:
        below.append(f"budget of one command: {_budget(plan.budget)}")
    yield from _table(rows)
    yield from (part for text in below for part in _wrapped(text, _WIDTH))


def _planned(plan: SuitePlan) -> Iterator[tuple[SideCost, StageCost]]:
    """Who is asked, with what is asked of it without --extend."""
    for side in (*plan.sides, *plan.judges):
        stage = side.stages[0] if len(side.stages) == 1 else side.stages[1]
        if stage.total.calls:
            yield side, stage


def _altogether(asked: Sequence[tuple[SideCost, SetCost, float | None]]) -> tuple[str, ...]:
    """One row for all of them: unknown where one is, and at most where one is at most."""
    sides = [side for side, _, _ in asked]
    tokens_in = [total.input_tokens for _, total, _ in asked]
    tokens_out = [total.output_tokens for _, total, _ in asked]
    money = [usd for _, _, usd in asked]
    calls = sum(total.calls for _, total, _ in asked)
    at_most = "limit" if any(side.output_basis == "limit" for side in sides) else "text"
    known = [usd for usd in money if usd is not None]
    return (
        "altogether",
        f"{sum(total.answers for _, total, _ in asked):,}",
        f"{sum(total.stored for _, total, _ in asked):,}",
        ("≤" if any(side.upper for side in sides) else "") + f"{calls:,}",
        _tokens(_sum(tokens_in), calls, "text"),
        _tokens(_sum(tokens_out), calls, at_most),
        ("≤" if at_most == "limit" else "~") + numbers.money(sum(known))
        if len(known) == len(money)
        else "unknown",
    )


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _budget(budget: Budget) -> str:
    """The caps of a suite's budget in words."""
    caps = [
        None if budget.usd is None else f"${budget.usd:g}",
        None if budget.calls is None else f"{budget.calls:,} calls",
        None if budget.tokens is None else f"{budget.tokens:,} tokens",
    ]
    return ", ".join(cap for cap in caps if cap is not None)


def _counts(part: SetCost, side: SideCost) -> tuple[str, ...]:
    return (
        f"{part.answers:,}",
        f"{part.stored:,}",
        ("≤" if side.upper and part.calls else "") + f"{part.calls:,}",
        _tokens(part.input_tokens, part.calls, side.input_basis),
        _tokens(part.output_tokens, part.calls, side.output_basis),
    )


def _tokens(count: int | None, calls: int, basis: str) -> str:
    if calls == 0:
        return "0"
    if count is None:
        return "unknown"
    mark = {"text": "~", "history": "~", "limit": "≤"}.get(basis, "")
    return mark + (f"{count:,}" if count < 100_000 else f"{count / 1e6:,.2f}M")


def _price(usd: float | None, part: SetCost, side: SideCost) -> str:
    if part.calls == 0:
        return "$0"
    if usd is None:
        return "unknown"
    return ("≤" if side.output_basis == "limit" else "~") + numbers.money(usd)


def _about(side: SideCost) -> Iterator[str]:
    label = one_line(side.label)
    if side.answers_from != "calls":
        yield f"{label}: {side.answers_from}, no calls"
        return
    if side.repeats > 1:
        yield f"{label}: {side.repeats} answers to each case"
    if side.upper:
        yield (
            f"{label}: at most so many calls, since answers that turn out equal cost none; a reply that cannot be read "
            "costs one more"
        )
    if side.stages[-1].total.calls:
        yield f"{label} tokens: {one_line(side.tokens_from)}"
        if not side.priced:
            yield f"{label} price: unknown; state `price` in its file"
        elif side.listed:
            yield f"{label} price: the list price of {one_line(side.listed)}; state your own as `price` in its file"
    if side.confirming:
        yield f"{label}: at most {side.confirming:,} calls more confirm critical cases that fail once"


def _noise(outlook: Outlook) -> str:
    mark = {"A/A": "", "comparison": "", "given": "", "assumed": "?"}[outlook.source]
    return (f"{100 * outlook.noise:.3g}%" if outlook.kind == "churn" else f"sd {outlook.noise:.2g}") + mark


def _power(plan: SuitePlan) -> Iterator[str]:
    several = _several(plan)
    alone = ("MDE alone",) if several else ()
    rows: list[tuple[str, ...]] = [("Power", "cases", "margin", "churn", *alone, "MDE", "needs")]
    for metric in plan.metrics:
        first = (one_line(metric.name), _cases(metric), metric.margin)
        if not metric.outlooks:
            rows.append((*first, "unknown"))
        for i, one in enumerate(metric.outlooks):
            start = first if i == 0 else ("", "", "")
            sizes = (one.mde_alone, one.mde) if several else (one.mde,)
            rows.append((*start, _noise(one), *(_mde(size, metric) for size in sizes), _many(one)))
    yield from _table(rows)
    for text in _legend(plan):
        yield from _wrapped(text, _WIDTH)


def _several(plan: SuitePlan) -> bool:
    return any(metric.level < metric.level_alone for metric in plan.metrics)


def _cases(metric: MetricPlan) -> str:
    return f"{metric.cases:,}" + (f" ({metric.units:,})" if metric.units < metric.cases else "")


def _mde(size: float | None, metric: MetricPlan) -> str:
    if size is None:
        return "none"
    return f"{100 * size:.1f}pp" if metric.unit == "fraction" else f"{size:.3g}"


def _many(outlook: Outlook) -> str:
    if outlook.n_for_power is None:
        return "unknown" if outlook.passed is None else "none"
    return f"{outlook.n_for_power:,}"


def _legend(plan: SuitePlan) -> Iterator[str]:
    levels = {metric.level_alone for metric in plan.metrics} or {plan.alpha}
    at = f"at alpha {plan.alpha:g}"
    if min(levels) < plan.alpha:
        more = " or more" if len(levels) > 1 else ""
        at = f"at {min(levels):.2g}{more} (the rest of alpha {plan.alpha:g} is kept for --extend)"
    if _several(plan):
        level = min(metric.level for metric in plan.metrics)
        at = f"alone {at}, and with the other metrics at {level:.2g} (Holm's worst case)"
    yield (
        f"MDE: the smallest true drop that is confirmed with 80% power, {at}; needs: cases that confirm a drop of the "
        "margin."
    )
    if any(metric.units < metric.cases for metric in plan.metrics):
        yield "In brackets: clusters, which count in place of cases."
    if any(one.source == "assumed" for metric in plan.metrics for one in metric.outlooks):
        yield "?: assumed; churn is the share of cases that change when nothing changed."


def _verdicts(plan: SuitePlan) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [
        ("If unchanged", "churn", "pass", "unsure", "suspect", "regr.", "at −m", "at −2m"),
    ]
    for metric in plan.metrics:
        for i, one in enumerate(metric.outlooks):
            if one.passed is None:
                continue
            name = one_line(metric.name) + ("" if metric.deciding else " (warns)") if i == 0 else ""
            chances = (one.passed, one.underpowered, one.inconclusive, one.regression)
            drops = (one.regression_at_margin, one.regression_at_twice)
            rows.append((name, _noise(one), *(_percent(chance) for chance in (*chances, *drops))))
    if len(rows) == 1:
        yield "What the gate would say is not known: no metric has a known margin and noise."
        return
    yield from _table(rows)
    yield from _wrapped(
        "unsure: underpowered (a warning, or exit 3 under on_underpowered: block); suspect: inconclusive (exit 3); "
        "regr.: regression (exit 1); at −m, at −2m: chance of a regression at a true drop of one and of two margins.",
        _WIDTH,
    )


def _percent(chance: float | None) -> str:
    if chance is None:
        return "unknown"
    if 0 < chance < 0.005:
        return "<1%"
    if 0.995 <= chance < 1:
        return ">99%"
    return f"{100 * chance:.0f}%"


def _suite(plan: SuitePlan, width: int) -> Iterator[str]:
    yield "Whole suite, unchanged candidate (metrics taken as independent)"
    for one in plan.suite_outlooks:
        label = f"{one.label}: " if one.label else ""
        text = (
            f"  {label}pass {_percent(one.passed)}, inconclusive {_percent(one.inconclusive)}, "
            f"regression (a false alarm) {_percent(one.regression)}"
        )
        if one.metrics < one.deciding:
            text += f"; {one.metrics} of {one.deciding} deciding metrics known"
        yield from _wrapped(text, width, indent=4)
    yield "pass: the verdict, unsure metrics included (not under on_underpowered: block)."


def _plot(curve: Curve) -> Iterator[str]:
    """Power against cases on a scale where every step is a factor: a quarter of the cases left, four times right."""
    yield f"Power of {_short(one_line(curve.metric), 50)}, {curve.noise}"
    grid = [[" "] * _COLUMNS for _ in range(_ROWS)]
    line = round(0.8 * (_ROWS - 1))
    grid[_ROWS - 1 - line] = ["┄"] * _COLUMNS
    last = len(curve.points) - 1
    for i, (_, at, twice) in enumerate(curve.points):
        column = round(i / last * (_COLUMNS - 1))
        low, high = (_ROWS - 1 - round(chance * (_ROWS - 1)) for chance in (at, twice))
        grid[low][column] = _AT
        grid[high][column] = _BOTH if low == high else _TWICE
    for i, cells in enumerate(grid):
        share = (_ROWS - 1 - i) / (_ROWS - 1)
        label = {0: "100%", _ROWS - 1 - line: "80%", _ROWS - 1: "0%"}.get(i, "")
        yield f"{label or ('50%' if share == 0.5 else ''):>5} │{''.join(cells)}"
    yield "      └" + "─" * _COLUMNS
    marks = [" "] * _COLUMNS
    for share in (0, 1, 2, 3, 4):
        text = f"{curve.points[round(share / 4 * last)][0]:,}"
        start = min(max(round(share / 4 * (_COLUMNS - 1)) - len(text) // 2, 0), _COLUMNS - len(text))
        marks[start : start + len(text)] = text
    yield "       " + "".join(marks)
    yield f"       cases (planned: {curve.cases:,}); {_AT} a true drop of the margin, {_TWICE} of twice it"


def _said(plan: SuitePlan) -> Iterator[str]:
    sources: dict[str, list[str]] = {}
    for metric in plan.metrics:
        for one in metric.outlooks:
            if one.source in ("A/A", "comparison"):
                sources.setdefault(one.source_text, []).append(metric.name)
    for text, names in sources.items():
        yield f"• churn and spread of {_listing(names, plan)}: {one_line(text)}"
    notes: dict[str, list[str]] = {}
    for metric in plan.metrics:
        for note in (*metric.notes, *([metric.unknown] if metric.unknown else [])):
            notes.setdefault(note, []).append(metric.name)
    for text, names in notes.items():
        yield f"• {_listing(names, plan)}: {one_line(text)}"
    for warning in plan.warnings:
        yield f"! {one_line(warning)}"
    for step in plan.steps:
        yield f"→ {one_line(step)}"


def _listing(names: Sequence[str], plan: SuitePlan) -> str:
    unique = list(dict.fromkeys(names))
    if len(unique) == len(plan.metrics) > 1:
        return "every metric"
    shown = ", ".join(one_line(name) for name in unique[:3])
    return shown + (f" and {len(unique) - 3} more" if len(unique) > 3 else "")


def _wrapped(text: str, width: int, indent: int = 2) -> list[str]:
    import textwrap

    return textwrap.wrap(
        text,
        width,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )
