"""Judges in a report: standing beside the verdict, health held against what is wanted, what was said on a case."""

from __future__ import annotations

import build
import pytest
import referees
from test_html import Page

from evalharness.core.judges import JudgedEval, NotMeasured, Standing
from evalharness.core.verdicts import Verdict
from evalharness.report.html import render_html
from evalharness.report.judges import HealthRow, build_judges
from evalharness.report.markdown import render_markdown
from evalharness.report.terminal import render_terminal


def verdict(*judges: JudgedEval, **changes: object) -> Verdict:
    win_rate = build.metric(
        "answers/judge", build.estimate(0.5, -0.06), kind="preference", gated=False, primary=False
    )
    known = {
        "checks": (build.checks_of_every_status()[0], build.check("advisory", win_rate)),
        "changes": (
            build.change("route-1", "one answer", "another answer"),
            build.change("route-2", regressed=False, values={"answers/judge": (0.5, 0.0)}),
        ),
        "warnings": (referees.WARNING, "two answers were cut"),
        "judges": judges,
    }
    return build.verdict(**(known | changes))  # type: ignore[arg-type]


def rows(one: JudgedEval) -> dict[str, HealthRow]:
    (view,) = build_judges([one])
    return {row.label: row for row in view.rows}


def test_a_judge_that_may_not_gate_is_said_before_the_first_number() -> None:
    found = verdict(referees.judged([referees.judgment()]))
    terminal = render_terminal(found, width=200, color=False)
    assert terminal.splitlines()[1].strip() == f"! {referees.WARNING}"
    markdown = render_markdown(found)
    assert markdown.index("answers/judge is advisory") < markdown.index("| metric |")
    page = render_html(found)
    assert page.index("answers/judge is advisory") < page.index('class="forest')
    for text in (terminal, markdown, Page(page).text):
        assert text.count("answers/judge is advisory: ") == 1
        assert "two answers were cut" in text


def test_a_warning_about_a_judge_that_may_gate_stays_a_warning() -> None:
    found = verdict(referees.judged(standing=Standing(may_gate=True)))
    assert render_terminal(found, width=200, color=False).splitlines()[1].strip() == ""
    assert "may gate" in Page(render_html(found)).text


def test_health_is_held_against_what_is_wanted_in_words() -> None:
    found = rows(referees.judged())
    flips = found["Verdict changes with the order"]
    assert (flips.here, flips.wanted, flips.mood) == ("31.0%", "10% at most", "misses")
    slot = found["Of these changes, for the first answer"]
    assert slot.mood == "look" and slot.says.startswith("prefers the first answer: 27 to 4, p <0.001")
    assert found["Length and preference (r)"].says == "longer answers are preferred"
    equal = found["Win rate at equal length"]
    assert equal.here == "44.7%" and "51.2% as it is" in equal.says and equal.mood == "look"
    replies = found["Replies that are no verdict"]
    assert replies.here == "4 of 200" and replies.says == "no verdict on 3: the reply is not JSON, 2 times"
    assert found["Model family"].mood == "look" and "candidate" in found["Model family"].says


def test_a_judge_without_bias_has_nothing_to_look_at() -> None:
    fair = referees.judged(
        judge=referees.judge(calibration=referees.calibration()),
        health=referees.health(
            flips=referees.flips(rate=referees.measured(0.1), p_value=0.4),
            length_correlation=referees.measured(0.02, 0.2),
            win_rate=referees.measured(0.55),
            length_controlled=referees.measured(0.56),
            unreadable=0,
            without_value=0,
            problem=None,
            families=referees.Families(judge=("GPT",), baseline=("Qwen",), candidate=("Qwen",), own=()),
        ),
    )
    assert {row.mood for row in rows(fair).values()} <= {"meets", ""}
    assert rows(fair)["Verdict changes with the order"].calibrated == "5.0%"


@pytest.mark.parametrize(
    ("label", "changes"),
    [
        ("People's labels", {"n_judged": 49}),
        ("Agrees with people", {"agreement": referees.measured(0.799)}),
        ("Beyond chance (kappa)", {"kappa": referees.measured(0.59)}),
        ("Beyond chance (kappa)", {"kappa": None, "problem": "one class only"}),
        ("Verdict changes with the order", {"flip_rate": referees.measured(0.11)}),
    ],
)
def test_a_calibration_that_falls_short_is_marked(label: str, changes: dict[str, object]) -> None:
    one = referees.judged(
        judge=referees.judge(calibration=referees.calibration(**changes)),
        health=referees.health(flips=NotMeasured("no pair was judged in both orders")),
    )
    assert [row.label for row in rows(one).values() if row.mood == "misses"] == [label]


def test_what_could_not_be_measured_says_why() -> None:
    reason = "no pair was judged in both orders"
    one = referees.judged(health=referees.health(flips=NotMeasured(reason)))
    page = Page(render_html(verdict(one)))
    assert f"not known here: {reason}" in page.text


def test_both_orders_with_their_reasons_stand_beside_the_changed_case() -> None:
    said = referees.judgment(flags=("instructions aimed at a judge",))
    text = Page(render_html(verdict(referees.judged([said])))).text
    card = text[text.index("one answer") :]
    first = card.index("Baseline's answer first (A): prefers the candidate")
    second = card.index("Candidate's answer first (A): a tie")
    assert first < card.index("Answer B names the invoice.") < second < card.index("Both are polite.")
    assert "leans to the candidate (0.75 of 1 for the candidate)" in card
    assert "instructions aimed at a judge" in card


def test_a_verdict_that_cannot_be_read_shows_the_reply_and_the_reason() -> None:
    unread = referees.vote(
        "BA", None, problem="the reply is not JSON", raw="I like <b>both</b>." + "x" * 9000
    )
    said = referees.judgment(value=None, votes=(referees.vote(), unread), problem="no verdict with B first")
    page = render_html(verdict(referees.judged([said])))
    assert "no verdict: the reply is not JSON" in Page(page).text
    assert "I like &lt;b&gt;both&lt;/b&gt;." in page
    assert "8,419 more characters are in judgments.jsonl" in Page(page).text


def test_one_answer_at_a_time_shows_criteria_of_each_side() -> None:
    votes = (referees.vote(None, 0.5, rationale="correct: it is", marks={"correct": 1.0, "polite": 0.0}),)
    sides = [
        referees.judgment(role="baseline", value=0.5, votes=votes),
        referees.judgment(role="candidate", value=None, votes=(), problem="the judge gave no reply"),
    ]
    page = Page(render_html(verdict(referees.trusted(judgments=tuple(sides)))))
    assert "baseline: 50.0% of the criteria met" in page.text
    assert "candidate: no verdict: the judge gave no reply" in page.text
    assert "correct yes polite no" in page.text
    assert "Members agree (Krippendorff's alpha) notice" in page.text
    assert "the members often disagree" in page.text


def test_long_reasons_are_cut_and_said() -> None:
    said = referees.judgment(votes=(referees.vote(rationale="r " * 5000),))
    page = render_html(verdict(referees.judged([said])))
    assert "8,500 more characters" in page and len(page) < 120_000


def test_a_win_rate_is_called_one_and_the_baselines_half_is_explained() -> None:
    found = verdict(referees.judged([referees.judgment("route-2", 0.0)]))
    terminal, markdown = render_terminal(found, width=120, color=False), render_markdown(found)
    for text in (terminal, markdown):
        assert "answers/judge (win rate)" in text and "50% ‡" in text
        assert "50% is even by definition" in text
    page = Page(render_html(found))
    assert "win rate against the baseline" in page.text
    assert "answers/judge prefers the baseline" in page.text
    without = build.verdict(checks=build.checks_of_every_status())
    assert "‡" not in render_terminal(without, width=120, color=False) + render_markdown(
        without
    ) + render_html(without)


def test_health_takes_two_lines_in_a_comment() -> None:
    block = render_markdown(verdict(referees.judged())).split("**Judges**")[1].split("\n\n")[1]
    first, second = block.splitlines()
    assert "may not gate" in first and "won 30, lost 27, tied 40" in first
    assert "31.0% (wanted: 10% at most)" in second and "longer answers are preferred" in second
    assert "instructions aimed at a judge: 0 of the baseline's answers, 2 of the candidate's" in second


def test_a_judge_with_nothing_measured_takes_one_line() -> None:
    with_nothing = verdict(referees.judged(health=None))
    block = render_markdown(with_nothing).split("**Judges**")[1].split("\n\n")[1]
    assert len(block.splitlines()) == 1
    shown = render_terminal(with_nothing, width=100, color=False)
    assert "calls made, $1.25\n\nbaseline coverage" in shown  # no empty line where the figures would stand


def test_a_comparison_without_a_judge_says_nothing_of_judges() -> None:
    plain = build.verdict(checks=build.checks_of_every_status())
    assert "Judges" not in render_terminal(plain, width=120, color=False) + render_markdown(plain)
    assert 'id="judges"' not in render_html(plain)
