"""docs/baselines.md: its tables are what the simulation gives, and its words are what the tables say."""

from __future__ import annotations

import re

import baselines
import support

PAGE = "docs/baselines.md"


def test_the_tables_are_those_of_the_simulation() -> None:
    text = support.read(PAGE)
    assert support.region(text, "table", "null") == baselines.null_table()
    assert support.region(text, "table", "creep") == baselines.creep_table()


def test_what_the_page_says_of_them() -> None:
    pinned, merged, best = (baselines.simulate(policy, 0) for policy in baselines.POLICIES.values())
    assert max(pinned.stopped.mean(), merged.stopped.mean()) <= 0.05
    assert best.stopped.mean() > 4 * pinned.stopped.mean()
    assert best.stopped[-10:].mean() > best.stopped.mean(), "it gets worse with every change"
    pinned, merged, best = (
        baselines.simulate(policy, baselines.CREEP) for policy in baselines.POLICIES.values()
    )
    assert merged.first >= 2 * pinned.first and merged.lost > 2 * pinned.lost


def test_every_number_of_flakiness_is_explained() -> None:
    described = support.code_words(support.section(support.read("docs/comparison-json.md"), "flakiness[]"))
    fields = {word for word in described if re.fullmatch("[a-z_]+", word)}
    explained = support.code_words(support.section(support.read(PAGE), "A/A: a candidate against itself"))
    assert fields - {"metric", "cases", "answers"} - explained == set()
