"""The sentences: what happened, how it was decided, what to do next."""

from __future__ import annotations

import build
import pytest

from evalharness.core.cases import Slice
from evalharness.core.comparisons import Looks
from evalharness.core.verdicts import Check, Outcome, Status
from evalharness.gate.remarks import stopped
from evalharness.gate.wording import allowance
from evalharness.report.evidence import build_evidence
from evalharness.report.markdown import render_markdown
from evalharness.report.terminal import render_terminal
from evalharness.report.view import build_view
from evalharness.report.words import how_decided


def one(status: Status, **changes: object) -> Check:
    known = {"est": build.estimate(0.8, -0.03)} | changes
    return build.check(status, build.metric("a/b", **known), p_adjusted=0.03)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("outcome", "checks", "headline"),
    [
        ("regression", (one("regression"),), "a/b got worse."),
        ("inconclusive", (one("suspect"),), "a/b got worse by the margin or more, and noise alone could do that."),
        ("inconclusive", (one("underpowered"),), "The data cannot rule out that a/b got worse by the margin."),
        ("invalid", (), "Nothing was decided: the two runs cannot be judged as they are."),
        ("pass", (one("pass"),), "Getting worse by the margin is ruled out on the gated metric."),
        (
            "pass",
            (one("pass"), one("underpowered")),
            "Getting worse by the margin is ruled out on 1 of 2 gated metrics.",
        ),
        # A secondary metric that regressed warns; the headline is about what decided.
        ("regression", (one("regression"), one("regression", primary=False)), "a/b got worse."),
    ],
)  # fmt: skip
def test_the_headline_says_what_decided(outcome: Outcome, checks: tuple[Check, ...], headline: str) -> None:
    assert build_view(build.verdict(outcome, checks=checks)).headline == headline


def test_the_headline_counts_slices_that_gate() -> None:
    slices = (build.gating_slice("pass"), build.gating_slice("underpowered", name=Slice("tier", "free")))
    view = build_view(build.verdict("pass", checks=(one("pass"),), slice_checks=slices))
    assert view.headline == "Getting worse by the margin is ruled out on 2 of 3 gated metrics and slices."
    view = build_view(build.verdict("pass", checks=(one("pass"),), slice_checks=slices[:1]))
    assert view.headline == "Getting worse by the margin is ruled out on every gated metric and slice."
    bad = build.verdict(checks=(one("pass"),), slice_checks=(build.gating_slice("regression", "a/b"),))
    assert build_view(bad).headline == "a/b [tier=enterprise] got worse."


def test_critical_cases_are_counted_once_whatever_number_of_metrics_they_fail() -> None:
    failures = (build.critical("x"), build.critical("x", metric="c/d"), build.critical("y"))
    view = build_view(build.verdict(critical=failures))
    assert view.headline == "2 critical cases that passed now fail."


def test_next_steps_name_the_cases_that_would_decide() -> None:
    steps = build_view(build.verdict("inconclusive", checks=(one("suspect"),))).steps
    assert steps == (
        "To decide a/b, compare about 870 cases (now 300): that many see a true change of 2pp with 80% power.",
        "To accept a drop that is known and wanted, add a waiver to the suite's gate.waivers in the same change, so "
        "that reviewers see it: {metric: a/b, max_drop: …, reason: …, expires: YYYY-MM-DD}",
    )
    unknown = build_view(build.verdict("inconclusive", checks=(one("suspect", n_for_power=None),))).steps
    assert unknown[0] == "To decide a/b, add cases or repeats (now 300 cases)."


def test_a_metric_with_a_waiver_is_not_told_to_get_another() -> None:
    waived = one("regression", waiver=build.waiver("a/b", "known"))
    (step,) = build_view(build.verdict("regression", checks=(waived,))).steps[-1:]
    assert step == (
        "a/b has a waiver already, and a metric has one at most: to accept a larger drop, raise its max_drop there."
    )


def test_an_invalid_comparison_asks_for_mending_not_for_cases() -> None:
    (step,) = build_view(build.verdict("invalid", checks=(one("underpowered"),))).steps
    assert step.startswith("Mend what the reasons above name")


def test_a_clean_pass_asks_for_nothing() -> None:
    assert build_view(build.verdict("pass", checks=(one("pass"),))).steps == ()


def test_the_decision_is_told_in_words_on_the_metrics_own_scale() -> None:
    length = build.metric(
        "answers/length", build.estimate(-142.5, 3.0, half=2.0), unit="characters", direction="lower",
        margin=build.FIVE_PERCENT, max_drop=7.125, mde=4.0, n_for_power=90,
    )  # fmt: skip
    text = " ".join(how_decided(build.check("pass", length, p_adjusted=0.0004), 0.05))
    assert (
        "Test of “no drop” on 300 paired cases (mid-p McNemar): p = 0.010, <0.001 after Holm's correction"
        in text
    )
    assert (
        "One-sided 95% bound (Tango score bound): −1.32 characters, which rules out a rise of 7.125 characters."
        in text
    )
    assert (
        "a true rise of 4 characters is seen with 80% power; seeing one of 7.125 characters takes about 90 cases"
        in text
    )


def test_a_pass_that_was_refused_says_why() -> None:
    few = build.estimate(0.9, 0.0, no_pass_reason="only 4 cases changed; a bound needs 10")
    sentences = how_decided(build.check("underpowered", build.metric(est=few)), 0.05)
    assert "only 4 cases changed; a bound needs 10." in sentences


def test_clusters_are_named_as_what_they_are() -> None:
    clustered = build.estimate(0.9, 0.0, clustered=True, n_units=40)
    assert (
        "on 300 paired cases in 40 clusters"
        in how_decided(build.check("pass", build.metric(est=clustered)), 0.05)[0]
    )


def test_facts_that_nobody_foresaw_are_shown_and_known_ones_read_well() -> None:
    facts = {
        "calls": 12,
        "cost_usd": 1.5,
        "latency_p50_ms": 840.0,
        "wall_s": 250.0,
        "gpu_hours": 3.5,
        "secret": [1],
    }
    view = build_view(build.verdict(candidate=build.side("candidate", "c", facts=facts)))
    assert view.candidate.facts == (
        ("Calls made", "12"), ("Cost", "$1.50"), ("Latency, median", "840 ms"), ("Wall time", "4 min 10 s"),
        ("Gpu hours", "3.5"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "look 2 of 5 · 400 of 1,000 cases · 600 answers a side saved"),
        ({"saved_baseline": 0}, "look 2 of 5 · 400 of 1,000 cases · 600 candidate answers saved"),
        (
            {"saved_baseline": 1200},
            "look 2 of 5 · 400 of 1,000 cases · 1,200 baseline and 600 candidate answers saved",
        ),
        (
            {
                "stopped": "end",
                "number": 5,
                "used": {"a": 9},
                "most": {"a": 9},
                "saved_baseline": 0,
                "saved_candidate": 0,
            },
            "look 5 of 5 · 9 of 9 cases",
        ),
    ],
)  # fmt: skip
def test_the_looks_are_one_line(changes: dict[str, object], line: str) -> None:
    evidence = build_evidence(build.verdict(looks=build.looks(**changes)))
    assert evidence.looks is not None and evidence.looks.line == line


@pytest.mark.parametrize(
    "looks", [build.looks(), build.looks(stopped="end", number=5), build.looks(stopped="pass")]
)
def test_where_the_looks_stopped_is_said_once(looks: Looks) -> None:
    view = build_view(build.verdict(reasons=("a/b regressed", stopped(looks)), looks=looks))
    assert view.reasons == ("a/b regressed",)
    assert view.evidence.looks is not None


def test_a_waiver_that_a_reason_tells_in_full_is_told() -> None:
    waived = build.metric(
        est=build.estimate(0.8, -0.024), waiver=build.waiver("routing/exact_match", "x"), waived=True
    )
    assert waived.waiver is not None
    for reason, told in (
        (f"{waived.id} is waived: it {allowance(waived, waived.waiver)}", True),
        (f"other/metric is waived: it {allowance(waived, waived.waiver)}", False),
        (f"{waived.id} regressed", False),
        ("y" * 600 + f"{waived.id} is waived: it {allowance(waived, waived.waiver)}", False),
    ):
        verdict = build.verdict(checks=(build.check("pass", waived),), reasons=(reason,))
        assert [waiver.told for waiver in build_evidence(verdict).waivers] == [told]
        for text in (render_terminal(verdict, width=120, color=False), render_markdown(verdict)):
            assert ("3pp instead of its own margin" in text) is not told


def test_a_reason_of_another_kind_is_kept_beside_the_looks() -> None:
    reasons = ("a/b regressed: −4pp, p = 0.01 (mid-p McNemar, look 2 of 5, Holm)",)
    assert build_view(build.verdict(reasons=reasons, looks=build.looks())).reasons == reasons


def test_more_looks_are_the_first_step_where_there_are_more() -> None:
    looks = build.looks(number=4, routine=4, stopped="end")
    steps = build_view(build.verdict("inconclusive", checks=(one("suspect"),), looks=looks)).steps
    assert steps[0].startswith("Run the same command with --extend: it asks the reserved cases,")
    ended = build.looks(number=5, stopped="end")
    steps = build_view(build.verdict("inconclusive", checks=(one("suspect"),), looks=ended)).steps
    assert not any("--extend" in step for step in steps)
