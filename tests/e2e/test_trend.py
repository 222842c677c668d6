"""The trend over blessed baselines in a report: what was blessed up to the one that was compared, and no more."""

from __future__ import annotations

import re
from pathlib import Path

from tests.e2e.conftest import Project


def test_a_report_shows_what_was_blessed_before(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.golden_set(
        "questions", [{"id": f"q{i}", "input": f"question {i}", "target": "a"} for i in range(40)]
    )
    project.suite()
    for number, right in enumerate((20, 30, 34), 1):
        project.candidate("base", [{"id": f"q{i}", "output": "a" if i < right else "b"} for i in range(40)])
        done = project.run("run", "base.yaml", check=0)
        project.run("baseline", "bless", done.out.split()[0], "--as", "main", "--by", "somebody", check=0)
        project.candidate("cand", [{"id": f"q{i}", "output": "a" if i < right else "b"} for i in range(40)])
        project.run("compare", "main", "cand.yaml", "--out", f"out{number}", check=0)
    first, second, third = ((tmp_path / f"out{n}" / "report.html").read_text() for n in (1, 2, 3))
    assert 'id="trend"' not in first
    assert 'id="trend"' in second and 'id="trend"' in third
    assert "75.0%" in re.sub(r"\s", "", third) and "85.0%" in re.sub(r"\s", "", third)
    project.run("report", "out2", check=0)
    assert (tmp_path / "out2" / "report.html").read_text() == second  # later blessings change nothing
