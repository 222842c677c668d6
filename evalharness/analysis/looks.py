"""Looks: which cases each decision of a sequential comparison is made on, fixed before the first call.

The cases of a golden set are put into one random order that comes from the seed and the set's content alone. Every
look takes a beginning of that order, so that its cases are a random sample of the set and contain those of the look
before. Cases of one cluster stay together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final

import numpy as np

from evalharness.core.cases import GoldenSet
from evalharness.core.runs import Run, count_coverage
from evalharness.core.suites import Sampling, Suite
from evalharness.store.folder import content_id

JUDGED: Final = "judged"
"""Key of a run's manifest, in memory alone: the metrics that judges gave it in this comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One decision. `cases` holds the ids of each golden set's cases. `repeats` None: each side's own; else at least so
    many answers to each case. `share` is the evidence of this look per case, of what the last look has, in (0, 1].
    """

    number: int
    cases: Mapping[str, frozenset[str]]
    repeats: int | None
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """All looks of a comparison. Those after the first `routine` are taken under --extend only.

    `repeats` are the answers to a case that baseline and candidate give without --extend, None where a side's answers
    are there already and cannot be extended.
    """

    looks: tuple[Look, ...]
    routine: int
    repeats: tuple[int | None, int | None]


def schedule(
    suite: Suite, sampling: Sampling, repeats: tuple[int | None, int | None], *, seed: int
) -> Schedule:
    """Plan the looks of a suite.

    Look sizes run evenly from `initial` to `max` cases of each golden set, whole clusters each; a set with fewer cases
    than `initial` is complete at the first look. Where cases are held in reserve, the last look without them is one of
    the looks. `max_repeats` adds a last look at every case with that many answers.

    Args:
        suite: what is run.
        sampling: its sampling.
        repeats: as `Schedule.repeats`.
        seed: of the order of cases.
    """
    most = {g.name: min(sampling.max or len(g.cases), len(g.cases)) for g in suite.golden_sets}
    largest = max(most.values())
    sizes = _sizes(sampling, largest)
    routine = sum(size <= largest - sampling.reserve for size in sizes)
    ordered = {g.name: _ordered(g, seed) for g in suite.golden_sets}
    more = sampling.max_repeats
    # Answers a case has before the extension, of those it has after it: never more than its share of the evidence.
    share = min((own / max(own, more or 1) for own in repeats if own is not None), default=1.0)
    looks: list[Look] = []
    for size in sizes:
        cases = {
            name: _beginning(groups, _scaled(size, sampling.initial, largest, most[name]))
            for name, groups in ordered.items()
        }
        if not looks or cases != looks[-1].cases:
            looks.append(Look(number=len(looks) + 1, cases=cases, repeats=None, share=share))
        elif size <= largest - sampling.reserve:
            routine -= 1
    if share < 1.0:
        looks.append(Look(number=len(looks) + 1, cases=looks[-1].cases, repeats=more, share=1.0))
    return Schedule(looks=tuple(looks), routine=max(1, min(routine, len(looks))), repeats=repeats)


def _sizes(sampling: Sampling, largest: int) -> list[int]:
    """Cases of the largest golden set at each look, increasing, the last being all that may be asked."""
    initial = min(sampling.initial, largest)
    if sampling.looks == 1:
        sizes = {largest}
    else:
        steps = np.linspace(initial, largest, sampling.looks)
        sizes = {round(float(step)) for step in steps}
    if sampling.reserve:
        sizes.add(max(largest - sampling.reserve, initial))
    return sorted(sizes)


def _scaled(size: int, initial: int, largest: int, most: int) -> int:
    """The size of a smaller golden set at a look that takes `size` of the largest: as far on its own way."""
    if most <= initial:
        return most
    return round(initial + (size - initial) / (largest - initial) * (most - initial))


def _ordered(golden_set: GoldenSet, seed: int) -> list[tuple[str, ...]]:
    """The cases in random order, as groups that stay together: clusters, and single cases."""
    groups: dict[tuple[str, str], list[str]] = {}
    for case in golden_set.cases:
        key = ("case", case.id) if case.cluster is None else ("cluster", case.cluster)
        groups.setdefault(key, []).append(case.id)
    members = [tuple(ids) for ids in groups.values()]
    rng = np.random.default_rng([seed, *golden_set.digest.encode()])
    return [members[i] for i in rng.permutation(len(members))]


def _beginning(groups: Sequence[tuple[str, ...]], size: int) -> frozenset[str]:
    """The first groups that together hold at least `size` cases."""
    ends = list(accumulate(len(group) for group in groups))
    count = next((i + 1 for i, end in enumerate(ends) if end >= size), len(groups))
    return frozenset(case_id for group in groups[:count] for case_id in group)


def suite_at(suite: Suite, cases: Mapping[str, frozenset[str]]) -> Suite:
    """The suite with only these cases. Digests stay: the cases are a part of the same sets."""
    kept = {
        g.name: replace(g, cases=tuple(case for case in g.cases if case.id in cases[g.name]))
        for g in suite.golden_sets
    }
    return replace(
        suite, evals=tuple(replace(item, golden_set=kept[item.golden_set.name]) for item in suite.evals)
    )


def critical_cases(suite: Suite) -> dict[str, frozenset[str]]:
    """The critical cases of each golden set. They are asked at the first look and guarded at every one."""
    return {g.name: frozenset(case.id for case in g.cases if case.critical) for g in suite.golden_sets}


def run_at(run: Run, cases: Mapping[str, frozenset[str]], repeats: int | None = None) -> Run:
    """The run as if only these cases had been asked, `repeats` times each (None: as often as they were).

    Cases and repeats that the run does not have stay absent. Coverage and id are those of what is kept: equal answers
    give an equal id, whatever else was asked before or after. What judges said is no part of the id, as in the store.
    """
    count = run.repeats if repeats is None else min(repeats, run.repeats)
    attempts = {
        name: {
            key: attempt
            for key, attempt in group.items()
            if key[1] < count and key[0] in cases.get(name, frozenset())
        }
        for name, group in run.attempts.items()
    }
    sets: Mapping[str, str] = run.manifest["metrics"]
    scores = {
        metric: {key: score for key, score in values.items() if key in attempts[sets[metric]]}
        for metric, values in run.scores.items()
    }
    coverage = count_coverage(attempts, scores, sets)
    own = {metric: values for metric, values in scores.items() if metric not in run.manifest.get(JUDGED, ())}
    return replace(
        run,
        id=content_id(run.candidate_digest, run.suite_digest, attempts, own),
        repeats=count,
        attempts=attempts,
        scores=scores,
        manifest={**run.manifest, "coverage": coverage.row()},
    )
