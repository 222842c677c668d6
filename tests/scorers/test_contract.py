"""What every scorer promises, whatever it measures."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.protocols import CorpusScorer, Scorer
from evalharness.core.scores import Scored, Unscored
from evalharness.plugins.builtins import BUILTINS

PARAMS: dict[str, dict[str, Any]] = {
    "json_schema": {"schema": {"type": "object"}},
    "recorded": {"name": "x"},
    "rules": {"rules": [{"sum": "lines[*].total", "equals": "total"}, {"required": "a"}]},
    "sections": {"sections": ["Findings", "one"]},
    "rules_all": {"rules": [{"sum": "lines[*].total", "equals": "total"}]},
    "regex": {"pattern": r"(\w+\s?)+$"},
    "label": {"labels": ["one", "two"]},
}
TARGETS: dict[str, tuple[Any, ...]] = {
    "numeric": ("3",),
    "field_accuracy": ({"a": 1},),
    "field_f1": ({"a": 1},),
    "entity_f1": ({"PER": ["Ada"]},),
    "entity_macro_f1": ({"PER": ["Ada"]},),
}
# What this module knows of; scorers of other packages keep their own tests.
NAMES = [name for name, path in BUILTINS["scorers"].items() if path.split(":")[0].rpartition(".")[2] in {
    "exact", "numeric", "choice", "classification", "structured", "overlap", "surface", "recorded", "entities",
    "spans", "rules", "layout"
}]  # fmt: skip


def build(name: str) -> Any:
    import importlib

    module, _, attribute = BUILTINS["scorers"][name].partition(":")
    return getattr(importlib.import_module(module), attribute)(**PARAMS.get(name, {}))


def case_for(name: str) -> Case:
    return Case(id="c", targets=TARGETS.get(name, ("one",)), choices=("one", "two"), contexts=("one or two",))


@pytest.mark.parametrize("name", NAMES)
def test_the_protocol_is_kept(name: str) -> None:
    scorer = build(name)
    assert isinstance(scorer, Scorer)
    assert scorer.name == name
    assert scorer.version
    assert scorer.metric.direction in ("higher", "lower")
    assert (scorer.metric.kind == "corpus") == isinstance(scorer, CorpusScorer)
    assert (scorer.metric.low is None) == (scorer.metric.kind == "unbounded")


@settings(max_examples=40, deadline=None)
@given(
    st.one_of(
        st.text(max_size=80), st.sampled_from(["", "\x00\x1b[31m", "one", '{"a": 1}', "3", "\ud800", "NaN"])
    )
)
def test_any_text_has_a_finite_value_in_range_and_the_same_one_twice(text: str) -> None:
    for name in NAMES:
        scorer, case = build(name), case_for(name)
        found = scorer.score(case, Response(text=text))
        assert found == scorer.score(case, Response(text=text))
        if isinstance(found, Unscored):
            assert name == "recorded"
            continue
        assert isinstance(found, Scored)
        assert math.isfinite(found.value)
        if scorer.metric.low is not None:
            assert scorer.metric.low <= found.value <= scorer.metric.high
        if scorer.metric.kind == "binary":
            assert found.value in (0.0, 1.0)
        assert all(count > 0 for count in found.stats.values()) or name == "field_f1"


@pytest.mark.parametrize("name", NAMES)
def test_a_ten_megabyte_answer_is_scored_in_seconds(name: str) -> None:
    scorer, case = build(name), case_for(name)
    response = Response(text="some (words), 1 and {more}: \n" * 340_000)
    started = time.process_time()
    scorer.score(case, response)
    assert time.process_time() - started < 20


def test_scorers_load_no_heavy_library_before_they_need_it() -> None:
    code = (
        "import sys, importlib\n"
        "modules = 'exact numeric choice classification structured overlap surface recorded entities spans'\n"
        "for m in (modules + ' rules layout').split():\n"
        "    importlib.import_module('evalharness.scorers.' + m)\n"
        "print([m for m in ('numpy', 'jsonschema', 'pydantic', 're2', 'sacrebleu', 'sklearn') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
