"""Which cases moved, and which critical ones broke."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TypeAlias

from evalharness.analysis.align import Paired
from evalharness.analysis.judged import JudgeMetric
from evalharness.core.cases import Case
from evalharness.core.comparisons import CaseChange, CriticalFailure
from evalharness.core.protocols import Scorer
from evalharness.core.runs import AttemptKey, Run
from evalharness.core.scores import Scored
from evalharness.core.suites import Suite


def case_keys(suite: Suite) -> dict[tuple[str, str], str]:
    """(golden set, case id) → the name a case goes by in reports: its id, prefixed where two sets share it."""
    ids = Counter(case.id for golden_set in suite.golden_sets for case in golden_set.cases)
    # `b:x` may also be an id as written; then every case gets its prefix, which no set's name can hold a part of
    clash = any(f"{g.name}:{c.id}" in ids for g in suite.golden_sets for c in g.cases if ids[c.id] > 1)
    return {
        (g.name, case.id): case.id if ids[case.id] == 1 and not clash else f"{g.name}:{case.id}"
        for g in suite.golden_sets
        for case in g.cases
    }


Keys: TypeAlias = Mapping[tuple[str, str], str]
"""What `case_keys` gives: (golden set, case id) → the name in reports."""


def case_changes(
    suite: Suite,
    baseline: Run,
    candidate: Run,
    pairs: Mapping[str, Paired],
    scorers: Mapping[str, Scorer],
    keys: Keys,
) -> tuple[CaseChange, ...]:
    """Every paired case with a moved value, regressed ones first, then fixed, then the rest; each in suite order.

    A binary metric flips when its case average crosses one half; only gated binary metrics make a flip.
    """
    found: dict[tuple[str, str], _Moves] = {}
    for metric_id, item, _ in suite.metrics:
        metric = scorers[metric_id].metric
        if metric.kind == "quantile":
            continue  # every answer takes another time: no case has changed by that
        gated = not suite.gate.rule(metric_id).advisory
        sign = 1.0 if metric.direction == "higher" else -1.0
        paired = pairs[metric_id]
        moved = (paired.candidate - paired.baseline).nonzero()[0]
        for index in moved:
            case = paired.cases[index]
            before, after = float(paired.baseline[index]), float(paired.candidate[index])
            moves = found.setdefault((item.golden_set.name, case.id), _Moves(case))
            moves.deltas[metric_id] = sign * (after - before)
            moves.before[metric_id] = before
            moves.after[metric_id] = after
            if gated and metric.kind == "binary":
                was, now = sign * before >= sign * 0.5, sign * after >= sign * 0.5
                moves.regressed |= was and not now
                moves.fixed |= now and not was
                if was is not now and moves.flipped is None:
                    moves.flipped = metric_id, sign, was
    order = {key: place for place, key in enumerate(keys)}
    changes = []
    for key, moves in sorted(found.items(), key=lambda entry: order[entry[0]]):
        before_at = _shown(baseline, key, moves, after=False)
        after_at = _shown(candidate, key, moves, after=True)
        changes.append(
            CaseChange(
                key=keys[key],
                golden_set=key[0],
                case=moves.case,
                before=baseline.attempts[key[0]][before_at].outcome,
                after=candidate.attempts[key[0]][after_at].outcome,
                deltas=moves.deltas,
                values_before=moves.before,
                values_after=moves.after,
                regressed=moves.regressed,
                fixed=moves.fixed,
                whys=_whys(moves, (baseline, before_at), (candidate, after_at)),
            )
        )
    changes.sort(key=lambda change: (not change.regressed, not change.fixed))
    return tuple(changes)


class _Moves:
    def __init__(self, case: Case) -> None:
        self.case = case
        self.deltas: dict[str, float] = {}
        self.before: dict[str, float | None] = {}
        self.after: dict[str, float | None] = {}
        self.regressed = False
        self.fixed = False
        self.flipped: tuple[str, float, bool] | None = None  # metric, its sign, whether it passed before


def _whys(moves: _Moves, before: tuple[Run, AttemptKey], after: tuple[Run, AttemptKey]) -> dict[str, str]:
    """By metric id, what its scorer says of the worse of the two answers that are shown."""
    found: dict[str, str] = {}
    for metric_id, delta in moves.deltas.items():
        run, at = after if delta < 0 else before
        score = run.scores[metric_id].get(at)
        said = score.detail.get("why") if isinstance(score, Scored) else score.reason if score else None
        if isinstance(said, str) and said:
            found[metric_id] = said
    return found


def _shown(run: Run, key: tuple[str, str], moves: _Moves, *, after: bool) -> AttemptKey:
    """The answer a report shows for a case: the first that did what most of its repeats did, where the case flipped."""
    if moves.flipped is not None:
        metric_id, sign, passed = moves.flipped
        for repeat in range(run.repeats):
            score = run.scores[metric_id].get((key[1], repeat))
            good = isinstance(score, Scored) and sign * score.value >= sign * 0.5
            if good == (passed != after):
                return key[1], repeat
    return key[1], 0


def critical_failures(
    suite: Suite, pairs: Mapping[str, Paired], scorers: Mapping[str, Scorer], keys: Keys
) -> tuple[CriticalFailure, ...]:
    """Critical cases that passed a gated binary metric and now fail it.

    A case passes when its average over repeats is at least one half. With several repeats the failure is confirmed;
    with one, that one decides and says so (`analysis.confirm` asks a candidate that can still be asked).
    """
    failures: list[CriticalFailure] = []
    for metric_id, item, _ in suite.metrics:
        if not guards(suite, scorers, metric_id):
            continue
        paired = pairs[metric_id]
        sign = 1.0 if scorers[metric_id].metric.direction == "higher" else -1.0
        for case, before, after in zip(paired.cases, paired.baseline, paired.candidate, strict=True):
            if case.critical and sign * before >= sign * 0.5 and not sign * after >= sign * 0.5:
                failures.append(
                    CriticalFailure(
                        key=keys[item.golden_set.name, case.id],
                        metric=metric_id,
                        passed_before=_answers(sign, before, paired.repeats_baseline),
                        failed_after=_answers(sign, after, paired.repeats_candidate),
                        confirmed=paired.repeats_candidate > 1,
                    )
                )
    return tuple(failures)


def _answers(sign: float, value: float, repeats: int) -> str:
    """How many of a case's answers passed, in words. `sign` −1: a value of 0 is the good one."""
    passed = round((value if sign > 0 else 1 - value) * repeats)
    if repeats == 1:
        return "passed" if passed else "failed"
    return f"{passed} of {repeats} answers passed"


def unanswered_critical(
    suite: Suite, pairs: Mapping[str, Paired], scorers: Mapping[str, Scorer], keys: Keys
) -> list[str]:
    """Critical cases without a baseline answer: whether the candidate broke them cannot be known, so it is said."""
    found: dict[str, None] = {}
    for metric_id, item, _ in suite.metrics:
        if not guards(suite, scorers, metric_id):
            continue
        paired = pairs[metric_id]
        for case, before, _ in paired.lost:
            if case.critical and before == paired.repeats_baseline:
                found[keys[item.golden_set.name, case.id]] = None
    if not found:
        return []
    shown = ", ".join(list(found)[:5]) + (", …" if len(found) > 5 else "")
    noun = "case" if len(found) == 1 else "cases"
    return [f"not guarded, because the baseline has no answer that could be scored: critical {noun} {shown}"]


def guards(suite: Suite, scorers: Mapping[str, Scorer], metric_id: str) -> bool:
    """Whether a metric can tell that a critical case broke: it is 0 or 1 for a case, gated, and no judge's opinion."""
    scorer = scorers[metric_id]
    judged = isinstance(scorer, JudgeMetric)
    return scorer.metric.kind == "binary" and not judged and not suite.gate.rule(metric_id).advisory


def unguarded_critical(suite: Suite, scorers: Mapping[str, Scorer]) -> list[str]:
    """Evals whose critical cases nothing guards: they have no gated metric that is 0 or 1 for a case."""
    found = []
    for item in suite.evals:
        count = sum(case.critical for case in item.golden_set.cases)
        ids = [f"{item.id}/{spec.id}" for spec in item.scorers]
        guarded = any(guards(suite, scorers, i) for i in ids)
        if count and not guarded:
            cases, them = ("case", "it") if count == 1 else ("cases", "them")
            found.append(
                f"eval {item.id} has {count} critical {cases} and no gated pass/fail metric, so nothing guards {them}; "
                "add a scorer such as exact_match"
            )
    return found
