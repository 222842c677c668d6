"""Sampling, gating slices, waivers and human labels in a suite file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Any, ClassVar

import jsonschema
import pytest

from evalharness.core.attempts import Response
from evalharness.core.cases import Case, Slice
from evalharness.core.scores import Metric, Score, Scored
from evalharness.core.suites import Margin, MetricRule, Sampling, SliceRule, Suite, Waiver
from evalharness.plugins import Entry, Registry
from evalharness.plugins.registry import builtin_entries
from evalharness.spec.json_schema import json_schema
from evalharness.spec.load import load_suite, suite_warnings, validate
from evalharness.spec.reader import read_yaml
from tests.spec.conftest import Failing, Project


class Ratio:
    """A scorer of the kind whose change is a ratio."""

    name: ClassVar[str] = "ratio"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[Mapping[str, str]] = {}
    metric = Metric(direction="lower", unit="fraction", kind="log_ratio", low=None, high=None)

    def score(self, case: Case, response: Response) -> Score:
        return Scored(1.0)


SUITE = """name: s
evals:
  - id: e
    golden_set: ./set
    scorers: [exact_match, rouge_l, {length: {id: size}}, macro_f1]
  - id: h
    golden_set: ./set
    scorers:
      - recorded:judge
      - recorded:human
      - {recorded:cost: {direction: lower}}
"""
GATE = SUITE + "gate:\n  metrics:\n    e/size: advisory\n"
LANGUAGES = ("de", "de", "fr", "en", "en", "en")


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {"id": f"c{i}", "input": f"q{i}", "target": "x", "tags": {"language": LANGUAGES[i % 6]}}
        for i in range(count)
    ]


@pytest.fixture
def project(project: Project) -> Project:
    extra = [Entry("scorers", "ratio", f"{__name__}:Ratio", "test")]
    project.registry = Registry([*builtin_entries(), *extra])
    project.cases(rows(300))
    return project


def load(project: Project, text: str) -> Suite:
    return load_suite(project.write("suite.yaml", text), paths=project.paths, registry=project.registry)


def one_problem(project: Project, failing: Failing, text: str) -> str:
    found = [str(p) for p in failing(lambda: load(project, text))]
    assert len(found) == 1, found
    return found[0]


def test_all_of_it(project: Project) -> None:
    suite = load(
        project,
        GATE
        + """    h/recorded:judge: {labels: "h/recorded:human", drawn: random, max_drop: 1pp}
  slices:
    - {metric: e/exact_match, slice: language=de, max_drop: 4pp}
    - {metric: h/recorded:cost, slice: language=en}
    - {metric: h/recorded:cost, slice: language=fr, max_rise: 5%}
  waivers:
    - {metric: e/rouge_l, max_drop: 3pp, reason: accepted for the edge build, expires: 2027-01-31}
sampling: {initial: 50, max: 300, looks: 4, reserve: 100, max_repeats: 3}
""",
    )
    assert suite.sampling == Sampling(initial=50, max=300, looks=4, reserve=100, max_repeats=3)
    assert suite.gate.slices == (
        SliceRule(
            metric="e/exact_match", slice=Slice("language", "de"), margin=Margin(Fraction(1, 25), False)
        ),
        SliceRule(metric="h/recorded:cost", slice=Slice("language", "en")),
        SliceRule(
            metric="h/recorded:cost", slice=Slice("language", "fr"), margin=Margin(Fraction(1, 20), True)
        ),
    )
    assert suite.gate.waivers == (
        Waiver(
            metric="e/rouge_l",
            margin=Margin(Fraction(3, 100), False),
            reason="accepted for the edge build",
            expires=date(2027, 1, 31),
        ),
    )
    assert suite.gate.rule("h/recorded:judge") == MetricRule(
        margin=Margin(Fraction(1, 100), False), labels="h/recorded:human"
    )
    assert suite.gate.rule("h/recorded:human") == MetricRule(advisory=True)


def test_defaults(project: Project) -> None:
    plain = load(project, GATE)
    assert (plain.sampling, plain.gate.slices, plain.gate.waivers) == (None, (), ())
    assert load(project, GATE + "sampling: {initial: 50}\n").sampling == Sampling(initial=50)
    assert Sampling(initial=50).looks == 5


def test_the_digest_does_not_cover_sampling_and_gate(project: Project) -> None:
    more = "  slices: [{metric: e/exact_match, slice: language=de}]\nsampling: {initial: 50}\n"
    assert load(project, GATE + more).digest == load(project, GATE).digest


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{initial: 9}", "sampling.initial should be greater than or equal to 10"),
        ("{}", "the key 'sampling.initial' is missing"),
        ("{initial: 50, max: 40}", "sampling.max (40) is below sampling.initial (50)"),
        ("{initial: 50, looks: 0}", "sampling.looks should be greater than or equal to 1"),
        ("{initial: 50, looks: 21}", "sampling.looks should be less than or equal to 20"),
        ("{initial: 50, looks: 2.5}", "sampling.looks must be a whole number"),
        ("{initial: 50, reserve: -1}", "sampling.reserve should be greater than or equal to 0"),
        ("{initial: 50, max_repeats: 1}", "sampling.max_repeats should be greater than or equal to 2"),
        (
            "{initial: 50, max: 200, reserve: 200}",
            "a reserve of 200 leaves 0 of sampling.max (200) for the looks before --extend, "
            "and the first look asks 50; at most 150 can be held in reserve",
        ),
        ("{initial: 150, max: 200, reserve: 51}", "leaves 149 of sampling.max (200)"),
        ("{initial: 50, reserve: 300}", "leaves 0 of the largest golden set (300 cases)"),
        ("{initial: 50, max: 1000, reserve: 260}", "leaves 40 of the largest golden set (300 cases)"),
        (
            "{initial: 301}",
            "suite.yaml:15: the first look (301 cases) is more than any golden set (set has 300), "
            "so there is one look only",
        ),
        ("{initial: 50, lookz: 3}", "unknown key 'sampling.lookz'; did you mean looks?"),
        ("{initial: 50, peek_every: 20}", "unknown key 'sampling.peek_every'"),
        ("{initial: 50, alpha: 0.05}", "unknown key 'sampling.alpha'"),
        ("5", "sampling must be a mapping"),
    ],
)
def test_sampling_refused(project: Project, failing: Failing, written: str, message: str) -> None:
    found = one_problem(project, failing, GATE + f"sampling: {written}\n")
    assert found.startswith("suite.yaml:15: ")
    assert message in found


@pytest.mark.parametrize(
    "written", ["{initial: 300}", "{initial: 50, reserve: 250}", "{initial: 50, max: 5000}"]
)
def test_sampling_at_its_limits(project: Project, written: str) -> None:
    assert load(project, GATE + f"sampling: {written}\n").sampling is not None


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            "{metric: e/exact_mach, slice: language=de}",
            "no metric 'e/exact_mach'; did you mean e/exact_match?",
        ),
        ("{metric: e/size, slice: language=de}", "'e/size' is advisory and never gates"),
        (
            "{metric: e/exact_match, slice: langage=de}",
            "no case of set is in the slice 'langage=de'; did you mean language=de",
        ),
        ("{metric: e/exact_match, slice: language=dk}", "did you mean language=de"),
        ("{metric: e/exact_match, slice: language}", "is not a slice: write a tag and its value, key=value"),
        ("{metric: e/exact_match, slice: language=de, max_rise: 4pp}", "write max_drop instead of max_rise"),
        (
            "{metric: h/recorded:cost, slice: language=de, max_drop: 4pp}",
            "write max_rise instead of max_drop",
        ),
        ("{metric: e/exact_match, slice: language=de, max_drop: 2}", "the number 2 has no unit"),
        (
            "{metric: e/exact_match, slice: language=de, max_drop: 2pp, max_rise: 2pp}",
            "a metric has one margin",
        ),
        ("{metric: e/exact_match, slice: language=de, margin: 2pp}", "unknown key 'gate.slices[0].margin'"),
        ("{metric: e/exact_match}", "the key 'gate.slices[0].slice' is missing"),
        ("{slice: language=de}", "the key 'gate.slices[0].metric' is missing"),
        ("language=de", "gate.slices[0] must be a mapping"),
    ],
)
def test_slices_refused(project: Project, failing: Failing, rule: str, message: str) -> None:
    found = one_problem(project, failing, GATE + f"  slices:\n    - {rule}\n")
    assert found.startswith("suite.yaml:16: ")
    assert message in found


def test_a_slice_gates_once(project: Project, failing: Failing) -> None:
    rule = "    - {metric: e/exact_match, slice: language=de}\n"
    found = one_problem(project, failing, GATE + "  slices:\n" + rule + rule)
    assert "suite.yaml:17: e/exact_match on language=de already gates on line 16; keep one of them" in found


def test_a_golden_set_without_tags_has_no_slices(project: Project, failing: Failing) -> None:
    project.cases([{**row, "tags": {}} for row in rows(20)])
    text = GATE + "  slices: [{metric: e/exact_match, slice: language=de}]\n"
    assert "give its cases tags" in one_problem(project, failing, text)


WAIVED = "{metric: e/exact_match, max_drop: 3pp, reason: four-bit weights, expires: 2027-01-31}"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            WAIVED.replace("exact_match", "exact_mach"),
            "no metric 'e/exact_mach'; did you mean e/exact_match?",
        ),
        (WAIVED.replace("exact_match", "size").replace("3pp", "3%"), "'e/size' is advisory and never gates"),
        (WAIVED.replace("3pp", "2pp"), "a waiver of 2pp is no wider than the margin of e/exact_match, 2pp"),
        (WAIVED.replace("3pp", "1.5pp"), "a waiver of 1.5pp is no wider"),
        (WAIVED.replace("exact_match", "rouge_l"), "no wider than the margin of e/rouge_l, 6pp"),
        (WAIVED.replace("3pp", "30%"), "write the waiver in pp, as the margin"),
        (WAIVED.replace("max_drop", "max_rise"), "write max_drop instead of max_rise"),
        (
            WAIVED.replace("max_drop: 3pp, ", ""),
            "does not say how much it may lose; add, for example, max_drop: 3pp",
        ),
        (WAIVED.replace("max_drop: 3pp", "max_drop: 3"), "the number 3 has no unit"),
        (WAIVED.replace("four-bit weights", "weights"), "'weights' is no reason"),
        (WAIVED.replace("four-bit weights", "' '"), "the text is empty"),
        (WAIVED.replace("reason: four-bit weights, ", ""), "the key 'gate.waivers[0].reason' is missing"),
        (WAIVED.replace(", expires: 2027-01-31", ""), "the key 'gate.waivers[0].expires' is missing"),
        (WAIVED.replace("2027-01-31", "never"), "'never' is not a date; write it as 2027-01-31"),
        (WAIVED.replace("2027-01-31", "2027-02-30"), "there is no day 2027-02-30"),
        (WAIVED.replace("2027-01-31", "20270131"), "20270131 is not a date"),
        (WAIVED.replace("expires", "expire"), "did you mean expires?"),
    ],
)
def test_waivers_refused(project: Project, failing: Failing, written: str, message: str) -> None:
    text = GATE + f"    e/rouge_l: {{max_drop: 6pp}}\n  waivers:\n    - {written}\n"
    problems = [str(p) for p in failing(lambda: load(project, text))]
    assert all(p.startswith("suite.yaml:17: ") for p in problems)
    assert any(message in p for p in problems), problems


def test_a_metric_has_one_waiver(project: Project, failing: Failing) -> None:
    found = one_problem(project, failing, GATE + f"  waivers:\n    - {WAIVED}\n    - {WAIVED}\n")
    assert "suite.yaml:17: e/exact_match already has a waiver on line 16" in found


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            "{labels: h/recorded:human}",
            "the labelled cases must have been drawn at random, and the rule does not say how",
        ),
        (
            "{labels: h/recorded:human, drawn: disputed}",
            "not 'disputed': labels on disputed or hand-picked cases say nothing of the others and cannot be used",
        ),
        ("{drawn: random}", "drawn says how labels were drawn, and there are none"),
        ("{labels: 5, drawn: random}", "labels names the metric that holds them"),
        ("{lables: h/recorded:human, drawn: random}", "unknown key 'lables'; did you mean labels?"),
        ("{labels: h/recorded:humans, drawn: random}", "did you mean h/recorded:human?"),
        ("{labels: h/recorded:judge, drawn: random}", "h/recorded:judge cannot be its own labels"),
        ("{labels: e/exact_match, drawn: random}", "belong to another eval than h/recorded:judge"),
        ("{labels: h/recorded:cost, drawn: random}", "differ in direction: higher and lower"),
    ],
)
def test_labels_refused(project: Project, failing: Failing, rule: str, message: str) -> None:
    found = one_problem(project, failing, GATE + f"    h/recorded:judge: {rule}\n")
    assert found.startswith("suite.yaml:15: ")
    assert message in found


def test_labels_correct_case_values_only(project: Project, failing: Failing) -> None:
    rule = "    e/macro_f1: {labels: e/exact_match, drawn: random}\n"
    assert "e/macro_f1 is no mean of case values" in one_problem(project, failing, GATE + rule)


LABELLED = "    h/recorded:judge: {labels: h/recorded:human, drawn: random}\n"


@pytest.mark.parametrize(
    "more",
    [
        "    h/recorded:human: {max_drop: 5pp}\n",
        "  primary: [h/recorded:human]\n",
        "  slices: [{metric: h/recorded:human, slice: language=de}]\n",
        "  waivers: [" + WAIVED.replace("e/exact_match", "h/recorded:human") + "]\n",
    ],
)
def test_labels_cannot_gate(project: Project, failing: Failing, more: str) -> None:
    problems = [str(p) for p in failing(lambda: load(project, GATE + LABELLED + more))]
    assert any("h/recorded:human' holds the labels of h/recorded:judge" in p for p in problems), problems


def test_a_suite_whose_only_other_metric_is_labels_gates_still(project: Project) -> None:
    text = SUITE.replace(
        "scorers: [exact_match, rouge_l, {length: {id: size}}, macro_f1]", "scorers: [exact_match]"
    )
    given = project.write("suite.yaml", text + "gate:\n  metrics:\n" + LABELLED)
    assert validate([given], paths=project.paths, registry=project.registry) == []


def test_a_ratio_needs_a_relative_margin(project: Project, failing: Failing) -> None:
    text = SUITE.replace("{length: {id: size}}", "ratio")
    found = one_problem(project, failing, text)
    assert "suite.yaml:5: e/ratio changes by a ratio, so a margin of 2pp says nothing about it" in found
    assert "`e/ratio: {max_rise: 5%}`" in found
    ruled = text + "gate:\n  metrics: {e/ratio: {max_rise: 15%}}\n"
    assert load(project, ruled).gate.rule("e/ratio").margin == Margin(Fraction(3, 20), True)
    in_slice = ruled + "  slices: [{metric: e/ratio, slice: language=de, max_rise: 2pp}]\n"
    assert "write max_rise: 5%" in one_problem(project, failing, in_slice)


def test_every_problem_at_once_though_other_keys_are_wrong(project: Project, failing: Failing) -> None:
    text = (
        SUITE
        + """gate:
  alpha: 7
  slices:
    - {metric: e/exact_match, slice: language=dk}
    - {metric: e/exact_match, slize: language=de}
  waivers:
    - {metric: e/nothing, max_drop: 3pp, reason: four-bit weights, expires: 2027-01-31}
    - {metric: e/exact_match, max_drop: 3pp, reason: why, expires: 2027-01-31}
sampling: {initial: 500}
"""
    )
    lines = {p.line for p in failing(lambda: load(project, text))}
    assert lines == {13, 15, 16, 18, 19, 20}


def test_no_wider_margin_is_reported_from_a_guessed_default(project: Project, failing: Failing) -> None:
    """Where gate.max_drop itself is wrong, a waiver is not held against the default it would have replaced."""
    text = (
        SUITE.replace("{length: {id: size}}, ", "")
        + f"gate:\n  max_drop: 1\n  waivers: [{WAIVED.replace('3pp', '2pp')}]\n"
    )
    assert "gate.max_drop: the number 1 has no unit" in one_problem(project, failing, text)


def test_sizes_are_not_judged_while_a_golden_set_cannot_be_read(project: Project, failing: Failing) -> None:
    project.cases(rows(20), name="small")
    text = SUITE.replace("id: h\n    golden_set: ./set", "id: h\n    golden_set: ./small").replace(
        "id: e\n    golden_set: ./set", "id: e\n    golden_set: ./sett"
    )
    text += "gate: {metrics: {e/size: advisory}}\nsampling: {initial: 50}\n"
    assert "'./sett' does not exist" in one_problem(project, failing, text)


def warnings(project: Project, more: str) -> list[str]:
    return [w for w in suite_warnings(load(project, GATE + more)) if "not locked" not in w]


@pytest.mark.parametrize(("count", "warned"), [(294, True), (300, False)])
def test_a_thin_gating_slice_is_a_warning(project: Project, count: int, warned: bool) -> None:
    project.cases(rows(count))
    found = warnings(project, "  slices: [{metric: e/exact_match, slice: language=fr}]\n")
    assert bool(found) is warned
    if warned:
        assert found[0].startswith("e/exact_match gates on language=fr, which has 49 cases: ")


def clustered(project: Project, groups: Sequence[str | None]) -> None:
    project.cases(
        [{**row, **({"cluster": name} if name else {})} for row, name in zip(rows(300), groups, strict=True)]
    )


def test_clusters_that_a_gating_slice_cuts_are_a_warning(project: Project) -> None:
    rule = (
        "  slices: [{metric: e/exact_match, slice: language=fr}, {metric: e/rouge_l, slice: language=de}]\n"
    )
    clustered(project, [f"doc{i // 6}" for i in range(300)])
    (found,) = warnings(project, rule)
    assert found.startswith(
        "golden set set: 50 of 50 clusters (such as doc0) hold cases of several values of 'language'"
    )
    clustered(project, [f"doc-{LANGUAGES[i % 6]}-{i // 60}" for i in range(300)])
    assert warnings(project, rule) == []
    assert warnings(project, "  on_inconclusive: warn\n") == []


def test_looks_that_can_only_be_one_are_a_warning(project: Project) -> None:
    (found,) = warnings(project, "sampling: {initial: 300}\n")
    assert found.startswith("sampling has one look before --extend")
    assert len(warnings(project, "sampling: {initial: 200, reserve: 100}\n")) == 1
    assert warnings(project, "sampling: {initial: 300, looks: 1}\n") == []
    assert warnings(project, "sampling: {initial: 200}\n") == []


def test_the_schema_knows_and_describes_every_new_key(project: Project) -> None:
    schema = json_schema("suite")
    text = GATE + LABELLED + f"  slices: [{{metric: a, slice: b=c, max_drop: 4pp}}]\n  waivers: [{WAIVED}]\n"
    data = read_yaml(
        project.write("s.yaml", text + "sampling: {initial: 50, max: 100}\n"), project.paths
    ).data
    jsonschema.validate(data, schema)
    for wrong in (
        {**data, "sampling": {"initial": 50, "peek_every": 20}},
        {**data, "gate": {"metrics": {"h/recorded:judge": {"labels": "h/recorded:human"}}}},
        {**data, "gate": {"waivers": [{"metric": "a", "max_drop": "3pp"}]}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)
    for name in ("SamplingFile", "SliceFile", "WaiverFile"):
        described = schema["$defs"][name]
        assert described["description"]
        assert all("description" in item for item in described["properties"].values())
