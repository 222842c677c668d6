"""report.html: one file that anyone can open, send and print. It loads nothing and runs nothing but its own script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from markupsafe import Markup

from evalharness.core.histories import MetricHistory
from evalharness.core.verdicts import Verdict
from evalharness.report import words
from evalharness.report.case_data import case_data
from evalharness.report.cases import build_cases
from evalharness.report.evidence import EARLY_MARK, EARLY_MEANS
from evalharness.report.groups import concentrations
from evalharness.report.movement import FLIPS, GROUPS, NO_FLIPS
from evalharness.report.page import asset, content_policy, template
from evalharness.report.plot import Panel, panels
from evalharness.report.spread import histograms, percentiles
from evalharness.report.story import build_story
from evalharness.report.tables import breakdown
from evalharness.report.trend import build_trends
from evalharness.report.view import EVEN_MARK, EVEN_MEANS, MetricRow, View, build_view

if TYPE_CHECKING:
    from evalharness.report.folder import Log

_SLICES: Final = 200
_FIRST: Final = 30
"""Cases of each group that the page shows without its script."""


def render_html(verdict: Verdict, logs: Sequence[Log] = (), history: Sequence[MetricHistory] = ()) -> str:
    """The verdict as one self-contained page.

    `logs` are files beside it that it links to, `history` the metrics over the baselines that were blessed before.

    Every string of the verdict is escaped by the template and cleaned before it; a strict content policy admits the
    page's own style and script by their hashes and nothing else. At most 10,000 changed cases in 16 million characters
    are held, which the script draws as they are looked at, and the page says what it leaves out.
    """
    view = build_view(verdict)
    cases = build_cases(verdict)
    data, held = case_data(cases)
    where = concentrations(verdict)
    css, js = asset("report.css"), asset("report.js")
    tables = [breakdown(row.label, row.breakdown) for row in view.metrics if row.breakdown]
    slices = view.slices[:_SLICES]
    text = template("report.html.j2").render(
        view=view,
        cases=cases,
        story=build_story(verdict, cases.tallies, where),
        where=where,
        data=Markup(data),
        first=_FIRST,
        static=sum(min(_FIRST, len(shown.cases)) for _, shown in cases.groups),
        held=held,
        total=view.n_changed,
        names=GROUPS,
        present={group for group, count in view.moved.items() if count},
        flips=FLIPS if view.flips else NO_FLIPS,
        histograms=histograms(verdict.comparison),
        percentiles=percentiles(verdict.comparison),
        trends=build_trends(history),
        panels=panels(view.metrics),
        slice_panels=_by_metric(slices),
        gating_slices=any(row.gated for row in view.slices),
        slices_left_out=len(view.slices) - len(slices),
        breakdowns=[table for table in tables if table is not None],
        facts=_facts(view),
        logs=logs,
        versions=_versions(view),
        early_mark=EARLY_MARK,
        early_means=EARLY_MEANS,
        even_mark=EVEN_MARK,
        even_means=EVEN_MEANS,
        means=words.STATUS_MEANS,
        statuses=_statuses(view),
        css=Markup(css),
        js=Markup(js),
        policy=content_policy(css, js),
    )
    return text.rstrip() + "\n"


def _by_metric(rows: tuple[MetricRow, ...]) -> list[tuple[MetricRow, Panel]]:
    """Slices under the metric they belong to, each with an axis of its own."""
    groups: dict[str, list[MetricRow]] = {}
    for row in rows:
        groups.setdefault(row.id, []).append(row)
    return [(group[0], panels(group)[0]) for group in groups.values()]


def _facts(view: View) -> list[tuple[str, str, str]]:
    """Cost, tokens and times as (label, baseline, candidate)."""
    sides = [dict(side.facts) for side in view.sides]
    return [(label, sides[0].get(label, "–"), sides[1].get(label, "–")) for label in sides[0] | sides[1]]


def _versions(view: View) -> list[tuple[str, str, str]]:
    sides = [dict(side.versions) for side in view.sides]
    return [(name, sides[0].get(name, "–"), sides[1].get(name, "–")) for name in sides[0] | sides[1]]


def _statuses(view: View) -> list[str]:
    """The statuses the page shows, in the order of the words' own table: the legend explains these and no more."""
    present = {row.status for row in view.metrics}
    return [status for status in words.STATUS_MEANS if status in present]
