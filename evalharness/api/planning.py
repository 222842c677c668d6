"""`plan`: what a comparison would cost and what it could see. Nothing is sent, nothing is written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evalharness.api.caps import over_caps, uncounted
from evalharness.api.settings import Settings
from evalharness.errors import EvalHarnessError, Problem, SpecError, StoreError

if TYPE_CHECKING:
    from evalharness.analysis.looks import Look
    from evalharness.analysis.noise import Evidence, Observed, Place
    from evalharness.analysis.planning import PlannedCases
    from evalharness.core.plans import MetricPlan, NoiseSource, SideCost, SuitePlan
    from evalharness.core.protocols import Scorer
    from evalharness.core.suites import Suite
    from evalharness.engine.estimate import Stage
    from evalharness.engine.history import EarlierRun
    from evalharness.engine.sides import SideSource, Surroundings

_COMPARISON = "comparison.json"


def plan(
    baseline: str | Path,
    candidate: str | Path | None = None,
    *,
    suite: str | Path | None = None,
    evidence: Sequence[str | Path] = (),
    churn: str | None = None,
    settings: Settings | None = None,
) -> SuitePlan:
    """Cost and power of a comparison before any call. Its `problems` say why the suite is not fit to be run.

    Args:
        baseline: a candidate file or a run folder.
        candidate: the other side, None where there is none yet: it is then taken to be asked as the baseline is.
        suite: in place of the one that the sides name.
        evidence: report folders, or two run folders, that show how much the metrics move for no reason.
        churn: the share of 0/1 cases to assume that changes for no reason, such as "10%".
        settings: where to look; `fresh` reckons as if nothing were stored.

    Raises:
        InvalidComparisonError: there is no baseline, or a stored run answered other cases. SpecError: files are wrong,
            or `evidence` or `churn` is. UsageError: a side cannot be asked, or no suite is named. StoreError: what is
            stored cannot be read.
    """
    from evalharness.analysis.judged import by_standing, standing_warnings, with_judges
    from evalharness.analysis.planning import curve, plan_metrics, suite_outlooks
    from evalharness.core.plans import SuitePlan
    from evalharness.engine.estimate import side_repeats
    from evalharness.engine.history import earlier_runs
    from evalharness.engine.judging import heard
    from evalharness.engine.scoring import build_scorers
    from evalharness.engine.sides import choose_suite, find_sides, up_to_date
    from evalharness.spec.load import suite_warnings

    use = settings or Settings()
    around = use.surroundings
    problems: list[Problem] = []
    share = _share(churn, problems)
    other = baseline if candidate is None else candidate
    left, right = find_sides(baseline, other, around, suite=suite)
    chosen = choose_suite(
        [left.suite_path, right.suite_path], suite, around, stored=[left.folder, right.folder]
    )
    left, right = (up_to_date(side, chosen, around) for side in (left, right))
    scorers = build_scorers(chosen, use.registry)
    named = _named(evidence, chosen, scorers, around, problems)
    if problems:
        raise SpecError(problems)
    sides = [("baseline", left), *([("candidate", right)] if candidate is not None else [])]
    repeats = (side_repeats(left, around), side_repeats(right, around))
    stages, cases = _stages(chosen, [source for _, source in sides], repeats, around)
    runs = earlier_runs(around.how.store, chosen)
    costs = _costs(chosen, scorers, sides, stages, runs, around)
    standing = tuple(heard(item.id, judge, ()) for _, item, judge in chosen.judged)
    judged, judged_scorers = with_judges(by_standing(chosen, standing), scorers)
    judges = _judges(chosen, (left, right), costs, stages, around)
    metrics = plan_metrics(
        judged,
        judged_scorers,
        cases,
        repeats=repeats,
        evidence=named,
        churn=share,
        history=_history(chosen, scorers, named, runs, use.cwd, around),
        today=use.now().date(),
    )
    shown = use.paths.show(Path(chosen.path))
    return SuitePlan(
        suite=chosen.name,
        suite_digest=chosen.digest,
        alpha=chosen.gate.alpha,
        sides=costs,
        metrics=metrics,
        suite_outlooks=suite_outlooks(judged, metrics),
        curve=curve(metrics),
        problems=_problems(metrics, shown),
        warnings=(
            *dict.fromkeys(text for side in (left, right) if side.blessed for text in side.blessed.told),
            *standing_warnings(chosen, standing),
            *over_caps(sides, costs, chosen, judges),
            *uncounted(chosen, scorers, sides, costs, stages[-1]),
            *suite_warnings(chosen),
        ),
        steps=_steps(metrics, str(baseline), left, around),
        judges=judges,
        budget=chosen.budget,
    )


def plan_table(plan: SuitePlan, *, width: int = 80) -> str:
    """A plan as text for a terminal; `width` in columns, at least 80."""
    from evalharness.report.plan_text import render_plan

    return render_plan(plan, width=width)


def plan_json(plan: SuitePlan) -> str:
    """A plan as the JSON text of docs/planning.md."""
    from evalharness.report.plan_json import plan_json as to_json

    return to_json(plan)


def _share(text: str | None, problems: list[Problem]) -> float | None:
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d{1,3}(?:\.\d+)?)\s*%\s*", text, re.ASCII)
    if match is None or not float(match[1]) < 100:
        hint = "write a share of the cases from 0% to below 100%, such as 10%"
        problems.append(Problem(f"--churn {text!r} is not a share", hint=hint))
        return None
    return float(match[1]) / 100


def _named(
    given: Sequence[str | Path],
    suite: Suite,
    scorers: Mapping[str, Scorer],
    around: Surroundings,
    problems: list[Problem],
) -> list[Evidence]:
    """What the folders given with --from show, in their order; every problem of every folder."""
    from evalharness.store.folder import is_run_folder

    found: list[Evidence] = []
    runs: list[Path] = []
    for item in given:
        try:
            path = around.paths.argument(str(item))
            if is_run_folder(path):
                runs.append(path)
                continue
            found.append(_report(path, suite, around))
        except SpecError as error:
            problems.extend(error.problems)
        except StoreError as error:
            problems.append(Problem(str(error)))
    if len(runs) == 2:
        try:
            found.append(_pair(runs[0], runs[1], suite, scorers, around))
        except EvalHarnessError as error:
            problems.append(Problem(str(error)))
    elif runs:
        message = f"--from names {len(runs)} run folder{'s' if len(runs) > 1 else ''}"
        problems.append(
            Problem(message, hint="give two runs of one candidate, or the report folder of a comparison")
        )
    return found


def _report(path: Path, suite: Suite, around: Surroundings) -> Evidence:
    """What an earlier comparison shows.

    Raises:
        SpecError: it is none, it is of other metrics, or it shows nothing. StoreError: it cannot be read.
    """
    from evalharness.analysis.noise import Evidence, observed_in
    from evalharness.store.files import read_json

    shown = around.paths.show(path)
    file = path / _COMPARISON if path.is_dir() else path
    if not file.is_file():
        hint = "give the --out folder of an earlier compare, or two run folders"
        raise SpecError([Problem(f"--from {shown}: neither a report nor a run folder", hint=hint)])
    document = read_json(file)
    try:
        observed = observed_in(document)
        sides = document["baseline"], document["candidate"]
        same_run = sides[0]["run_id"] == sides[1]["run_id"]
        source: NoiseSource = "A/A" if sides[0]["digest"] == sides[1]["digest"] else "comparison"
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        hint = "run compare again"
        raise SpecError([Problem("not a comparison.json of this version", str(file), hint=hint)]) from error
    if same_run and not (source == "A/A" and _asked_twice(path)):
        hint = "compare two runs of it: evalharness compare base.yaml base.yaml --fresh"
        message = f"--from {shown}: compares the same answers with themselves, which shows no churn"
        raise SpecError([Problem(message, hint=hint)])
    if not any(metric_id in suite.metric_ids for metric_id, _ in observed):
        raise SpecError([Problem(f"--from {shown}: tells of no metric of suite {suite.name}")])
    return Evidence(source=source, text=f"{source} {shown}", observed=observed)


def _asked_twice(report: Path) -> bool:
    """Whether the sides of a report were asked each for itself, so that equal answers mean a steady candidate."""
    from evalharness.report.folder import read_report_manifest

    try:
        manifest = read_report_manifest(report)
        sides = manifest["baseline"], manifest["candidate"]
        apart = sides[0]["folder"] != sides[1]["folder"]
        return apart and all(side["facts"]["calls"] > 0 for side in sides)
    except (StoreError, KeyError, TypeError):
        return False


def _pair(
    first: Path, second: Path, suite: Suite, scorers: Mapping[str, Scorer], around: Surroundings
) -> Evidence:
    """What two stored runs show.

    Raises:
        SpecError: they cannot be compared, or hold the same answers. StoreError: they cannot be read.
        InvalidComparisonError: they answered other cases.
    """
    from evalharness.analysis.noise import Evidence

    source, observed = _between(first, second, suite, scorers, around)
    shown = f"{around.paths.show(first)} and {around.paths.show(second)}"
    return Evidence(source=source, text=f"{source} {shown}", observed=observed)


def _between(
    first: Path, second: Path, suite: Suite, scorers: Mapping[str, Scorer], around: Surroundings
) -> tuple[NoiseSource, dict[Place, Observed]]:
    from evalharness.analysis.compare import compare_runs
    from evalharness.analysis.noise import observed_between
    from evalharness.engine.sides import SideSource

    before, after = (
        SideSource(name=folder.name, suite_path=None, folder=folder).obtain(suite, around)[0]
        for folder in (first, second)
    )
    if before.id == after.id:
        shown = f"{around.paths.show(first)} and {around.paths.show(second)}"
        raise SpecError([Problem(f"{shown} hold the same answers, which shows no churn")])
    comparison = compare_runs(suite, before, after, scorers, seed=around.how.seed)
    if comparison.problems:
        raise SpecError([Problem(text) for text in comparison.problems])
    source: NoiseSource = "A/A" if before.candidate_digest == after.candidate_digest else "comparison"
    return source, observed_between(comparison)


def _history(
    suite: Suite,
    scorers: Mapping[str, Scorer],
    named: Sequence[Evidence],
    runs: Sequence[EarlierRun],
    cwd: Path,
    around: Surroundings,
) -> list[Evidence]:
    """What can be found without being told: reports in reports/, pairs of runs in the store. A/A comes first."""
    from evalharness.analysis.noise import Evidence
    from evalharness.engine.history import pairs

    needed = {i for i in suite.metric_ids if not suite.gate.rule(i).advisory}
    if needed <= {metric_id for one in named for metric_id, _ in one.observed}:
        return []
    found: dict[NoiseSource, Evidence] = {}
    for report in _reports(cwd, suite, around):
        found.setdefault(report.source, report)
    for older, newer in pairs(runs):
        source: NoiseSource = "A/A" if older.digest == newer.digest else "comparison"
        if source in found:
            continue
        around.how.progress.note(f"laying {older.folder.name} beside {newer.folder.name} to see the churn")
        try:
            _, observed = _between(older.folder, newer.folder, suite, scorers, around)
        except EvalHarnessError:  # history is a help; where it is damaged there is none
            continue
        text = f"{source} {older.folder.name} and {newer.folder.name}"
        found[source] = Evidence(source=source, text=text, observed=observed)
    order: tuple[NoiseSource, ...] = ("A/A", "comparison")
    return [found[source] for source in order if source in found]


def _reports(cwd: Path, suite: Suite, around: Surroundings) -> list[Evidence]:
    """Earlier comparisons on this suite as it is now, the newest first; those that cannot be read are left out."""
    from evalharness.store.files import read_json

    dated: list[tuple[float, str, Path]] = []
    for file in cwd.glob(f"reports/*/{_COMPARISON}"):
        try:
            dated.append((file.stat().st_mtime, file.parent.name, file.parent))
            if read_json(file)["suite"]["digest"] != suite.digest:
                dated.pop()
        except (OSError, StoreError, KeyError, TypeError):
            dated = [entry for entry in dated if entry[2] != file.parent]
    found = []
    for _, _, folder in sorted(dated, reverse=True):
        try:
            found.append(_report(folder, suite, around))
        except (SpecError, StoreError):
            continue
    return found


def _stages(
    suite: Suite, sources: Sequence[SideSource], repeats: tuple[int, int], around: Surroundings
) -> tuple[list[Stage], PlannedCases]:
    """The points up to which cases may be asked, and the cases that decide at the last of them."""
    from evalharness.analysis.looks import critical_cases, schedule
    from evalharness.analysis.planning import PlannedCases
    from evalharness.engine.estimate import Stage

    everything = {g.name: frozenset(case.id for case in g.cases) for g in suite.golden_sets}
    if suite.sampling is None:
        cases = {g.name: g.cases for g in suite.golden_sets}
        return [Stage(name="all", asked=everything)], PlannedCases(routine=cases, extended=cases)
    own = [None if s.fixed(around.registry) else n for s, n in zip(sources, repeats, strict=False)]
    plan = schedule(suite, suite.sampling, (own[0], own[1] if len(own) > 1 else own[0]), seed=around.how.seed)
    critical = critical_cases(suite)

    def stage(name: str, look: Look) -> Stage:
        asked = {name: cases | critical[name] for name, cases in look.cases.items()}
        return Stage(name=name, asked=asked, repeats=look.repeats)

    routine, last = plan.looks[plan.routine - 1], plan.looks[-1]
    stages = [stage("first look", plan.looks[0]), stage("routine", routine)]
    if plan.routine < len(plan.looks):
        stages.append(stage("extended", last))
    routine_cases, extended_cases = (
        {g.name: tuple(c for c in g.cases if c.id in look.cases[g.name]) for g in suite.golden_sets}
        for look in (routine, last)
    )
    return stages, PlannedCases(
        routine=routine_cases, extended=extended_cases, share=routine.share / last.share
    )


def _costs(
    suite: Suite,
    scorers: Mapping[str, Scorer],
    sides: Sequence[tuple[str, SideSource]],
    stages: Sequence[Stage],
    runs: Sequence[EarlierRun],
    around: Surroundings,
) -> tuple[SideCost, ...]:
    from evalharness.analysis.changes import guards
    from evalharness.analysis.confirm import CONFIRM_REPEATS
    from evalharness.engine.estimate import estimate_side

    guarded = {
        item.golden_set.name for metric_id, item, _ in suite.metrics if guards(suite, scorers, metric_id)
    }
    critical = sum(case.critical for g in suite.golden_sets if g.name in guarded for case in g.cases)
    return tuple(
        estimate_side(role, source, suite, stages, runs, around, critical=critical, answers=CONFIRM_REPEATS)
        for role, source in sides
    )


def _judges(
    suite: Suite,
    sources: tuple[SideSource, SideSource],
    costs: Sequence[SideCost],
    stages: Sequence[Stage],
    around: Surroundings,
) -> tuple[SideCost, ...]:
    """What the judges would cost. Where there is no candidate yet, its answers are to come."""
    from evalharness.engine.judge_cost import Answers, estimate_judges, side_answers

    if not any(suite.judged):
        return ()
    first = side_answers(sources[0], costs[0], suite, around)
    if len(costs) > 1:
        second = side_answers(sources[1], costs[1], suite, around)
    else:
        second = Answers(repeats=first.repeats, fixed=False, there={}, tokens=first.tokens)
    return estimate_judges(suite, (first, second), stages, around)


def _problems(metrics: Sequence[MetricPlan], suite: str) -> tuple[Problem, ...]:
    found = [Problem(metric.problem, suite) for metric in metrics if metric.problem is not None]
    if not any(metric.deciding for metric in metrics):
        message = "nothing is gated: every metric is advisory, and a comparison could only be invalid"
        found.append(Problem(message, suite, hint="let at least one metric gate"))
    return tuple(found)


def _steps(
    metrics: Sequence[MetricPlan], baseline: str, source: SideSource, around: Surroundings
) -> tuple[str, ...]:
    """How to replace what is assumed by what is measured."""
    deciding = [metric for metric in metrics if metric.deciding]
    unknown = [metric.name for metric in deciding if not metric.outlooks]
    if any(metric.outlooks and metric.outlooks[0].source == "assumed" for metric in deciding):
        why = "The churn is assumed"
    elif unknown:
        why = f"How much {', '.join(unknown)} varies is not known"
    else:
        return ()
    if source.fixed(around.registry):
        return (
            f"{why}, and one recording cannot show it. Record the baseline a second time, compare the two recordings, "
            "and plan again.",
        )
    return (
        f"{why}. Measure it: evalharness compare {baseline} {baseline} --fresh",
        "Then run the same plan again; it finds the report.",
    )
