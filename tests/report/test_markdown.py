"""summary.md fits a comment and nothing in it acts."""

from __future__ import annotations

import re
from dataclasses import replace

import build
import pytest

from evalharness.core.comparisons import Drift, FlakyCase
from evalharness.report.markdown import LIMIT, code, item, prose, render_markdown


def without_code(text: str) -> str:
    """What GitHub reads as Markdown: code spans removed as CommonMark finds them."""
    return re.sub(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", "CODE", text)


def test_everything_a_reviewer_needs_is_there() -> None:
    verdict = build.verdict(
        checks=build.checks_of_every_status(),
        changes=(build.change("route-1", "billing", "refund"), build.change("route-5", "yes", "no")),
        critical=(build.critical("route-5"), build.critical("route-9")),
        warnings=("two answers were cut",),
    )
    lines = render_markdown(verdict).splitlines()
    assert lines[0] == (
        "### ❌ Regression: routing/exact\\_match got worse, and 2 critical cases that passed now fail"
    )
    assert lines[2] == "`support-bot-2` against `support-bot-1`"
    assert (
        "| ❌ | `routing/exact_match` | 85.3% | 81.0% | −4.3pp | [−6.3, −2.3] | 0.016 | 2pp | **regression** |"
        in lines
    )
    assert "- `route-1` `routing/exact_match` 1 → 0: was `billing`, now `refund`" in lines
    assert "- two answers were cut" in lines
    broke = lines[lines.index("**What broke** (3)") + 2 :][:3]
    assert broke[0] == "- **critical** `route-5` `routing/exact_match` 1 → 0: was `yes`, now `no`"
    assert broke[2].startswith("- **critical** `route-9`")
    assert "- baseline: 820 planned, 820 scored, 0 failed, 0 unscored" in lines


@pytest.mark.parametrize("render", [prose, lambda text: without_code(code(text))])
@pytest.mark.parametrize("text", build.NASTY)
def test_no_markup_mention_link_or_html_survives(render: object, text: str) -> None:
    shown = render(text)  # type: ignore[operator]
    assert "\n" not in shown
    assert not re.search(r"(?<!\\)[<`\[\]*_|#!]|@\w|#\d|GH-\d|www\.|[a-z]:[^\s\d\u200b]|\x1b", shown), shown


@pytest.mark.parametrize("text", build.NASTY)
def test_a_code_span_closes_where_it_should(text: str) -> None:
    assert without_code(f"a {code(text)} b {code(text)} c") == "a CODE b CODE c"


@pytest.mark.parametrize("text", ["a|b", "a\\|b", "a\\\\|b", "|", "\\|", "x\\"])
def test_a_table_cell_stays_one_cell(text: str) -> None:
    # The table extension splits at pipes that no backslash escapes, in code too.
    row = f"| {code(text, cell=True)} | next |"
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 3


def test_hostile_verdicts_have_the_same_lines_as_tame_ones() -> None:
    text = render_markdown(build.nasty_verdict())
    outside = without_code(text)
    assert not re.search(r"(?<!\\)<(?!/?(sub|details|summary)>)", outside)
    assert not re.search(r"@\w|https?://|www\.|(?<![\\\d])\]", outside)
    # Nothing foreign opens a block: a heading, quote, rule, fence, numbered list or indented code.
    assert text.count("<details>") == text.count("</details>") == text.count("<summary>") <= 1
    assert not re.search(
        r"^(?:#(?!## ❌)|>|=|_|```|~~~|\d+[.)]|[ \t]|-(?! )"
        r"|\*(?!\*(What broke|Coverage|Warnings|Next|Waivers|Since the anchor|Flakiness|Flaky cases|Judges)\*))",
        text,
        re.M,
    )
    assert not re.search(r"^- (?:#|>|-|\+|\*(?!\*critical)|\d+[.)])", text, re.M)


def test_slices_that_gate_stand_under_their_metric_and_only_they() -> None:
    lines = render_markdown(build.full_strength()).splitlines()
    names = [line.split("`")[1] for line in lines if re.match(r"\| [❌✅⚠️⛔·]+ \| `", line)]
    assert names[:4] == [
        "routing/exact_match", "routing/exact_match [tier=enterprise]", "routing/exact_match [tier=free]",
        "answers/contains",
    ]  # fmt: skip
    assert not any("channel=" in name for name in names)


def test_looks_waivers_drift_and_flakiness_are_told() -> None:
    lines = render_markdown(build.full_strength()).splitlines()
    assert lines[4] == "look 2 of 5 · 400 of 1,000 cases · 600 answers a side saved"
    match = next(line for line in lines if line.startswith("| ❌ | `routing/exact_match`"))
    assert "| −4.3pp † |" in match and "† observed at an early stop, so leaning towards the verdict" in lines
    assert any("`extraction/json_valid`" in line and "| 3pp (waived) |" in line for line in lines)
    assert (
        "- ⚠️ extraction/field\\_f1: 3pp instead of its own margin (expired on 2026-06-30): "
        "Until the parser is mended." in lines
    )
    assert "**Since the anchor** `support-bot-1.0`" in lines
    assert (
        "| `routing/exact_match` | 87.0% | 85.5% | 83.9% | −3.1pp | [−4.5, −1.7] | 2pp | ⚠️ **margin exceeded** |"
        in lines
    )
    assert "| `routing/exact_match` | 300 | 8 | 3.0% | 0.0151 | 0.117 | &lt;0.1% |" in lines
    (flaky,) = [line for line in lines if line.startswith("- `routing/exact_match`: ")]
    assert flaky.count("`route-0") == 20 and flaky.endswith("`route-019` 0.12 and 11 more")


def test_none_of_it_is_there_where_there_is_none() -> None:
    text = render_markdown(build.verdict(checks=build.checks_of_every_status()))
    assert not re.search("Waivers|anchor|Flak|†|look ", text)


def test_the_evidence_leaves_room_for_the_cases() -> None:
    keys = tuple(FlakyCase(key=f"{i} {'k' * 190}", rate=0.5, answers=2) for i in range(40))
    wide = [
        build.metric(
            f"eval-{i}/{'m' * 90}", build.estimate(0.8, 0.0), waiver=build.waiver(f"eval-{i}", "why " * 300)
        )
        for i in range(200)
    ]
    verdict = build.full_strength(
        checks=tuple(build.check("pass", m) for m in wide),
        changes=tuple(build.change(f"case-{i}", "word " * 99, "drow " * 99) for i in range(300)),
        drift=tuple(Drift(metric=m, baseline=None, candidate=m.estimate, exceeds=True) for m in wide),
        flakiness=tuple(replace(build.flakiness()[0], metric=m.id, flaky=keys) for m in wide),
    )
    text = render_markdown(verdict)
    assert len(text) <= LIMIT
    assert len(re.findall(r"^- `case-", text, re.M)) >= 20
    for title in ("Waivers", "Since the anchor", "Flakiness", "Flaky cases"):
        block = text.split(f"**{title}**")[1].split("\n**")[0]
        assert re.search(r"^\d+ more in report.html and comparison.json.$", block, re.M), title


@pytest.mark.parametrize("n", [300, 1500])
def test_it_fits_a_comment_and_counts_the_rows_it_leaves_out(n: int) -> None:
    long = "word " * 200
    checks = tuple(
        build.check("pass", build.metric(f"eval-{i}/{'m' * 90}", build.estimate(0.8, 0.0))) for i in range(n)
    )
    changes = tuple(build.change(f"case-{i}-{'x' * 150}", long, long[::-1]) for i in range(n))
    verdict = build.verdict(
        checks=checks,
        changes=changes,
        warnings=tuple(f"{i} {long}" for i in range(n)),
        reasons=(long * 9,) * n,
    )
    text = render_markdown(verdict)
    assert len(text) <= LIMIT
    assert len(text.encode()) <= 4 * LIMIT
    shown = len(re.findall(r"^- `case-", text, re.M))
    assert 0 < shown < n
    assert f"{n - shown:,} more in report.html and comparison.json." in text
    metrics = len(re.findall(r"^\| ✅ \| `eval-", text, re.M))
    assert f"{n - metrics:,} more metrics in report.html" in text
    assert all(line.endswith("|") for line in text.splitlines() if line.startswith("|"))


def test_what_asking_took_is_told_of_a_side_that_was_asked() -> None:
    spent = {"calls": 1200, "cached": 40, "input_tokens": 90_000, "output_tokens": 8_000, "cost_usd": 1.25}
    sides = {
        "baseline": build.side("baseline", "one", facts={"calls": 0, "output_tokens": 5}),
        "candidate": build.side("candidate", "two", facts=spent),
    }
    lines = render_markdown(build.verdict(checks=build.checks_of_every_status(), **sides)).splitlines()
    (told,) = [line for line in lines if " asked: " in line]
    assert told.startswith(
        "- candidate asked: calls made 1,200, answers from the cache 40, input tokens 90,000,"
    )
    assert told.endswith("cost \\$1.25")


def test_many_regressed_cases_are_folded_and_a_waiver_is_offered() -> None:
    changes = tuple(build.change(f"case-{i}", "yes", "no") for i in range(14))
    lines = render_markdown(
        build.verdict(checks=build.checks_of_every_status(), changes=changes)
    ).splitlines()
    fold = lines.index("<details>")
    assert lines[fold + 1 : fold + 4] == ["<summary>4 more</summary>", "", lines[fold + 3]]
    assert len([line for line in lines[:fold] if line.startswith("- `case-")]) == 10
    assert any(
        "gate.waivers" in line and ": `{metric: routing/exact_match, max_drop: …" in line for line in lines
    )
    calm = render_markdown(build.verdict(checks=(build.checks_of_every_status()[-1],)))
    assert "waivers" not in calm


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "nothing is blessed; to bless one: evalharness baseline show main@3 --baselines s3://b/x && a_b",
            "nothing is blessed; to bless one: `evalharness baseline show main@3 --baselines s3://b/x && a_b`",
        ),
        ("run: evalharness golden lock a_b; then go", "run: `evalharness golden lock a_b`; then go"),
        ("suite.yaml:12: a_b", "suite.yaml:12: a\\_b"),
        ("1. evalharness is a word, @a", "1\\. evalharness is a word, @\u200ba"),
    ],
)  # fmt: skip
def test_commands_and_places_are_copied_as_they_are(text: str, shown: str) -> None:
    assert item(text) == shown
