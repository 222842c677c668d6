"""report.html is one closed file: it says what the verdict says and no foreign string becomes markup."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import build
import pytest

from evalharness.core.attempts import Failure
from evalharness.core.histories import MetricHistory, Point
from evalharness.core.runs import Coverage
from evalharness.core.verdicts import Outcome, Verdict
from evalharness.report.case_data import case_data as data_of
from evalharness.report.cases import build_cases
from evalharness.report.folder import Log
from evalharness.report.html import render_html
from evalharness.report.plot import panels
from evalharness.report.view import build_view

VOID = {"meta", "link", "input", "col", "br"}


class Page(HTMLParser):
    """Every element with its attributes, the text outside style and script, and whether tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.code: dict[str, list[str]] = {"script": [], "style": []}
        self.stack: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] in self.code:
            self.code[self.stack[-1]].append(data)
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def count(self, tag: str, name: str = "") -> int:
        return sum(t == tag and (not name or name in a.get("class", "").split()) for t, a in self.elements)


def sample(outcome: Outcome = "regression") -> Verdict:
    tables = {
        "per_class": [{"label": "billing", "precision": 0.9, "recall": 0.8, "f1": 0.85, "support": 40.0}],
        "confusion": {"gold": ["billing"], "predicted": ["billing", "(other)"], "matrix": [[32.0, 8.0]]},
    }
    corpus = build.metric(
        "routing/macro_f1", build.estimate(0.8, 0.0), breakdown={"baseline": tables, "candidate": tables}
    )
    return build.verdict(
        outcome,
        checks=(*build.checks_of_every_status(), build.check("pass", corpus)),
        slice_checks=build.slice_checks(),
        changes=(
            build.change("route-1", "I refunded the second charge.", "I refunded the first charge."),
            build.change("route-2", "an answer", Failure(kind="timeout", message="no complete answer after 60 s")),
            build.change("route-3", "other", "billing", regressed=False, fixed=True),
            build.change("answer-4", regressed=False, values={"answers/rouge_l": (0.71, 0.44)}),
        ),
        critical=(build.critical("route-2"),),
        warnings=("two answers were cut",),
        candidate=build.side(
            "candidate", "support-bot-2",
            coverage=Coverage(planned=820, scored=817, failed=3, unscored=0, reasons={"timeout": 3}),
        ),
    )  # fmt: skip


def test_the_page_says_what_the_verdict_says() -> None:
    page = Page(render_html(sample()))
    assert not page.stack
    for words in (
        "Regression", "routing/exact_match got worse, and 1 critical case that passed now fails.",
        "routing/exact_match fell 4.3pp, margin 2pp.", "85.3% → 81.0%", "−4.3pp [−6.3, −2.3]", "may fall by 2pp",
        "answers/length", "could not be estimated", "two answers were cut",
        "4 cases changed: 2 regressed, 1 scored worse, 1 fixed", "I was charged twice for my June invoice.",
        "No answer. timeout: no complete answer after 60 s", "channel=email", "mid-p McNemar", "timeout 3",
        "support-small-2026-08-07", "sha256:" + "a" * 64, "$0.41", "1.4 s", "evalharness 0.1.0",
        "seed 20260807", "Per class, before → after", "billing 40 90.0% 80.0% 85.0%",
    ):  # fmt: skip
        assert words in page.text, words
    marked = re.findall(r"<(?:del|ins)>([^<]*)</(?:del|ins)>", render_html(sample()))
    assert "second" in marked and "first" in marked


@pytest.mark.parametrize("outcome", ["pass", "regression", "inconclusive", "invalid"])
def test_the_verdict_is_a_word_and_a_picture_not_a_colour_alone(outcome: Outcome) -> None:
    text = render_html(sample(outcome))
    assert re.search(rf'<h1[^>]*>.*#i-{outcome}"/></svg></span>{outcome.capitalize()}</h1>', text)


def test_a_narrow_screen_may_leave_out_every_other_label_of_a_crowded_axis_and_never_zero() -> None:
    def ticks(delta: float, half: float) -> list[tuple[str, bool]]:
        metric = build.metric(est=build.estimate(0.8, delta, half=half))
        (panel,) = panels(build_view(build.verdict(checks=(build.check("pass", metric),))).metrics)
        return [(tick.label, tick.minor) for tick in panel.ticks]

    assert ticks(-0.01, 0.05) == [
        ("6pp", True), ("4pp", False), ("2pp", True), ("0", False), ("2pp", True), ("4pp", False),
    ]  # fmt: skip
    few = ticks(-0.15, 0.07)
    assert [label for label, _ in few] == ["20pp", "15pp", "10pp", "5pp", "0"] and not any(m for _, m in few)


def test_metrics_that_gate_are_drawn_first_and_each_has_a_line_in_words() -> None:
    text = render_html(sample())
    assert text.index(">extraction/field_f1<") < text.index(">answers/length<")
    labels = [a["aria-label"] for t, a in Page(text).elements if t == "svg" and a.get("role") == "img"]
    assert (
        "routing/exact_match: difference −4.3pp, 95% interval [−6.3, −2.3], one-sided bound −6.0pp"
        in labels[0]
    )
    assert any("answers/length: difference +13.2 characters" in label for label in labels)
    assert len(labels) == 7 + 4  # every metric that has an estimate, and every slice


def test_slices_that_gate_are_drawn_under_their_metric_and_marked_among_the_slices() -> None:
    text = render_html(build.full_strength())
    labels = [a["aria-label"] for t, a in Page(text).elements if t == "svg" and a.get("role") == "img"]
    assert labels[0].startswith("routing/exact_match: difference −4.3pp at an early stop")
    assert labels[1].startswith("routing/exact_match [tier=enterprise]: ")
    assert labels[2].startswith("routing/exact_match [tier=free]: ")
    assert not any("channel=" in label for label in labels[:8])
    page = Page(text)
    assert "tier=free gates: regression" in page.text
    assert page.text.count("gates: ") == 2
    assert "none of them decides the verdict" not in page.text
    assert "none of them decides the verdict" in Page(render_html(sample())).text


def test_looks_waivers_drift_and_flakiness_are_told() -> None:
    text = render_html(build.full_strength())
    page = Page(text)
    assert not page.stack
    for words in (
        "look 2 of 5 · 400 of 1,000 cases · 600 answers a side saved", "−4.3pp † at an early stop [−6.3, −2.3]",
        "† observed at an early stop, so leaning towards the verdict",
        "may fall by 3pp, waiver active until 2027-03-31",
        "extraction/json_valid margin 3pp active until 2027-03-31 The quantised model trades this",
        "extraction/field_f1 margin 3pp expired on 2026-06-30 Until the parser is mended.",
        "routing/exact_match margin exceeded −3.1pp [−4.5, −1.7] 2pp 87.0% 85.5% −1.5pp 83.9%",
        "the anchor was not scored by contains", "routing/exact_match 3.0% <0.1% 0.0151 0.117 300 8",
        "routing/exact_match 31 flaky", "route-030 p̂ 0.12, 8 answers", "support-routing 280 700",
    ):  # fmt: skip
        assert words in page.text, words
    assert text.index("look 2 of 5") < text.index('class="why"') < text.index('id="waivers"')
    assert {"early", "anchor", "flakiness"} <= {a["id"] for _, a in page.elements if "id" in a}
    plain = Page(render_html(sample())).text
    assert not re.search("Waivers|anchor|Flakiness|†|look ", plain)


def test_flaky_cases_beyond_the_page_are_counted() -> None:
    page = Page(render_html(build.full_strength(flakiness=build.flakiness(1234))))
    assert "routing/exact_match 1,234 flaky" in page.text
    assert page.text.count("8 answers") == 500
    assert "and 734 more in comparison.json." in page.text


def case_data(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(page.code["script"][0])
    return found


def test_ten_thousand_cases_are_held_thirty_of_a_group_are_written_out_and_the_rest_is_counted() -> None:
    changes = (
        *(build.change(f"r{i}", "a", "b") for i in range(9_000)),
        *(build.change(f"f{i}", "a", "b", regressed=False, fixed=True) for i in range(300)),
        *(build.change(f"c{i}", "a", "b", regressed=False) for i in range(900)),
    )
    page = Page(render_html(build.verdict(changes=changes)))
    assert page.count("article", "case") == 90
    assert [case["g"] for case in case_data(page)["cases"]] == [0] * 9_000 + [1] * 900 + [3] * 100
    assert "10,000 of 10,200 changed cases are on this page" in page.text and "200 are not." in page.text
    assert "90 of 10,000 cases are shown without scripts" in page.text
    assert "9,000 900 –" in page.text and "– – 300" in page.text  # all are counted by what changed


def test_the_data_holds_what_the_page_shows() -> None:
    data = case_data(Page(render_html(sample())))
    first = next(case for case in data["cases"] if case["k"] == "route-1")
    assert data["metrics"][first["m"][0][0]] == "routing/exact_match" and first["m"][0][1:] == ["1 → 0", -1]
    assert (first["b"], first["e"]) == (
        [0, 0, "I refunded the ", "second", " charge."], [0, 0, "I refunded the ", "first", " charge."],
    )  # fmt: skip
    assert [data["tags"][place] for place in first["t"]] == ["channel=email"]
    failed = next(case for case in data["cases"] if case["k"] == "route-2")
    assert failed["E"] == "timeout: no complete answer after 60 s" and "e" not in failed


def test_the_file_is_bounded_whatever_the_cases_hold() -> None:
    words = " ".join(f"word{i}" for i in range(700))
    changes = tuple(
        build.change(f"c{i}", f"first {words}", f"{i} {words}", input=words) for i in range(3_000)
    )
    cases = build_cases(build.verdict(changes=changes))
    # A few long answers are shown long; the more there are, the less of each.
    assert 1_300 < sum(len(part.text) for part in cases.regressed.cases[0].after.parts) <= 1_334
    text, held = data_of(cases, most=1_000_000)
    assert 900_000 < len(text) < 1_001_000 and 0 < held < 3_000
    assert len(json.loads(text)["cases"]) == held


def test_values_that_are_more_than_right_or_wrong_are_drawn_as_a_histogram() -> None:
    moves = [(0.7, 0.4), (0.7, 0.5), (0.7, 0.55), (0.6, 0.5), (0.4, 0.5), (0.3, 0.6)]
    changes = tuple(
        build.change(f"c{i}", regressed=False, values={"answers/rouge_l": move})
        for i, move in enumerate(moves)
    )
    metric = build.metric("answers/rouge_l", build.estimate(0.7, -0.03, n=100), kind="bounded")
    page = Page(render_html(build.verdict(checks=(build.check("suspect", metric),), changes=changes)))
    (label,) = [a["aria-label"] for t, a in page.elements if t == "svg" and a.get("class") == "bars"]
    assert label == (
        "answers/rouge_l: 4 worse (median −20.0pp, worst −30.0pp); 2 better (median +10.0pp, best +30.0pp); "
        "94 did not move"
    )
    bars = [a["class"] for t, a in page.elements if t == "rect" and a.get("class") in ("worse", "better")]
    assert (bars.count("worse"), bars.count("better")) == (4, 2)


def test_the_percentiles_of_a_time_are_shown_side_by_side() -> None:
    spread = {"baseline": {"quantiles": [[0.5, 400.0], [0.95, 900.0]]}}
    spread["candidate"] = {"quantiles": [[0.5, 380.0], [0.95, math.inf]]}
    known: dict[str, Any] = {"kind": "quantile", "unit": "ms", "direction": "lower", "breakdown": spread}
    metric = build.metric("answers/latency_p95", build.estimate(-900.0, -50.0, half=60.0), **known)
    page = Page(render_html(build.verdict(checks=(build.check("underpowered", metric),))))
    assert "p50 400 ms 380 ms −5.0% p95 900 ms no answer –" in page.text


def test_what_was_blessed_before_is_drawn_where_it_is_given() -> None:
    def run(month: int, name: str, value: float | None, segment: int = 0) -> Point:
        when = datetime(2026, month, 1, tzinfo=UTC)
        known: dict[str, Any] = {"run_id": "r", "place": "p", "source": "run", "n": 9, "missing": 0}
        return Point(when=when, name=name, value=value, segment=segment, **known)

    def metric(name: str, *points: Point) -> MetricHistory:
        known: dict[str, Any] = {"unit": "fraction", "direction": "higher", "segments": (), "left_out": 0}
        return MetricHistory(metric=name, points=points, **known)

    runs = (run(4, "v0", 0.9), run(5, "v1", 0.84, 1), run(6, "<v2>", None, 1), run(7, "v3", 0.8, 1))
    history = [metric("routing/exact_match", *runs), metric("x/y", runs[0])]
    page = Page(render_html(sample(), history=history))
    assert "routing/exact_match 84.0% to 80.0% over 2 runs, −4.0pp (worse)" in page.text
    assert "2026-06-01 <v2> –" in page.text and "x/y" not in page.text
    drawing = next(i for i, (t, a) in enumerate(page.elements) if a.get("class") == "trend")
    drawn = [t for t, _ in page.elements[drawing + 1 : drawing + 8]]
    assert drawn[:4] == ["line", "circle", "title", "circle"]  # one line: nothing is joined across segments
    assert 'id="trend"' not in render_html(sample())


def test_the_policy_admits_the_pages_own_style_and_script_and_nothing_else() -> None:
    page = Page(render_html(sample()))
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy and "http" not in policy and "*" not in policy
    assert (page.count("script"), page.count("style")) == (2, 1)
    assert [a for t, a in page.elements if t == "script"] == [
        {"type": "application/json", "id": "case-data"},
        {},
    ]
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        code = page.code[tag][-1]
        value = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert f"{directive} 'sha256-{value}'" in policy


def test_hostile_strings_add_no_element_attribute_or_address() -> None:
    logs = [Log(role=text, eval=text, path=f"../{text}") for text in build.NASTY if text.isprintable()]
    text = render_html(build.nasty_verdict(), [*logs, Log("baseline", "e", "javascript:window.pwned=1")])
    page, tame = Page(text), Page(render_html(sample()))
    assert not page.stack
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in tame.elements} | {"details", "summary"}
    assert "Since the anchor" in page.text and "Flakiness" in page.text and "Waivers" in page.text
    assert page.count("script") == 2 and page.code["script"][-1] == tame.code["script"][-1]
    assert not re.search("[<>&]", page.code["script"][0])
    for tag, attributes in page.elements:
        assert not any(
            name.startswith("on") or name in ("style", "src", "srcdoc", "action") for name in attributes
        )
        href = attributes.get("href", "#")
        assert re.fullmatch(r"#[\w-]+|[\w./~%-]+", href) or href == "#" or (tag, href) == ("link", "data:,")
        assert attributes.get("id", "x").isascii()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\ufeff]", text)
    text.encode("utf-8")
    assert "{{ 7*7 }}" in page.text


def test_a_megabyte_of_output_is_cut_and_said() -> None:
    verdict = build.verdict(changes=(build.change("long", "a " * 500_000, "b " * 500_000),))
    text = render_html(verdict)
    assert len(text) < 250_000
    assert "998,500 more characters are not shown" in text


def test_ten_thousand_long_changed_cases_make_a_file_that_opens() -> None:
    outputs = [" ".join(f"word{(i * j) % 61}" for j in range(80)) for i in range(1, 60)]
    changes = tuple(
        build.change(f"c{i}", outputs[i % 59], outputs[(i + 7) % 59], regressed=i % 3 == 0, fixed=i % 3 == 1)
        for i in range(10_000)
    )
    text = render_html(build.verdict(checks=build.checks_of_every_status(), changes=changes))
    assert len(text) < 16_000_000
    assert text.count('<article class="case"') == 90


def test_the_same_verdict_gives_the_same_page() -> None:
    assert render_html(sample()) == render_html(sample())
    assert render_html(build.nasty_verdict()) == render_html(build.nasty_verdict())


def test_a_verdict_without_a_metric_is_still_a_page() -> None:
    reason = "the golden sets differ: support-routing 1 and 2"
    page = Page(render_html(build.verdict("invalid", reasons=(reason,), problems=(reason,))))
    assert not page.stack
    assert page.text.count(reason) == 1
