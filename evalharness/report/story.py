"""The verdict as one paragraph that a person can paste: what got worse, where, how, and what cannot be told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from evalharness.core.verdicts import Check, Verdict
from evalharness.report import numbers, words
from evalharness.report.comparison_json import own_scale
from evalharness.report.evidence import waiver_state
from evalharness.report.groups import Tally, Where
from evalharness.report.text import one_line

_METRICS: Final = 4
_KINDS: Final = 3
_CRITICAL: Final = 5
_SENTENCE: Final = 400


def build_story(verdict: Verdict, tallies: Sequence[Tally], where: Sequence[Where]) -> str:
    """One paragraph of plain sentences, derived from the verdict alone. Foreign strings in it are cleaned."""
    comparison = verdict.comparison
    who = f"{one_line(comparison.candidate.name, 120)} against {one_line(comparison.baseline.name, 120)}"
    outcome = words.OUTCOME_WORD[verdict.outcome].lower()
    parts = [f"{who} on suite {one_line(comparison.suite_name, 120)}: {outcome}."]
    if verdict.outcome == "invalid":
        return " ".join([*parts, *(_stop(reason) for reason in verdict.reasons[:2])])
    checks = words.table_checks(verdict)
    if verdict.outcome == "pass":
        parts.append(words.headline(verdict))
    parts += [
        _worse(checks),
        _critical(verdict),
        _suspect(checks),
        _where(where),
        _how(tallies),
        _better(checks),
        _open(checks),
        _waived(verdict),
        _judges(verdict),
        _missing(verdict),
        _early(verdict),
    ]
    return " ".join(part for part in parts if part)


def _stop(text: str) -> str:
    text = one_line(text, _SENTENCE)
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _of(checks: Sequence[Check], *statuses: str) -> list[Check]:
    return [c for c in checks if c.metric.gated and c.status in statuses and c.metric.estimate is not None]


def _moved(check: Check) -> str:
    """How far a metric moved: "routing/exact_match fell 20.6pp (81.6% to 60.9% of 320 cases, margin 2pp)"."""
    metric, estimate = check.metric, check.metric.estimate
    assert estimate is not None
    own = own_scale(estimate, metric.direction)
    lines = (0.0, metric.max_drop, -metric.max_drop)
    size = numbers.difference(own["delta"], metric.unit, lines, word=True)
    verb = "fell" if size.startswith(numbers.MINUS) else "rose" if size.startswith("+") else "moved"
    before, after = (numbers.value(own[side], metric.unit) for side in ("baseline", "candidate"))
    values = f"{before} to {after}, {words.plural(estimate.n, 'case')}"
    if metric.kind == "preference":
        values = f"won {after} of {words.plural(estimate.n, 'case')}"
    return f"{words.name_of(metric)} {verb} {size.lstrip('+' + numbers.MINUS)} ({values}, margin {metric.margin})"


def _list(named: Sequence[str]) -> str:
    more = len(named) - _METRICS
    shown = list(named[:_METRICS])
    return "; ".join([*shown, f"{words.plural(more, 'more metric')}"] if more > 0 else shown)


def _worse(checks: Sequence[Check]) -> str:
    found = _of(checks, "regression")
    return f"Worse, and confirmed: {_list([_moved(c) for c in found])}." if found else ""


def _suspect(checks: Sequence[Check]) -> str:
    found = _of(checks, "suspect")
    if not found:
        return ""
    return f"Worse by the margin or more, and noise alone could do that: {_list([_moved(c) for c in found])}."


def _critical(verdict: Verdict) -> str:
    keys = list(dict.fromkeys(one_line(failure.key, 80) for failure in verdict.comparison.critical))
    if not keys:
        return ""
    more = f" and {len(keys) - _CRITICAL:,} more" if len(keys) > _CRITICAL else ""
    what = "critical case that passed now fails" if len(keys) == 1 else "critical cases that passed now fail"
    return f"{len(keys):,} {what}: {', '.join(keys[:_CRITICAL])}{more}."


def _where(where: Sequence[Where]) -> str:
    """Slices in which more got worse than chance would do; that there are none is worth a sentence, too."""
    found = [row for one in where for row in one.sure[:2]][:3]
    if not found:
        return f"No slice of {words.listing([w.metric for w in where])} stands out." if where else ""
    said = [
        f"{row.tag} ({row.worse:,} of {words.plural(row.cases, 'case')} got worse on {row.metric}, "
        f"{row.share}; elsewhere {row.elsewhere})"
        for row in found
    ]
    return f"The loss concentrates in {'; '.join(said)}."


def _how(tallies: Sequence[Tally]) -> str:
    """What changed in the cases that regressed or, where none did, in those that scored worse."""
    regressed, worse, better, fixed = (
        sum(getattr(tally, group) for tally in tallies) for group in ("regressed", "worse", "better", "fixed")
    )
    if not regressed and not worse:
        return ""
    counts = [(t.regressed if regressed else t.worse, t) for t in tallies]
    rows = sorted([row for row in counts if row[0]], key=lambda row: -row[0])
    said = []
    for count, tally in rows[:_KINDS]:
        named = f"{tally.label[0].lower()}{tally.label[1:]} {count:,}"
        detail, times = tally.details[0] if tally.details else ("", 0)
        if times == tally.total:
            named += f" ({detail})"
        elif times > 1:
            named += f" (most often {detail}, {times:,})"
        said.append(named)
    rest = sum(count for count, _ in rows[_KINDS:])
    said += [f"otherwise {rest:,}"] if rest else []
    tail = [f"{worse:,} more scored worse"] if regressed and worse else []
    tail += [f"{better:,} scored better"] if better else []
    tail += [f"{words.plural(fixed, 'case')} fixed"] if fixed else ["none fixed"] if regressed else []
    total = words.plural(regressed or worse, "case")
    verb = "regressed" if regressed else "scored worse"
    return f"{'; '.join([f'{total} {verb}: ' + ', '.join(said), *tail])}."


def _better(checks: Sequence[Check]) -> str:
    found = _of(checks, "improved")
    return f"Better, and confirmed: {_list([_moved(c) for c in found])}." if found else ""


def _open(checks: Sequence[Check]) -> str:
    found = _of(checks, "underpowered")
    if not found:
        return ""
    return (
        f"Cannot be told: whether {_list([words.name_of(c.metric) for c in found])} got worse by the margin."
    )


def _judges(verdict: Verdict) -> str:
    names = [one_line(one.judge.name, 80) for one in verdict.comparison.judges if not one.standing.may_gate]
    if not names:
        return ""
    verb = "is" if len(names) == 1 else "are"
    return f"What {words.listing(names)} judged {verb} shown and does not decide."


def _missing(verdict: Verdict) -> str:
    coverage = verdict.comparison.candidate.coverage
    lost = coverage.planned - coverage.scored
    if lost <= 0:
        return ""
    verb = "has no score and counts" if lost == 1 else "have no score and count"
    return f"{lost:,} of the candidate's {words.plural(coverage.planned, 'answer')} {verb} against it."


def _waived(verdict: Verdict) -> str:
    named = [
        f"{words.name_of(metric)} may lose {metric.margin}, {waiver_state(metric)}"
        for metric in verdict.comparison.metrics
        if metric.waived
    ]
    return f"Waived: {_list(named)}." if named else ""


def _early(verdict: Verdict) -> str:
    looks = verdict.comparison.looks
    if looks is None or not looks.early:
        return ""
    return (
        f"Stopped early, at look {looks.number} of {looks.planned}: the differences lean towards the verdict."
    )
