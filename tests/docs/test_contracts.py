"""Fields, statuses, verdicts and names in the documents are those of the code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from support import code_words, read, section, table_rows

import evalharness
from evalharness.api import Settings, comparison_json
from evalharness.core.estimates import PairedEstimate
from evalharness.core.verdicts import Outcome, Status
from evalharness.plugins.builtins import BUILTINS
from evalharness.spec.candidates import NEEDS, TAKES
from evalharness.stats.paired import paired_cases, paired_corpus

SUITE = """\
name: small
evals:
  - id: sums
    golden_set: ./golden_set
    scorers: [exact_match, numeric]
gate:
  metrics: {sums/numeric: advisory}
"""


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """comparison.json of a real comparison, with a slice, a failure and a critical case."""
    folder = tmp_path_factory.mktemp("small")
    write_project(folder)
    verdict = evalharness.compare(folder / "base.yaml", folder / "new.yaml", settings=Settings(cwd=folder))
    loaded: dict[str, Any] = json.loads(comparison_json(verdict))
    return loaded


def write_project(folder: Path) -> None:
    (folder / "golden_set").mkdir()
    (folder / "golden_set/card.yaml").write_text('name: sums\nversion: "1"\ntask: Add.\n')
    cases = [
        {
            "id": f"c{i}",
            "input": f"{i} + 1",
            "target": str(i + 1),
            "tags": {"kind": "plain"},
            "critical": i == 3,
        }
        for i in range(120)
    ]
    lines("golden_set/cases.jsonl", cases, folder)
    lines("base.jsonl", [{"id": c["id"], "output": c["target"]} for c in cases], folder)
    wrong = [{"id": c["id"], "output": "0" if i in (3, 7) else c["target"]} for i, c in enumerate(cases)]
    lines("new.jsonl", wrong, folder)
    (folder / "suite.yaml").write_text(SUITE)
    for name in ("base", "new"):
        (folder / f"{name}.yaml").write_text(
            f"name: {name}\nsuite: ./suite.yaml\nprovider: replay\noutputs: ./{name}.jsonl\n"
        )


def lines(name: str, rows: list[dict[str, Any]], folder: Path) -> None:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of everything that is not an object, lists taken whole."""
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from leaves(inner, f"{prefix}{key}.")
        else:
            yield prefix + key, inner


def documented(title: str) -> dict[str, str]:
    """Field → type of the table in a section of comparison-json.md, objects left out."""
    rows = table_rows(section(read("docs/comparison-json.md"), title))
    found = {
        field: kind
        for first, kind, *_ in rows
        for field in re.findall(r"`([^`]+)`", first)
        if not kind.startswith("object")
    }
    found.pop("field", None)
    return found


def test_every_field_of_comparison_json_is_documented_and_no_other(document: dict[str, Any]) -> None:
    top = {name for name, _ in leaves(document)}
    # not of this comparison; what they hold is compared with its own tables in tests/report
    absent = {name for name in ("looks", "anchor") if document[name] is None}
    assert absent == {"looks", "anchor"}
    assert set(documented("Top level")) == top - absent
    metric = {name for entry in document["metrics"] for name, _ in leaves(entry)}
    slices = {name for entry in document["slices"] for name, _ in leaves(entry)}
    assert set(documented("metrics[] and slices[]")) == metric | slices
    assert slices - metric == {"slice"}


_TYPES: dict[str, Any] = {
    "string": lambda v: isinstance(v, str),
    "integer": lambda v: type(v) is int,
    "number": lambda v: type(v) in (int, float),
    "boolean": lambda v: isinstance(v, bool),
    "list of strings": lambda v: isinstance(v, list) and all(isinstance(i, str) for i in v),
    "list of objects": lambda v: isinstance(v, list) and all(isinstance(i, dict) for i in v),
}


def test_fields_have_their_documented_types(document: dict[str, Any]) -> None:
    types = documented("Top level")
    pairs = [(types[name], name, value) for name, value in leaves(document) if name in types]
    types = documented("metrics[] and slices[]")
    for entry in (*document["metrics"], *document["slices"]):
        pairs += [(types[name], name, value) for name, value in leaves(entry)]
    for kind, name, value in pairs:
        base = kind.removesuffix(" or null")
        assert (value is None and kind != base) or _TYPES[base](value), (name, kind, value)


@pytest.mark.parametrize("status", get_args(Status))
def test_every_status_is_documented(status: str) -> None:
    assert status in {first.strip("`") for first, *_ in table_rows(section(read("docs/gate.md"), "Statuses"))}
    assert f"`{status}`" in read("docs/comparison-json.md")


def test_verdicts_are_documented_in_the_order_in_which_they_win() -> None:
    rows = [row for row in table_rows(section(read("docs/gate.md"), "Verdicts")) if row[0].isdigit()]
    assert [row[1].strip("`") for row in rows] == ["invalid", "regression", "inconclusive", "pass"]
    assert {row[1].strip("`") for row in rows} == set(get_args(Outcome))
    assert {int(row[3]) for row in rows} == {0, 1, 3, 4}


def estimates() -> Iterator[PairedEstimate]:
    """One estimate of every kind that the table of tests and bounds tells apart."""
    rng = np.random.default_rng(5)

    def noise(n: int) -> Any:
        return rng.normal(size=n)

    def cases(n: int, groups: int | None = None, binary: bool = False) -> PairedEstimate:
        left, right = (rng.integers(0, 2, n).astype(float) if binary else noise(n) for _ in range(2))
        labels = None if groups is None else [str(i % groups) for i in range(n)]
        return paired_cases(
            left, right, binary=binary, equal_repeats=True, clusters=labels, alpha=0.05, rng=rng
        )

    yield from (cases(50, binary=True), cases(50), cases(5), cases(150), cases(60, 10), cases(90, 30))
    rows = rng.random((2, 50, 1))
    yield paired_corpus(
        rows[0], rows[1], lambda sums: sums[..., 0] / 50, sign=1.0, clusters=None, alpha=0.05, rng=rng
    )


def test_every_test_and_bound_is_explained() -> None:
    words = code_words(section(read("docs/gate.md"), "Tests and bounds"))
    found = {name for e in estimates() for name in (e.test, e.lower_method, e.interval.method)}
    assert len(found) == 9
    assert found <= words


def test_manifest_fields_are_documented_and_no_other(tmp_path: Path) -> None:
    write_project(tmp_path)
    _, folder = evalharness.run(tmp_path / "base.yaml", settings=Settings(cwd=tmp_path))
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    rows = table_rows(section(read("docs/runs.md"), "manifest.json"))
    assert {f for first, *_ in rows for f in re.findall(r"`([^`]+)`", first)} == set(manifest)


@pytest.mark.parametrize("name", sorted(BUILTINS["scorers"]))
def test_every_scorer_is_documented(name: str) -> None:
    words = " ".join(code_words(read("docs/scorers.md")))
    assert re.search(rf"\b{name}\b", words), f"docs/scorers.md says nothing of {name}"


def test_every_provider_is_documented_with_the_keys_it_takes() -> None:
    rows = {
        re.sub(r"[\[\]`]|\(.*\)", "", row[0]): row
        for row in table_rows(read("docs/providers.md").split("\n## ")[0])
    }
    rows.pop("provider")
    assert set(rows) == set(BUILTINS["providers"])
    for name, row in rows.items():
        needs = set(re.findall(r"`([^`]+)`", row[2]))
        takes = set(re.findall(r"`([^`]+)`", row[3]))
        assert needs == set(NEEDS[name]), name
        assert takes | (needs - {"model"}) == TAKES[name], name


def test_reserved_kinds_are_named() -> None:
    words = code_words(read("docs/plugins.md"))
    assert {kind if not names else f"evalharness.{kind}" for kind, names in BUILTINS.items()} <= words
