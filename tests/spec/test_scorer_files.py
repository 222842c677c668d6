"""Parameters of scorers that a suite names as files: what is wrong in them is said with their own lines."""

from __future__ import annotations

from evalharness.spec.suites import load_suite
from tests.spec.conftest import SUITE, Failing, Project

RULES = """rules:
  - {required: total}
  - {summ: "lines[*].total", equals: total}
  - if: {required: discount}
    then:
      - {required: reason}
      - {before: issued}
"""


def suite(project: Project, scorer: str) -> None:
    project.write("suite.yaml", SUITE.replace("[exact_match]", f"\n      - {scorer}"))


def load(project: Project) -> object:
    return load_suite(project.root / "suite.yaml", paths=project.paths, registry=project.registry)


def test_rules_of_a_file_are_refused_on_their_lines(project: Project, failing: Failing) -> None:
    project.write("r.yaml", RULES)
    for scorer in ("rules: ./r.yaml", "rules_all: {rules: ./r.yaml, numbers: loose}"):
        suite(project, scorer)
        found = failing(lambda: load(project))
        assert [(p.file, p.line) for p in found] == [("r.yaml", 3), ("r.yaml", 7)]
        assert "rule 2: unknown operator 'summ'; did you mean sum?" in found[0].message
        assert "rule 3: then: before is a list of at least two fields" in found[1].message


def test_rules_in_the_suite_are_refused_on_their_lines(project: Project, failing: Failing) -> None:
    inside = RULES.replace("\n", "\n          ").rstrip()
    suite(project, "rules:\n          " + inside)  # {rules: {rules: [...]}}: the parameter by its name
    assert [(p.file, p.line) for p in failing(lambda: load(project))] == [
        ("suite.yaml", 9),
        ("suite.yaml", 13),
    ]
    suite(project, "rules:\n" + "\n".join("          " + line for line in RULES.splitlines()[1:]))
    assert [(p.file, p.line) for p in failing(lambda: load(project))] == [
        ("suite.yaml", 8),
        ("suite.yaml", 12),
    ]


def test_a_file_of_rules_is_read_with_the_suite(project: Project) -> None:
    project.write("r.yaml", 'rules:\n  - {sum: "lines[*].total", equals: total}\n')
    suite(project, "rules: ./r.yaml")
    one = load_suite(project.root / "suite.yaml", paths=project.paths, registry=project.registry)
    project.write("r.yaml", 'rules:\n  - {sum: "lines[*].price", equals: total}\n')
    other = load_suite(project.root / "suite.yaml", paths=project.paths, registry=project.registry)
    assert one.digest != other.digest  # what is measured is not the same


def test_a_file_of_rules_that_is_no_yaml_or_not_there_is_said(project: Project, failing: Failing) -> None:
    project.write("r.yaml", "rules: [a\n")
    suite(project, "rules: ./r.yaml")
    assert failing(lambda: load(project))[0].file == "r.yaml"
    suite(project, "rules: ./none.yaml")
    (problem,) = failing(lambda: load(project))
    assert (problem.file, problem.line) == ("suite.yaml", 6)
    suite(project, "rules: ../r.yaml")
    assert failing(lambda: load(project))[0].file == "suite.yaml"
