from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evalharness._canon import digest
from evalharness.contamination import diff_versions
from evalharness.core.cases import Card, Case, GoldenSet
from tests.contamination.conftest import case, sentence


def golden_set(version: str, cases: Sequence[Case]) -> GoldenSet:
    texts = [[one.id, one.input, list(one.targets), dict(one.tags)] for one in cases]
    card = Card(name="routing", version=version, task="t")
    return GoldenSet(card=card, cases=tuple(cases), digest=digest(texts))


KEPT = replace(case("kept", sentence(1), "a"), tags={"language": "de"})
CHANGED = replace(case("changed", sentence(2), "a"), tags={"language": "en"})
GONE = replace(case("gone", sentence(3), "a"), tags={"language": "de"})
NEW = replace(case("new", sentence(4), "a"), tags={"language": "fr"})
OLD = golden_set("1", [KEPT, CHANGED, GONE])


def test_what_came_went_and_changed() -> None:
    changed = replace(CHANGED, targets=("b",), tags={"language": "fr"}, line=9)
    diff = diff_versions(OLD, golden_set("2", [NEW, changed, replace(KEPT, line=7)]))
    assert (diff.added, diff.removed, diff.changed, diff.same) == (
        ["new"], ["gone"], {"changed": ["target", "tags"]}, 1,
    )  # fmt: skip
    table = {one.slice: (one.old, one.new, one.added, one.removed, one.changed) for one in diff.slices}
    assert table == {
        "": (3, 3, 1, 1, 1),
        "language=de": (2, 1, 0, 1, 0),
        "language=en": (1, 0, 0, 0, 1),
        "language=fr": (0, 2, 1, 0, 1),
    }
    assert (diff.repeated, diff.errors) == ([], [])


def test_a_new_case_that_asks_what_an_old_one_asked_is_named() -> None:
    words = sentence(3).split()
    nearly = case("again", " ".join([*words[:-2], "new", "end"]))
    same = case("same", sentence(1).upper())
    chat = case("chat", [("system", "x"), ("user", sentence(2))])
    diff = diff_versions(OLD, golden_set("2", [nearly, same, chat]))
    assert [(one, other) for one, other, _ in diff.repeated] == [
        ("again", "gone"), ("chat", "changed"), ("same", "kept"),
    ]  # fmt: skip
    assert [score >= 0.9 for *_, score in diff.repeated] == [True, True, True]


def test_a_version_never_changes() -> None:
    (error,) = diff_versions(OLD, golden_set("1", [KEPT])).errors
    assert "both say routing 1 and their cases differ" in error
    (error,) = diff_versions(OLD, golden_set("2", OLD.cases)).errors
    assert "hold the same cases" in error
    assert diff_versions(OLD, OLD).errors == []
