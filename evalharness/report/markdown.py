"""summary.md: a verdict that fits a pull-request comment, with nothing in it that GitHub would act on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from evalharness.core.verdicts import Outcome, Verdict
from evalharness.report.cases import CasesView, CaseView, CriticalView, Limits, build_cases
from evalharness.report.diff import Part
from evalharness.report.evidence import EARLY_MARK, EARLY_MEANS, FLAKY_SHOWN, AnchorView, FlakyView
from evalharness.report.judges import JudgeView
from evalharness.report.movement import fallen
from evalharness.report.text import one_line
from evalharness.report.view import EVEN_MARK, EVEN_MEANS, MetricRow, SideView, View, build_view

LIMIT: Final = 65_000
"""Characters; GitHub refuses comments over 65,536."""
_MARK: Final[dict[Outcome, str]] = {"pass": "✅", "regression": "❌", "inconclusive": "⚠️", "invalid": "⛔"}
_METRIC_ROWS: Final = 100
_CASE_ROWS: Final = 100
_JUDGES: Final = 8
_PREVIEW: Final = 160
_OPEN_CASES: Final = 10
"""Regressed cases that stand open; a fold holds the others, so that what comes after them is seen."""

_BREAK: Final = "\u200b"  # zero-width: ends what GitHub would read as a mention, an issue or a link
_MARKS = re.compile(r"([\\`*_{}\[\]#!|~$^]|^[-+=]|(?<=^\d)[.)]|(?<=^\d\d)[.)])")
_MENTION = re.compile(r"@(?=[\w])")
_ISSUE = re.compile(r"#(?=\d)|(?<=\bGH)-(?=\d)", re.IGNORECASE)
# A host name may hold a zero-width space for GitHub, so the break has to come before the dot.
# A colon before a number stays as it is: readers copy `suite.yaml:12`.
_LINK = re.compile(r"(?<=[a-z]):(?=[^\s\d])|\bwww(?=\.)", re.IGNORECASE)
_COMMAND = re.compile(r"(?<=: )(?:evalharness [a-z]|\{metric: )[^;]*(?=;|$)")
"""A command of ours, or a line for a suite, that a sentence ends with. It is copied from there as it is."""
_TICKS = re.compile(r"`+")


def render_markdown(verdict: Verdict) -> str:
    """The summary, at most `LIMIT` characters; where rows are left out, a line says how many."""
    view = build_view(verdict)
    fell = fallen(verdict)
    limits = Limits(regressed=_CASE_ROWS, worse=min(len(fell), _CASE_ROWS), better=0, fixed=0)
    cases = build_cases(verdict, limits)
    head = [*_verdict(view), *_advisories(view), *_reasons(view)]
    tail = [*_coverage(view), *_warnings(view), *_steps(view), *_about(view)]
    left = LIMIT - _size(head) - _size(tail) - 400
    metrics, left = _metrics(view, left)
    waivers = _waivers(view, left // 6)
    evidence = [*_judges(view.judges, left // 6), *_evidence(view, left // 3)]
    broke = _cases(cases, len(fell), left - _size(waivers) - _size(evidence))
    return "\n".join([*head, *metrics, *waivers, *broke, *evidence, *tail]).rstrip() + "\n"


def prose(text: str) -> str:
    """Foreign text as Markdown that shows it and does nothing: no markup, HTML, link, mention or issue reference."""
    text = one_line(text)
    text = _MENTION.sub("@" + _BREAK, text)
    text = _ISSUE.sub(lambda m: m.group() + _BREAK, text)
    text = _LINK.sub(lambda m: m.group() + _BREAK, text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKS.sub(r"\\\1", text)


def code(text: str, *, limit: int = 200, cell: bool = False) -> str:
    """Foreign text as a code span, where GitHub reads neither markup nor mentions.

    `cell`: inside a table a pipe needs a backslash even in code, and must not meet one that is there already.
    """
    text = one_line(text, limit) or " "
    longest = max((len(run) for run in _TICKS.findall(text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if text[0] in "` " or text[-1] in "` " else ""
    if cell:
        text = re.sub(r"(\\*)\|", lambda m: m.group(1) + (" " if m.group(1) else "") + r"\|", text)
        text = text + " " if text.endswith("\\") and not pad else text
    return f"{fence}{pad}{text}{pad}{fence}"


def _size(lines: Iterable[str]) -> int:
    return sum(len(line) + 1 for line in lines)


def _verdict(view: View) -> list[str]:
    """The verdict and why in the one line that a mail or a folded comment shows, then who was compared with whom."""
    return [
        f"### {_MARK[view.outcome]} {view.word}: {prose(view.headline.removesuffix('.'))}{_by(view)}",
        "",
        f"{code(view.candidate.name)} against {code(view.baseline.name)}",
        "",
        *([view.evidence.looks.line, ""] if view.evidence.looks is not None else []),
    ]


def _by(view: View) -> str:
    """How far the one metric fell that decides; the table has the numbers of several."""
    fell = [row for row in view.metrics if row.gated and row.status in ("regression", "suspect")]
    if len(fell) != 1 or "critical" in view.headline:
        return ""
    return f" ({fell[0].delta_cell}, margin {fell[0].margin_cell})"


def _advisories(view: View) -> list[str]:
    """Before anything else is read: which judges do not count, and why."""
    lines = [f"⚠️ {item(text)}\n" for text in view.advisories[:_JUDGES]]
    if len(view.advisories) > _JUDGES:
        lines.append(f"⚠️ {len(view.advisories) - _JUDGES:,} more judges may not gate; see report.html\n")
    return lines


def _reasons(view: View) -> list[str]:
    reasons = [*view.reasons, *view.problems]
    lines = [f"- {item(reason)}" for reason in reasons[:20]]
    if len(reasons) > 20:
        lines.append(f"- {len(reasons) - 20:,} more in report.html")
    return [*lines, ""] if lines else []


def item(text: str, limit: int = 600) -> str:
    """A sentence as a list item: foreign words do nothing in it, and commands stand in it as they are to be copied."""
    text = one_line(text, limit)
    shown, last = "", 0
    for match in _COMMAND.finditer(text):
        command = match.group().rstrip(" .)")
        shown += f"{prose(text[last : match.start()])} {code(command, limit=limit)}"
        last = match.start() + len(command)
    shown += prose(text[last:]) if last == 0 or not text[last:].startswith(" ") else " " + prose(text[last:])
    # "1." at the start of an item would open a numbered list inside it.
    return re.sub(r"^(\d+)([.)])", r"\1\\\2", shown)


def _metrics(view: View, left: int) -> tuple[list[str], int]:
    if not view.metrics:
        return [], left
    lines = [
        "| | metric | baseline | candidate | Δ | 95% CI | p (adj) | margin | status |",
        "|---|---|--:|--:|--:|:-:|--:|---|---|",
    ]
    rows = _fitting((_metric(row) for row in view.metrics[:_METRIC_ROWS]), left // 2)
    lines += [*rows, ""]
    if any(row.early for row in view.metrics):
        lines += [f"{EARLY_MARK} {EARLY_MEANS}", ""]
    if any(row.preference for row in view.metrics):
        lines += [f"{EVEN_MARK} {EVEN_MEANS}", ""]
    if len(rows) < len(view.metrics):
        lines += [f"{len(view.metrics) - len(rows):,} more metrics in report.html and comparison.json.", ""]
    return lines, left - _size(lines)


def _fitting(rows: Iterable[str], budget: int) -> list[str]:
    """The first rows that fit in `budget` characters."""
    kept: list[str] = []
    for row in rows:
        budget -= len(row) + 1
        if budget < 0:
            break
        kept.append(row)
    return kept


_STATUS_MARK: Final = {
    "regression": "❌",
    "suspect": "⚠️",
    "underpowered": "⚠️",
    "invalid": "⛔",
    "pass": "✅",
    "improved": "✅",
    "advisory": "·",
}


def _metric(row: MetricRow) -> str:
    status = f"**{row.status_word}**" if row.gated else row.status_word
    cells = [
        _STATUS_MARK[row.status],
        code(row.title, cell=True),
        row.baseline_cell,
        row.candidate,
        row.delta_cell,
        row.ci,
        row.p_adjusted.replace("<", "&lt;"),
        row.margin_cell if row.gated else "–",
        status,
    ]
    return "| " + " | ".join(cells) + " |"


def _cases(cases: CasesView, fell: int, left: int) -> list[str]:
    """Critical and regressed cases, then the `fell` ones that are behind a drop without a flip."""
    failed = {failure.key for failure in cases.critical}
    rows = [_case(case, critical=case.key in failed) for case in cases.regressed.cases]
    if not cases.regressed.left_out:
        rows += [_critical(failure) for failure in cases.critical if not failure.anchor]
    total = len(rows) + cases.regressed.left_out + fell
    rows += [_case(case, critical=False) for case in cases.worse.cases[:fell]]
    if not total:
        return []
    title = f"**What broke** ({total:,})"
    budget = left - len(title) - 300
    kept = _fitting(rows[:_CASE_ROWS], budget)
    lines = [title, "", *kept[:_OPEN_CASES], "", *_folded(kept[_OPEN_CASES:])]
    if len(kept) < total:
        lines += [f"{total - len(kept):,} more in report.html and comparison.json.", ""]
    return lines


def _folded(rows: list[str]) -> list[str]:
    # GitHub reads Markdown inside of an HTML block only after an empty line.
    return (
        ["<details>", f"<summary>{len(rows):,} more</summary>", "", *rows, "", "</details>", ""]
        if rows
        else []
    )


def _critical(failure: CriticalView) -> str:
    seen = "" if failure.confirmed else " (not confirmed on repeats)"
    return (
        f"- **critical** {code(failure.key)} {code(failure.metric)}{seen}: "
        f"was {code(failure.before, limit=_PREVIEW)}, now {code(failure.after, limit=_PREVIEW)}"
    )


def _case(case: CaseView, *, critical: bool) -> str:
    moves = ", ".join(f"{code(m.metric)} {m.text}" for m in case.moves[:3])
    before = _preview(case.failed_before, case.before.parts)
    after = _preview(case.failed_after, case.after.parts)
    mark = "**critical** " if critical else ""
    return f"- {mark}{code(case.key)} {moves}: was {before}, now {after}"


def _preview(failed: str, parts: Iterable[Part]) -> str:
    if failed:
        return f"no answer ({code(failed, limit=_PREVIEW)})"
    text = "".join(part.text for part in parts)
    return code(text, limit=_PREVIEW) if text.strip() else "an empty answer"


def _waivers(view: View, budget: int) -> list[str]:
    rows = [f"- {'' if w.active else '⚠️ '}{item(w.line)}" for w in view.evidence.waivers if not w.told]
    return _block("**Waivers**", [], rows, budget)


def _judges(judges: Iterable[JudgeView], budget: int) -> list[str]:
    """Two lines a judge: standing and counts, then health."""
    rows = []
    for judge in judges:
        mark = "" if judge.may_gate else "⚠️ "
        rows.append(f"- {mark}{code(judge.metric)}, judge {code(judge.name)}: {item(judge.first_line)}")
        if judge.second_line:  # claims of which all or none are supported leave nothing to tell
            rows[-1] += f"\n- {code(judge.metric)}: {prose(one_line(judge.second_line, 1200))}"
    return _block("**Judges**", [], rows, budget)


def _evidence(view: View, budget: int) -> list[str]:
    """Drift from the anchor and flakiness, each in half the room."""
    anchor = view.evidence.anchor
    lines = [] if anchor is None else _anchor(anchor, budget // 2)
    return lines + _flakiness(view.evidence.flakiness, budget // 2)


def _block(title: str, head: list[str], rows: list[str], budget: int) -> list[str]:
    """A titled block of rows, cut to its budget with a line that says so; nothing where there is no row."""
    if not rows:
        return []
    kept = _fitting(rows, budget - len(title) - _size(head) - 80)
    lines = [title, "", *(head if kept else []), *kept, ""]
    if len(kept) < len(rows):
        lines += [f"{len(rows) - len(kept):,} more in report.html and comparison.json.", ""]
    return lines


def _anchor(anchor: AnchorView, budget: int) -> list[str]:
    title = f"**Since the anchor** {code(anchor.name)}"
    if not anchor.rows:
        return [f"{title}: no gated metric was compared with it.", ""]
    head = [
        f"| metric | anchor | baseline | candidate | Δ since the anchor | {anchor.ci_level} CI | margin | |",
        "|---|--:|--:|--:|--:|:-:|---|---|",
    ]
    rows = []
    for row in anchor.rows:
        mark = f"⚠️ **{row.mark}**" if row.exceeds else prose(one_line(row.problem, 200))
        cells = [
            code(row.title, cell=True),
            row.anchor,
            row.baseline,
            row.candidate,
            row.delta,
            row.ci,
            row.margin,
        ]
        rows.append("| " + " | ".join([*cells, mark]) + " |")
    return _block(title, head, rows, budget)


def _flakiness(metrics: Iterable[FlakyView], budget: int) -> list[str]:
    metrics = list(metrics)
    title = "**Flakiness** of one candidate compared with itself"
    head = [
        "| metric | cases | answers each | two answers differ | variance within cases | variance between cases "
        "| chance of a false drop |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    rows = []
    for m in metrics:
        chances = [text.replace("<", "&lt;").replace(">", "&gt;") for text in (m.flips, m.false_drops)]
        cells = [code(m.metric, cell=True), m.cases, m.answers, chances[0], m.within, m.between, chances[1]]
        rows.append("| " + " | ".join(cells) + " |")
    table = _block(title, head, rows, budget // 2)
    return table + _block(
        "**Flaky cases** (share of passes)", [], [_flaky(m) for m in metrics if m.flaky], budget // 2
    )


def _flaky(m: FlakyView) -> str:
    shown = [f"{code(key, limit=80)} {rate}" for key, rate, _ in m.flaky[:FLAKY_SHOWN]]
    more = m.more(len(shown))
    return f"- {code(m.metric)}: {', '.join(shown)}{' ' + more if more else ''}"


def _coverage(view: View) -> list[str]:
    lines = ["**Coverage**", ""]
    for side in view.sides:
        reasons = "".join(f", {code(reason)}: {n}" for reason, n in side.reasons[:6])
        lines.append(f"- {side.role}: {side.coverage}{reasons}")
    lines += [f"- {side.role} asked: {spent}" for side in view.sides if (spent := _spent(side))]
    return [*lines, "", prose(view.changes_line), ""]


_SPENT: Final = ("Calls made", "Answers from the cache", "Input tokens", "Output tokens", "Cost")


def _spent(side: SideView) -> str:
    """What asking a side took. A run whose answers were there before says nothing."""
    facts = dict(side.facts)
    if facts.get("Calls made", "0") == "0":
        return ""
    return ", ".join(f"{label.lower()} {prose(facts[label])}" for label in _SPENT if label in facts)


def _warnings(view: View) -> list[str]:
    if not view.warnings:
        return []
    lines = ["**Warnings**", "", *(f"- {item(warning)}" for warning in view.warnings[:20])]
    if len(view.warnings) > 20:
        lines.append(f"- {len(view.warnings) - 20:,} more in report.html")
    return [*lines, ""]


def _steps(view: View) -> list[str]:
    rows = [f"- {item(step)}" for step in view.steps[:20]]
    return ["**Next**", "", *rows, ""] if rows else []


def _about(view: View) -> list[str]:
    runs = f"baseline run {code(view.baseline.run_short)}, candidate run {code(view.candidate.run_short)}"
    runs += "".join(f", {side.role} {prose(side.blessed)}" for side in view.sides if side.blessed)
    return [f"<sub>suite {code(view.suite)}, {runs}, seed {view.seed}, exit code {view.exit_code}</sub>", ""]
