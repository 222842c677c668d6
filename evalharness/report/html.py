"""report.html."""

from __future__ import annotations

from html import escape

from evalharness.core.verdicts import Verdict
from evalharness.report.terminal import render_terminal


def render_html(verdict: Verdict) -> str:
    """The verdict as one page."""
    body = escape(render_terminal(verdict, width=110, color=False))
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>report</title><pre>{body}</pre></html>\n'
