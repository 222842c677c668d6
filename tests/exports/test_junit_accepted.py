"""junit.xml as Jenkins and GitLab read it.

The rules are those of junit-10.xsd, the schema that Jenkins' xunit plugin validates against, and of GitLab's page "Unit
test reports": which attributes and children an element may have, which it must, and what is dropped without a word.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from tests.e2e.conftest import Project

TIME = re.compile(r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]*)?")
OUTPUT = frozenset({"system-out", "system-err"})
RESULTS = frozenset({"skipped", "error", "failure"})
# element: (attributes it must have, attributes it may have, children it may have, whether it may hold text)
RULES: dict[str, tuple[frozenset[str], frozenset[str], frozenset[str], bool]] = {
    "testsuites": (
        frozenset(),
        frozenset({"name", "time", "tests", "failures", "errors"}),
        frozenset({"testsuite"}),
        False,
    ),
    "testsuite": (
        frozenset({"name", "tests", "failures", "errors"}),
        frozenset({"group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"}),
        frozenset({"testsuite", "properties", "testcase"}) | OUTPUT,
        False,
    ),
    "testcase": (frozenset({"name"}), frozenset({"time", "classname", "group"}), RESULTS | OUTPUT, False),
    "properties": (frozenset(), frozenset(), frozenset({"property"}), False),
    "property": (frozenset({"name", "value"}), frozenset(), frozenset(), False),
    **dict.fromkeys(RESULTS, (frozenset(), frozenset({"type", "message"}), frozenset(), True)),
    **dict.fromkeys(OUTPUT, (frozenset(), frozenset(), frozenset(), True)),
}  # fmt: skip


def breaches(element: ET.Element) -> list[str]:
    """Where an element or what it holds departs from the schema."""
    must, may, children, text = RULES[element.tag]
    has = set(element.attrib)
    found = [f"{element.tag} lacks {name}" for name in must - has]
    found += [f"{element.tag} has {name}" for name in has - must - may]
    found += [f"{element.tag} holds {child.tag}" for child in element if child.tag not in children]
    around = [element.text, *(child.tail for child in element)]
    if not text and any(part and part.strip() for part in around):
        found.append(f"{element.tag} holds text")
    if element.tag.startswith("testsuite") and not TIME.fullmatch(element.get("time", "")):
        found.append(f"{element.tag} has a time that is none")
    return found + [problem for child in element if child.tag in children for problem in breaches(child)]


LONG = "a long case id that goes on " * 6
N = 60


@pytest.fixture(
    scope="module", params=[("regression", 8, N, 1), ("pass", 0, N, 0), ("invalid", 0, 2, 4)], ids=str
)
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ET.Element:
    """The junit.xml of a comparison with critical cases whose long names begin alike, an advisory metric and slices."""
    _, regressed, answered, code = request.param
    project = Project(tmp_path_factory.mktemp("junit"))
    ids = [f"{LONG}{i} <&>" for i in range(N)]
    project.golden_set(
        "questions",
        [
            {
                "id": key,
                "input": "question",
                "target": "right",
                "critical": i < 3,
                "tags": {"half": f'"{i % 2}"'},
            }
            for i, key in enumerate(ids)
        ],
    )
    project.suite(scorers="[exact_match, length]", gate="{max_drop: 2pp, metrics: {qa/length: advisory}}")
    project.candidate("base", [{"id": key, "output": "right"} for key in ids])
    wrong = "wrong\u0001\ufffe ]]>"
    project.candidate(
        "cand",
        [{"id": key, "output": wrong if i < regressed else "right"} for i, key in enumerate(ids[:answered])],
    )
    project.compare(check=code)
    return ET.parse(project.root / "out/junit.xml").getroot()


def test_jenkins_accepts_it(report: ET.Element) -> None:
    assert report.tag == "testsuites" and breaches(report) == []


def test_gitlab_drops_no_testcase_and_shows_why_it_failed(report: ET.Element) -> None:
    cases = list(report.iter("testcase"))
    keys = [(case.get("classname"), case.get("name"), case.get("file")) for case in cases]
    assert len(set(keys)) == len(keys) and all(all(key[:2]) for key in keys)
    assert all(float(case.get("time", "")) >= 0 for case in cases)
    for case in cases:
        results = [child for child in case if child.tag in RESULTS]
        assert len(results) <= 1
        # GitLab shows the text of the element; an attribute alone would be shown nowhere
        assert all((child.text or "").strip() for child in results)
    suite = report.find("testsuite")
    assert suite is not None
    for tag, count in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert len(list(report.iter(tag))) == int(suite.attrib[count])


def test_the_rules_find_what_the_schema_forbids() -> None:
    case = "<testcase><b/>c</testcase>"
    wrong = (
        f'<testsuites skipped="1"><testsuite name="a" tests="1" failures="x">{case}</testsuite></testsuites>'
    )
    assert breaches(ET.fromstring(wrong)) == [
        "testsuites has skipped",
        "testsuite lacks errors",
        "testcase lacks name",
        "testcase holds b",
        "testcase holds text",
    ]
