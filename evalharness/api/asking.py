"""The question of a comparison: put now, or put again as the report of an earlier one says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from evalharness._canon import digest
from evalharness.api.settings import DEFAULT_SEED, Settings
from evalharness.baselines.finding import blessed_from
from evalharness.core.candidates import Candidate
from evalharness.core.judges import JudgedEval
from evalharness.core.suites import Suite
from evalharness.engine.sides import (
    SideSource,
    choose_suite,
    find_anchor,
    find_sides,
    meet_sides,
    spending,
    up_to_date,
)
from evalharness.errors import EvalHarnessError, StoreError
from evalharness.redaction import Redactor, secret_values
from evalharness.report.folder import logs_of, read_report_manifest, write_report, write_report_manifest
from evalharness.store.folder import is_run_folder
from evalharness.store.judgments import NAME as JUDGMENTS

if TYPE_CHECKING:
    from evalharness.api.comparing import Answer
    from evalharness.core.histories import MetricHistory

_MOST_BLESSINGS: Final = 30
"""Newest blessings of a name that a report's trend shows."""


def ask(
    left: SideSource,
    right: SideSource,
    suite: str | Path | None,
    use: Settings,
    *,
    anchor: str | Path | None = None,
    extend: bool = False,
    again: Mapping[str, Any] | None = None,
    judgments: Path | None = None,
) -> tuple[Answer, Suite]:
    """Put the question of a comparison.

    `again` is the manifest of an earlier one that is to be rendered as it was, `judgments` what its judges said.
    """
    from evalharness.api.comparing import Question, Taken, answer

    if again is None and (left.brought or right.brought):
        blessed = left.blessed, right.blessed
        left, right, chosen = meet_sides(left, right, suite, use.surroundings)
        left, right = replace(left, blessed=blessed[0]), replace(right, blessed=blessed[1])
    else:
        stored = [left.folder, right.folder]
        chosen = choose_suite([left.suite_path, right.suite_path], suite, use.surroundings, stored=stored)
        left, right = (up_to_date(side, chosen, use.surroundings) for side in (left, right))
    if again is not None and again["rules"] != _rules(chosen):
        raise StoreError(
            f"{chosen.path}: its gate or sampling are not those that this report was made under; run compare again"
        )
    third = None
    if anchor is not None:
        third = find_anchor(anchor, (left, right), use.surroundings, suite)
        if third not in (left, right):
            third = up_to_date(_blessing_of("anchor", third, again), chosen, use.surroundings)
    question = Question(
        suite=chosen,
        baseline=left,
        candidate=right,
        anchor=third,
        today=use.now().date(),
        warnings=(*_of_seed(chosen, use.seed), *_of_blessings(left, right, third)),
        extend=extend,
    )
    if again is not None:
        looks = again["looks"]
        question = replace(
            question,
            today=date.fromisoformat(again["today"]),
            confirming=use.cwd / again["critical"] if again["critical"] else None,
            taken=Taken(number=looks["taken"], repeats=tuple(looks["repeats"])) if looks else None,
            judgments=judgments,
            judge_facts=again["judges"],
        )
    around = spending(use.surroundings, chosen)
    models = [side.model for side in (left, right, third) if side is not None and side.model is not None]
    around = replace(around, how=replace(around.how, named=named_keys(chosen, models)))
    found = answer(question, around)
    shown = redactor(chosen, (left, right), use).all(found.verdict)
    judged = _placed(shown.comparison.judges, found.verdict.comparison.judges)
    return replace(found, verdict=shown, judged=judged), chosen


def _placed(shown: Sequence[JudgedEval], heard: Sequence[JudgedEval]) -> tuple[JudgedEval, ...]:
    """Judgments as they are shown, under the names that the runs have for their cases: they are looked up by them."""
    return tuple(
        replace(
            one,
            eval=own.eval,
            judgments=tuple(
                replace(judgment, golden_set=said.golden_set, case_id=said.case_id)
                for judgment, said in zip(one.judgments, own.judgments, strict=True)
            ),
        )
        for one, own in zip(shown, heard, strict=True)
    )


def _of_blessings(*sides: SideSource | None) -> list[str]:
    """What is to be said of sides that stand under a name, each thing once."""
    told = [
        text for side in sides if side is not None and side.blessed is not None for text in side.blessed.told
    ]
    return list(dict.fromkeys(told))


def _blessing_of(role: str, side: SideSource, manifest: Mapping[str, Any] | None) -> SideSource:
    """A side of an earlier comparison (`manifest` is of its report), with the blessing it had then."""
    if manifest is None:
        return side
    return replace(side, blessed=blessed_from(manifest[role].get("blessed")))


def redactor(suite: Suite, sides: Sequence[SideSource], use: Settings) -> Redactor:
    """What takes keys and personal data out of a verdict before anything is made of it."""
    named = named_keys(suite, [side.model for side in sides if side.model is not None])
    return Redactor(suite.redact, secret_values(use.environ, named))


def named_keys(suite: Suite, models: Iterable[Candidate]) -> frozenset[str]:
    """The variables of the environment that files name for the keys of candidates and judges."""
    judges = [one for _, _, judge in suite.judged for one in (judge, *judge.panel)]
    names = {*(model.api_key_env for model in models), *(judge.api_key_env for judge in judges)}
    return frozenset(name for name in names if name)


def _of_seed(suite: Suite, seed: int) -> tuple[str, ...]:
    """Where a seed draws the cases of the looks, one of the user's choice is said: choosing again is looking again."""
    if suite.sampling is None or seed == DEFAULT_SEED:
        return ()
    return (
        f"--seed {seed} ordered the cases of the looks; trying one seed after another looks more often than was "
        "planned, so keep to the default or to one that was fixed beforehand",
    )


def _rules(suite: Suite) -> str:
    """A digest of what a suite decides by. Its own digest covers what makes two runs comparable, and that alone."""
    judges = [(item.id, repr(item.judge.calibration)) for item in suite.evals if item.judge is not None]
    pairs = {name: rule.pairs for name, rule in suite.gate.metrics.items() if rule.pairs is not None}
    said = {
        name: {item: [*label.texts, label.value] for item, label in found.labels.items()}
        for name, found in pairs.items()
    }
    # `repr` leaves people's labels out: reports of suites without any keep the digest that they were made under
    return digest([repr(suite.gate), repr(suite.sampling), judges, *([said] if said else [])])


def asked_again(folder: str | Path, use: Settings) -> tuple[Answer, Suite, Mapping[str, Any]]:
    """An earlier comparison made again from its stored runs and judgments, without a call; its suite and manifest.

    Raises:
        StoreError: `folder` is not a report folder, its runs are gone or were replaced, or the suite has another gate
            or sampling by now. And as `api.compare`.
    """
    manifest = read_report_manifest(Path(folder))
    roles = [role for role in ("baseline", "candidate", "anchor") if manifest[role] is not None]
    runs = []
    for role in roles:
        run_folder = use.cwd / manifest[role]["folder"]
        if not is_run_folder(run_folder):
            raise StoreError(
                f"{run_folder}: the run of this report is not there; run this where compare ran, or run compare again"
            )
        runs.append(run_folder)
    same = replace(use, seed=manifest["seed"])
    left, right = find_sides(runs[0], runs[1], same.surroundings)
    left, right = _blessing_of("baseline", left, manifest), _blessing_of("candidate", right, manifest)
    anchor = runs[2] if len(runs) > 2 else None
    found, suite = ask(
        left,
        right,
        manifest["suite"],
        same,
        anchor=anchor,
        again=manifest,
        judgments=Path(folder) / JUDGMENTS,
    )
    for role, run_folder in zip(roles, runs, strict=True):
        side = getattr(found, role)
        if side is None or side["run_id"] != manifest[role]["run_id"]:
            raise StoreError(
                f"{run_folder}: its answers or scores are no longer those of the {role} of this report; "
                "run compare again"
            )
    return found, suite, manifest


def _trend(found: Answer, suite: Suite, use: Settings) -> Sequence[MetricHistory]:
    """The metrics over what was blessed under the baseline's name, up to the blessing that was compared."""
    from evalharness.api.baselines import baseline_folder, baseline_history
    from evalharness.api.history import history

    row = found.baseline.get("blessed")
    if not isinstance(row, Mapping):
        return ()
    name, _, number = str(row["baseline"]).partition("@")
    try:
        numbers = [
            one.entry.number
            for one in baseline_history(name, use)
            if one.entry.action == "bless" and one.entry.number <= int(number)
        ][:_MOST_BLESSINGS]
        if len(numbers) < 2:
            return ()
        folders = [baseline_folder(f"{name}@{one}", use) for one in numbers]
        return history(runs=folders, suite=use.paths.cwd / suite.path, settings=use).metrics
    except EvalHarnessError:
        return ()  # what stands beside a verdict must not keep it from being told


def write_reports(found: Answer, suite: Suite, folder: Path, use: Settings, today: str) -> Mapping[str, Path]:
    """Write the reports and their manifest; returns the reports by file name."""
    sides = {"baseline": found.baseline, "candidate": found.candidate}
    written = write_report(
        found.verdict,
        folder,
        logs_of(sides, use.cwd, folder),
        _trend(found, suite, use),
        judged=found.judged,
    )
    taken = found.taken
    write_report_manifest(
        folder,
        baseline=found.baseline,
        candidate=found.candidate,
        anchor=found.anchor,
        suite=use.paths.show(Path(suite.path)),
        rules=_rules(suite),
        seed=use.seed,
        today=today,
        critical=use.paths.show(found.critical) if found.critical is not None else None,
        looks={"taken": taken.number, "repeats": list(taken.repeats)} if taken is not None else None,
        judges={one.eval: dict(one.facts) for one in found.judged},
    )
    return written
