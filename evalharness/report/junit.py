"""junit.xml: the verdict where a CI shows tests. Some testcase fails exactly when the exit code is not 0."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter

from evalharness.core.comparisons import Comparison
from evalharness.core.verdicts import Verdict
from evalharness.report.evidence import EARLY_MEANS, FLAKY_SHOWN, Evidence
from evalharness.report.text import one_line, strip_control
from evalharness.report.view import MetricRow, View, build_view

# XML 1.0 §2.2: what a document may hold at all.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ATTACHMENT = "[[ATTACHMENT|"
"""By this, in what a test printed, GitLab and Jenkins' attachments plugin find a file to link or to copy."""
_NAMED = 20


def render_junit(verdict: Verdict) -> str:
    """One suite with a testcase for each metric, each slice that gates and each critical case that failed.

    A primary metric that regressed fails and names the cases that fell; a suspect or underpowered one fails where it is
    what blocked; an invalid one is an error; an advisory one is skipped; what only warns passes with its sentences in
    system-out. Where none of these carries a nonzero exit code, a testcase `verdict` does.
    """
    view = build_view(verdict)
    cases = [_metric_case(row, view, verdict.comparison) for row in view.metrics]
    cases += _critical_cases(verdict, view)
    bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    if verdict.exit_code != 0 and not bad:
        cases.insert(0, _verdict_case(view))
    _name_apart(cases)
    name = f"evalharness {view.suite}"
    counts = {
        "tests": len(cases),
        "failures": sum(case.find("failure") is not None for case in cases),
        "errors": sum(case.find("error") is not None for case in cases),
        "skipped": sum(case.find("skipped") is not None for case in cases),
    }
    attributes = {key: str(count) for key, count in counts.items()}
    # The xunit plugin of Jenkins holds a file to its junit-10.xsd, which knows no `skipped` on the outermost element.
    whole = {key: count for key, count in attributes.items() if key != "skipped"}
    root = ET.Element("testsuites", {"name": _xml(name), **whole})
    suite = ET.SubElement(root, "testsuite", {"name": _xml(name), **attributes})
    properties = ET.SubElement(suite, "properties")
    for key, value in _properties(view):
        ET.SubElement(properties, "property", {"name": key, "value": _xml(value)})
    suite.extend(cases)
    text = [f"{view.word}: {view.headline}", *view.reasons, *view.problems]
    text += [f"warning: {warning}" for warning in view.warnings]
    text += [f"next: {step}" for step in view.steps]
    text += _evidence(view.evidence)
    ET.SubElement(suite, "system-out").text = _xml("\n".join(text))
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _evidence(evidence: Evidence) -> list[str]:
    """The looks, waivers, drift and flakiness, a line each."""
    lines = [] if evidence.looks is None else [evidence.looks.line]
    lines += [f"waiver: {waiver.line}" for waiver in evidence.waivers if not waiver.told]
    if evidence.anchor is not None:
        lines += [f"since the anchor {evidence.anchor.name}: {row.line}" for row in evidence.anchor.rows]
    for metric in evidence.flakiness:
        lines.append(f"flakiness: {metric.line}")
        named = [f"{key} ({rate})" for key, rate, _ in metric.flaky[:FLAKY_SHOWN]]
        if named:
            lines.append(f"flaky on {metric.metric}: {', '.join(named)} {metric.more(len(named))}".rstrip())
    return lines


def _properties(view: View) -> list[tuple[str, str]]:
    return [
        ("verdict", view.outcome),
        ("exit_code", str(view.exit_code)),
        ("baseline", view.baseline.name),
        ("candidate", view.candidate.name),
        ("baseline_run", view.baseline.run_id),
        ("candidate_run", view.candidate.run_id),
        ("seed", str(view.seed)),
    ]


def _metric_case(row: MetricRow, view: View, comparison: Comparison) -> ET.Element:
    case = _case(view, row.label)
    early = f" ({EARLY_MEANS})" if row.early else ""
    change = f"{row.delta}, {row.ci_level} CI {row.ci}{early}" if row.plotted else "no estimate"
    summary = f"{row.title}: {row.baseline} → {row.candidate} ({change}), {row.margin_long}"
    details = "\n".join([row.reason, summary, *row.how])
    if row.status == "invalid" and row.gated:
        _outcome(case, "error", "invalid", row.reason, details)
    elif _decides(row) and (row.status == "regression" or _blocks(row, view)):
        _outcome(case, "failure", row.status, row.reason, details + _worse(row, comparison))
    elif not row.gated:
        never = _xml(f"advisory: {row.delta}, never gates")
        ET.SubElement(
            case, "skipped", {"message": never}
        ).text = never  # Jenkins shows the one, GitLab the other
        ET.SubElement(case, "system-out").text = _xml(details)
    else:
        ET.SubElement(case, "system-out").text = _xml(f"{row.status}: {details}")
    return case


def _worse(row: MetricRow, comparison: Comparison) -> str:
    """A line that names the cases that fell on this metric, the largest falls first; "" where none did."""
    falls = []
    for change in comparison.changes:
        tags = (one_line(f"{key}={value}", 120) for key, value in change.case.tags.items())
        if row.slice and row.slice not in tags:
            continue
        falls += [(delta, change.key) for id, delta in change.deltas.items() if one_line(id, 120) == row.id]
    worse = sorted((fall for fall in falls if fall[0] < 0), key=lambda fall: fall[0])
    if not worse:
        return ""
    named = ", ".join(one_line(key, 120) for _, key in worse[:_NAMED])
    more = f" and {len(worse) - _NAMED:,} more" if len(worse) > _NAMED else ""
    return f"\nWorse in {len(worse):,} case{'s' if len(worse) > 1 else ''}: {named}{more}"


def _decides(row: MetricRow) -> bool:
    """Whether the metric can make the exit code: a gated secondary metric warns and no more."""
    return row.gated and row.primary


def _blocks(row: MetricRow, view: View) -> bool:
    """Whether an undecided metric is why the exit code is not 0.

    The policy is not part of a verdict, its effect is: exit 0 means it did not block.
    """
    if row.status == "suspect":
        return view.exit_code != 0
    suspects = any(other.status == "suspect" and _decides(other) for other in view.metrics)
    return row.status == "underpowered" and view.outcome == "inconclusive" and not suspects


def _critical_cases(verdict: Verdict, view: View) -> list[ET.Element]:
    cases = []
    for failure in verdict.comparison.critical:
        case = _case(view, f"critical case {one_line(failure.key, 120)} ({one_line(failure.metric, 120)})")
        seen = "confirmed" if failure.confirmed else "not confirmed"
        message = f"passed before and fails now ({seen})"
        before, after = one_line(failure.passed_before, 500), one_line(failure.failed_after, 500)
        details = f"{message}\nbefore: {before}\nafter: {after}"
        if verdict.exit_code != 0:
            _outcome(case, "failure", "critical", message, details)
        else:
            ET.SubElement(case, "system-out").text = _xml(details)
        cases.append(case)
    return cases


def _verdict_case(view: View) -> ET.Element:
    case = _case(view, "verdict")
    kind = "error" if view.outcome == "invalid" else "failure"
    details = "\n".join([view.headline, *view.reasons, *view.problems])
    return _outcome(case, kind, view.outcome, (*view.reasons, view.headline)[0], details)


def _case(view: View, name: str) -> ET.Element:
    about = {"classname": _xml(f"evalharness.{view.suite}"), "name": _xml(name), "time": "0"}
    return ET.Element("testcase", about)


def _name_apart(cases: list[ET.Element]) -> None:
    """Give each testcase a name of its own: of two that share one, GitLab shows the first and drops the other."""
    seen: Counter[str] = Counter()
    for case in cases:
        seen[case.attrib["name"]] += 1
        if (number := seen[case.attrib["name"]]) > 1:
            case.attrib["name"] += f" ({number})"


def _outcome(case: ET.Element, tag: str, kind: str, message: str, details: str) -> ET.Element:
    ET.SubElement(case, tag, {"type": kind, "message": _xml(one_line(message, 400))}).text = _xml(details)
    return case


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", strip_control(text)).replace(_ATTACHMENT, "[ " + _ATTACHMENT[1:])
