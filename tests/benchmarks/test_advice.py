"""Worn benchmarks as what decides: said with their successor, and not where they only stand beside."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from evalharness.core.benchmarks import BenchmarkSpec
from evalharness.core.cases import Card, Case, GoldenSet
from evalharness.core.suites import EvalSpec, GatePolicy, Margin, MetricRule, ScorerSpec, Suite
from evalharness.spec.advice import advice, known
from evalharness.spec.load import suite_warnings


def suite(runner: str, task: str, *, complete: bool = True, metrics: tuple[str, ...] = ()) -> Suite:
    spec = BenchmarkSpec(runner=runner, task=task, params={}, written={runner: task}, metrics=metrics)
    cases = (Case(id="1", input="?"),) if complete else ()
    item = EvalSpec(
        id="worn",
        golden_set=GoldenSet(
            card=Card(name=f"{runner}:worn", version="1", task=task), cases=cases, digest="d"
        ),
        scorers=tuple(
            ScorerSpec(name="recorded", id=name, params={"name": name}) for name in ("acc", "acc_norm")
        )
        if complete
        else (),
        benchmark=spec,
    )
    gate = GatePolicy(max_drop=Margin(Fraction(2, 100), relative=False))
    return Suite(name="s", evals=(item,), gate=gate, digest="d")


def gated(whole: Suite, primary: tuple[str, ...] = (), **rules: MetricRule) -> Suite:
    metrics = {f"worn/{name}": rule for name, rule in rules.items()}
    return replace(whole, gate=replace(whole.gate, primary=primary, metrics=metrics))


@pytest.mark.parametrize(
    ("runner", "task", "name", "successor"),
    [
        ("lm_eval", "mmlu", "MMLU", "mmlu_pro"),
        ("lm_eval", "mmlu_anatomy", "MMLU", "mmlu_pro"),
        ("lm_eval", "mmlu_professional_law", "MMLU", "mmlu_pro"),
        ("lm_eval", "mmlu_professional_medicine_generative", "MMLU", "mmlu_pro"),
        ("inspect", "inspect_evals/mmlu_5_shot", "MMLU", "mmlu_pro"),
        ("inspect", "inspect_evals/aime2025", "AIME 2024/25", "hle"),
        ("lm_eval", "aime24", "AIME 2024/25", "hle"),
        ("lm_eval", "humaneval_plus", "HumanEval", "swe_bench"),
        ("inspect", "inspect_evals/mbpp", "MBPP", "swe_bench"),
        ("lm_eval", "truthfulqa_mc2", "TruthfulQA", "HaluEval"),
        ("lm_eval", "medqa_4options", "MedQA", "healthbench_hard"),
    ],
)
def test_a_worn_benchmark_that_decides_is_said_with_its_successor(
    runner: str, task: str, name: str, successor: str
) -> None:
    (said,) = advice(suite(runner, task))
    assert said.startswith(f"worn decides by {name}, which is ") and successor in said
    assert said in suite_warnings(suite(runner, task))


@pytest.mark.parametrize(
    ("runner", "task"),
    [
        ("lm_eval", "mmlu_pro"),
        ("lm_eval", "mmlu_pro_law"),
        ("lm_eval", "mmlu_prox_de_law"),
        ("lm_eval", "mmlu_redux_generative"),
        ("lm_eval", "gpqa_diamond_zeroshot"),
        ("lm_eval", "my_mmlu"),
        ("inspect", "mmlu"),  # no task of that runner
        ("inspect", "inspect_evals/gpqa_diamond"),
        ("inspect", "inspect_evals/aime2026"),
    ],
)
def test_others_are_not_spoken_of(runner: str, task: str) -> None:
    assert advice(suite(runner, task)) == ()


def test_a_probe_that_decides_nothing_is_fine() -> None:
    whole = suite("lm_eval", "mmlu")
    aside = MetricRule(advisory=True)
    assert advice(gated(whole, acc=aside, acc_norm=aside)) == ()
    assert advice(gated(whole, acc_norm=aside))
    assert advice(gated(whole, primary=("other/exact_match",))) == ()
    assert advice(gated(whole, primary=("worn/acc",)))


def test_before_the_tool_was_asked_the_gate_tells_what_decides() -> None:
    bare = suite("lm_eval", "mmlu", complete=False)
    assert advice(bare)
    assert advice(gated(bare, acc=MetricRule(advisory=True))) == ()
    named = suite("lm_eval", "mmlu", complete=False, metrics=("acc",))
    assert advice(named) and advice(gated(named, acc=MetricRule(advisory=True))) == ()


def test_every_entry_says_who_says_so_and_patterns_name_runners_there_are() -> None:
    for one in known():
        assert one.status and one.why and one.successor
        assert set(one.tasks) <= {"lm_eval", "inspect"}
