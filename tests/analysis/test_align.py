"""Pairing: what counts, what is left out, and what keeps memory in bounds."""

from __future__ import annotations

import pytest

from evalharness._canon import digest
from evalharness.analysis.align import pair
from evalharness.core.attempts import Response
from evalharness.core.cases import Card, Case, GoldenSet
from evalharness.core.protocols import Scorer
from evalharness.core.runs import Run
from evalharness.core.scores import Score
from evalharness.plugins import default_registry


def golden_set(n: int, labels: int = 3) -> GoldenSet:
    cases = tuple(Case(id=f"c{i}", input=f"q{i}", targets=(f"label {i % labels}",)) for i in range(n))
    return GoldenSet(card=Card(name="g", version="1.0.0", task="t"), cases=cases, digest=digest(n))


def run(golden: GoldenSet, scorer: Scorer, answers: dict[str, list[str]], repeats: int = 1) -> Run:
    """A run whose answers are by case id; a case or repeat that is not there failed."""
    scores: dict[tuple[str, int], Score] = {}
    for case in golden.cases:
        for repeat, text in enumerate(answers.get(case.id, [])):
            scores[case.id, repeat] = scorer.score(case, Response(text=text))
    return Run(
        id="", name="r", candidate_digest="", suite_name="s", suite_digest="", golden_sets={"g": golden.digest},
        repeats=repeats, attempts={}, scores={"e/m": scores},
    )  # fmt: skip


def scorer(name: str) -> Scorer:
    found: Scorer = default_registry().load("scorers", name)()
    return found


def right(golden: GoldenSet) -> dict[str, list[str]]:
    return {case.id: [case.targets[0]] for case in golden.cases}


def test_a_case_the_candidate_missed_counts_as_wrong_and_one_the_baseline_missed_is_left_out() -> None:
    golden, exact = golden_set(10), scorer("exact_match")
    before, after = right(golden), right(golden)
    del before["c1"], after["c2"]
    found = pair(golden, "e/m", exact, run(golden, exact, before), run(golden, exact, after))
    assert [c.id for c in found.cases] == [f"c{i}" for i in range(10) if i != 1]
    assert found.candidate.sum() == 8 and found.baseline.sum() == 9
    assert (found.missing_baseline, found.missing_candidate) == (1, 1)


def test_missing_repeats_of_the_candidate_pull_its_average_down_and_those_of_the_baseline_do_not() -> None:
    golden, exact = golden_set(1), scorer("exact_match")
    full, half = {"c0": ["label 0", "label 0"]}, {"c0": ["label 0"]}
    down = pair(golden, "e/m", exact, run(golden, exact, full, 2), run(golden, exact, half, 2))
    assert (down.baseline[0], down.candidate[0]) == (1.0, 0.5)
    up = pair(golden, "e/m", exact, run(golden, exact, half, 2), run(golden, exact, full, 2))
    assert (up.baseline[0], up.candidate[0]) == (1.0, 1.0)


def test_a_metric_without_a_worst_value_leaves_the_case_out_and_says_so() -> None:
    golden, length = golden_set(5), scorer("length")
    before, after = right(golden), right(golden)
    del after["c3"]
    found = pair(golden, "e/m", length, run(golden, length, before), run(golden, length, after))
    assert len(found.cases) == 4 and found.dropped_unbounded == 1


@pytest.mark.parametrize("name", ["macro_f1", "micro_f1"])
def test_as_many_junk_answers_as_cases_do_not_make_as_many_columns(name: str) -> None:
    golden, f1 = golden_set(300), scorer(name)
    junk = {case.id: [f"junk {case.id}"] for case in golden.cases}
    found = pair(golden, "e/m", f1, run(golden, f1, right(golden)), run(golden, f1, junk))
    assert len(found.columns) <= 6
    assert found.rows_baseline is not None and found.rows_candidate is not None
    assert f1.corpus(found.columns, found.rows_baseline.sum(axis=0)) == 1.0  # type: ignore[attr-defined]
    assert f1.corpus(found.columns, found.rows_candidate.sum(axis=0)) == 0.0  # type: ignore[attr-defined]


def test_failed_answers_are_misses_of_their_class() -> None:
    golden, f1 = golden_set(6), scorer("macro_f1")
    after = right(golden)
    del after["c0"], after["c3"]  # both cases of label 0
    found = pair(golden, "e/m", f1, run(golden, f1, right(golden)), run(golden, f1, after))
    assert found.rows_candidate is not None
    value = float(f1.corpus(found.columns, found.rows_candidate.sum(axis=0)))  # type: ignore[attr-defined]
    assert value == pytest.approx(2 / 3)
