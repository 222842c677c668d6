"""What became of a case, told alike everywhere: a drop without a flip never reads as "0 regressed"."""

from __future__ import annotations

import build
import pytest

from evalharness import pytest_plugin
from evalharness.core.suites import Margin
from evalharness.core.verdicts import Check, Verdict
from evalharness.report.cases import build_cases
from evalharness.report.groups import concentrations
from evalharness.report.html import render_html
from evalharness.report.markdown import render_markdown
from evalharness.report.movement import NO_FLIPS, fallen, group_of, metrics_of
from evalharness.report.story import build_story
from evalharness.report.terminal import render_terminal

FELL = {"small": (0.5, 0.4), "large": (1.0, 0.2), "rose": (0.2, 0.5)}


def check(status: str = "regression", id: str = "search/ndcg", **changes: object) -> Check:
    metric = build.metric(id, build.estimate(0.6, -0.1), **({"kind": "bounded"} | changes))
    return build.check(status, metric)  # type: ignore[arg-type]


def ranked(*checks: Check) -> Verdict:
    changes = tuple(
        build.change(key, f"a {key}", "b", regressed=False, values={"search/ndcg": values})
        for key, values in FELL.items()
    )
    return build.verdict(checks=checks or (check(),), changes=changes)


def test_a_drop_without_a_flip_is_told_by_its_worst_cases() -> None:
    verdict = ranked()
    line = "3 cases changed: 2 scored worse, 1 scored better."
    terminal = render_terminal(verdict, width=100, color=False)
    assert line in terminal and "scored worse, largest falls first: large, small\n" in terminal
    assert "→ Read the cases that scored worse" in terminal
    summary = render_markdown(verdict)
    assert line in summary and "**What broke** (2)" in summary
    assert summary.index("- `large` `search/ndcg` 1 → 0.2: was `a large`, now `b`") < summary.index(
        "- `small`"
    )
    assert "2 cases scored worse: less than half as long 2; 1 scored better." in build_story(
        verdict, build_cases(verdict).tallies, concentrations(verdict)
    )
    page = render_html(verdict)
    assert f"{line} {NO_FLIPS}" in page and ">What broke</h2>" in page
    logged = pytest_plugin._message(verdict)
    assert "2 cases scored worse, largest falls first: large, small" in logged
    for text in (terminal, summary, page, logged):
        assert "0 regressed" not in text


def test_where_a_metric_can_flip_both_are_counted_and_the_other_falls_are_named() -> None:
    flips = build.check("pass", build.metric(est=build.estimate(0.9, 0.0)))
    told = render_terminal(ranked(check(), flips), width=100, color=False)
    assert "3 cases changed: 0 regressed, 2 scored worse, 1 scored better, 0 fixed." in told
    assert "scored worse, largest falls first: large, small\n" in told


@pytest.mark.parametrize("quiet", [check("pass"), check("underpowered"), check("advisory", gated=False)])
def test_falls_on_a_metric_that_holds_are_counted_and_not_named(quiet: Check) -> None:
    assert fallen(ranked(quiet)) == ()
    assert "largest falls" not in render_terminal(ranked(quiet), width=100, color=False)
    assert "What broke" not in render_markdown(ranked(quiet))


def test_metrics_that_gate_say_whether_a_case_got_worse_and_falls_are_measured_in_margins() -> None:
    wide = check(id="answers/length", unit="characters", max_drop=100.0, margin=Margin(100, relative=False))
    verdict = ranked(check(), wide, check("advisory", "search/mrr", gated=False))
    metrics = metrics_of(verdict.comparison)

    def group(**deltas: float) -> str:
        values = {f"{name}/{m}": (0.0, d) for name, m, d in ((*k.split("__"), d) for k, d in deltas.items())}
        return group_of(build.change("a", regressed=False, values=values), metrics)

    assert group(search__ndcg=0.1, search__mrr=-0.5) == "better"
    assert group(search__mrr=-0.5) == "worse"
    assert group(search__ndcg=-0.1, answers__length=90.0) == "worse"
    assert group_of(build.change("a"), metrics) == "regressed"
    assert group_of(build.change("a", regressed=False, fixed=True), metrics) == "fixed"
    changes = (
        build.change("letters", regressed=False, values={"answers/length": (0.0, -90.0)}),
        build.change("share", regressed=False, values={"search/ndcg": (0.5, 0.4)}),
    )
    assert fallen(build.verdict(checks=(check(), wide), changes=changes)) == ("share", "letters")


def test_nothing_that_broke_is_no_headline() -> None:
    changes = (build.change("a", regressed=False, fixed=True),)
    passed = build.check("pass", build.metric(est=build.estimate(0.9, 0.01)))
    page = render_html(build.verdict("pass", checks=(passed,), changes=changes))
    assert ">What changed</h2>" in page and "What broke" not in page


def test_sides_of_one_name_are_told_apart_by_their_runs() -> None:
    same = build.side("candidate", "support-bot-1")
    told = render_terminal(build.verdict(candidate=same), width=100, color=False)
    assert told.startswith(
        "support-bot-1 (run bbbbbbbbbbbb) against support-bot-1 (run aaaaaaaaaaaa) on suite"
    )
