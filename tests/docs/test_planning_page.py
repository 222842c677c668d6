"""docs/planning.md names every field of `plan --json`, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from support import read, table_rows
from test_contracts import write_project

import evalharness
from evalharness.api import Settings
from evalharness.report.plan_json import plan_document


def documented(title: str) -> set[str]:
    """Fields of the table under a heading of level two or three."""
    found = re.search(rf"^##+ {title}\n(.*?)(?=^##|\Z)", read("docs/planning.md"), re.MULTILINE | re.DOTALL)
    assert found is not None
    return {
        field
        for first, *_ in table_rows(found[1])
        if first != "field"
        for field in re.findall(r"`([^`]+)`", first)
    }


def words(title: str, field: str) -> set[str]:
    """Everything in `code` in the row of one field."""
    found = re.search(rf"^##+ {title}\n(.*?)(?=^##|\Z)", read("docs/planning.md"), re.MULTILINE | re.DOTALL)
    assert found is not None
    (row,) = [row for row in table_rows(found[1]) if f"`{field}`" in row[0]]
    return set(re.findall(r"`([^`]+)`", row[-1]))


def test_every_field_of_the_plan_is_documented_and_no_other(tmp_path: Path) -> None:
    write_project(tmp_path)
    found = evalharness.plan(
        tmp_path / "base.yaml", tmp_path / "new.yaml", churn="2%", settings=Settings(cwd=tmp_path)
    )
    document: dict[str, Any] = plan_document(found)
    assert documented("JSON") == set(document)
    assert documented("Sides") == set(document["sides"][0])
    assert documented("Metrics") == set(document["metrics"][0])
    outlook = document["metrics"][0]["outlooks"][0]
    assert documented("Outlooks") == set(outlook)
    assert words("Outlooks", "unchanged") == set(outlook["unchanged"])
    stage = document["sides"][0]["stages"][0]
    assert set(stage) | set(stage["golden_sets"][0]) <= words("Sides", "stages")
    assert set(document["suite_outlooks"][0]) <= words("JSON", "suite_outlooks")
    assert set(document["curve"]) | set(document["curve"]["points"][0]) <= words("JSON", "curve")


def test_the_least_number_of_cases_is_the_one_that_the_code_asks_for() -> None:
    from evalharness.stats.planning import Churn

    cases = Churn(0.0).cases(0.04, level=0.05)
    assert f"0/1 cases need {cases} for a margin of 2pp" in re.sub(r"\s+", " ", read("docs/planning.md"))
