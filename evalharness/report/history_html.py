"""A history as one page that anyone can open, send and print. It loads nothing and runs nothing."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from evalharness.core.histories import History
from evalharness.report.history_plot import drawing
from evalharness.report.history_view import EACH_ALONE, found_line, metric_view
from evalharness.report.page import asset, content_policy, template
from evalharness.report.text import one_line

_SKIPPED: Final = 50


def history_html(history: History) -> str:
    """The history as one self-contained page.

    Every string is cleaned and escaped; a strict content policy admits the page's own style by its hash and nothing
    else.
    """
    css = asset("report.css") + asset("history.css")
    sections = []
    for metric in history.metrics:
        view = metric_view(metric)
        sections.append({"view": view, "drawing": drawing(metric, view.rows)})
    text = template("history.html.j2").render(
        suite=one_line(history.suite or "", 120),
        sections=sections,
        found=found_line(history),
        each_alone=EACH_ALONE,
        warnings=[one_line(warning) for warning in history.warnings],
        skipped=[one_line(why, 400) for _, why in history.skipped[:_SKIPPED]],
        skipped_left_out=max(0, len(history.skipped) - _SKIPPED),
        css=Markup(css),
        policy=content_policy(css),
    )
    return text.rstrip() + "\n"
