"""Which of two sides' answers are held against each other: the pairs that a judge sees, and people who label."""

from __future__ import annotations

from collections.abc import Iterator

from evalharness.core.attempts import Attempt, Response
from evalharness.core.runs import Run


def answer_pairs(
    golden_set: str, case_id: str, baseline: Run, candidate: Run
) -> Iterator[tuple[int, tuple[str, str]]]:
    """Every pair of answers to one case: the candidate's repeat, and the baseline's text with the candidate's.

    Each repeat of the candidate meets one of the baseline's, in turn where fewer of those are there. A failed answer is
    in no pair.
    """
    left, right = baseline.attempts.get(golden_set, {}), candidate.attempts.get(golden_set, {})
    found = (_text(left.get((case_id, repeat))) for repeat in range(baseline.repeats))
    known = [text for text in found if text is not None]
    for repeat in range(candidate.repeats):
        text = _text(right.get((case_id, repeat)))
        if known and text is not None:
            yield repeat, (known[repeat % len(known)], text)


def _text(attempt: Attempt | None) -> str | None:
    return attempt.outcome.text if attempt is not None and isinstance(attempt.outcome, Response) else None
