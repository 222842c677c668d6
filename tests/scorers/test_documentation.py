"""docs/scorers.md names every scorer and its parameters, and each example in it can be built."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalharness.plugins.builtins import BUILTINS

PAGE = (Path(__file__).parents[2] / "docs/scorers.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `(\w+)` \|(.*)\|$", PAGE, re.MULTILINE))
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
EXAMPLES = [
    {name: {"k": int(depth)}} if depth else entry  # `ndcg@5` is short for {ndcg: {k: 5}}
    for block in BLOCKS
    for entry in (block if isinstance(block, list) else block["scorers"])
    for name, _, depth in [entry.partition("@") if isinstance(entry, str) else ("", "", "")]
]


def scorer_class(name: str) -> Any:
    module, _, attribute = BUILTINS["scorers"][name].partition(":")
    return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("name", ROWS)
def test_the_table_names_the_parameters_the_scorer_has(name: str) -> None:
    parameters = ROWS[name].rpartition("|")[2]
    named = set(re.findall(r"`(\w+)`", parameters))
    if "as `" in parameters:
        other = named.pop()
        parameters, named = ROWS[other], set(re.findall(r"`(\w+)`", ROWS[other].rpartition("|")[2]))
    assert named == set(inspect.signature(scorer_class(name)).parameters)


def test_every_text_scorer_is_in_the_table_with_an_example() -> None:
    families = {
        "exact",
        "meteor",
        "bert_score",
        "semantic",
        "hf_evaluate",
        "ragas",
        "numeric",
        "choice",
        "classification",
        "entities",
        "spans",
        "layout",
        "rules",
        "structured",
        "overlap",
        "surface",
        "recorded",
        "retrieval",
        "perplexity",
        "ops",
        "safety",
        "code",
    }
    ours = {n for n, path in BUILTINS["scorers"].items() if path.split(":")[0].rpartition(".")[2] in families}
    assert ours == set(ROWS)
    assert ours == {entry if isinstance(entry, str) else next(iter(entry)) for entry in EXAMPLES}


@pytest.mark.parametrize("entry", EXAMPLES, ids=str)
def test_the_examples_can_be_built(entry: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALHARNESS_TRUST_METRICS", "./metrics/my_metric")
    name, given = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
    cls = scorer_class(name)
    if not isinstance(given, dict):
        given = {next(iter(inspect.signature(cls).parameters)): given}
    read = {"json": {}, "yaml": {"rules": [{"required": "total"}]}}  # what a file would hold
    given = {
        key: read.get(cls.files.get(key, ""), value) if isinstance(value, str) else value
        for key, value in given.items()
        if key != "id"
    }
    scorer = cls(**given)
    row = ROWS[name]
    assert f"| {scorer.metric.kind} |" in row or f"kind is {scorer.metric.kind}" in row
    if name not in ("refusal",):  # its example turns the direction round
        assert scorer.metric.direction == ("lower" if "direction lower" in row else "higher")
