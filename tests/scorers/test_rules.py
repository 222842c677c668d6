"""Rules over the fields of a document: an invoice that adds up, and every way it may not."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Scored
from evalharness.errors import ParameterError
from evalharness.scorers._paths import Absent, parse_path
from evalharness.scorers.rules import Rules, RulesAll

PAGE = Path(__file__).parents[2] / "docs/extraction.md"
INVOICE: dict[str, Any] = {
    "number": "INV-2041",
    "issue_date": "2026-03-02",
    "due_date": "2026-04-01",
    "currency": "EUR",
    "lines": [
        {"id": "a", "quantity": 3, "price": 19.9, "total": 59.7},
        {"id": "b", "quantity": 1, "price": 40.3, "total": 40.3},
    ],
    "line_count": 2,
    "subtotal": 100.0,
    "tax_rate": 0.19,
    "tax": 19.0,
    "total": 119.0,
    "buyer": {"country": "DE", "vat_id": "DE123456789"},
}


def broken(rule: Any, document: Any, **params: Any) -> str | None:
    """Why the one rule is broken, None where it holds."""
    scorer = Rules(rules=[rule], **params)
    text = document if isinstance(document, str) else json.dumps(document)
    found = scorer.score(Case(id="c"), Response(text=text))
    every = RulesAll(rules=[rule], **params).score(Case(id="c"), Response(text=text))
    assert isinstance(found, Scored) and isinstance(every, Scored)
    assert found.value == every.value == (0.0 if found.detail else 1.0)
    reasons = found.detail.get("broken", {})
    return next(iter(reasons.values())) if reasons else found.detail.get("reason")


def invoice(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(INVOICE) | changes


# --- the worked example of docs/extraction.md ----------------------------------------------------------------------


def documented() -> list[Any]:
    (block,) = re.findall(
        r"<!-- file: invoice.rules.yaml -->\n```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL
    )
    rules: list[Any] = yaml.safe_load(block)["rules"]
    return rules


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({}, set()),
        ({"subtotal": 100.01}, set()),  # a cent of rounding is allowed
        ({"subtotal": 90.0}, {"subtotal", "tax", "total"}),
        ({"tax": 9.0}, {"tax", "total"}),
        ({"total": 118.98}, {"total"}),
        ({"due_date": "2026-02-01"}, {"due after issue"}),
        ({"lines": []}, {"subtotal", "8 count"}),
        ({"currency": "XYZ"}, {"6 in"}),
        ({"buyer": {"country": "DE"}}, {"German buyers have a VAT id"}),
        ({"buyer": {"country": "FR"}}, set()),
    ],
)
def test_the_invoice_of_the_page(change: dict[str, Any], names: set[str]) -> None:
    rules = documented()
    document = json.dumps(invoice(**change))
    share, every = (
        cls(rules={"rules": rules}).score(Case(id="c"), Response(text=document)) for cls in (Rules, RulesAll)
    )
    assert isinstance(share, Scored) and isinstance(every, Scored)
    assert set(share.detail.get("broken", {})) == names
    assert share.value == pytest.approx(1 - len(names) / len(rules))
    assert every.value == float(not names)
    assert every.detail == share.detail


def test_an_answer_that_is_no_json_breaks_every_rule() -> None:
    for text in ("no invoice", "", '{"total": 1', "[" * 100_000):
        for cls in (Rules, RulesAll):
            found = cls(rules=documented()).score(Case(id="c"), Response(text=text))
            assert isinstance(found, Scored)
            assert found.value == 0.0
            assert found.detail["reason"].startswith(("not JSON", "nested"))


# --- each operator -------------------------------------------------------------------------------------------------

HOLDS = [
    {"sum": "lines[*].total", "equals": "subtotal"},
    {"sum": ["subtotal", "tax"], "equals": 119},
    {"sum": ["total", "-tax"], "equals": "subtotal"},
    {"sum": [0.1, 0.2], "equals": 0.3},
    {"product": ["subtotal", "tax_rate"], "equals": "tax"},
    {"each": "lines", "product": ["quantity", "price"], "equals": "total"},
    {"each": "lines[*]", "compare": ["total", "<=", "$.subtotal"]},
    {"compare": ["tax", "<", "total"]},
    {"compare": ["tax", "==", 19]},
    {"compare": ["tax", "==", 19.005], "tolerance": 0.01},
    {"compare": ["buyer.country", "==", {"value": "DE"}]},
    {"compare": ["currency", "!=", "buyer.country"]},
    {"before": ["issue_date", "due_date"]},
    {"not_after": ["issue_date", "issue_date", "due_date"]},
    {"date": ["issue_date", "due_date"]},
    {"required": ["number", "lines[*].id", "lines[0].price", "lines[-1].price"]},
    {"required": '["number"]'},
    {"unique": "lines[*].id"},
    {"unique": ["lines[*].id", "number"]},
    {"count": "lines", "equals": "line_count"},
    {"count": "lines[*].id", "at_least": 1, "at_most": 2},
    {"in": "currency", "values": ["EUR", "USD"]},
    {"pattern": "buyer.vat_id", "regex": r"^DE\d{9}$"},
    {"if": {"required": "discount"}, "then": {"required": "discount_reason"}},
    {"if": {"in": "currency", "values": ["EUR"]}, "then": [{"required": "tax"}, {"required": "tax_rate"}]},
    {"if": {"required": "discount"}, "then": {"date": "number"}, "else": {"required": "total"}},
]


@pytest.mark.parametrize("rule", HOLDS, ids=str)
def test_rules_that_the_invoice_keeps(rule: dict[str, Any]) -> None:
    assert broken(rule, INVOICE) is None


BREAKS = [
    ({"sum": "lines[*].total", "equals": "tax"}, "the sum is 100.0, tax is 19.0"),
    ({"sum": "lines[*].amount", "equals": "tax"}, "lines[0].amount is missing"),
    ({"sum": "lines[*].id", "equals": "tax"}, 'lines[0].id is no number: "a"'),
    ({"sum": "number[*]", "equals": "tax"}, "number is no list"),
    ({"sum": "subtotal", "equals": "net"}, "net is missing"),
    ({"product": ["subtotal", 2], "equals": "total"}, "the product is 200.0, total is 119.0"),
    (
        {"each": "lines", "product": ["quantity", 20], "equals": "total"},
        "lines[0]: the product is 60, total is 59.7",
    ),
    ({"each": "goods", "required": "id"}, "goods is missing"),
    ({"compare": ["total", "<", "tax"]}, "total is 119.0, tax is 19.0"),
    ({"compare": ["tax", "<", 19]}, "tax is 19.0, the number is 19"),
    ({"compare": ["currency", "<", 3]}, 'currency is no number: "EUR"'),
    ({"compare": ["currency", "==", {"value": "USD"}]}, 'currency is "EUR", the value is "USD"'),
    ({"before": ["due_date", "issue_date"]}, "due_date is 2026-04-01, issue_date is 2026-03-02"),
    ({"before": ["issue_date", "issue_date"]}, "issue_date is 2026-03-02, issue_date is 2026-03-02"),
    ({"date": "number"}, 'number is no date: "INV-2041"'),
    ({"required": "buyer.name"}, "buyer.name is missing"),
    ({"required": "lines[2]"}, "lines[2] is missing"),
    ({"required": "lines.id"}, "lines.id is missing"),
    ({"count": "lines", "equals": 3}, "2 of lines, not 3"),
    ({"count": "lines", "at_least": 3}, "2 of lines, not at least 3"),
    ({"count": "total", "equals": 3}, "total is no list"),
    ({"in": "currency", "values": ["USD"]}, 'currency is "EUR", which is not among the values'),
    ({"in": "line_count", "values": ["2", True]}, "line_count is 2, which is not among the values"),
    ({"pattern": "currency", "regex": "^E$"}, 'currency is "EUR", which does not match'),
    ({"pattern": "lines", "regex": "a"}, "lines is no text: "),
    ({"if": {"required": "tax"}, "then": {"required": "tax_office"}}, "tax_office is missing"),
    ({"if": {"required": "discount"}, "then": {"date": "number"}, "else": {"required": "x"}}, "x is missing"),
]


@pytest.mark.parametrize(("rule", "reason"), BREAKS, ids=str)
def test_why_a_rule_is_broken_is_said(rule: dict[str, Any], reason: str) -> None:
    assert (broken(rule, INVOICE) or "").startswith(reason)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["a", "b", "A"], None),
        (["a", "b", "a"], 'ids[2] is "a", as ids[0] is'),
        ([1, True, "1", None], None),
        ([1, 1.0], "ids[1] is 1.0, as ids[0] is"),
        ([{"x": [1, 2]}, {"x": [2, 1]}], None),
        ([{"x": 1, "y": 2}, {"y": 2, "x": 1}], 'ids[1] is {"y": 2, "x": 1}, as ids[0] is'),
    ],
)
def test_unique_compares_values_of_json(values: list[Any], reason: str | None) -> None:
    assert broken({"unique": "ids[*]"}, {"ids": values}) == reason


@pytest.mark.parametrize(
    ("value", "reason"), [(None, "total is null"), (" ", "total is empty"), (0, None), ([], None)]
)
def test_required_means_a_value(value: Any, reason: str | None) -> None:
    assert broken({"required": "total"}, {"total": value}) == reason


def test_money_is_counted_in_decimal() -> None:
    rule = {"sum": "a[*]", "equals": "b"}
    assert broken(rule, {"a": [0.1] * 10, "b": 1.0}) is None
    assert broken(rule | {"tolerance": 0.01}, {"a": [0.29], "b": 0.30}) is None
    assert broken(rule | {"tolerance": 0.01}, {"a": [0.29], "b": 0.31}) is not None
    assert broken(rule, {"a": [10**30, 1], "b": 10**30}) is not None
    assert broken(rule, {"a": [1e308, 1e308], "b": 1e308}) is not None
    assert broken({"product": "a[*]", "equals": "b"}, {"a": [1e300] * 50, "b": 1}) is not None
    assert broken({"compare": ["b", ">", 1]}, '{"b": 1' + "0" * 400 + "}") is None


@pytest.mark.parametrize(
    ("value", "strict", "loose"),
    [
        (1234.5, True, True),
        ("1,234.50 €", False, True),
        ("$1,234.50", False, True),
        ("1.234,50 €", False, False),  # read in no way rather than in the wrong one
        ("1,234.50 or 1,300", False, False),
        (True, False, False),
        (None, False, False),
    ],
)
def test_numbers_in_texts_are_read_only_when_asked_for(value: Any, strict: bool, loose: bool) -> None:
    rule = {"sum": "x", "equals": 1234.5}
    assert (broken(rule, {"x": value}) is None) is strict
    assert (broken(rule, {"x": value}, numbers="loose") is None) is loose


def test_a_loose_rate_in_per_cent_is_a_share() -> None:
    rule = {"product": ["net", "rate"], "equals": "tax"}
    assert broken(rule, {"net": "100.00 €", "rate": "19 %", "tax": "19.00"}, numbers="loose") is None


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("2026-03-02", "2026-03-02T10:00:00", "are the same day"),
        ("2026-03-02T09:00:00", "2026-03-02T10:00:00", None),
        ("2026-03-02T09:00:00Z", "2026-03-02T10:00:00+00:00", None),
        ("2026-03-02T09:00:00Z", "2026-03-02T10:00:00", "one of a and b has a time zone"),
        ("02.03.2026", "2026-04-01", None),
        ("2026-02-30", "2026-04-01", 'a is no date: "2026-02-30"'),
        (20260302, "2026-04-01", "a is no date: 20260302"),
        ("2026-03-02", None, "b is no date: null"),
    ],
)
def test_dates(first: Any, second: Any, reason: str | None) -> None:
    found = broken({"before": ["a", "b"]}, {"a": first, "b": second}, formats=["%d.%m.%Y"])
    assert found == ("a is 2026-03-02, b is 2026-03-02" if reason == "are the same day" else reason)


# --- what is wrong with a rule -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "message", "place"),
    [
        ({"summ": "a", "equals": "b"}, "unknown operator 'summ'; did you mean sum?", ("summ",)),
        ({}, "there is no operator in it; known: before, compare", ()),
        ({"sum": "a"}, "sum needs `equals`", ()),
        ({"sum": "a", "count": "b"}, "has both sum and count", ("count",)),
        (
            {"sum": "a", "equal": "b"},
            "sum does not know 'equal'; known: each, equals, id, tolerance",
            ("equal",),
        ),
        ({"sum": ["a", "b["], "equals": "c"}, "'b[' is no path: stopped at '['", ("sum", 1)),
        ({"sum": [], "equals": "c"}, "names no field", ("sum",)),
        ({"sum": "a", "equals": "b[*]"}, "'b[*]' leads to many values where one is needed", ("equals",)),
        ({"sum": "a", "equals": "b", "tolerance": "1%"}, "tolerance must be a number", ("tolerance",)),
        ({"sum": "a", "equals": "b", "tolerance": -1}, "tolerance must be a number", ("tolerance",)),
        ({"compare": ["a", "=<", "b"]}, "compare knows < <= > >= == !=, not '=<'", ("compare", 1)),
        ({"compare": ["a", "<"]}, "compare is a list of three", ("compare",)),
        (
            {"compare": ["a", "<", {"val": 1}]},
            "an operand is a field, a number, or {value: text}",
            ("compare", 2),
        ),
        ({"before": "a"}, "before is a list of at least two fields", ("before",)),
        ({"in": "a"}, "in needs `values`", ("values",)),
        ({"pattern": "a", "regex": "(?=x)"}, "is not RE2 syntax", ("regex",)),
        ({"count": "a"}, "count needs `equals`, `at_least` or `at_most`", ()),
        ({"if": {"required": "a"}}, "if needs `then`", ()),
        (
            {"if": {"required": "a"}, "then": [{"requird": "b"}]},
            "did you mean required?",
            ("then", 0, "requird"),
        ),
        ({"required": 3}, "a path is a text such as lines[*].total, not 3", ("required",)),
        ({"required": "a b"}, "'a b' is no path: stopped at ' b'", ("required",)),
        ({"required": "a", "id": 3}, "id must be a text", ("id",)),
        ("required", "a rule is a mapping", ()),
    ],
    ids=str,
)
def test_a_wrong_rule_says_what_is_wrong_and_where(rule: Any, message: str, place: tuple[Any, ...]) -> None:
    with pytest.raises(ParameterError) as error:
        Rules(rules=[{"required": "total"}, rule])
    ((at, said),) = error.value.places
    assert said.startswith("rule 2: ")
    assert message in said
    assert at == ("rules", 1, *place)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ParameterError) as error:
        Rules(
            rules=[
                {"required": "a", "id": "x"},
                {"sum": "a"},
                {"required": "b", "id": "x"},
                {"date": "[" * 9},
            ]
        )
    assert [at for at, _ in error.value.places] == [("rules", 1), ("rules", 2), ("rules", 3, "date")]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"rules": []}, "at least one rule"),
        ({"rules": {"rule": []}}, "unknown key 'rule'"),
        ({"rules": [{"required": "a"}], "numbers": "any"}, "numbers must be one of strict, loose"),
        ({"rules": [{"required": "a"}], "formats": ["%d.%m"]}, "needs a day, a month and a year"),
        ({"rules": [{"required": "a"}], "formats": ["%d %m %Y %Q"]}, "has %Q"),
    ],
)
def test_wrong_parameters_say_what_is_right(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Rules(**params)


# --- paths ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a", [("a", {"b": [1, {"c": 2}], "odd key": 3})]),
        ("a.b[0]", [("a.b[0]", 1)]),
        ("a.b[-1].c", [("a.b[-1].c", 2)]),
        ("$.a.b[1].c", [("a.b[1].c", 2)]),
        ('a["odd key"]', [("a.odd key", 3)]),
        ("a.b[*]", [("a.b[0]", 1), ("a.b[1]", {"c": 2})]),
    ],
)
def test_paths_lead_to_values(text: str, found: list[Any]) -> None:
    document = {"a": {"b": [1, {"c": 2}], "odd key": 3}}
    assert parse_path(text).values(document, document) == found


@pytest.mark.parametrize("text", ["a.b[2]", "a.x", "a[0]", "a.b.c", "x", "a.b[0][*]"])
def test_paths_that_lead_nowhere_say_so(text: str) -> None:
    assert isinstance(parse_path(text).values({"a": {"b": [1]}}, None), Absent)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a.",
        ".a",
        "a..b",
        "a[",
        "a[]",
        "a[x]",
        "a[1.5]",
        "a b",
        "$a",
        "a[0]b",
        "__import__('os')",
        "-a",
    ],
)
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="path"):
        parse_path(text)


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["lines", "total", "tax", "buyer", "id", "issue_date"]), inner, max_size=4
            )
        ),
        max_leaves=12,
    )
)
def test_no_document_makes_a_rule_raise(document: Any) -> None:
    scorer = Rules(rules=[*documented(), *HOLDS], numbers="loose")
    found = scorer.score(Case(id="c"), Response(text=json.dumps(document)))
    assert isinstance(found, Scored)
    assert 0.0 <= found.value <= 1.0
