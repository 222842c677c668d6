"""The metrics of one run by itself, with nothing it is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from evalharness.analysis.align import pair
from evalharness.core.cases import GoldenSet
from evalharness.core.protocols import CorpusScorer, Scorer
from evalharness.core.runs import AttemptKey, Run
from evalharness.core.scores import Score, Scored
from evalharness.core.suites import Suite
from evalharness.stats.quantiles import quantile


@dataclass(frozen=True, slots=True)
class Standing:
    """One metric of one run.

    Attributes:
        value: on the metric's own scale, in its unit; None where no answer could be scored.
        n: cases it rests on. missing: attempts that failed or have no score. They count as the worst value where the
            metric has one; where it has none, a case with a missing attempt is left out.
    """

    value: float | None
    n: int
    missing: int


NOTHING: Final = Standing(value=None, n=0, missing=0)


def standings(suite: Suite, run: Run, scorers: Mapping[str, Scorer]) -> dict[str, Standing]:
    """Every metric that the run has scores of, over the cases it was asked, in suite order."""
    found = {}
    for metric_id, item, _ in suite.metrics:
        if metric_id in run.scores and scorers[metric_id].metric.kind != "preference":
            asked = {case_id for case_id, _ in run.attempts.get(item.golden_set.name, ())}
            cases = tuple(case for case in item.golden_set.cases if case.id in asked)
            golden_set = replace(item.golden_set, cases=cases)
            found[metric_id] = standing(golden_set, metric_id, scorers[metric_id], run)
    return found


def standing(golden_set: GoldenSet, metric_id: str, scorer: Scorer, run: Run) -> Standing:
    """One metric of a run over every case of `golden_set`; repeats are averaged inside a case first."""
    about, stored = scorer.metric, run.scores[metric_id]
    filled: dict[AttemptKey, Score] = {}
    missing, kept = 0, []
    for case in golden_set.cases:
        worst: Scored | None = None
        if about.kind == "corpus" and isinstance(scorer, CorpusScorer):
            worst = scorer.worst(case)
        elif about.kind not in ("log_ratio", "quantile") and about.worst is not None:
            worst = Scored(about.worst)
        keys = [(case.id, repeat) for repeat in range(run.repeats)]
        lost = [key for key in keys if not isinstance(stored.get(key), Scored)]
        missing += len(lost)
        if lost and worst is None and about.kind != "quantile":
            continue
        kept.append(case)
        filled |= {key: stored[key] for key in keys if key not in lost}
        if worst is not None:
            filled |= dict.fromkeys(lost, worst)
    if not kept:
        return replace(NOTHING, missing=missing)
    whole = replace(golden_set, cases=tuple(kept))
    alone = replace(run, scores={metric_id: filled})
    paired = pair(whole, metric_id, scorer, alone, alone)
    if not paired.cases:
        return replace(NOTHING, missing=missing)
    if about.kind == "quantile":
        assert paired.attempts is not None and about.quantile is not None
        side = paired.attempts[0]
        # what failed lies beyond every value, so that it takes part in the order
        beyond = np.inf if about.direction == "lower" else (about.low or 0.0)
        flat = np.concatenate([side.values[side.held], np.full(missing, beyond)])
        return _finite(quantile(flat, about.quantile), len(kept), missing)
    if paired.rows_baseline is not None and isinstance(scorer, CorpusScorer):
        whole_value = float(scorer.corpus(paired.columns, paired.rows_baseline.sum(axis=0)))
        return _finite(whole_value, len(paired.cases), missing)
    return _finite(float(paired.baseline.mean()), len(paired.cases), missing)


def _finite(value: float, n: int, missing: int) -> Standing:
    return Standing(value if np.isfinite(value) else None, n, missing)
