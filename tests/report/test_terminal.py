"""The terminal shows the verdict at any width and lets nothing foreign act."""

from __future__ import annotations

import re

import build
import pytest
from rich.cells import cell_len

from evalharness.core.runs import Coverage
from evalharness.report.terminal import render_terminal

SGR = re.compile(r"\x1b\[[0-9;]*m")


def sample(**changes: object) -> str:
    verdict = build.verdict(
        checks=build.checks_of_every_status(),
        changes=tuple(build.change(f"route-{i}") for i in range(12)),
        critical=(build.critical("route-3"),),
        warnings=("two answers were cut",),
    )
    return render_terminal(verdict, **({"width": 120, "color": False} | changes))  # type: ignore[arg-type]


def test_everything_a_reader_needs_is_there() -> None:
    text = sample()
    row = next(line for line in text.splitlines() if line.strip().startswith("routing/exact_match"))
    assert row.split()[:8] == [
        "routing/exact_match",
        "85.3%",
        "81.0%",
        "−4.3pp",
        "[−6.3,",
        "−2.3]",
        "0.016",
        "2pp",
    ]
    for words in (
        "✗ REGRESSION  exit 1",
        "routing/exact_match fell 4.3pp, margin 2pp.",
        "two answers were cut",
        "12 cases changed: 12 regressed",
        "critical: route-3",
        "820 planned, 820 scored, 0 failed, 0 unscored",
        "95% CI",
        "Next",
        "answers/judge",
    ):
        assert words in text


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 140, 200])
def test_no_line_is_wider_than_the_terminal_and_the_status_is_always_whole(width: int) -> None:
    text = sample(width=width)
    assert max(cell_len(line) for line in text.splitlines()) <= max(40, width)
    for status in ("regression", "suspect", "underpowered", "improved", "advisory", "invalid"):
        assert status in text


@pytest.mark.parametrize("width", [72, 78, 79, 80, 81, 96, 97, 98, 99, 100, 101, 102, 103, 110])
def test_a_metric_id_is_not_broken_where_a_column_can_give_way(width: int) -> None:
    lines = sample(width=width).splitlines()
    starts = [line.split()[0] for line in lines[: lines.index("✗ REGRESSION  exit 1")] if line.strip()]
    shown = {check.metric.id for check in build.checks_of_every_status()}
    assert shown <= set(starts)


def test_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, colored = sample(), sample(color=True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "33")
    monkeypatch.setenv("TERM", "dumb")
    assert (sample(), sample(color=True)) == (plain, colored)
    assert "\x1b" not in plain
    assert [line.rstrip() for line in SGR.sub("", colored).splitlines()] == plain.splitlines()


@pytest.mark.parametrize("color", [True, False])
def test_foreign_text_neither_colours_nor_moves_nor_links(color: bool) -> None:
    text = SGR.sub("", render_terminal(build.nasty_verdict(), width=100, color=color))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\ud800-\udfff]", text)
    assert "[bold red]markup[/bold red]" in text.replace("\n", " ").replace("  ", " ")


def test_a_reason_that_names_a_metric_keeps_its_name() -> None:
    reasons = {"bad_request": 2, "routing/word_limit: the answer is empty": 1}
    coverage = Coverage(planned=3, scored=0, failed=2, unscored=1, reasons=reasons)
    verdict = build.verdict(baseline=build.side("baseline", "bot", coverage=coverage))
    text = " ".join(render_terminal(verdict, width=120, color=False).split())
    assert "(bad request: 2, routing/word_limit: the answer is empty: 1)" in text


def test_nothing_compared_is_not_called_unchanged() -> None:
    text = render_terminal(build.verdict("invalid", reasons=("no baseline",)), width=100, color=False)
    assert "No case was compared." in text
    assert "No case changed" not in text


def strong(width: int = 120, **changes: object) -> str:
    return render_terminal(build.full_strength(**changes), width=width, color=False)  # type: ignore[arg-type]


def test_slices_that_gate_stand_under_their_metric_and_only_they() -> None:
    lines = [line.strip() for line in strong().splitlines()]
    first = next(i for i, line in enumerate(lines) if line.startswith("routing/exact_match"))
    assert lines[first + 1].startswith("↳ tier=enterprise") and lines[first + 1].endswith("pass")
    assert lines[first + 2].startswith("↳ tier=free") and lines[first + 2].endswith("regression")
    assert "channel=" not in strong()


def test_looks_waivers_drift_and_flakiness_are_told() -> None:
    text = strong()
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines.index("look 2 of 5 · 400 of 1,000 cases · 600 answers a side saved") == (
        lines.index("✗ REGRESSION exit 1") + 2
    )
    assert "routing/exact_match 85.3% 81.0% −4.3pp † [−6.3, −2.3] 0.016 2pp regression" in lines
    assert "† observed at an early stop, so leaning towards the verdict" in lines
    assert "extraction/json_valid 94.0% 91.6% −2.4pp † [−2.9, −1.9] 0.060 3pp pass" in lines
    assert any(
        line.startswith("• extraction/json_valid: 3pp") and "active until 2027-03-31" in line
        for line in lines
    )
    assert any(
        line.startswith("! extraction/field_f1: 3pp") and "expired on 2026-06-30" in line for line in lines
    )
    assert "Since the anchor support-bot-1.0" in lines
    assert "routing/exact_match 87.0% 85.5% 83.9% −3.1pp [−4.5, −1.7] 2pp exceeded" in lines
    assert "! answers/contains: the anchor was not scored by contains" in lines
    assert "routing/exact_match 300 3.0% 0.0151 0.117 <0.1%" in lines
    flaky = " ".join(text.split()).split("flaky cases (share of passes): ")[1].split(" and 11 more")[0]
    assert len(flaky.split(", ")) == 20 and flaky.startswith("route-000 (0.50)")


def test_none_of_it_is_there_where_there_is_none() -> None:
    assert not re.search("Waivers|anchor|Flakiness|†|look ", sample())


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 140])
def test_everything_fits_at_any_width(width: int) -> None:
    text = strong(width=width)
    assert max(cell_len(line) for line in text.splitlines()) <= max(40, width)
    for word in ("exceeded", "<0.1%", "−4.3pp †", "−3.1pp", "2026-06-30"):
        assert word in text


def test_an_anchor_that_nothing_could_be_compared_with_is_still_named() -> None:
    assert "no gated metric was compared with it" in strong(drift=())
