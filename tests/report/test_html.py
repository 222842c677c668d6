"""report.html is one closed file: it says what the verdict says and no foreign string becomes markup."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from html.parser import HTMLParser

import build
import pytest

from evalharness.core.attempts import Failure
from evalharness.core.runs import Coverage
from evalharness.core.verdicts import Outcome, Verdict
from evalharness.report.html import render_html

VOID = {"meta", "link", "input", "line", "rect", "circle", "path", "use", "col", "br"}


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
        "4 cases changed: 2 regressed, 1 fixed, 1 otherwise changed", "I was charged twice for my June invoice.",
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


def test_what_is_left_out_is_counted() -> None:
    changes = (
        *(build.change(f"r{i}") for i in range(1240)),
        *(build.change(f"f{i}", regressed=False, fixed=True) for i in range(300)),
        *(build.change(f"c{i}", regressed=False) for i in range(150)),
    )
    page = Page(render_html(build.verdict(changes=changes)))
    assert page.count("article", "case") == 400
    assert "200 of 1,240 regressed cases are on this page, critical ones first; 1,040 are not." in page.text
    assert "100 of 300 fixed cases are on this page; 200 are not." in page.text
    assert "100 of 150 changed cases are on this page, the largest falls first; 50 are not." in page.text


def test_the_policy_admits_the_pages_own_style_and_script_and_nothing_else() -> None:
    page = Page(render_html(sample()))
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy and "http" not in policy and "*" not in policy
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        (code,) = ["".join(page.code[tag])]
        assert page.count(tag) == 1
        value = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert f"{directive} 'sha256-{value}'" in policy


def test_hostile_strings_add_no_element_attribute_or_address() -> None:
    text = render_html(build.nasty_verdict())
    page, tame = Page(text), Page(render_html(sample()))
    assert not page.stack
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in tame.elements} | {"details", "summary"}
    assert "Since the anchor" in page.text and "Flakiness" in page.text and "Waivers" in page.text
    assert page.count("script") == 1 and "".join(page.code["script"]) == "".join(tame.code["script"])
    for tag, attributes in page.elements:
        assert not any(
            name.startswith("on") or name in ("style", "src", "srcdoc", "action") for name in attributes
        )
        assert attributes.get("href", "#").startswith("#") or (tag, attributes["href"]) == ("link", "data:,")
        assert attributes.get("id", "x").isascii()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\ufeff]", text)
    text.encode("utf-8")
    assert "{{ 7*7 }}" in page.text


def test_a_megabyte_of_output_is_cut_and_said() -> None:
    verdict = build.verdict(changes=(build.change("long", "a " * 500_000, "b " * 500_000),))
    text = render_html(verdict)
    assert len(text) < 200_000
    assert "998,500 more characters are not shown" in text


def test_ten_thousand_changed_cases_render_within_two_seconds_and_a_few_megabytes() -> None:
    outputs = [" ".join(f"word{(i * j) % 61}" for j in range(80)) for i in range(1, 60)]
    changes = tuple(
        build.change(f"c{i}", outputs[i % 59], outputs[(i + 7) % 59], regressed=i % 3 == 0, fixed=i % 3 == 1)
        for i in range(10_000)
    )
    verdict = build.verdict(checks=build.checks_of_every_status(), changes=changes)
    render_html(sample())  # templates are read once a process
    started = time.process_time()
    text = render_html(verdict)
    assert time.process_time() - started < 2
    assert len(text) < 4_000_000


def test_the_same_verdict_gives_the_same_page() -> None:
    assert render_html(sample()) == render_html(sample())
    assert render_html(build.nasty_verdict()) == render_html(build.nasty_verdict())


def test_a_verdict_without_a_metric_is_still_a_page() -> None:
    reason = "the golden sets differ: support-routing 1 and 2"
    page = Page(render_html(build.verdict("invalid", reasons=(reason,), problems=(reason,))))
    assert not page.stack
    assert page.text.count(reason) == 1
