"""Which answers of two runs count for flakiness, and what is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import pytest

from evalharness._canon import digest
from evalharness.analysis.changes import case_keys
from evalharness.analysis.compare import compare_runs
from evalharness.analysis.flakiness import flakiness, flakiness_warnings
from evalharness.core.attempts import Attempt, Failure, Response
from evalharness.core.cases import Card, Case, GoldenSet
from evalharness.core.comparisons import Flakiness
from evalharness.core.protocols import Scorer
from evalharness.core.runs import Run
from evalharness.core.scores import Score
from evalharness.core.suites import EvalSpec, GatePolicy, Margin, ScorerSpec, Suite
from evalharness.plugins import default_registry

Answers = Mapping[str, Sequence[str | None]]
"""Case id → its answers by repeat, None for a failed one."""


def suite_of(cases: Sequence[Case], *scorers: str, margin: Margin | None = None) -> Suite:
    golden = GoldenSet(
        card=Card(name="g", version="1.0.0", task="t"), cases=tuple(cases), digest=digest(str(cases))
    )
    specs = tuple(ScorerSpec(name=name, id=name) for name in scorers)
    return Suite(
        name="s",
        evals=(EvalSpec(id="e", golden_set=golden, scorers=specs),),
        gate=GatePolicy(max_drop=margin or Margin(Fraction(1, 50), False), max_failures=1.0),
        digest="suite",
    )


def cases_of(n: int, **more: object) -> list[Case]:
    return [Case(id=f"c{i}", input=f"q{i}", targets=("yes",), **more) for i in range(n)]  # type: ignore[arg-type]


def scorers_of(suite: Suite) -> dict[str, Scorer]:
    registry = default_registry()
    return {metric_id: registry.load("scorers", spec.name)() for metric_id, _, spec in suite.metrics}


def run_of(
    suite: Suite, answers: Answers, *, took: float | None = 1.0, name: str = "base", pinned: bool = True
) -> Run:
    """A run of one candidate. `took`: each answer's time, plus a little for each further answer."""
    (golden,) = suite.golden_sets
    repeats = max(len(given) for given in answers.values())
    attempts, scores = {}, {metric_id: {} for metric_id, _, _ in suite.metrics}  # type: ignore[var-annotated]
    scorers = scorers_of(suite)
    for number, case in enumerate(golden.cases):
        for repeat in range(repeats):
            text = answers[case.id][repeat] if repeat < len(answers[case.id]) else None
            latency = None if took is None else took + number / 1000 + repeat / 100_000
            outcome = (
                Failure(kind="timeout", message="late")
                if text is None
                else Response(text=text, latency_ms=latency)
            )
            attempts[case.id, repeat] = Attempt(
                golden_set="g", case_id=case.id, repeat=repeat, outcome=outcome
            )
            if isinstance(outcome, Response):
                for metric_id, scorer in scorers.items():
                    score: Score = scorer.score(case, outcome)
                    scores[metric_id][case.id, repeat] = score
    return Run(
        id=digest([sorted((k, str(v)) for k, v in answers.items())]), name=name, candidate_digest="d",
        suite_name="s", suite_digest="suite", golden_sets={"g": golden.digest}, repeats=repeats,
        attempts={"g": attempts}, scores=scores,
        manifest={
            "candidate": {"provider": "openai", "model": "m", "cacheable": pinned},
            "models_returned": [],
            "coverage": {"planned": 1, "scored": 1, "failed": 0, "unscored": 0},
        },
    )  # fmt: skip


def measured(suite: Suite, first: Run, second: Run) -> tuple[Flakiness, ...]:
    scorers = scorers_of(suite)
    metrics = compare_runs(suite, first, second, scorers, seed=1).metrics
    return flakiness(suite, first, second, scorers, metrics, case_keys(suite), seed=1)


def test_all_answers_of_both_runs_count_and_flaky_cases_come_most_balanced_first() -> None:
    suite = suite_of(cases_of(4), "exact_match")
    first = run_of(
        suite, {"c0": ["yes", "no"], "c1": ["yes", "yes"], "c2": ["no", "no"], "c3": ["yes", "yes"]}
    )
    second = run_of(
        suite,
        {
            "c0": ["yes", "yes", "yes"],
            "c1": ["yes", "no", "no"],
            "c2": ["no", "no", "no"],
            "c3": ["yes", "yes", "no"],
        },
        took=2.0,
    )
    (found,) = measured(suite, first, second)
    assert (found.metric, found.cases, found.answers) == ("e/exact_match", 4, 5)
    assert [(case.key, case.rate, case.answers) for case in found.flaky] == [
        ("c1", 0.6, 5),
        ("c0", 0.8, 5),
        ("c3", 0.8, 5),
    ]
    # 2 s (5 − s) / (5 · 4) for s = 4, 3, 0 and 4 passes
    assert found.flips == pytest.approx((0.4 + 0.6 + 0.0 + 0.4) / 4)


def test_failed_answers_do_not_count_and_a_case_with_one_answer_left_is_not_counted() -> None:
    suite = suite_of(cases_of(4), "exact_match")
    yes = {f"c{i}": ["yes"] for i in range(4)}
    second = run_of(suite, {**yes, "c1": ["no"], "c3": [None]}, took=2.0)
    (found,) = measured(suite, run_of(suite, yes), second)
    assert (found.cases, found.answers) == (3, 2)
    assert [case.key for case in found.flaky] == ["c1"]
    assert found.flips == pytest.approx(1 / 3)


def test_an_answer_that_both_runs_hold_is_one_answer() -> None:
    suite = suite_of(cases_of(6), "exact_match")
    first = run_of(suite, {f"c{i}": ["yes"] for i in range(6)})
    second = run_of(suite, {f"c{i}": ["no" if i == 5 else "yes"] for i in range(6)}, took=2.0)
    # three of the answers came from the cache: equal to the last bit of the time they took
    shared = {key: attempt for key, attempt in first.attempts["g"].items() if key[0] in ("c0", "c1", "c2")}
    mixed = replace(second, attempts={"g": {**second.attempts["g"], **shared}})
    (found,) = measured(suite, first, mixed)
    assert found.cases == 3 and found.flips == pytest.approx(1 / 3)
    (warning,) = flakiness_warnings(suite, first, mixed)
    assert warning.startswith("3 of 6 answers are the very same") and "--fresh" in warning


@pytest.mark.parametrize("took", [1.0, None])
def test_one_run_against_itself_says_nothing(took: float | None) -> None:
    suite = suite_of(cases_of(6), "exact_match")
    run = run_of(suite, {f"c{i}": ["yes"] for i in range(6)}, took=took)
    assert measured(suite, run, run) == ()
    (warning,) = flakiness_warnings(suite, run, run)
    assert "very same answers" in warning


def test_equal_answers_whose_time_is_not_known_are_two_where_the_runs_differ() -> None:
    suite = suite_of(cases_of(6), "exact_match")
    first = run_of(suite, {f"c{i}": ["yes"] for i in range(6)}, took=None)
    second = run_of(suite, {f"c{i}": ["no" if i == 5 else "yes"] for i in range(6)}, took=None)
    (found,) = measured(suite, first, second)
    assert found.cases == 6 and found.flips == pytest.approx(1 / 6)


def test_another_candidate_has_no_part_in_it() -> None:
    suite = suite_of(cases_of(6), "exact_match")
    first = run_of(suite, {f"c{i}": ["yes"] for i in range(6)})
    second = replace(run_of(suite, {f"c{i}": ["no"] for i in range(6)}, took=2.0), candidate_digest="other")
    assert measured(suite, first, second) == () and flakiness_warnings(suite, first, second) == []


def test_code_that_may_have_changed_is_one_candidate_only_beside_its_first_run() -> None:
    suite = suite_of(cases_of(6), "exact_match")
    first = run_of(suite, {f"c{i}": ["yes"] for i in range(6)}, pinned=False)
    changed = run_of(suite, {f"c{i}": ["no"] for i in range(6)}, took=2.0, name="better", pinned=False)
    assert measured(suite, first, changed) == () and flakiness_warnings(suite, first, changed) == []
    assert measured(suite, first, replace(changed, name="base-again"))


def test_lower_is_better_is_listed_by_its_passes() -> None:
    suite = suite_of(cases_of(5), "refusal")
    refused = "I'm sorry, but I can't help with that."
    first = run_of(suite, {f"c{i}": ["yes", "yes", "yes"] for i in range(5)})
    second = run_of(suite, {f"c{i}": [refused if i == 2 else "yes"] for i in range(5)}, took=2.0)
    (found,) = measured(suite, first, second)
    assert [(case.key, case.rate) for case in found.flaky] == [("c2", 0.75)]


def test_scores_vary_without_being_flaky_and_corpus_metrics_are_left_out() -> None:
    suite = suite_of(cases_of(8), "rouge_l", "macro_f1")
    first = run_of(suite, {f"c{i}": ["yes"] for i in range(8)})
    second = run_of(suite, {f"c{i}": ["yes it is" if i % 2 else "yes"] for i in range(8)}, took=2.0)
    (found,) = measured(suite, first, second)
    assert found.metric == "e/rouge_l" and found.flaky == ()
    assert found.flips == pytest.approx(0.5) and found.within_cases > 0 and found.false_drops > 0


def test_cases_of_a_cluster_vary_together() -> None:
    answers = {f"c{i}": ["yes"] for i in range(40)}, {f"c{i}": ["no" if i < 20 else "yes"] for i in range(40)}
    chances = {}
    for clustered in (False, True):
        cases = [
            replace(c, cluster="one" if clustered and i < 20 else None) for i, c in enumerate(cases_of(40))
        ]
        suite = suite_of(cases, "exact_match", margin=Margin(Fraction(1, 4), False))
        (found,) = measured(suite, run_of(suite, answers[0]), run_of(suite, answers[1], took=2.0))
        chances[clustered] = found.false_drops
    # alone, 15 of 20 would have to fall; together, all of them fall half of the time
    assert chances[False] == pytest.approx(0.0207, abs=1e-4)
    assert chances[True] == pytest.approx(0.5, abs=0.02)


def test_a_metric_without_two_answers_to_two_cases_or_without_a_margin_is_left_out() -> None:
    suite = suite_of(cases_of(3), "exact_match")
    yes: Answers = {f"c{i}": ["yes"] for i in range(3)}
    gone: Answers = {"c0": ["yes"], "c1": [None], "c2": [None]}
    assert measured(suite, run_of(suite, yes), run_of(suite, gone, took=2.0)) == ()
    relative = suite_of(cases_of(3), "exact_match", margin=Margin(Fraction(1, 50), True))
    no: Answers = {f"c{i}": ["no"] for i in range(3)}
    assert measured(relative, run_of(relative, no), run_of(relative, yes, took=2.0)) == ()


def test_a_seed_that_is_fixed_is_said() -> None:
    suite = suite_of(cases_of(3), "exact_match")
    run = run_of(suite, {f"c{i}": ["yes"] for i in range(3)})
    seeded = replace(
        run, manifest={**run.manifest, "candidate": {"cacheable": True, "decoding": {"seed": 0}}}
    )
    other = run_of(suite, {f"c{i}": ["yes"] for i in range(3)}, took=2.0)
    (warning,) = flakiness_warnings(suite, seeded, other)
    assert "decoding.seed is fixed" in warning


def test_the_numbers_do_not_depend_on_the_order_of_the_metrics() -> None:
    cases = cases_of(30)
    first = {f"c{i}": ["yes", "yes"] for i in range(30)}
    second = {f"c{i}": ["yes it is" if i % 3 else "yes"] for i in range(30)}
    one, both = suite_of(cases, "rouge_l"), suite_of(cases, "exact_match", "rouge_l")
    (alone,) = measured(one, run_of(one, first), run_of(one, second, took=2.0))
    assert alone in measured(both, run_of(both, first), run_of(both, second, took=2.0))
