"""A history as one page that anyone can open, send and print. It loads nothing and runs nothing."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Final

import jinja2
from markupsafe import Markup

from evalharness.core.histories import History
from evalharness.report.history_plot import BOTTOM, HIGH, LEFT, RIGHT, WIDE, drawing
from evalharness.report.history_view import EACH_ALONE, found_line, metric_view
from evalharness.report.text import one_line

_TEMPLATES: Final = Path(__file__).parent / "templates"
_SKIPPED: Final = 50


def history_html(history: History) -> str:
    """The history as one self-contained page.

    Every string is cleaned and escaped; a strict content policy admits the page's own style by its hash and nothing
    else.
    """
    css = "".join(
        (_TEMPLATES / name).read_text(encoding="utf-8").strip() + "\n"
        for name in ("report.css", "history.css")
    )
    sections = []
    for metric in history.metrics:
        view = metric_view(metric)
        sections.append({"view": view, "drawing": drawing(metric, view.rows)})
    text = _template().render(
        suite=one_line(history.suite or "", 120),
        sections=sections,
        found=found_line(history),
        each_alone=EACH_ALONE,
        warnings=[one_line(warning) for warning in history.warnings],
        skipped=[one_line(why, 400) for _, why in history.skipped[:_SKIPPED]],
        skipped_left_out=max(0, len(history.skipped) - _SKIPPED),
        wide=WIDE,
        high=HIGH,
        left=LEFT,
        right=WIDE - RIGHT,
        floor=HIGH - BOTTOM,
        css=Markup(css),
        policy=_policy(css),
    )
    return text.rstrip() + "\n"


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("history.html.j2")


def _policy(css: str) -> str:
    """Nothing may be loaded, sent, framed or run but the style with this hash."""
    # What a browser hashes is exactly what stands between the tags: a newline, then the text.
    code = base64.b64encode(hashlib.sha256(("\n" + css).encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{code}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
