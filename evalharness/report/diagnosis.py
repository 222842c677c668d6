"""What `doctor` found, as lines for a terminal and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from evalharness.core.diagnosis import Finding
from evalharness.report.text import one_line

_MARKS: Final = {"ok": "\u2713", "note": "\u00b7", "warning": "!", "problem": "\u2717"}
_TEXT: Final = 400


def render_findings(findings: Sequence[Finding], *, quiet: bool = False) -> str:
    """A line a finding under its area, the fix below it; `quiet`: only what there is something to do about."""
    lines: list[str] = []
    area = ""
    for finding in findings:
        if quiet and finding.state not in ("warning", "problem"):
            continue
        if finding.area != area:
            area = finding.area
            lines += ([""] if lines else []) + [area]
        lines.append(
            f"  {_MARKS[finding.state]} {one_line(finding.about, 80)}: {one_line(finding.text, _TEXT)}"
        )
        if finding.fix and finding.state != "note":
            lines.append(f"      {one_line(finding.fix, _TEXT)}")
    counted = [sum(finding.state == state for finding in findings) for state in ("problem", "warning")]
    said = " and ".join(
        f"{count} {word}{'' if count == 1 else 's'}"
        for count, word in zip(counted, ("problem", "warning"), strict=True)
    )
    lines += ["", f"{said}: {'the gate would stop' if counted[0] else 'nothing would stop the gate'}"]
    return "\n".join(lines)


def findings_json(findings: Sequence[Finding]) -> str:
    """`{"problems": n, "findings": [{area, about, state, text, fix}]}`."""
    rows = [
        {"area": f.area, "about": f.about, "state": f.state, "text": f.text, "fix": f.fix} for f in findings
    ]
    problems = sum(f.state == "problem" for f in findings)
    return json.dumps({"problems": problems, "findings": rows}, indent=2, ensure_ascii=False)
