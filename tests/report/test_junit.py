"""junit.xml is XML whatever it holds, and fails exactly when the exit code is not 0."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import build
import pytest

from evalharness.core.verdicts import Outcome, Status
from evalharness.report.junit import render_junit


def outcomes(text: str) -> dict[str, str]:
    found = {}
    for case in ET.fromstring(text.encode()).iter("testcase"):
        tags = [child.tag for child in case if child.tag != "system-out"]
        found[case.attrib["name"]] = tags[0] if tags else "pass"
    return found


def test_a_metric_is_a_testcase_with_its_status() -> None:
    text = render_junit(
        build.verdict(checks=build.checks_of_every_status(), critical=(build.critical("route-3"),))
    )
    assert outcomes(text) == {
        "routing/exact_match": "failure",
        "answers/contains": "failure",
        "answers/rouge_l": "pass",
        "extraction/json_valid": "pass",
        "extraction/field_f1": "pass",
        "answers/length": "skipped",
        "answers/judge": "error",
        "critical case route-3 (routing/exact_match)": "failure",
    }
    suite = ET.fromstring(text.encode()).find("testsuite")
    assert suite is not None
    counts = {key: suite.attrib[key] for key in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "8", "failures": "3", "errors": "1", "skipped": "1"}
    underpowered = next(c for c in suite.iter("testcase") if c.attrib["name"] == "answers/rouge_l")
    assert "870 cases" in (underpowered.findtext("system-out") or "")


@pytest.mark.parametrize(
    ("outcome", "status", "exit_code", "primary"),
    [
        ("pass", "pass", 0, True),
        ("pass", "suspect", 0, True),
        ("pass", "underpowered", 0, True),
        ("pass", "regression", 0, False),
        ("inconclusive", "suspect", 3, True),
        ("inconclusive", "underpowered", 3, True),
        ("regression", "regression", 1, True),
        ("regression", "pass", 1, True),
        ("invalid", "invalid", 4, True),
        ("invalid", "pass", 4, True),
        ("invalid", None, 4, True),
    ],
)
def test_something_fails_exactly_when_the_exit_code_is_not_zero(
    outcome: Outcome, status: Status | None, exit_code: int, primary: bool
) -> None:
    checks = (
        ()
        if status is None
        else (build.check(status, build.metric(est=build.estimate(0.8, -0.03), primary=primary)),)
    )
    found = outcomes(render_junit(build.verdict(outcome, checks=checks, exit_code=exit_code)))
    assert any(o in ("failure", "error") for o in found.values()) is (exit_code != 0)


def test_a_slice_that_gates_is_a_testcase_and_one_that_does_not_is_none() -> None:
    found = outcomes(render_junit(build.full_strength()))
    assert found["routing/exact_match [tier=free]"] == "failure"
    assert found["routing/exact_match [tier=enterprise]"] == "pass"
    assert not any("channel=" in name for name in found)
    alone = build.verdict(
        checks=(build.check("pass", build.metric(est=build.estimate(0.8, 0.0))),),
        slice_checks=(build.gating_slice("regression"),),
    )
    assert outcomes(render_junit(alone)) == {
        "routing/exact_match": "pass",
        "routing/exact_match [tier=enterprise]": "failure",
    }


def test_looks_waivers_drift_and_flakiness_are_told() -> None:
    root = ET.fromstring(render_junit(build.full_strength()).encode())
    text = root.findtext("testsuite/system-out") or ""
    for line in (
        "look 2 of 5 · 400 of 1,000 cases · 600 answers a side saved",
        "waiver: extraction/json_valid: 3pp instead of its own margin (active until 2027-03-31): The quantised",
        "since the anchor support-bot-1.0: routing/exact_match: 87.0% in the anchor, 85.5% in the baseline, 83.9% in "
        "the candidate; −3.1pp [−4.5, −1.7] since the anchor with a margin of 2pp, margin exceeded",
        "flakiness: routing/exact_match: 300 cases, 8 answers each; two answers differ in 3.0%",
        "flaky on routing/exact_match: route-000 (0.50), ",
    ):
        assert line in text
    assert "and 11 more" in text
    case = next(c for c in root.iter("testcase") if c.attrib["name"] == "extraction/json_valid")
    assert "observed at an early stop" in (case.findtext("system-out") or "")
    assert "may fall by 3pp, waiver active until 2027-03-31" in (case.findtext("system-out") or "")


def test_hostile_text_stays_text() -> None:
    root = ET.fromstring(render_junit(build.nasty_verdict()).encode())
    assert {element.tag for element in root.iter()} <= {
        "testsuites", "testsuite", "testcase", "failure", "error", "skipped", "system-out", "properties", "property",
    }  # fmt: skip
    assert len(root.findall(".//testcase")) == 3 * len(build.NASTY) + 1


def test_the_same_verdict_gives_the_same_text() -> None:
    assert render_junit(build.nasty_verdict()) == render_junit(build.nasty_verdict())


def test_a_failed_metric_names_the_cases_that_fell_on_it() -> None:
    fell = [
        build.change(f"route-{i:02}", values={"routing/exact_match": (1.0, 0.9 - i / 100)}) for i in range(23)
    ]
    others = (
        build.change("better", fixed=True, regressed=False),
        build.change("other", values={"answers/contains": (1.0, 0.0)}),
        build.change("paid", values={"routing/exact_match": (1.0, 0.5)}, tags={"tier": "enterprise"}),
    )
    found = render_junit(
        build.verdict(
            checks=(build.check("regression", build.metric(est=build.estimate(0.8, -0.05))),),
            slice_checks=(build.gating_slice("regression"),),
            changes=(*fell, *others),
        )
    )
    whole, part = ET.fromstring(found.encode()).iter("failure")
    line = (whole.text or "").splitlines()[-1]
    assert line.startswith("Worse in 24 cases: paid, route-22, route-21, ") and line.endswith(" and 4 more")
    assert "better" not in line and "other" not in line
    assert (part.text or "").splitlines()[-1] == "Worse in 1 case: paid"


def test_nothing_that_a_model_said_attaches_a_file() -> None:
    """GitLab links a file that `system-out` names so, and Jenkins' attachments plugin copies it."""
    said = "[[ATTACH\u200bMENT|/etc/passwd]]"
    for code in (0, 1):
        text = render_junit(
            build.verdict("regression", critical=(build.critical("a", failed_after=said),), exit_code=code)
        )
        assert "ATTACHMENT|/etc/passwd" in text and "[[ATTACHMENT|" not in text
