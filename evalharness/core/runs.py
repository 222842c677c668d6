"""Run: everything one candidate answered on one suite, and its scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from evalharness.core.attempts import Attempt, Failure
from evalharness.core.cases import Case
from evalharness.core.scores import Score, Unscored

AttemptKey: TypeAlias = "tuple[str, int]"
"""(case id, repeat)"""

_NOTHING: Mapping[str, Any] = {}
_NO_CASES: Mapping[str, tuple[Case, ...]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Counts over planned (case, repeat) pairs and the scorers that read them.

    `planned` = attempts asked for; `failed` = no response (absent ones included); `unscored` = responses at least one
    scorer could not read; `scored` = the rest. `reasons` counts failures by kind and unscored by reason.
    """

    planned: int
    scored: int
    failed: int
    unscored: int
    reasons: Mapping[str, int] = field(default_factory=lambda: _NOTHING)

    def row(self) -> dict[str, Any]:
        """The counts as JSON data."""
        return {
            "planned": self.planned,
            "scored": self.scored,
            "failed": self.failed,
            "unscored": self.unscored,
            "reasons": dict(self.reasons),
        }


def count_coverage(
    attempts: Mapping[str, Mapping[AttemptKey, Attempt]],
    scores: Mapping[str, Mapping[AttemptKey, Score]],
    sets: Mapping[str, str],
) -> Coverage:
    """Counts over planned attempts. `sets` maps metric id to golden set."""
    reasons: Counter[str] = Counter()
    planned = failed = 0
    unreadable: set[tuple[str, AttemptKey]] = set()
    for group in attempts.values():
        planned += len(group)
        for made in group.values():
            if isinstance(made.outcome, Failure):
                failed += 1
                reasons[made.outcome.kind] += 1
    for metric, values in scores.items():
        for key, score in values.items():
            attempt = attempts.get(sets[metric], {}).get(key)
            if isinstance(score, Unscored) and not (attempt is not None and attempt.failed):
                unreadable.add((sets[metric], key))
                reasons[f"{metric}: {score.reason}"] += 1
    return Coverage(
        planned=planned,
        scored=planned - failed - len(unreadable),
        failed=failed,
        unscored=len(unreadable),
        reasons=dict(sorted(reasons.items())),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Attempts and scores of one candidate on one suite.

    `attempts[golden set]` maps (case id, repeat) to Attempt, in plan order; every pair that was asked is there, a
    missing answer being a Failure. Where a sequential comparison stopped early, the cases it did not ask are absent.
    `scores[metric id]` maps the same keys to Score for responses only (a failed attempt has no score). `id` is a
    content digest of candidate, suite, outputs and scores: no times, no money.
    `manifest` is what manifest.json holds. `cases` holds, by golden set, the cases that lie in no file of the user's (a
    benchmark's, or those of another tool's results): the run folder keeps them.
    """

    id: str
    name: str
    candidate_digest: str
    suite_name: str
    suite_digest: str
    golden_sets: Mapping[str, str]
    repeats: int
    attempts: Mapping[str, Mapping[AttemptKey, Attempt]]
    scores: Mapping[str, Mapping[AttemptKey, Score]]
    manifest: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    cases: Mapping[str, tuple[Case, ...]] = field(default_factory=lambda: _NO_CASES)
