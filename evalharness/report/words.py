"""The sentences of a report: what happened, why, how it was decided, what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from evalharness.core.comparisons import MetricComparison
from evalharness.core.verdicts import Check, Outcome, Status, Verdict
from evalharness.report import numbers
from evalharness.report.comparison_json import own_scale
from evalharness.report.movement import fallen
from evalharness.report.text import one_line

OUTCOME_WORD: Final[dict[Outcome, str]] = {
    "pass": "Pass",
    "regression": "Regression",
    "inconclusive": "Inconclusive",
    "invalid": "Invalid",
}
STATUS_WORD: Final[dict[Status, str]] = {
    "pass": "pass",
    "improved": "improved",
    "regression": "regression",
    "suspect": "suspect",
    "underpowered": "underpowered",
    "advisory": "advisory",
    "invalid": "invalid",
}
STATUS_MEANS: Final[dict[Status, str]] = {
    "regression": "got worse by the margin or more, and the test confirms it",
    "suspect": "got worse by the margin or more, and cannot be told from noise",
    "underpowered": "no such change was seen, and the data cannot rule one out",
    "pass": "the bound rules out getting worse by the margin",
    "improved": "passes, and the test confirms a gain",
    "advisory": "shown, never gates",
    "invalid": "could not be estimated",
}


def plural(count: int, one: str, many: str | None = None) -> str:
    """A counted noun: "1 case", "1,200 cases"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def listing(names: Sequence[str], limit: int = 3) -> str:
    """Names in a row: "a", "a and b", "a, b and 4 more"."""
    if len(names) <= 1:
        return "".join(names)
    if len(names) <= limit:
        return ", ".join(names[:-1]) + " and " + names[-1]
    return ", ".join(names[: limit - 1]) + f" and {len(names) - limit + 1:,} more"


def name_of(metric: MetricComparison) -> str:
    """The metric's id as shown, with its slice where it has one."""
    name = one_line(metric.id, 120)
    return name if metric.slice is None else f"{name} [{one_line(str(metric.slice), 120)}]"


def table_checks(verdict: Verdict) -> tuple[Check, ...]:
    """What the main table shows: the metrics, those that gate first, each followed by those of its slices that gate."""
    gating: dict[str, list[Check]] = {}
    for check in verdict.slice_checks:
        if check.metric.gated:
            gating.setdefault(check.metric.id, []).append(check)
    groups = [[check, *gating.pop(check.metric.id, ())] for check in verdict.checks]
    groups += gating.values()
    groups.sort(key=lambda group: not any(check.metric.gated for check in group))
    return tuple(check for group in groups for check in group)


def _named(verdict: Verdict, status: Status) -> list[str]:
    """Names of the metrics and slices with a status among those that decide the outcome."""
    return [
        name_of(check.metric)
        for check in table_checks(verdict)
        if check.status == status and check.metric.gated and check.metric.primary
    ]


def headline(verdict: Verdict) -> str:
    """One sentence under the verdict."""
    worse = _named(verdict, "regression")
    critical = len({failure.key for failure in verdict.comparison.critical})
    if verdict.outcome == "regression":
        parts = []
        if worse:
            parts.append(f"{listing(worse)} got worse")
        if critical:
            parts.append(
                f"{plural(critical, 'critical case')} that passed now {'fails' if critical == 1 else 'fail'}"
            )
        return ", and ".join(parts) + "." if parts else "The candidate is worse than the baseline."
    if verdict.outcome == "inconclusive":
        suspect, weak = _named(verdict, "suspect"), _named(verdict, "underpowered")
        if suspect:
            return f"{listing(suspect)} got worse by the margin or more, and noise alone could do that."
        if weak:
            return f"The data cannot rule out that {listing(weak)} got worse by the margin."
        return "The data cannot decide."
    if verdict.outcome == "invalid":
        return "Nothing was decided: the two runs cannot be judged as they are."
    return f"Getting worse by the margin is ruled out on {_proven(verdict)}."


def _proven(verdict: Verdict) -> str:
    """How much of what gates has passed: "every gated metric", "1 of 2 gated metrics and slices"."""
    gated = [check for check in table_checks(verdict) if check.metric.gated]
    proven = sum(check.status in ("pass", "improved") for check in gated)
    slices = any(check.metric.slice is not None for check in gated)
    if proven == len(gated):
        every = "the gated metric" if len(gated) == 1 else "every gated metric"
        return every + (" and slice" if slices else "")
    return f"{proven:,} of " + plural(len(gated), "gated metric") + (" and slices" if slices else "")


def next_steps(verdict: Verdict) -> tuple[str, ...]:
    """What a person does now, most useful first."""
    steps: list[str] = []
    if verdict.outcome == "regression":
        if any(change.regressed for change in verdict.comparison.changes) or verdict.comparison.critical:
            steps.append(
                "Read the regressed cases: critical ones first, then what they have in common by slice."
            )
        elif fallen(verdict):
            steps.append(
                "Read the cases that scored worse: the largest falls first, then what they have in common by slice."
            )
    if verdict.outcome == "invalid":
        steps.append(
            "Mend what the reasons above name, then run the same command again: what was collected is kept."
        )
    else:
        steps += _more_cases(verdict)
        steps += _accepting(verdict)
    return tuple(steps)


def _accepting(verdict: Verdict) -> list[str]:
    """How a drop that is known and wanted is accepted: in the suite, in the same change, with a reason and a day."""
    worse = [
        check.metric
        for check in table_checks(verdict)
        if check.status in ("regression", "suspect")
        and check.metric.gated
        and check.metric.primary
        and not check.metric.slice
    ]
    without = [metric.id for metric in worse if metric.waiver is None]
    waived = [metric.id for metric in worse if metric.waiver is not None]
    steps = []
    if without:
        each = "" if len(without) == 1 else f" (one for each of {listing(without)})"
        steps.append(
            "To accept a drop that is known and wanted, add a waiver to the suite's gate.waivers in the same change, "
            f"so that reviewers see it{each}: {{metric: {without[0]}, max_drop: …, reason: …, expires: YYYY-MM-DD}}"
        )
    if waived:
        steps.append(
            f"{listing(waived)} {'has a waiver' if len(waived) == 1 else 'have waivers'} already, and a metric has one "
            "at most: to accept a larger drop, raise its max_drop there."
        )
    return steps


def _more_cases(verdict: Verdict) -> list[str]:
    looks = verdict.comparison.looks
    steps = []
    if looks is not None and looks.extendable:
        asked = "the reserved cases" if looks.used != looks.most else "every case again"
        steps.append(
            f"Run the same command with --extend: it asks {asked}, and no more than the suite foresees."
        )
    for check in table_checks(verdict):
        metric = check.metric
        if check.status not in ("suspect", "underpowered") or not metric.gated or metric.estimate is None:
            continue
        have = metric.estimate.n
        if metric.n_for_power is not None and metric.n_for_power > have:
            steps.append(
                f"To decide {name_of(metric)}, compare about {metric.n_for_power:,} cases (now {have:,}): that many "
                f"see a true change of {numbers.amount(metric.max_drop, metric.unit)} with 80% power."
            )
        else:
            steps.append(f"To decide {name_of(metric)}, add cases or repeats (now {plural(have, 'case')}).")
    return steps


def level(alpha: float) -> str:
    """The confidence 1 − alpha as "95%"."""
    return f"{round(100 * (1 - alpha), 4):g}%"


def how_decided(check: Check, alpha: float) -> tuple[str, ...]:
    """The decision on one metric in sentences: test, bound, power."""
    metric, estimate = check.metric, check.metric.estimate
    if estimate is None:
        return (one_line(metric.problem or check.reason or "No estimate."),)
    own = own_scale(estimate, metric.direction)
    lines = (0.0, -metric.max_drop, metric.max_drop)
    units = plural(estimate.n, "paired case")
    if estimate.clustered:
        units += f" in {plural(estimate.n_units, 'cluster')}"
    test = f"Test of “no drop” on {units} ({one_line(estimate.test, 80)}): {_p(estimate.p_drop)}"
    if check.p_adjusted is not None:
        adjusted = numbers.p_value(check.p_adjusted)
        test += f", {adjusted} after Holm's correction, to be compared with alpha {alpha:g}"
    if check.status == "improved":
        test += f"; of “no gain”: {_p(estimate.p_gain)}"
    bound = (
        f"One-sided {level(alpha)} bound ({one_line(estimate.lower_method, 80)}): "
        f"{numbers.difference(own['bound'], metric.unit, lines, word=True)}"
    )
    margin = numbers.amount(metric.max_drop, metric.unit)
    word = "fall" if metric.direction == "higher" else "rise"
    if check.status in ("pass", "improved"):
        bound += f", which rules out a {word} of {margin}"
    elif check.status in ("underpowered", "suspect"):
        bound += f", which does not rule out a {word} of {margin}"
    sentences = [test + ".", bound + "."]
    if metric.note:
        note = one_line(metric.note, 400)
        sentences.insert(0, f"{note[0].upper()}{note[1:]}.")
    if estimate.no_pass_reason:
        sentences.append(one_line(estimate.no_pass_reason, 300).rstrip(".") + ".")
    sentences += _power(metric, margin, word)
    return tuple(sentences)


def _p(p: float) -> str:
    text = numbers.p_value(p)
    return f"p {text[0]} {text[1:]}" if text[0] == "<" else f"p = {text}"


def _power(metric: MetricComparison, margin: str, word: str) -> list[str]:
    if metric.mde is None:
        return []
    text = f"At this size a true {word} of {numbers.amount(metric.mde, metric.unit)} is seen with 80% power"
    if metric.n_for_power is not None:
        text += f"; seeing one of {margin} takes about {plural(metric.n_for_power, 'case')}"
    return [text + "."]
