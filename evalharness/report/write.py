"""The report folder: four files, each complete or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from evalharness.core.verdicts import Verdict
from evalharness.report.comparison_json import comparison_json
from evalharness.report.html import render_html
from evalharness.report.junit import render_junit
from evalharness.report.markdown import render_markdown
from evalharness.store.files import write_text

FILES: Final = ("comparison.json", "report.html", "summary.md", "junit.xml")
"""What a report folder holds."""


def write_report(verdict: Verdict, directory: Path) -> dict[str, Path]:
    """Write `comparison.json`, `report.html`, `summary.md` and `junit.xml` under `directory`, made when missing.

    comparison.json is written first: where a later file cannot be written, the verdict is already on disk.

    Returns:
        file name → path.

    Raises:
        StoreError: a file cannot be written; says which, why, and what to do.
    """
    paths = {}
    for name, render in zip(
        FILES, (comparison_json, render_html, render_markdown, render_junit), strict=True
    ):
        paths[name] = directory / name
        write_text(paths[name], render(verdict))
    return paths
