from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Unscored
from evalharness.scorers.structured import FieldAccuracy, FieldF1, JsonSchema, JsonValid


@pytest.mark.parametrize(
    ("params", "output", "expected"),
    [
        ({}, '{"a": 1}', 1),
        ({}, " [1, 2]\n", 1),
        ({}, '"text"', 1),
        ({}, 'Here it is:\n```json\n{"a": 1}\n```\nBye', 1),
        ({}, 'Sure: {"a": {"b": [1]}} as asked', 1),
        ({}, '```\n{"a": 1}', 1),
        ({"extract": "strict"}, '```json\n{"a": 1}\n```', 0),
        ({"extract": "strict"}, '{"a": 1}', 1),
        ({}, "", 0),
        ({}, "no json", 0),
        ({}, "{'a': 1}", 0),
        ({}, '{"a": 1,}', 0),
        ({}, '{"a": NaN}', 0),
        ({}, '{"a": Infinity}', 0),
        ({}, '{"a": 1e999}', 0),
        ({}, '{"a": 1', 0),
        ({}, '{"a": "\x00"}', 0),
        ({}, "9" * 5000, 0),
        ({}, "[" * 100_000, 0),
        ({}, '{"a":' * 100_000, 0),
    ],
)
def test_json_valid(value: Any, params: dict[str, Any], output: str, expected: int) -> None:
    assert value(JsonValid(**params), output) == expected


def test_json_valid_says_where(score: Any) -> None:
    assert score(JsonValid(), '{"a": 1,\n "b": }').detail["reason"].startswith("not JSON: line 2, column 7")


TICKET = {
    "type": "object",
    "required": ["id", "lines"],
    "properties": {
        "id": {"type": "string", "pattern": r"^ORD-\d+$"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
    },
    "patternProperties": {"^x-": {"type": "string"}},
    "additionalProperties": False,
    "$defs": {
        "line": {
            "type": "object",
            "required": ["price"],
            "properties": {"price": {"type": "number", "minimum": 0}},
        }
    },
}


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"id": "ORD-1", "lines": [{"price": 2}]}, None),
        ({"id": "ORD-1", "lines": [], "x-note": "n"}, None),
        ({"id": "ORD-1"}, ""),
        ({"id": 3, "lines": []}, "id"),
        ({"id": "ORD-", "lines": []}, "id"),
        ({"id": "ORD-1\n", "lines": []}, "id"),
        ({"id": "ORD-1", "lines": [{"price": 1}, {"price": -1}]}, "lines.1.price"),
        ({"id": "ORD-1", "lines": [], "x-note": 1}, "x-note"),
        ({"id": "ORD-1", "lines": [], "extra": 1}, ""),
        ([], ""),
    ],
)
def test_json_schema(score: Any, document: Any, path: str | None) -> None:
    found = score(JsonSchema(schema=TICKET), f"```json\n{json.dumps(document)}\n```")
    assert found.value == (path is None)
    if path is not None:
        assert found.detail["path"] == path
        assert found.detail["reason"]


def test_json_schema_agrees_with_the_library_on_schemas_without_patterns(value: Any) -> None:
    import jsonschema

    schemas: list[Any] = [
        {"oneOf": [{"type": "integer"}, {"type": "string", "maxLength": 2}]},
        {
            "type": "object",
            "properties": {"a": {"type": "integer"}},
            "additionalProperties": {"type": "string"},
        },
        {"type": "array", "prefixItems": [{"const": 1}], "items": False},
        {"if": {"required": ["a"]}, "then": {"required": ["b"]}},
        {"unevaluatedProperties": False, "properties": {"a": True}},
        {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]},
        True,
        False,
    ]
    documents: list[Any] = [
        1,
        "ab",
        "abc",
        {"a": 1},
        {"a": 1, "b": "x"},
        {"b": 2},
        [1],
        [1, 2],
        ["x"],
        None,
        True,
        1.0,
    ]
    for schema in schemas:
        library = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)(schema)
        for document in documents:
            assert value(JsonSchema(schema=schema), json.dumps(document)) == library.is_valid(document)


def test_json_schema_survives_what_is_not_json_and_what_is_too_deep(score: Any) -> None:
    tree = JsonSchema(schema={"type": "array", "items": {"$ref": "#"}})
    assert score(tree, "no").detail["reason"].startswith("not JSON")
    assert score(tree, "[" * 400 + "]" * 400).value in (0, 1)
    assert score(tree, "[[[]]]").value == 1


def test_an_evil_pattern_in_a_schema_takes_linear_time(value: Any) -> None:
    started = time.process_time()
    schema = {"additionalProperties": False, "patternProperties": {"^(a|aa)+$": {"pattern": "^(a+)+$"}}}
    assert value(JsonSchema(schema=schema), json.dumps({"a" * 100_000 + "!": 1})) == 0
    assert value(JsonSchema(schema=schema), json.dumps({"a": "a" * 100_000 + "!"})) == 0
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "strin"}, "at type"),
        ({"properties": {"a": {"minimum": "1"}}}, "properties.a.minimum"),
        ("x.json", "object"),
        ([], "object"),
        ({"$schema": "https://example.org/mine"}, "not known"),
        ({"$schema": 4}, "text"),
        ({"$ref": "https://example.org/other.json"}, "inside the schema"),
        ({"$ref": "file:///etc/passwd"}, "inside the schema"),
        ({"items": {"$ref": "#/$defs/none"}}, "inside the schema"),
        ({"pattern": "(?=a)"}, "lookaround"),
        ({"patternProperties": {"(?!a)": True}}, "lookaround"),
        ({"patternProperties": {"a": True}, "unevaluatedProperties": False}, "not supported"),
    ],
)
def test_a_bad_schema_is_refused_when_it_is_read(schema: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        JsonSchema(schema=schema)


INVOICE = {
    "total": 12.5,
    "paid": True,
    "customer": {"name": "Ada Byron", "vat": None},
    "items": [{"sku": "A1"}, {"sku": "B2"}],
}


@pytest.mark.parametrize(
    ("change", "params", "right"),
    [
        ({}, {}, 6),
        ({"total": 12.50}, {}, 6),
        ({"total": 12.6}, {}, 5),
        ({"total": 12.6}, {"tolerance": 0.1}, 6),
        ({"total": "12.5"}, {}, 5),
        ({"paid": 1}, {}, 5),
        ({"paid": 1}, {"tolerance": 1}, 5),
        ({"customer": {"name": "ada  byron.", "vat": None}}, {}, 6),
        ({"customer": {"name": "ada byron", "vat": None}}, {"normalise": "none"}, 5),
        ({"customer": {"name": "Ada Byron"}}, {}, 5),
        ({"customer": "Ada Byron"}, {}, 4),
        ({"items": [{"sku": "B2"}, {"sku": "A1"}]}, {}, 4),
        ({"extra": 1}, {}, 6),
    ],
)
def test_field_accuracy_is_the_share_of_leaf_fields(value: Any, change: Any, params: Any, right: int) -> None:
    assert value(FieldAccuracy(**params), json.dumps(INVOICE | change), INVOICE) == pytest.approx(right / 6)


def test_field_accuracy_of_what_is_no_object_is_zero(score: Any) -> None:
    for output in ("", "no", "3", "null", '{"total": 12.5', "{}"):
        assert score(FieldAccuracy(), output, INVOICE).value == 0
    assert score(FieldAccuracy(), "no", INVOICE).detail["reason"].startswith("not JSON")


def test_fields_choose_what_counts_and_the_detail_names_what_is_wrong(score: Any, value: Any) -> None:
    output = json.dumps(INVOICE | {"total": 1, "items": []})
    assert value(FieldAccuracy(fields=["customer", "total"]), output, INVOICE) == pytest.approx(2 / 3)
    assert score(FieldAccuracy(), output, INVOICE).detail == {
        "wrong": ["total", "items.0.sku", "items.1.sku"]
    }
    assert isinstance(score(FieldAccuracy(fields=["nope"]), output, INVOICE), Unscored)


def test_the_best_of_several_targets_counts_and_a_target_may_be_json_text(score: Any, value: Any) -> None:
    assert value(FieldAccuracy(), '{"a": 1}', {"a": 2}, '{"a": 1}') == 1
    assert value(FieldAccuracy(), "{}", {}) == 1
    assert value(FieldAccuracy(), '{"a": {}}', {"a": {}}) == 1
    assert value(FieldAccuracy(), '{"a": []}', {"a": {}}) == 0
    for target in ("text", "3", 3, None):
        assert isinstance(score(FieldAccuracy(), "{}", target), Unscored)


def test_field_f1_counts_missing_extra_and_wrong_fields() -> None:
    scorer = FieldF1()
    case = Case(id="c", targets=({"a": 1, "b": 2, "c": 3},))
    outputs = ['{"a": 1, "b": 9, "d": 4}', "junk", '{"a": 1, "b": 2, "c": 3}']
    found = [scorer.score(case, Response(text=output)) for output in outputs]
    assert found[0].stats == {"tp": 1, "fp": 2, "fn": 2}
    assert found[1].stats == {"fn": 3}
    assert [score.value for score in found] == [pytest.approx(1 / 3), 0, 1]
    assert found[0].detail == {"wrong": ["b", "c"], "extra": ["d"]}
    assert scorer.worst(case).stats == {"fn": 3}
    names = ["fn", "fp", "tp"]
    sums = np.array([[score.stats.get(name, 0) for name in names] for score in found])
    assert scorer.corpus(names, sums.sum(axis=0)) == pytest.approx(2 * 4 / (2 * 4 + 2 + 5))
    assert scorer.corpus(names, sums).tolist() == pytest.approx([1 / 3, 0, 1])
    assert scorer.breakdown(names, sums.sum(axis=0))["precision"] == pytest.approx(4 / 6)
    assert scorer.corpus(["fn"], np.array([[3.0], [0.0]])).tolist() == [0, 1]


def test_a_failed_case_counts_in_field_f1_even_where_the_target_is_empty() -> None:
    assert FieldF1().worst(Case(id="c", targets=({},))).stats == {"fn": 1}


@pytest.mark.parametrize("cls", [FieldAccuracy, FieldF1])
@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"fields": []}, "empty"),
        ({"fields": "a"}, "list"),
        ({"normalise": "x"}, "one of"),
        ({"tolerance": -1}, "0 or more"),
        ({"tolerance": True}, "number"),
        ({"extract": "yaml"}, "fenced, strict"),
    ],
)
def test_bad_parameters(cls: Any, params: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        cls(**params)


@pytest.mark.parametrize("piece", ["{", "[", "```\n", '{"a":', "[1] ", '"', "}"])
def test_a_huge_output_is_read_in_bounded_time(score: Any, piece: str) -> None:
    output = piece * (3_000_000 // len(piece))
    started = time.process_time()
    score(FieldF1(), output, INVOICE)
    score(JsonValid(), output)
    assert time.process_time() - started < 5
