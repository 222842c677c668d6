"""What `doctor` found, as lines for a terminal and as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from evalharness.core.diagnosis import Finding
from evalharness.report.text import one_line

_MARKS: Final = {"ok": "\u2713", "note": "\u00b7", "warning": "!", "problem": "\u2717"}
_HEADS: Final = {"problem": "would stop the gate", "warning": "somebody should look"}
_TEXT: Final = 600
_NARROWEST: Final = 40


def render_findings(findings: Sequence[Finding], *, quiet: bool = False, width: int = 100) -> str:
    """Problems first, then warnings, then the rest by area; `quiet`: only what there is something to do about.

    Text is wrapped at `width` columns, at least 40. A fix stands on one line, so that it can be copied.
    """
    lines: list[str] = []
    for state, head in _HEADS.items():
        lines += _block(head, [finding for finding in findings if finding.state == state], width)
    rest = [finding for finding in findings if finding.state not in _HEADS]
    for area in dict.fromkeys(finding.area for finding in rest) if not quiet else ():
        lines += _block(area, [finding for finding in rest if finding.area == area], width)
    counted = [sum(finding.state == state for finding in findings) for state in _HEADS]
    said = " and ".join(
        f"{count} {word}{'' if count == 1 else 's'}"
        for count, word in zip(counted, ("problem", "warning"), strict=True)
    )
    lines.append(f"{said}: {'the gate would stop' if counted[0] else 'nothing would stop the gate'}")
    return "\n".join(lines)


def _block(head: str, findings: Sequence[Finding], width: int) -> list[str]:
    lines = [line for finding in findings for line in _lines(finding, width)]
    return [head, *lines, ""] if lines else []


def _lines(finding: Finding, width: int) -> Iterator[str]:
    text = f"{_MARKS[finding.state]} {one_line(finding.about, 80)}: {one_line(finding.text, _TEXT)}"
    yield from textwrap.wrap(
        text,
        max(_NARROWEST, width),
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    if finding.fix and (finding.state in _HEADS or finding.area != "extras"):
        yield f"      {one_line(finding.fix, _TEXT)}"


def findings_json(findings: Sequence[Finding]) -> str:
    """`{"problems": n, "warnings": n, "findings": [{area, about, state, text, fix}]}`."""
    rows = [
        {"area": f.area, "about": f.about, "state": f.state, "text": f.text, "fix": f.fix} for f in findings
    ]
    counts = {word: sum(f.state == word[:-1] for f in findings) for word in ("problems", "warnings")}
    return json.dumps({**counts, "findings": rows}, indent=2, ensure_ascii=False)
