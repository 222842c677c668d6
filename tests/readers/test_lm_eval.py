"""Samples that lm-eval wrote in this test."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")

from evalharness.core.attempts import Attempt, Response
from evalharness.core.benchmarks import Results
from evalharness.engine.reading import read_results
from evalharness.errors import SpecError, UsageError
from evalharness.plugins import default_registry
from evalharness.readers.lm_eval_samples import LmEvalSamples
from evalharness.scorers.perplexity import Perplexity
from tests.readers.tools import QUESTIONS, lm_eval_samples


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lm_eval_samples(tmp_path_factory.getbasetemp())


def file_of(samples: Path, task: str) -> Path:
    (found,) = (samples / "base" / "known").glob(f"samples_{task}_*.jsonl")
    return found


def answer(attempt: Attempt) -> Response:
    assert isinstance(attempt.outcome, Response)
    return attempt.outcome


def test_choices(samples: Path) -> None:
    found = LmEvalSamples().read(file_of(samples, "choices"))
    task = found.tasks["choices"]
    assert (found.tool, found.tool_version, found.name) == ("lm_eval", "0.4.13", "known")
    assert task.task.golden_set.card.version == "1.0" and task.comparable["num_fewshot"] == 0
    assert len(task.task.golden_set.cases) == QUESTIONS and found.warnings == ()
    acc, norm = task.task.metrics
    assert (acc.scorer.id, acc.advisory, acc.scorer.params["kind"]) == ("acc", "", "binary")
    assert norm.scorer.id == "acc_norm" and norm.advisory
    assert [answer(task.attempts[str(i), 0]).scores["acc"] for i in (5, 6)] == [0.0, 1.0]
    assert answer(task.attempts["6", 0]).text == "6", "the choice that was found likeliest"
    assert "q: Say 6" in task.task.golden_set.cases[6].question


def test_filters_of_a_task_are_metrics_of_one_case(samples: Path) -> None:
    task = LmEvalSamples().read(file_of(samples, "texts")).tasks["texts"]
    assert [m.scorer.id for m in task.task.metrics] == ["exact_match", "exact_match.loose"]
    assert len(task.task.golden_set.cases) == QUESTIONS
    sixth = answer(task.attempts["6", 0])
    assert sixth.scores == {"exact_match": 0.0, "exact_match.loose": 1.0} and sixth.text == "it is 6"


def test_perplexity_is_what_lm_eval_says(samples: Path) -> None:
    file = file_of(samples, "documents")
    task = LmEvalSamples().read(file).tasks["documents"]
    metric = task.task.metrics[0]
    assert metric.scorer.name == "perplexity" and "ratio" in metric.advisory
    scorer = Perplexity(**metric.scorer.params)
    scores = [scorer.score(c, answer(task.attempts[c.id, 0])) for c in task.task.golden_set.cases]
    nll, words = (sum(score.stats[name] for score in scores) for name in ("nll", "tokens"))
    (aggregated,) = file.parent.glob("results_*.json")
    theirs = json.loads(aggregated.read_text())["results"]["documents"]["word_perplexity,none"]
    assert math.exp(nll / words) == pytest.approx(theirs, rel=1e-12)
    assert [m.scorer.id for m in task.task.metrics] == ["word_perplexity", "byte_perplexity"]


def test_a_folder_is_one_side_with_a_task_for_each_file(samples: Path) -> None:
    found = read_results(samples / "base" / "known", default_registry(third_party=False))
    assert (
        found is not None and set(found.tasks) == {"choices", "texts", "documents"} and found.name == "known"
    )


def test_the_folder_that_lm_eval_was_given_is_read_too(samples: Path) -> None:
    found = read_results(samples / "base", default_registry(third_party=False))
    assert found is not None and len(found.tasks) == 3 and found.name == "base"


def test_two_files_of_one_task_in_a_folder(samples: Path, tmp_path: Path) -> None:
    first = file_of(samples, "choices")
    for name in (first.name, first.name.replace("2026", "2025")):
        (tmp_path / name).write_bytes(first.read_bytes())
    with pytest.raises(UsageError, match="two files hold the task 'choices'"):
        read_results(tmp_path, default_registry(third_party=False))


def changed(samples: Path, tmp_path: Path, change: Callable[[list[dict[str, Any]]], object]) -> Path:
    rows = [json.loads(line) for line in file_of(samples, "choices").read_text().splitlines()]
    change(rows)
    path = tmp_path / "samples_choices_2026-01-01T00-00-00.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> Results:
    return LmEvalSamples().read(path)


def test_the_same_document_twice(samples: Path, tmp_path: Path) -> None:
    path = changed(samples, tmp_path, lambda rows: rows.append(rows[3]))
    with pytest.raises(
        SpecError, match=f":{QUESTIONS + 1}: document 3 under filter 'none' is already on line 4"
    ):
        read(path)


def test_nan_is_no_score_and_a_file_alone_says_less(samples: Path, tmp_path: Path) -> None:
    found = read(changed(samples, tmp_path, lambda rows: rows[0].update(acc=math.nan)))
    first = answer(found.tasks["choices"].attempts["0", 0])
    assert "acc" not in first.scores and "not finite" in first.unscored["acc"]
    assert "no results_*.json" in found.warnings[0]
    assert found.tasks["choices"].task.golden_set.card.version == ""


def test_a_metric_over_all_documents_is_left_out_and_said(samples: Path, tmp_path: Path) -> None:
    def add(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["metrics"].append("bleu")
            row["bleu"] = ["a", "b"]

    found = read(changed(samples, tmp_path, add))
    assert [m.scorer.id for m in found.tasks["choices"].task.metrics] == ["acc", "acc_norm"]
    assert any(text.startswith("bleu:") for text in found.warnings)


def test_a_row_that_is_cut_off(samples: Path, tmp_path: Path) -> None:
    path = tmp_path / "samples_choices_2026-01-01T00-00-00.jsonl"
    path.write_bytes(file_of(samples, "choices").read_bytes()[:-200])
    with pytest.raises(SpecError, match=f":{QUESTIONS}: ends in the middle"):
        read(path)
