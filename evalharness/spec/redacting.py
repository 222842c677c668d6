"""What a suite's `redact` means for its own cases, where answers are stored redacted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from evalharness.core.cases import Case, GoldenSet
from evalharness.core.suites import Redaction, Suite
from evalharness.errors import Problem
from evalharness.redaction import Redactor
from evalharness.spec.golden_sets import CASES
from evalharness.spec.models import RedactFile

_MOST: Final = 10


def redaction(file: RedactFile) -> Redaction:
    """The rules that a file states."""
    kinds = [
        *(["email"] if file.emails else []),
        *(["phone"] if file.phones else []),
        *(["card", "iban", "ssn"] if file.cards else []),
    ]
    return Redaction(kinds=tuple(kinds), patterns=tuple(file.patterns), stored=file.stored)


def id_problems(rules: Redaction, golden_sets: Iterable[GoldenSet]) -> Iterator[Problem]:
    """Cases whose id would have to be taken out of everything that is stored, where things are found by it."""
    if not rules.stored:
        return
    redactor = Redactor(rules)
    for golden_set in golden_sets:
        found = [case for case in golden_set.cases if redactor.text(case.id) != case.id]
        where = f"{golden_set.path}/{CASES}" if golden_set.path else f"golden set {golden_set.name}"
        hint = "answers are stored under it: rename the case, or narrow the suite's `redact`"
        for case in found[:_MOST]:
            shown = redactor.text(case.id)
            message = f"the id {shown!r} holds what `redact` takes out of all that is stored"
            yield Problem(message, where, case.line or None, hint=hint)
        if len(found) > _MOST:
            yield Problem(f"{len(found) - _MOST} further ids hold such", where)


def nothing_left(rules: Redaction, metric_id: str, scorer: object) -> str | None:
    """Why a scorer would find nothing whatever the model says; None where it does not look for what is taken out."""
    gone = [kind for kind in getattr(scorer, "personal_data", ()) if kind in rules.kinds]
    if not gone:
        return None
    return (
        f"{metric_id} counts {' and '.join(gone)} in answers, and `redact` takes them out first: it would find none, "
        "whatever the model says"
    )


def redaction_warnings(suite: Suite) -> tuple[str, ...]:
    """Cases that no answer can match, since what they want is taken out of every answer before it is scored."""
    if not suite.redact.stored:
        return ()
    redactor = Redactor(suite.redact)
    told = []
    for golden_set in suite.golden_sets:
        found = [case.id for case in golden_set.cases if _wanted(case) != redactor.all(_wanted(case))]
        if found:
            counted = "a case" if len(found) == 1 else f"{len(found):,} cases"
            told.append(
                f"golden set {golden_set.name}: `redact` takes something out of what {counted} wants of an answer "
                f"(target, choices, relevant), and answers are scored without it: no answer can match "
                f"{_listed(found)}"
            )
    return tuple(told)


def _wanted(case: Case) -> tuple[Any, ...]:
    return (case.targets, case.choices, tuple(case.relevant))


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_MOST]) + (f" and {len(ids) - _MOST:,} more" if len(ids) > _MOST else "")
