"""Attempts → scores. A scorer that raises leaves a typed Unscored, never a crash and never a number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from evalharness.core.attempts import Attempt, Failure
from evalharness.core.protocols import Scorer
from evalharness.core.runs import AttemptKey
from evalharness.core.scores import Score, Scored, Unscored
from evalharness.core.suites import ScorerSpec, Suite
from evalharness.plugins import Registry


def build_scorer(spec: ScorerSpec, registry: Registry) -> Scorer:
    """The scorer a suite names. The suite was validated, so bad parameters do not get here."""
    scorer: Scorer = registry.load("scorers", spec.name)(**spec.params)
    return scorer


def build_scorers(suite: Suite, registry: Registry) -> dict[str, Scorer]:
    """Every scorer of a suite by metric id, in suite order."""
    return {metric_id: build_scorer(spec, registry) for metric_id, _, spec in suite.metrics}


def metric_sets(suite: Suite) -> dict[str, str]:
    """Metric id → the golden set it is computed on."""
    return {metric_id: item.golden_set.name for metric_id, item, _ in suite.metrics}


def score_attempts(
    suite: Suite, attempts: Mapping[str, Mapping[AttemptKey, Attempt]], scorers: Mapping[str, Scorer]
) -> dict[str, dict[AttemptKey, Score]]:
    """Score every response with every scorer of its eval. Failures have no score."""
    scores: dict[str, dict[AttemptKey, Score]] = {}
    for item in suite.evals:
        group = attempts[item.golden_set.name]
        cases = {case.id: case for case in item.golden_set.cases}
        for spec in item.scorers:
            metric_id = f"{item.id}/{spec.id}"
            scorer = scorers[metric_id]
            found: dict[AttemptKey, Score] = {}
            for key, attempt in group.items():
                outcome = attempt.outcome
                if isinstance(outcome, Failure):
                    continue
                try:
                    found[key] = _checked(scorer.score(cases[key[0]], outcome))
                except Exception as error:  # noqa: BLE001 - a plugin may raise anything; the reason is kept and shown
                    found[key] = Unscored(f"scorer raised {type(error).__name__}: {str(error)[:200]}")
            scores[metric_id] = found
    return scores


def _checked(score: object) -> Score:
    """A score that can be stored and read back to the same, whatever a plugin handed over."""
    if isinstance(score, Unscored):
        return score
    if not isinstance(score, Scored):
        return Unscored(f"scorer gave {type(score).__name__}, not a score")
    given: Any = score.value
    if type(given) is not float or score.stats or score.detail:
        stats = {name: float(number) for name, number in score.stats.items()}
        score = Scored(float(given), stats, _plain(score.detail))
    if not math.isfinite(score.value) or not all(map(math.isfinite, score.stats.values())):
        return Unscored("scorer gave a value that is not finite")
    return score


def _plain(value: Any) -> Any:
    """Detail as JSON data: what has no JSON form is shown as text."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)
