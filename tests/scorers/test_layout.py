"""Sections that must be there, and citations by number."""

from __future__ import annotations

import time

import pytest

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Scored, Unscored
from evalharness.scorers.layout import CitationCoverage, CitationsValid, Sections

REPORT = ("Findings", "Impression", "Recommendation")
GOOD = "## Findings\nClear lungs.\n\n**Impression:** normal\n\nRECOMMENDATION: none needed"


def sections(text: str, **params: bool) -> Scored:
    found = Sections(sections=REPORT, **params).score(Case(id="c"), Response(text=text))
    assert isinstance(found, Scored)
    return found


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "FINDINGS: clear\nIMPRESSION: normal\nRECOMMENDATION: none",
        "1. Findings\nclear\n2. Impression\nnormal\n3) Recommendation\nnone",
        "__Findings__\nclear\n### **Impression**:\nnormal\n- Recommendation: none",
        "Dear colleague,\n\nFindings\nclear\nImpression\nnormal\nImpression\nagain\nRecommendation\nnone",
    ],
)
def test_headings_of_every_kind_begin_a_section(text: str) -> None:
    assert sections(text) == Scored(1.0)


def test_a_name_in_a_sentence_is_no_heading() -> None:
    found = sections("The findings are clear, my impression is good, and the recommendation follows.")
    assert (found.value, found.detail) == (0.0, {"missing": list(REPORT)})


def test_a_section_without_text_is_not_there() -> None:
    found = sections(GOOD.replace("Clear lungs.", "---"))
    assert found.value == pytest.approx(2 / 3)
    assert found.detail == {"empty": ["Findings"]}


def test_the_order_counts_unless_it_is_said_not_to() -> None:
    turned = "Recommendation: none\nFindings: clear\nImpression: normal"
    found = sections(turned)
    assert found.value == pytest.approx(2 / 3)
    assert found.detail == {"order": ["Recommendation", "Findings", "Impression"]}
    assert sections(turned, ordered=False).value == 1.0


def cited(scorer: CitationsValid | CitationCoverage, text: str, *, contexts: int = 3) -> Scored:
    found = scorer.score(Case(id="c", contexts=("text",) * contexts), Response(text=text))
    assert isinstance(found, Scored)
    return found


@pytest.mark.parametrize(
    ("text", "valid", "coverage"),
    [
        ("It rained [1]. It snowed [3].", 1, 1),
        ("It rained. [1] It snowed. [2]", 1, 1),
        ("It rained [1]. It snowed.", 1, 1 / 2),
        ("It rained [1, 4].", 1 / 2, 1),
        ("It rained [4]. It snowed [5]!", 0, 0),
        ("It rained [1-3]. Did it [0]?", 2 / 3, 1 / 2),
        ("It rained.", 0, 0),
        ("", 0, 0),
        ("# Weather\n- It rained [1]\n- It snowed [2]\n\n---", 1, 1),
        ("雨が降った。[1]雪が降った。", 1, 1 / 2),
        ("At 3.5 degrees it rained, e.g. in Rome [2].", 1, 1 / 2),  # an abbreviation reads as an end
        ("See [the rules](x) and [12a].", 0, 0),
    ],
)
def test_citations(text: str, valid: float, coverage: float) -> None:
    assert cited(CitationsValid(), text).value == pytest.approx(valid)
    assert cited(CitationCoverage(), text).value == pytest.approx(coverage)


def test_what_is_wrong_with_citations_is_said() -> None:
    assert cited(CitationsValid(), "It rained [7] [9] [7].").detail == {"unknown": [7, 9]}
    assert cited(CitationCoverage(), "It rained [1]. It snowed.").detail == {"uncited": ["It snowed."]}


def test_contexts_may_be_numbered_from_0_and_those_of_the_answer_count() -> None:
    assert cited(CitationsValid(first=0), "It rained [0] and [3].").value == 0.5
    response = Response(text="It rained [5].", contexts=("text",) * 5)
    assert CitationsValid().score(Case(id="c", contexts=("one",)), response) == Scored(1.0)
    assert isinstance(CitationsValid().score(Case(id="c"), Response(text="[1]")), Unscored)


@pytest.mark.parametrize(
    "text",
    [
        "!" * 200_000 + "x",
        "[1" * 200_000,
        "a.[1]" * 100_000,
        "[1,1" * 100_000,
        "\"'" * 200_000,
        "*" * 300_000,
    ],
)
def test_no_text_takes_long(text: str) -> None:
    started = time.process_time()
    cited(CitationCoverage(), text)
    cited(CitationsValid(), text)
    sections(text)
    assert time.process_time() - started < 3


def test_wrong_parameters_say_what_is_right() -> None:
    with pytest.raises(ValueError, match="first must be 0 or 1"):
        CitationsValid(first=2)
    with pytest.raises(ValueError, match="names one section twice"):
        Sections(sections=("Findings", "findings:"))
    with pytest.raises(TypeError, match="ordered must be true or false"):
        Sections(sections=("a",), ordered="no")  # type: ignore[arg-type]
