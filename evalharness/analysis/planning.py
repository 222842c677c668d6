"""What a suite could see before it is run: what the gate would say at the noise that is known or assumed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from evalharness.analysis.noise import Evidence, Observed
from evalharness.core.cases import Case, Slice
from evalharness.core.plans import (
    Curve,
    MetricPlan,
    NoiseKind,
    NoiseSource,
    Outlook,
    SuiteOutlook,
)
from evalharness.core.protocols import Scorer
from evalharness.core.scores import Metric
from evalharness.core.suites import EvalSpec, Margin, Suite
from evalharness.stats.planning import Churn, Noise, Spread
from evalharness.stats.quantiles import fewest_units

ASSUMED: Final = (0.02, 0.05, 0.10, 0.20)
"""Shares of changing cases that are shown where nothing is known."""
_SHOWN: Final = 2
"""Which of them stands for all where there is room for one."""
POWER: Final = 0.8
TWICE: Final = 2.0
"""A suite that cannot see this many margins is refused."""
_CURVE_POINTS: Final = 33


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCases:
    """Cases of each golden set: those of the last look without --extend, and with it.

    `share`: the evidence per case of the former, of what the latter has, in (0, 1].
    """

    routine: Mapping[str, Sequence[Case]]
    extended: Mapping[str, Sequence[Case]]
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class _Target:
    """What is planned: one gated metric, or one gating slice of it."""

    id: str
    of: Slice | None
    margin: Margin
    metric: Metric
    deciding: bool
    family: int
    routine: Sequence[Case]
    extended: Sequence[Case]
    spent: float
    counted: bool
    repeats: tuple[int, int]
    clustered: bool
    fewest: int


@dataclass(frozen=True, slots=True)
class _Known:
    """An amount of noise with where it is from. `sure`: enough to refuse a suite by."""

    noise: Noise
    kind: NoiseKind
    amount: float
    source: NoiseSource
    text: str
    notes: tuple[str, ...] = ()
    sure: bool = True


def plan_metrics(
    suite: Suite,
    scorers: Mapping[str, Scorer],
    cases: PlannedCases,
    *,
    repeats: tuple[int, int],
    evidence: Sequence[Evidence],
    churn: float | None,
    history: Sequence[Evidence],
    today: date | None,
) -> tuple[MetricPlan, ...]:
    """Every gated metric and gating slice of a suite, with what it could see.

    Args:
        suite: what would be run.
        scorers: its scorers by metric id.
        cases: what would be asked.
        repeats: answers to a case of baseline and candidate.
        evidence: earlier comparisons that were named; the first that knows a metric is used.
        churn: the share of 0/1 cases assumed to change where `evidence` says nothing, in [0, 1); None: not given.
        history: earlier comparisons that were found, used after `churn`.
        today: for waivers; None: none holds.
    """
    plans = []
    for target in _targets(suite, scorers, cases, repeats, today):
        baseline = _baseline(target, (*evidence, *history))
        drop = _max_drop(target, baseline)
        known, unknown = _noise(target, evidence, churn, history)
        alone = suite.gate.alpha * target.spent
        level = alone / target.family
        outlooks = tuple(_outlook(target, one, drop, alone, level) for one in known)
        notes = list(dict.fromkeys(note for one in known for note in one.notes))
        if drop is None:
            notes.append(
                f"the margin {target.margin} is relative and no earlier run tells the baseline's value"
                if baseline is None
                else f"the margin {target.margin} is relative and the baseline was 0; write it in pp"
            )
        if _units(target.routine) < target.fewest:
            noun = "clusters" if target.clustered else "cases"
            notes.append(
                f"it cannot pass: {target.fewest:,} {noun} are the fewest that hold a bound of this percentile"
            )
        plans.append(
            MetricPlan(
                id=target.id,
                slice=None if target.of is None else str(target.of),
                kind=target.metric.kind,
                unit=target.metric.unit,
                direction=target.metric.direction,
                deciding=target.deciding,
                cases=len(target.routine),
                units=_units(target.routine),
                repeats=repeats,
                margin=str(target.margin),
                max_drop=drop,
                level=level,
                level_alone=alone,
                outlooks=outlooks,
                problem=_problem(target, known, drop, suite.gate.alpha) if target.deciding else None,
                unknown=unknown,
                notes=tuple(notes),
            )
        )
    return tuple(plans)


def _targets(
    suite: Suite,
    scorers: Mapping[str, Scorer],
    cases: PlannedCases,
    repeats: tuple[int, int],
    today: date | None,
) -> Iterator[_Target]:
    gate = suite.gate
    gated = [(i, item) for i, item, _ in suite.metrics if not gate.rule(i).advisory]
    primary = {i for i, _ in gated if not gate.primary or i in gate.primary}
    evals = dict(gated)
    deciding = len(primary) + len(gate.slices)

    def target(metric_id: str, item: EvalSpec, of: Slice | None, margin: Margin, decides: bool) -> _Target:
        metric, rule = scorers[metric_id].metric, gate.rule(metric_id)
        name = item.golden_set.name
        routine, extended = _inside(cases.routine[name], of), _inside(cases.extended[name], of)
        clustered = _units(routine) < len(routine)
        return _Target(
            id=metric_id,
            of=of,
            margin=margin,
            metric=metric,
            deciding=decides,
            family=deciding if decides else len(gated) - len(primary),
            routine=routine,
            extended=extended,
            # alpha · t², as the looks spend it: what --extend may use is not the routine comparison's.
            spent=cases.share * (len(routine) / len(extended)) ** 2 if routine else 1.0,
            counted=metric.kind == "binary" and repeats == (1, 1) and not clustered and rule.labels is None,
            repeats=repeats,
            clustered=clustered,
            fewest=0 if metric.quantile is None else fewest_units(metric.quantile, gate.alpha),
        )

    def margin(metric_id: str) -> Margin:
        waiver = gate.waiver(metric_id)
        if waiver is not None and waiver.holds(today):
            return waiver.margin
        return gate.rule(metric_id).margin or gate.max_drop

    for metric_id, item in gated:
        yield target(metric_id, item, None, margin(metric_id), metric_id in primary)
    for rule in gate.slices:
        if rule.metric in evals:
            own = rule.margin or gate.rule(rule.metric).margin or gate.max_drop
            yield target(rule.metric, evals[rule.metric], rule.slice, own, True)


def _inside(cases: Sequence[Case], of: Slice | None) -> Sequence[Case]:
    return cases if of is None else [case for case in cases if case.tags.get(of.key) == of.value]


def _units(cases: Sequence[Case]) -> int:
    """Clusters, a case without one being its own."""
    return len({case.cluster for case in cases if case.cluster is not None}) + sum(
        case.cluster is None for case in cases
    )


def _found(target: _Target, evidence: Evidence) -> tuple[Observed, bool] | None:
    """What `evidence` knows of a target, and whether it is of the whole metric in place of the slice."""
    own = evidence.observed.get((target.id, None if target.of is None else str(target.of)))
    if own is not None:
        return own, False
    whole = evidence.observed.get((target.id, None))
    return None if whole is None else (whole, True)


def _baseline(target: _Target, evidence: Sequence[Evidence]) -> float | None:
    for one in evidence:
        found = _found(target, one)
        if found is not None and found[0].baseline is not None:
            return found[0].baseline
    return None


def _max_drop(target: _Target, baseline: float | None) -> float | None:
    if not target.margin.relative:
        return target.margin.absolute(0.0)
    return (target.margin.absolute(baseline) or None) if baseline is not None else None


def _noise(
    target: _Target, evidence: Sequence[Evidence], churn: float | None, history: Sequence[Evidence]
) -> tuple[list[_Known], str | None]:
    """The noise of a target: one where it is known or given, several where it is assumed; or why there is none."""
    if not target.routine:
        return [], "no case is planned for it"
    still = []
    for group in (evidence, history):
        for one in group:
            found = _found(target, one)
            if found is None:
                continue
            known = _measured(target, one, *found)
            if known is not None:
                return [known], None
            still.append(one.text)
        if group is evidence and churn is not None and target.metric.kind == "binary":
            return [_stated(target, churn, "given", "as given")], None
    if target.metric.kind == "binary":
        return [_stated(target, share, "assumed", "assumed") for share in ASSUMED], None
    nothing = f"; {still[0]} does not tell, or nothing varied in it" if still else ""
    return [], f"its values are not 0 or 1, and only earlier runs tell how much they vary{nothing}"


def _measured(target: _Target, evidence: Evidence, seen: Observed, whole: bool) -> _Known | None:
    text = evidence.text + (" (all cases)" if whole else "")
    notes: list[str] = []
    if evidence.source == "comparison":
        notes.append(
            f"the noise is from {evidence.text}, which compared two candidates: cases that truly got better and worse "
            "are part of it, only what the mean moved by is taken out"
        )
    if target.counted:
        if seen.churn is None:
            return None
        share = seen.churn - (seen.net if evidence.source == "comparison" else 0.0)
        share = max(round(share, 12), 0.0)  # 0.1 − 0.1 is no churn, whatever the float says
        if share >= 1:
            return None
        if share == 0:
            notes.append(f"no case changed by chance in {evidence.text}; a real change will move some")
        return _Known(Churn(share), "churn", share, evidence.source, text, tuple(notes))
    if seen.sd is None:
        return None
    if seen.churn is not None:
        notes.append(f"the spread is from one answer a case ({evidence.text}); repeats make it less")
    spread = Spread(seen.sd, seen.cases_per_unit, seen.changing, target.fewest)
    return _Known(
        spread,
        "sd",
        seen.sd,
        evidence.source,
        text,
        tuple(notes),
        sure=seen.churn is None or target.clustered,
    )


def _stated(target: _Target, share: float, source: NoiseSource, text: str) -> _Known:
    notes = []
    if target.clustered:
        notes.append("the chances are those of independent cases; clusters can only see less")
    if target.repeats != (1, 1):
        notes.append("the chances are those of one answer a case; repeats see more")
    # Repeats could see more than this says, so a suite is not refused by it.
    return _Known(Churn(share), "churn", share, source, text, tuple(notes), sure=target.repeats == (1, 1))


def _outlook(target: _Target, known: _Known, drop: float | None, alpha: float, level: float) -> Outlook:
    n, noise = len(target.routine), known.noise
    unchanged = at_margin = at_twice = None
    if drop is not None:
        most = 1.0 if isinstance(noise, Churn) else math.inf
        unchanged = noise.chances(n, 0.0, drop, alpha=alpha, level=level)
        at_margin = noise.chances(n, min(drop, most), drop, alpha=alpha, level=level).regression
        at_twice = noise.chances(n, min(TWICE * drop, most), drop, alpha=alpha, level=level).regression
    return Outlook(
        kind=known.kind,
        noise=known.amount,
        source=known.source,
        source_text=known.text,
        mde=noise.mde(n, level=level, power=POWER),
        mde_alone=noise.mde(n, level=alpha, power=POWER),
        n_for_power=None if drop is None else noise.cases(drop, level=level, power=POWER),
        regression=None if unchanged is None else unchanged.regression,
        inconclusive=None if unchanged is None else unchanged.suspect,
        underpowered=None if unchanged is None else unchanged.underpowered,
        passed=None if unchanged is None else unchanged.passed,
        regression_at_margin=at_margin,
        regression_at_twice=at_twice,
    )


def _problem(target: _Target, known: Sequence[_Known], drop: float | None, alpha: float) -> str | None:
    """Why the suite must not be run for this target: all its cases cannot see twice its margin.

    Where the noise is only assumed, the least there could be is taken: nothing changes but what truly drops. What
    cannot be seen then can never be.
    """
    if drop is None or not target.extended:
        return None
    if not known:
        return None
    if not all(one.sure for one in known):
        return None
    assumed = known[0].source == "assumed"
    noise: Noise = Churn(0.0) if assumed else known[0].noise
    n = len(target.extended)
    sees = noise.mde(n, level=alpha, power=POWER)
    if sees is not None and sees <= TWICE * drop:
        return None
    name = target.id if target.of is None else f"{target.id} [{target.of}]"
    unit = target.metric.unit
    at = "even if no case ever changed by chance" if assumed else _noise_words(known[0])
    can = "no drop at all" if sees is None else f"drops of {_amount(sees, unit)} and more"
    fixes = []
    needed = noise.cases(TWICE * drop, level=alpha, power=POWER)
    if needed is not None:
        fixes.append(f"about {needed:,} cases")
    if not assumed:
        fixes.append("less noise (repeats, temperature 0)")
    if sees is not None:
        fixes.append(f"a margin of {_amount(sees / TWICE, unit, up=True)}")
    return (
        f"{name} could see {can} on its {n:,} cases ({at}, 80% power), and twice its margin is "
        f"{_amount(TWICE * drop, unit)}; it needs {_either(fixes)}"
    )


def _either(ways: Sequence[str]) -> str:
    return " or ".join([", ".join(ways[:-1]), ways[-1]] if len(ways) > 1 else ways)


def _noise_words(known: _Known) -> str:
    if known.kind == "churn":
        return f"churn {100 * known.amount:.3g}%, {known.text}"
    return f"standard deviation {known.amount:.3g}, {known.text}"


def _amount(size: float, unit: str, *, up: bool = False) -> str:
    """A size in the difference's unit; with `up`, rounded so that it is never less than the size."""
    scaled = 100 * size if unit == "fraction" else size
    digits = 1 if unit == "fraction" else max(0, 2 - math.floor(math.log10(max(scaled, 1e-9))))
    if up:
        scaled = math.ceil(scaled * 10**digits - 1e-9) / 10**digits
    text = f"{round(scaled, digits):,.{digits}f}".rstrip("0").rstrip(".") if digits else f"{scaled:,.0f}"
    return f"{text}pp" if unit == "fraction" else f"{text} {unit}".rstrip()


def suite_outlooks(suite: Suite, metrics: Sequence[MetricPlan]) -> tuple[SuiteOutlook, ...]:
    """What the whole suite would say of an unchanged candidate, its deciding metrics taken as independent.

    One entry, or one for each assumed churn. Empty where nothing is known of any deciding metric.
    """
    deciding = [metric for metric in metrics if metric.deciding]
    known = [m for m in deciding if m.outlooks and m.outlooks[0].passed is not None]
    if not known:
        return ()
    if all(len(m.outlooks) == 1 for m in known):
        return (_together(suite, "", [m.outlooks[0] for m in known], len(deciding)),)
    return tuple(
        _together(
            suite,
            f"churn {100 * share:g}%",
            [m.outlooks[i if len(m.outlooks) > 1 else 0] for m in known],
            len(deciding),
        )
        for i, share in enumerate(ASSUMED)
    )


def _together(suite: Suite, label: str, outlooks: Sequence[Outlook], deciding: int) -> SuiteOutlook:
    blocks = suite.gate.on_underpowered == "block"
    no_regression = quiet = 1.0
    for one in outlooks:
        assert one.regression is not None and one.inconclusive is not None and one.underpowered is not None
        no_regression *= 1 - one.regression
        quiet *= 1 - one.regression - one.inconclusive - (one.underpowered if blocks else 0.0)
    return SuiteOutlook(
        label=label,
        metrics=len(outlooks),
        deciding=deciding,
        regression=1 - no_regression,
        inconclusive=max(no_regression - quiet, 0.0),
        passed=max(quiet, 0.0),
    )


def weakest(metrics: Sequence[MetricPlan]) -> MetricPlan | None:
    """The deciding metric whose MDE is most margins; None where none has both."""

    def margins(metric: MetricPlan) -> float:
        mde, drop = shown(metric).mde, metric.max_drop
        assert drop is not None
        return math.inf if mde is None else mde / drop

    fit = [m for m in metrics if m.deciding and m.outlooks and m.max_drop]
    return max(fit, key=margins, default=None)


def shown(metric: MetricPlan) -> Outlook:
    """The outlook that stands for a metric where there is room for one."""
    return metric.outlooks[_SHOWN if len(metric.outlooks) > 1 else 0]


def curve(metrics: Sequence[MetricPlan]) -> Curve | None:
    """Power at one and two margins for a quarter to four times the cases, for the weakest metric; None without one."""
    metric = weakest(metrics)
    if metric is None or metric.max_drop is None:
        return None
    outlook = shown(metric)
    noise: Noise = (
        Churn(outlook.noise)
        if outlook.kind == "churn"
        else Spread(outlook.noise, max(1.0, metric.cases / max(metric.units, 1)))
    )
    drops = [metric.max_drop, TWICE * metric.max_drop]
    if outlook.kind == "churn":
        drops = [min(drop, 1.0) for drop in drops]
    points = []
    for i in range(_CURVE_POINTS):
        n = max(1, round(metric.cases * 4 ** (2 * i / (_CURVE_POINTS - 1) - 1)))
        at, twice = (noise.power(n, drop, level=metric.level) for drop in drops)
        points.append((n, at, twice))
    words = f"churn {100 * outlook.noise:.3g}%" if outlook.kind == "churn" else f"sd {outlook.noise:.3g}"
    return Curve(metric=metric.name, noise=words, cases=metric.cases, points=tuple(points))
