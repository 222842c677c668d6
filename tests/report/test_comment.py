"""A comment fits, says what it leaves out, and never reads as a pass where there is no verdict."""

from __future__ import annotations

import re

import build
import pytest

from evalharness.report.comment import Link, comment_text, failure_text, fitted
from evalharness.report.markdown import render_markdown

TEXT = (
    "### head\n\n| a | b |\n|---|---|\n"
    + "".join(f"| row {i} | {'x' * 80} |\n" for i in range(200))
    + "\n**What broke**\n\n- first\n\n<details>\n<summary>99 more</summary>\n\n"
    + "".join(f"- case {i} {'y' * 60}\n" for i in range(99))
    + "\n</details>\n\n**Next**\n\n- do this\n"
)


@pytest.mark.parametrize("limit", [25_000, 12_000, 6_000, 2_000, 900])
def test_rows_go_whole_and_are_counted(limit: int) -> None:
    text = fitted(TEXT, limit)
    assert len(text) <= limit
    assert set(re.findall(r"^\| row.*", text, re.M)) <= set(TEXT.splitlines())
    kept = len(re.findall(r"^\| row", text, re.M)) + len(re.findall(r"^- case", text, re.M))
    said = [int(n.replace(",", "")) for n in re.findall(r"^([\d,]+) rows are left out", text, re.M)]
    assert kept + sum(said) == 299
    assert text.count("<details>") == text.count("</details>") == 1
    assert "- do this" in text and text.startswith("### head\n\n| a | b |\n|---|---|\n")


def test_what_fits_is_left_as_it_is() -> None:
    assert fitted(TEXT, len(TEXT)) == TEXT


@pytest.mark.parametrize("limit", [300, 500, 5_000])
def test_without_rows_to_leave_out_the_end_goes_and_folds_are_closed(limit: int) -> None:
    text = fitted("### head\n\n<details>\n\n" + "z " * 4000 + "\n\n</details>\n" + "w " * 4000, limit)
    assert len(text) <= limit and "The rest is left out here" in text
    assert text.count("<details>") == text.count("</details>")


@pytest.mark.parametrize("limit", [65_536, 32_768, 16_384])
def test_a_hostile_verdict_stays_inert_at_every_length(limit: int) -> None:
    text = comment_text(
        render_markdown(build.nasty_verdict()), [Link("run", "https://example.org/1")], limit, sha="a" * 40
    )
    outside = re.sub(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", "CODE", text)
    assert len(text) <= limit
    assert not re.search(r"(?<!\\)<(?!/?(sub|details|summary)>)|@\w", outside)
    assert text.count("<details>") == text.count("</details>")


def test_links_are_addresses_and_nothing_else() -> None:
    links = [
        Link("a", "https://example.org/x"),
        Link("b", "javascript:alert(1)"),
        Link("c", "https://x/) [y](z"),
    ]
    assert comment_text("s\n", links, 1000) == "s\n\n<sub>[a](https://example.org/x)</sub>\n"


@pytest.mark.parametrize("code", [2, 4, 5, 70, 130, 137])
def test_no_verdict_is_told_as_none(code: int) -> None:
    text = failure_text(code, [f"problem {i} <b>@all</b>" for i in range(30)])
    assert text.startswith("### ⛔ No verdict: ") and f"(exit code {code})" in text
    assert "- 10 more in the log" in text and "<b>" not in text and "@all" not in text
    assert "✅" not in text
