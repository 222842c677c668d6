"""Suite files: evals, scorers in every spelling, the gate's rules."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import pytest

from evalharness.content import PathPolicy
from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Metric, Score, Scored
from evalharness.core.suites import Margin, MetricRule, ScorerSpec, Suite
from evalharness.plugins import Entry, Registry
from evalharness.plugins.registry import builtin_entries
from evalharness.spec.load import load_suite, suite_warnings
from tests.spec.conftest import SUITE, Failing, Project


class Toy:
    """A scorer with parameters of every sort, for the loader to build."""

    name: ClassVar[str] = "toy"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[Mapping[str, str]] = {"schema": "json", "words": "text"}

    def __init__(
        self,
        level: float = 0.5,
        *,
        k: int = 1,
        schema: Any = None,
        words: str = "",
        unit: str = "fraction",
        low: bool = False,
    ) -> None:
        if not 0 <= level <= 1:
            raise ValueError(f"level must be in [0, 1], not {level}")
        self.unit, self.low = unit, low

    @property
    def metric(self) -> Metric:
        return Metric(direction="lower" if self.low else "higher", unit=self.unit, kind="bounded")

    def score(self, case: Case, response: Response) -> Score:
        return Scored(1.0)


class Ranked(Toy):
    """A scorer that reads graded documents."""

    name: ClassVar[str] = "ranked"
    needs: ClassVar[tuple[str, ...]] = ("relevant",)

    def __init__(self, *, k: int) -> None:
        super().__init__(k=k)


@pytest.fixture
def project(project: Project) -> Project:
    extra = [Entry("scorers", cls.name, f"{__name__}:{cls.__name__}", "test") for cls in (Toy, Ranked)]
    project.registry = Registry([*builtin_entries(), *extra])
    return project


def load(project: Project, text: str = SUITE) -> Suite:
    return load_suite(project.write("suite.yaml", text), paths=project.paths, registry=project.registry)


def specs(project: Project, scorers: str) -> tuple[ScorerSpec, ...]:
    return load(project, SUITE.replace("[exact_match]", scorers)).evals[0].scorers


def test_a_suite(project: Project) -> None:
    suite = load(project)
    assert suite.name == "s"
    assert suite.path == "suite.yaml"
    assert suite.evals[0].golden_set.name == "set"
    assert [case.id for case in suite.evals[0].golden_set.cases] == ["a", "b"]
    assert suite.gate.max_drop == Margin(Fraction(1, 50), relative=False)
    assert (suite.gate.alpha, suite.gate.max_failures) == (0.05, 0.01)
    assert (suite.gate.on_inconclusive, suite.gate.on_underpowered) == ("block", "warn")


def test_spellings_of_a_scorer_reduce_to_one(project: Project) -> None:
    assert specs(project, "[toy, toy@5, {toy: {id: third, level: 0.1}}]") == (
        ScorerSpec(name="toy", id="toy"),
        ScorerSpec(name="toy", id="toy@5", params={"k": 5}),
        ScorerSpec(name="toy", id="third", params={"level": 0.1}),
    )
    assert specs(project, "[{toy: 0.1}]") == (ScorerSpec(name="toy", id="toy", params={"level": 0.1}),)
    assert specs(project, "[ranked@3, toy]".replace("ranked", "toy"))[0].params == {"k": 3}


def test_files_of_a_scorer_are_read(project: Project) -> None:
    project.write("a.json", '{"type": "object"}')
    project.write("w.txt", "one\r\ntwo\n")
    (spec,) = specs(project, "[{toy: {schema: ./a.json, words: w.txt}}]")
    assert spec.params == {"schema": {"type": "object"}, "words": "one\ntwo\n"}


def test_gate(project: Project) -> None:
    text = SUITE.replace("[exact_match]", "[exact_match, toy, {toy: {id: cost, low: true}}]") + (
        "gate:\n  max_drop: 0.5pp\n  alpha: 0.1\n  max_failures: 2%\n"
        "  on_inconclusive: warn\n  on_underpowered: block\n"
        "  primary: [e/exact_match]\n  metrics: {e/toy: advisory, e/cost: {max_rise: 15%}}\n"
    )
    gate = load(project, text).gate
    assert gate.max_drop == Margin(Fraction(1, 200), relative=False)
    assert gate.max_failures == 0.02
    assert gate.primary == ("e/exact_match",)
    assert gate.metrics == {
        "e/toy": MetricRule(advisory=True),
        "e/cost": MetricRule(margin=Margin(Fraction(15, 100), relative=True)),
    }
    assert (gate.on_inconclusive, gate.on_underpowered, gate.alpha) == ("warn", "block", 0.1)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("2", "the number 2 has no unit; write 2pp (percentage points) or 2% (relative to the baseline)"),
        ("0.02", "the number 0.02 has no unit; write 2pp (percentage points) or 2% (relative"),
        ("'2'", "'2' is not a margin; write 2pp"),
        ("-2pp", "it must be above zero"),
        ("0pp", "a margin must be above zero"),
        ("0.0%", "a margin must be above zero"),
        ("2 percent", "is not a margin"),
        ("300pp", "more than any metric could lose"),
        ("true", "a margin is text such as 2pp or 5%"),
        ("[2pp]", "a margin is text"),
    ],
)
def test_margins_without_a_unit_are_refused(
    project: Project, failing: Failing, value: str, message: str
) -> None:
    (problem,) = failing(lambda: load(project, SUITE + f"gate:\n  max_drop: {value}\n"))
    assert str(problem).startswith("suite.yaml:7: gate.max_drop: ")
    assert message in str(problem)


GATE = SUITE.replace("[exact_match]", "[exact_match, toy, {toy: {id: cost, low: true}}]") + "gate:\n  "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            GATE + "primary: [e/exact_mach]\n",
            "suite.yaml:7: there is no metric 'e/exact_mach'; did you mean e/exact_match?",
        ),
        (GATE + "metrics: {exact_match: advisory}\n", "did you mean e/exact_match?"),
        (
            GATE + "metrics: {e/exact_match: {max_rise: 2pp}}\n",
            "e/exact_match is better when higher; write max_drop instead",
        ),
        (
            GATE + "metrics: {e/cost: {max_drop: 2pp}}\n",
            "e/cost is better when lower; write max_rise instead of max_drop",
        ),
        (GATE + "metrics: {e/toy: {max_drop: 2}}\n", "the number 2 has no unit"),
        (GATE + "metrics: {e/toy: {max_drop: 2pp, max_rise: 2pp}}\n", "a metric has one margin"),
        (GATE + "metrics: {e/toy: {drop: 2pp}}\n", "unknown key 'drop'"),
        (GATE + "metrics: {e/toy: {advisory: 'yes'}}\n", "advisory must be true or false"),
        (GATE + "metrics: {e/toy: adviosry}\n", "is not a rule for a metric; write `advisory`"),
        (GATE + "metrics: {e/toy: {}}\n", "the rule is empty"),
        (GATE + "alpha: 0.5\n", "gate.alpha should be less than 0.5"),
        (GATE + "alpha: 0\n", "gate.alpha should be greater than or equal to 0.0001"),
        (GATE + "alpha: 1.0e-18\n", "gate.alpha should be greater than or equal to 0.0001"),
        (GATE + "max_failures: 0.01\n", "a share of the cases is a percentage"),
        (GATE + "max_failures: 1pp\n", "a share of the cases is a percentage"),
        (GATE + "max_failures: 101%\n", "more than all cases"),
        (GATE + "on_inconclusive: blck\n", "did you mean block?"),
        (GATE + "on_inconclusive: no\n", "gate.on_inconclusive"),
        (GATE + "primary: [e/toy]\n  metrics: {e/toy: advisory}\n", "primary and advisory at once"),
        (SUITE + "gtae: {}\n", "suite.yaml:6: unknown key 'gtae'; did you mean gate?"),
        ("name: s\nevals: []\n", "suite.yaml:2: evals is empty"),
        ("name: s\n", "the key 'evals' is missing"),
        (SUITE.replace("name: s", "name: a b"), "'a b' is not a name"),
        (SUITE.replace("id: e", "id: a/b"), "suite.yaml:3: evals[0].id: 'a/b' is not a name"),
        (SUITE.replace("id: e", "id: on"), 'write "on" in quotes'),
        (SUITE.replace("[exact_match]", "[]"), "the eval 'e' has no scorers"),
        (SUITE.replace("./set", "./sett"), "suite.yaml:4: './sett' does not exist; did you mean ./set?"),
        (SUITE.replace("golden_set: ./set", "goldenset: ./set"), "did you mean golden_set?"),
        (
            SUITE.replace("golden_set: ./set", "benchmark: {lm_evil: mmlu_pro}"),
            "suite.yaml:4: names no tool that runs it; did you mean lm_eval?",
        ),
        (
            SUITE.replace("golden_set: ./set", "golden_set: ./set\n    results: gsm8k"),
            "suite.yaml:5: the eval 'e' has golden_set and results",
        ),
        (
            SUITE.replace("[exact_match]", "[exact_mach]"),
            "unknown scorer 'exact_mach'; did you mean exact_match",
        ),
        (
            SUITE.replace("[exact_match]", "[{toy: {levl: 1}}]"),
            "suite.yaml:5: toy has no parameter 'levl'; did you mean level?",
        ),
        (
            SUITE.replace("[exact_match]", "[{toy: {level: 2}}]"),
            "suite.yaml:5: toy: level must be in [0, 1], not 2",
        ),
        (SUITE.replace("[exact_match]", "[ranked]"), "ranked needs the parameter 'k'"),
        (SUITE.replace("[exact_match]", "[{toy: {schema: ./gone.json}}]"), "'./gone.json' does not exist"),
        (
            SUITE.replace("[exact_match]", "[{toy: 1, ranked: 2}]"),
            "a scorer is a name, or a name with its parameters",
        ),
        (SUITE.replace("[exact_match]", "[5]"), "a scorer is a name"),
        (SUITE.replace("[exact_match]", "['../x']"), "is not a scorer's name"),
        (SUITE.replace("[exact_match]", "[{toy: {id: a/b}}]"), "id must be a text without '/'"),
        (SUITE.replace("[exact_match]", "[toy, toy]"), "two metrics of 'e' are called 'toy'"),
        (
            SUITE.replace("[exact_match]", "[toy, {exact_match: {id: toy}}]"),
            "give one a name: {exact_match: {id: another_name}}",
        ),
        (SUITE + SUITE.split("evals:\n")[1], "suite.yaml:6: the eval id 'e' is already on line 3"),
        (SUITE.replace("[exact_match]", "[{toy: {unit: characters}}]"), "e/toy is measured in characters"),
        (SUITE.replace("[exact_match]", "[exact_match]\n    judge: ./nojudge"), "'./nojudge' does not exist"),
    ],
)
def test_refused(project: Project, failing: Failing, text: str, message: str) -> None:
    problems = failing(lambda: load(project, text))
    assert any(message in str(problem) for problem in problems), [str(p) for p in problems]


def test_a_relative_margin_suits_any_unit(project: Project) -> None:
    text = SUITE.replace("[exact_match]", "[{toy: {unit: characters, low: true}}]")
    rule = "gate: {metrics: {e/toy: {max_rise: 5%}}}\n"
    assert load(project, text + rule).gate.metrics["e/toy"].margin == Margin(Fraction(1, 20), relative=True)
    assert load(project, text + "gate: {max_drop: 5%}\n").gate.max_drop.relative
    assert load(project, text + "gate: {metrics: {e/toy: advisory}}\n").gate.metrics["e/toy"].advisory


def test_needs_names_the_first_cases_and_lines(project: Project, failing: Failing) -> None:
    project.cases([{"id": f"c{i}", "input": "q", **({"target": "x"} if i < 2 else {})} for i in range(9)])
    (problem,) = failing(lambda: load(project))
    assert problem.line == 5
    assert (
        "exact_match needs `target`, and 7 of 9 cases of set have none: c2 (line 3), c3 (line 4)"
        in problem.message
    )


def test_a_broken_file_of_a_scorer(project: Project, failing: Failing) -> None:
    project.write("a.json", '{"type": "object", "type": 1}')
    (problem,) = failing(lambda: load(project, SUITE.replace("[exact_match]", "[{toy: {schema: ./a.json}}]")))
    assert str(problem).startswith("a.json: the key 'type' stands twice")


def test_problems_of_all_files_at_once(project: Project, failing: Failing) -> None:
    project.cases([{"id": "a"}, {"id": "b", "input": 1}])
    text = SUITE.replace("[exact_match]", "[exact_mach]") + "gate: {max_drop: 2}\n"
    files = {(problem.file, problem.line) for problem in failing(lambda: load(project, text))}
    assert files == {("suite.yaml", 5), ("suite.yaml", 6), ("set/cases.jsonl", 1), ("set/cases.jsonl", 2)}


def test_a_gate_that_is_wrong_in_one_key_hides_nothing_of_the_others(
    project: Project, failing: Failing
) -> None:
    again = SUITE.split("evals:\n")[1]
    gate = "gate:\n  max_drop: 2\n  primary: [e/foo]\n  metrics:\n    e/bar: advisory\n"
    found = "; ".join(map(str, failing(lambda: load(project, SUITE + again + gate))))
    for message in ("eval id 'e' is already", "has no unit", "no metric 'e/foo'", "no metric 'e/bar'"):
        assert message in found
    assert found.count("; suite.yaml") == 3


def test_a_candidate_given_as_a_suite_is_called_that_and_nothing_else(
    project: Project, failing: Failing
) -> None:
    (problem,) = failing(lambda: load(project, "name: c\nprovider: openai\nmodel: m\n"))
    assert "is a candidate, not a suite" in str(problem)


def test_two_golden_sets_of_one_name(project: Project, failing: Failing) -> None:
    project.cases([{"id": "a", "input": "one", "target": "x"}], name="other")
    project.write("other/card.yaml", (project.root / "set/card.yaml").read_text())
    text = SUITE + SUITE.split("evals:\n")[1].replace("id: e", "id: f").replace("./set", "./other")
    (problem,) = failing(lambda: load(project, text))
    assert "two golden sets are named 'set'" in problem.message


def test_two_evals_over_one_golden_set_share_it(project: Project) -> None:
    suite = load(
        project, SUITE + SUITE.split("evals:\n")[1].replace("id: e", "id: f").replace("exact_match", "toy")
    )
    assert suite.evals[0].golden_set is suite.evals[1].golden_set
    assert len(suite.golden_sets) == 1


def test_digest_covers_cases_and_scorers_but_not_the_gate(project: Project) -> None:
    base = load(project).digest
    assert load(project, SUITE + "gate: {max_drop: 5%}\n").digest == base
    assert load(project, SUITE.replace("name: s", "name: t")).digest == base
    assert load(project, SUITE.replace("[exact_match]", "[toy]")).digest != base
    with_file = SUITE.replace("[exact_match]", "[{toy: {words: ./w.txt}}]")
    project.write("w.txt", "one")
    first = load(project, with_file).digest
    project.write("w.txt", "two")
    assert load(project, with_file).digest != first
    project.cases([{"id": "a", "input": "one", "target": "x"}, {"id": "b", "input": "two", "target": "z"}])
    assert load(project).digest != base


def test_digest_follows_a_scorers_version(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    text = SUITE.replace("[exact_match]", "[toy]")
    before = load(project, text).digest
    monkeypatch.setattr(Toy, "version", "2")
    assert load(project, text).digest != before


def test_an_unlocked_golden_set_is_a_warning(project: Project) -> None:
    (warning,) = suite_warnings(load(project))
    assert "golden set set is not locked" in warning
    assert "evalharness golden lock" in warning


def test_links_inside_a_golden_set_do_not_lead_out(
    project: Project, failing: Failing, tmp_path: Path
) -> None:
    project.root = project.root / "inner"
    project.paths = PathPolicy(project.root)
    project.cases([{"id": "a", "input": "one", "target": "x"}])
    (project.root / "set" / "cases.jsonl").unlink()
    (project.root / "set" / "cases.jsonl").symlink_to(tmp_path / "set" / "cases.jsonl")
    (problem,) = failing(lambda: load(project))
    assert (problem.file, problem.line) == ("suite.yaml", 4)
    assert "leads out of the working directory" in problem.message


def test_what_is_no_regular_file_is_refused_and_not_waited_for(project: Project, failing: Failing) -> None:
    (project.root / "set" / "cases.jsonl").unlink()
    os.mkfifo(project.root / "set" / "cases.jsonl")
    assert "set: has no cases.jsonl" in str(failing(lambda: load(project))[0])
