"""Judge folders, and suites that name them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from evalharness.content import PathPolicy
from evalharness.core.judges import Calibration, Criterion, Judge, Measured
from evalharness.core.suites import Suite
from evalharness.errors import SpecError
from evalharness.judging.prompts import render
from evalharness.judging.replies import reply_schema
from evalharness.spec.calibration import CALIBRATION, read_calibration, write_calibration
from evalharness.spec.json_schema import json_schema
from evalharness.spec.load import load_judge, load_suite, suite_warnings, validate
from evalharness.spec.reader import parse_yaml
from tests.spec.conftest import SUITE, Failing, Project

JUDGE = """name: j
mode: pairwise
provider: openai
model: m-2026-01-01
criteria: [Is it right?]
rubric: Prefer the right one.
"""
PROMPT = "{{ input }}\n{{ first }}\n{{ second }}\n{{ criteria[0].text }} {{ rubric }}\n"
LABEL = {"id": "1", "input": "q", "first": "x", "second": "y", "label": "tie"}
SINGLE = JUDGE.replace("pairwise", "pointwise")
SINGLE_PROMPT = "{{ input }} {{ output }} {{ criteria }} {{ rubric }}"
SINGLE_LABEL = {"id": "1", "input": "q", "output": "x", "label": "pass"}
CLAIMS = JUDGE.replace("pairwise", "claims").replace("criteria: [Is it right?]\n", "")
CLAIMS_PROMPT = "{{ output }} {{ contexts }} {{ rubric }}"
RECORDED = "name: r\nmode: pairwise\nprovider: replay\nverdicts: ./verdicts.jsonl\n"
PANEL = "name: p\nmode: pairwise\npanel: [./j, ./k]\n"


@pytest.fixture
def project(project: Project) -> Project:
    judge(project, JUDGE, PROMPT)
    labels(project, LABEL)
    return project


def judge(project: Project, text: str, prompt: str, folder: str = "j") -> None:
    project.write(f"{folder}/judge.yaml", text)
    project.write(f"{folder}/prompt.md", prompt)


def labels(project: Project, *rows: dict[str, Any], folder: str = "j") -> None:
    project.write(f"{folder}/calibration.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def load(project: Project, folder: str = "j") -> Judge:
    return load_judge(project.root / folder, paths=project.paths, registry=project.registry)


def said(project: Project, failing: Failing, folder: str = "j") -> list[str]:
    return [str(problem) for problem in failing(lambda: load(project, folder))]


# --- one judge ---------------------------------------------------------------------------------------------------


def test_a_judge(project: Project) -> None:
    found = load(project)
    assert (found.name, found.mode, found.model, found.prompt) == ("j", "pairwise", "m-2026-01-01", PROMPT)
    assert found.criteria == (Criterion(id="c1", text="Is it right?"),)
    assert (found.orders, found.max_chars, found.panel, found.calibration) == ("both", 20_000, (), None)
    assert [(label.answers, label.label, label.line) for label in found.labels] == [(("x", "y"), "tie", 1)]
    from_file = load_judge(project.root / "j/judge.yaml", paths=project.paths, registry=project.registry)
    assert from_file == found


def test_a_pointwise_judge(project: Project) -> None:
    judge(project, SINGLE + "max_chars: 200\n", SINGLE_PROMPT)
    labels(project, SINGLE_LABEL | {"contexts": ["c"], "target": "t", "labeller": "ann", "note": "hm"})
    found = load(project)
    assert found.max_chars == 200
    (label,) = found.labels
    assert (label.answers, label.contexts, label.target, label.labeller) == (("x",), ("c",), "t", "ann")


def test_a_judge_of_claims_needs_no_criteria(project: Project) -> None:
    judge(project, CLAIMS, CLAIMS_PROMPT)
    labels(project, SINGLE_LABEL | {"contexts": ["c"]})
    assert load(project).criteria == ()


def test_criteria_with_ids_and_weights(project: Project) -> None:
    text = JUDGE.replace("[Is it right?]", "[{id: right, text: Is it right?, weight: 3}, Is it short?]")
    judge(project, text, PROMPT)
    assert load(project).criteria == (
        Criterion(id="right", text="Is it right?", weight=3.0),
        Criterion(id="c2", text="Is it short?"),
    )


def test_decoding_is_still_unless_the_file_says_otherwise(project: Project) -> None:
    assert load(project).decoding == {"temperature": 0}
    for written, read in (
        ("{max_tokens: 9}", {"temperature": 0, "max_tokens": 9}),
        ("{temperature: 1}", {"temperature": 1}),
        ("{temperature: null}", {}),
    ):
        judge(project, JUDGE + f"decoding: {written}\n", PROMPT)
        assert load(project).decoding == read


def test_limits_and_price_are_those_of_candidates(project: Project, failing: Failing) -> None:
    limits = "limits: {concurrency: 3, max_cost_usd: 2}\n"
    judge(project, JUDGE + limits + "price: {input_per_million: 1, output_per_million: 2}\n", PROMPT)
    found = load(project)
    assert (found.limits.concurrency, found.limits.max_cost_usd) == (3, 2.0)
    assert found.price is not None
    judge(project, JUDGE + limits, PROMPT)
    assert said(project, failing) == [
        "j/judge.yaml:7: limits.max_cost_usd needs `price`; there is no list price of this model here: state yours"
    ]


def test_the_rubric_may_be_a_file(project: Project, failing: Failing) -> None:
    project.write("j/rubric.md", "Prefer the right one.\nNot {{ name }}.\n")
    judge(project, JUDGE.replace("Prefer the right one.", "./rubric.md"), PROMPT)
    (problem,) = said(project, failing)
    assert problem.startswith(
        "j/rubric.md:2: the rubric is plain text, and '{{ name }}' would reach the judge"
    )
    project.write("j/rubric.md", "Prefer the right one.")
    assert load(project).rubric == "Prefer the right one."


def test_labels_and_a_calibration_may_come_later(project: Project) -> None:
    (project.root / "j/calibration.jsonl").unlink()
    assert load(project).labels == ()


def test_digest_covers_what_shapes_a_judgment(project: Project) -> None:
    project.write("j/ex.jsonl", '{"input": "q", "first": "x", "second": "y", "reply": ' + PAIR_REPLY + "}\n")
    base = load(project).digest
    seen = {base}
    for text in (
        JUDGE.replace("2026-01-01", "2026-01-02"),
        JUDGE.replace("openai", "vllm"),
        JUDGE.replace("Is it right?", "Is it short?"),
        JUDGE.replace("[Is it right?]", "[{id: a, text: Is it right?}]"),
        JUDGE.replace("[Is it right?]", "[{text: Is it right?, weight: 2}]"),
        JUDGE.replace("Prefer the right one.", "Prefer the short one."),
        JUDGE + "decoding: {temperature: 1}\n",
        JUDGE + "orders: random\n",
        JUDGE + "max_chars: 300\n",
        JUDGE + "extra_body: {top_k: 1}\n",
        JUDGE + "examples: ./ex.jsonl\n",
    ):
        judge(project, text, PROMPT)
        seen.add(load(project).digest)
    judge(project, JUDGE, PROMPT + "Be strict.")
    assert len(seen | {load(project).digest}) == 13


def test_digest_does_not_cover_what_shapes_no_judgment(project: Project) -> None:
    base = load(project).digest
    labels(project, LABEL, LABEL | {"id": "2", "input": "r"})
    for more in (
        "",
        "api_key_env: KEY\n",
        "organization: org\n",
        "limits: {concurrency: 2}\n",
        "orders: both\n",
        "max_chars: 20000\n",
        "price: {input_per_million: 1, output_per_million: 2}\n",
    ):
        judge(project, JUDGE.replace("name: j", "name: other") + more, PROMPT)
        assert load(project).digest == base, more


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            JUDGE.replace("pairwise", "pairwse"),
            "j/judge.yaml:2: mode: 'pairwse' is not one of pairwise, pointwise, claims; did you mean",
        ),
        (JUDGE.replace("2026-01-01", "latest"), "j/judge.yaml:4: model 'm-latest' is not pinned"),
        (JUDGE.replace("m-2026-01-01", "org/m:Latest"), "is not pinned"),
        (
            JUDGE.replace("openai", "ollama"),
            "model 'm-2026-01-01' is not pinned: without a tag it is the latest",
        ),
        (JUDGE.replace("openai", "transformers"), "is not pinned: a branch moves"),
        (JUDGE.replace("model: m-2026-01-01\n", ""), "provider 'openai' needs the key 'model'"),
        (
            JUDGE.replace("provider: openai\n", ""),
            "j/judge.yaml:1: the key 'provider' is missing; or `panel`",
        ),
        (JUDGE.replace("criteria: [Is it right?]\n", ""), "the key 'criteria' is missing"),
        (JUDGE.replace("[Is it right?]", "[]"), "j/judge.yaml:5: criteria is empty"),
        (JUDGE.replace("[Is it right?]", "[3]"), "criteria[0] must be a mapping"),
        (JUDGE.replace("[Is it right?]", "[{id: a}]"), "the key 'criteria[0].text' is missing"),
        (JUDGE.replace("[Is it right?]", "[{txt: a, text: b}]"), "unknown key 'criteria[0].txt'"),
        (
            JUDGE.replace("[Is it right?]", "[{text: a, weight: 0}]"),
            "criteria[0].weight should be greater than 0",
        ),
        (
            JUDGE.replace("[Is it right?]", "[a, {id: c1, text: b}]"),
            "the criterion id 'c1' is already on line 5",
        ),
        (
            JUDGE.replace("Is it right?", "'Is {{ it }} right?'"),
            "a criterion is plain text, and '{{ it }}' would",
        ),
        (JUDGE.replace("rubric: Prefer the right one.\n", ""), "the key 'rubric' is missing"),
        (
            JUDGE.replace("Prefer the right one.", "|\n  Right.\n  {% if x %}"),
            "j/judge.yaml:8: the rubric is plain text, and '{% if x %}' would reach the judge as it is",
        ),
        (JUDGE.replace("openai", "opnai"), "unknown provider 'opnai'; did you mean openai?"),
        (JUDGE.replace("openai", "python"), "a function of yours cannot be a judge"),
        (
            JUDGE + "verdicts: ./j/prompt.md\n",
            "provider 'openai' does not use 'verdicts'; it belongs to replay",
        ),
        (JUDGE + "outputs: ./x\n", "unknown key 'outputs'"),
        (JUDGE + "combine: mean\n", "and there is no panel"),
        (JUDGE + "max_chars: 199\n", "max_chars should be greater than or equal to 200"),
        (JUDGE + "api_key_env: sk-abcdefghijklmnopqrstuv1\n", "looks like an API key"),
        (JUDGE + "prompt: ./promt.md\n", "did you mean ./prompt.md?"),
        (JUDGE + "calibration: ./gone.jsonl\n", "j/judge.yaml:7: './gone.jsonl' does not exist"),
        (JUDGE + "examples: ./gone.jsonl\n", "'./gone.jsonl' does not exist"),
        (JUDGE + "examples: ../j\n", "examples: '../j' is not a file; a JSONL file is needed"),
        (SINGLE + "orders: random\n", "a pointwise judge sees one answer, which has no order"),
    ],
)
def test_judge_yaml_refused(project: Project, failing: Failing, text: str, message: str) -> None:
    project.write("j/judge.yaml", text)
    assert any(message in problem for problem in said(project, failing)), said(project, failing)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("llama3:8b", "provider: ollama"),
        ("latest-news-classifier", "provider: vllm"),
        ("org/model", "provider: transformers\nrevision: 0123abc"),
    ],
)
def test_names_that_are_pinned(project: Project, name: str, more: str) -> None:
    judge(project, JUDGE.replace("provider: openai", more).replace("m-2026-01-01", name), PROMPT)
    assert load(project).model == name


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("{{ input }} {{ first }}", "j/prompt.md:1: the prompt of a pairwise judge never shows 'second'"),
        (PROMPT.replace("first", "'first'"), "never shows 'first'"),
        (PROMPT.replace("{{ rubric }}", ""), "never shows 'rubric'"),
        (PROMPT.replace("{{ criteria[0].text }}", ""), "never shows 'criteria'"),
        (PROMPT + "{{ output }}", "j/prompt.md:5: template: unknown variable 'output'"),
        (PROMPT + "{{ rubrik }}", "template: unknown variable 'rubrik'; did you mean rubric?"),
        (PROMPT + "{{ first", "unexpected end of template"),
        (PROMPT + "{{ first.__class__ }}", "j/prompt.md:5: template: the attribute '__class__' is private"),
        (PROMPT + "{{ rubric['__class__'] }}", "template: the attribute '__class__' is private"),
        (PROMPT + "{{ rubric | attr('__class__') }}", "template: the attribute '__class__' is private"),
        (PROMPT + "{{ first.upper() }}", "j/prompt.md:5: template: 'first' is shown as it is"),
        (PROMPT + "{{ second[:99] }}", "template: 'second' is shown as it is"),
        (PROMPT + "{{ second | truncate(9) }}", "max_chars says where a long answer is cut"),
        (PROMPT + "{% include 'x' %}", "include, import and extends are not available"),
    ],
)
def test_prompt_refused(project: Project, failing: Failing, prompt: str, message: str) -> None:
    project.write("j/prompt.md", prompt)
    assert any(message in problem for problem in said(project, failing)), said(project, failing)


def test_a_judge_of_claims_must_show_the_contexts(project: Project, failing: Failing) -> None:
    judge(project, CLAIMS, "{{ output }} {{ rubric }}")
    labels(project, SINGLE_LABEL | {"contexts": ["c"]})
    (problem,) = said(project, failing)
    assert "the prompt of a claims judge never shows 'contexts'" in problem


def test_problems_of_all_files_at_once(project: Project, failing: Failing) -> None:
    judge(project, JUDGE + "max_chars: 1\n", PROMPT + "{{ x }}")
    labels(project, LABEL | {"label": "no"})
    project.write(f"j/{CALIBRATION}", "{")
    files = {problem.partition(":")[0] for problem in said(project, failing)}
    assert files == {"j/judge.yaml", "j/prompt.md", "j/calibration.jsonl"}
    judge(project, JUDGE, PROMPT + "{{ x }}")
    files = {problem.partition(":")[0] for problem in said(project, failing)}
    assert files == {"j/prompt.md", "j/calibration.jsonl", f"j/{CALIBRATION}"}


# --- labels ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "yes"}, "label must be one of first, second, tie"),
        ({"label": "secnd"}, "label must be one of first, second, tie"),
        ({"lable": "tie"}, "unknown key 'lable'"),
        ({"first": 3}, "first must be text, not a number"),
        ({"contexts": "c"}, "contexts must be a list of texts"),
        ({"target": 3}, "target must be text, not a number"),
        ({"labeller": " "}, "labeller ' ' is empty, padded with spaces"),
        ({"id": ""}, "id '' is empty"),
        ({"id": "1", "input": "q"}, "the id '1' is already on line 1"),
        ({"id": "1", "input": "q", "label": "first"}, "called it 'tie' there and 'first' here"),
        ({"input": "q"}, "the texts are those of line 1, id '1'"),
        ({"input": "q", "label": "first"}, "id '1', labelled 'tie' there and 'first' here"),
    ],
)
def test_labels_refused(project: Project, failing: Failing, change: dict[str, Any], message: str) -> None:
    labels(project, LABEL, LABEL | {"id": "2", "input": "r"} | change)
    (problem,) = failing(lambda: load(project))
    assert (problem.file, problem.line) == ("j/calibration.jsonl", 2)
    assert message in problem.message


def test_several_labellers_of_one_item(project: Project, failing: Failing) -> None:
    ann, bob = LABEL | {"labeller": "ann"}, LABEL | {"labeller": "bob", "label": "first"}
    labels(project, ann, bob)
    assert [(label.labeller, label.label) for label in load(project).labels] == [
        ("ann", "tie"),
        ("bob", "first"),
    ]
    labels(project, ann, bob, ann | {"label": "second"}, bob | {"labeller": "eve", "first": "z"})
    assert said(project, failing) == [
        "j/calibration.jsonl:3: 'ann' already labelled '1' on line 1, and called it 'tie' there and 'second' here; "
        "keep one of them",
        "j/calibration.jsonl:4: the id '1' stands for other texts on line 1; all labels of an item show the same "
        "texts; give another item another id",
    ]


def test_labels_of_claims_have_contexts(project: Project, failing: Failing) -> None:
    judge(project, CLAIMS, CLAIMS_PROMPT)
    labels(project, SINGLE_LABEL)
    (problem,) = said(project, failing)
    assert problem.startswith("j/calibration.jsonl:1: has no contexts, which the claims are held against")


def test_many_wrong_labels_are_counted(project: Project, failing: Failing) -> None:
    labels(project, *({"id": str(i)} for i in range(60)))
    problems = said(project, failing)
    assert len(problems) == 51
    assert any("and 10 more lines with problems" in problem for problem in problems)


def test_few_labels_of_one_class_load(project: Project) -> None:
    # how good a calibration is, is for the judge's standing to say
    labels(project, LABEL)
    assert len(load(project).labels) == 1


# --- examples ----------------------------------------------------------------------------------------------------

PAIR_REPLY = '{"rationale": "x is right", "winner": "A"}'
REPLIES: dict[str, tuple[str, str, dict[str, str], dict[str, Any]]] = {
    "pairwise": (JUDGE, PROMPT, {"first": "x", "second": "y"}, json.loads(PAIR_REPLY)),
    "pointwise": (
        SINGLE,
        SINGLE_PROMPT,
        {"output": "x"},
        {"criteria": {"c1": {"rationale": "r", "met": True}}},
    ),
    "claims": (
        CLAIMS,
        CLAIMS_PROMPT,
        {"output": "x"},
        {"claims": [{"claim": "c", "rationale": "r", "supported": False}]},
    ),
}


def example(project: Project, mode: str, reply: Any) -> None:
    text, prompt, answers, _ = REPLIES[mode]
    judge(project, text + "examples: ./ex.jsonl\n", prompt)
    (project.root / "j/calibration.jsonl").unlink(missing_ok=True)
    beside = {"contexts": ["k"], "target": "t"} if mode == "claims" else {}
    project.write("j/ex.jsonl", json.dumps({"input": "q", **answers, **beside, "reply": reply}) + "\n")


@pytest.mark.parametrize("mode", REPLIES)
def test_examples_reply_as_the_judge_must(project: Project, mode: str) -> None:
    *_, answers, reply = REPLIES[mode]
    example(project, mode, reply)
    found = load(project)
    (shown,) = found.examples
    assert (shown.input, shown.answers, shown.reply) == ("q", tuple(answers.values()), reply)
    jsonschema.validate(reply, reply_schema(found))
    beside = (("k",), "t") if mode == "claims" else ((), None)
    assert (shown.contexts, shown.target) == beside
    asked = render(found, input="other", answers=shown.answers, contexts=["other"], key="case")[1].content
    assert ("\nk\n<<<end context 1" in asked) == (mode == "claims")


def test_what_an_example_rests_on_is_part_of_the_digest(project: Project) -> None:
    reply = REPLIES["claims"][3]
    example(project, "claims", reply)
    before = load(project).digest
    line = {"input": "q", "output": "x", "contexts": ["another"], "target": "t", "reply": reply}
    project.write("j/ex.jsonl", json.dumps(line) + "\n")
    assert load(project).digest != before


def test_an_example_of_claims_rests_on_contexts(project: Project, failing: Failing) -> None:
    example(project, "claims", REPLIES["claims"][3])
    line = {"input": "q", "output": "x", "reply": REPLIES["claims"][3]}
    project.write("j/ex.jsonl", json.dumps(line) + "\n")
    assert said(project, failing) == [
        'j/ex.jsonl:1: has no contexts, which the claims are held against; add "contexts": [text, …]'
    ]


@pytest.mark.parametrize(
    ("mode", "reply", "message"),
    [
        ("pairwise", "A", "reply must be an object, not text"),
        ("pairwise", {"winner": "A"}, "reply lacks 'rationale'"),
        ("pairwise", {"rationale": "r", "winner": "first"}, "reply.winner must be one of A, B, TIE"),
        (
            "pairwise",
            {"rationale": "r", "winer": "A"},
            "reply has the unknown key 'winer'; did you mean winner?",
        ),
        ("pointwise", {"criteria": {"c2": {}}}, "reply.criteria has the unknown key 'c2'; known: c1"),
        ("pointwise", {"criteria": {}}, "reply.criteria lacks 'c1'"),
        (
            "pointwise",
            {"criteria": {"c1": {"rationale": "r", "met": 1}}},
            "reply.criteria.c1.met must be true or false, not a number",
        ),
        ("claims", {"claims": {}}, "reply.claims must be a list, not a mapping"),
        ("claims", {"claims": [{"claim": "c"}]}, "reply.claims[0] lacks 'rationale'"),
    ],
)
def test_examples_refused(project: Project, failing: Failing, mode: str, reply: Any, message: str) -> None:
    example(project, mode, reply)
    (problem,) = said(project, failing)
    assert problem.startswith("j/ex.jsonl:1: ")
    assert message in problem
    with pytest.raises(jsonschema.ValidationError):
        project.write("j/judge.yaml", REPLIES[mode][0])
        jsonschema.validate(reply, reply_schema(load(project)))


def test_an_example_without_a_reply(project: Project, failing: Failing) -> None:
    judge(project, JUDGE + "examples: ./ex.jsonl\n", PROMPT)
    project.write("j/ex.jsonl", '{"input": "q", "first": "x", "second": "y"}\n{"input": "q"}\n')
    first, second = said(project, failing)
    assert first.startswith("j/ex.jsonl:1: the key 'reply' is missing")
    assert second.startswith(
        "j/ex.jsonl:2: the key 'first' is missing; an example holds input, first, second"
    )


# --- recorded judges ---------------------------------------------------------------------------------------------


def test_a_recorded_judge_needs_its_verdicts_alone(project: Project) -> None:
    project.write("r/judge.yaml", RECORDED)
    verdicts = project.write("r/verdicts.jsonl", "{}\n")
    found = load(project, "r")
    assert (found.provider, found.model, found.verdicts) == ("replay", None, str(verdicts))
    assert (found.criteria, found.rubric, found.prompt, found.labels) == ((), "", "", ())
    project.write("r/verdicts.jsonl", "{}\n{}\n")
    assert load(project, "r").digest == found.digest
    project.write("r/judge.yaml", RECORDED.replace("name: r", "name: s"))
    assert load(project, "r").digest != found.digest
    project.write("r/judge.yaml", RECORDED + "model: m-latest\n")
    assert load(project, "r").model == "m-latest"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RECORDED.replace("verdicts: ./verdicts.jsonl\n", ""), "provider 'replay' needs the key 'verdicts'"),
        (RECORDED.replace("./verdicts", "./gone"), "r/judge.yaml:4: './gone.jsonl' does not exist"),
        (RECORDED.replace("./verdicts.jsonl", "../r"), "verdicts: '../r' is not a file"),
        (RECORDED + "base_url: http://x\n", "provider 'replay' does not use 'base_url'"),
    ],
)
def test_recorded_judges_refused(project: Project, failing: Failing, text: str, message: str) -> None:
    project.write("r/judge.yaml", text)
    project.write("r/verdicts.jsonl", "")
    assert any(message in problem for problem in said(project, failing, "r")), said(project, failing, "r")


def test_validate_reads_recorded_verdicts(project: Project) -> None:
    project.write("r/judge.yaml", RECORDED)
    project.write("p/judge.yaml", "name: p\nmode: pairwise\npanel: [../j, ../r]\n")
    project.write("suite.yaml", SUITE.replace("[exact_match]", "[exact_match]\n    judge: ./p"))
    given = ([project.root / "r"], [project.root / "p"], [project.root / "suite.yaml"])
    for text, count in (
        ('{"id": "a", "order": "AB", "winner": "tie"}\n', 0),
        ('{"id": "a", "order": "AB", "winner": "nobody"}\n', 1),
        ('{"id": "a", "side": "baseline", "score": 1}\n', 1),
    ):
        project.write("r/verdicts.jsonl", text)
        for files in given:
            found = validate(files, paths=project.paths, registry=project.registry)
            assert [problem.file for problem in found] == ["r/verdicts.jsonl"] * count


# --- panels ------------------------------------------------------------------------------------------------------


@pytest.fixture
def panel(project: Project) -> Project:
    judge(project, JUDGE.replace("name: j", "name: k").replace("01-01", "02-02"), PROMPT, "k")
    project.write("p/judge.yaml", PANEL.replace("./", "../"))
    return project


def test_a_panel(panel: Project) -> None:
    labels(panel, LABEL, folder="p")
    found = load(panel, "p")
    assert [member.name for member in found.panel] == ["j", "k"]
    assert (found.combine, found.provider, found.model, found.orders) == ("majority", "panel", None, "both")
    assert len(found.labels) == 1
    panel.write("p/judge.yaml", "name: p\nmode: pairwise\npanel: [../k, ../j]\n")
    assert load(panel, "p").digest == found.digest  # no vote counts more than another
    panel.write("p/judge.yaml", PANEL.replace("./", "../") + "combine: mean\n")
    assert load(panel, "p").digest != found.digest
    panel.write("p/judge.yaml", PANEL.replace("./", "../"))
    panel.write("k/prompt.md", PROMPT + "Be strict.")
    assert load(panel, "p").digest != found.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PANEL + "provider: openai\n", "p/judge.yaml:4: 'provider' belongs to the judges of a panel"),
        (PANEL + "model: m-2026-01-01\n", "'model' belongs to the judges of a panel"),
        (PANEL + "prompt: ./p.md\n", "'prompt' belongs to the judges of a panel"),
        (PANEL + "rubric: r\n", "'rubric' belongs to the judges of a panel"),
        (PANEL + "orders: both\n", "'orders' belongs to the judges of a panel"),
        (PANEL + "combine: sum\n", "combine: 'sum' is not one of majority, mean"),
        (PANEL.replace("./k", "./gone"), "p/judge.yaml:3: '../gone' does not exist"),
        (PANEL.replace(", ./k", ""), "panel"),
        (PANEL.replace("./k", "./j"), "p/judge.yaml:3: 'j' is already in the panel on line 3"),
        (PANEL.replace("pairwise", "pointwise"), "j is a pairwise judge in a pointwise panel"),
        (PANEL.replace("./k", "./p"), "p/judge.yaml:3: a panel cannot be a member of a panel"),
        (PANEL.replace("./k", "./set"), "does not exist"),
    ],
)
def test_panels_refused(panel: Project, failing: Failing, text: str, message: str) -> None:
    panel.write("p/judge.yaml", text.replace("./", "../"))
    assert any(message in problem for problem in said(panel, failing, "p")), said(panel, failing, "p")


def test_a_panel_asks_in_one_way_about_orders(panel: Project, failing: Failing) -> None:
    panel.write("k/judge.yaml", (panel.root / "k/judge.yaml").read_text() + "orders: random\n")
    (problem,) = said(panel, failing, "p")
    assert "k has orders: random, unlike the judge before it" in problem


def test_what_is_wrong_with_a_member_is_told_at_the_member(panel: Project, failing: Failing) -> None:
    panel.write("k/prompt.md", PROMPT + "{{ x }}")
    labels(panel, LABEL | {"label": "no"}, folder="p")
    files = {problem.partition(":")[0] for problem in said(panel, failing, "p")}
    assert files == {"k/prompt.md", "p/calibration.jsonl"}


# --- the JSON Schema ---------------------------------------------------------------------------------------------


def underlined(text: str) -> list[str]:
    """What an editor would underline."""
    data = parse_yaml(text, Path("judge.yaml"), "judge.yaml").data
    return [
        error.message for error in jsonschema.Draft202012Validator(json_schema("judge")).iter_errors(data)
    ]


def test_the_schema_knows_every_form() -> None:
    forms = JUDGE.replace("[Is it right?]", "[{id: right, text: Is it right?, weight: 3}, Is it short?]")
    assert [underlined(text) for text in (JUDGE, forms, CLAIMS, RECORDED, PANEL)] == [[]] * 5
    for wrong in (
        JUDGE.replace("pairwise", "x"),
        JUDGE.replace("[Is it right?]", "[{id: right}]"),
        JUDGE.replace("[Is it right?]", "[{text: a, weigt: 1}]"),
        JUDGE + "max_chars: 3\n",
        PANEL + "combine: sum\n",
        PANEL.replace(", ./k", ""),
    ):
        assert underlined(wrong), wrong


# --- calibration.json --------------------------------------------------------------------------------------------

SHARE = Measured(value=0.9, low=1 / 3, high=0.95, n=60)
MEASURED = Calibration(
    judge_digest="sha256:j",
    labels_digest="sha256:l",
    models=("m-2026-01-01",),
    n_labels=60,
    n_judged=59,
    agreement=SHARE,
    kappa=replace(SHARE, low=-0.2),
    sensitivity=SHARE,
    specificity=None,
    correlation2=0.5,
    flip_rate=replace(SHARE, low=0.0),
    first_slot=SHARE,
    length_correlation=replace(SHARE, value=-0.1, low=-0.4),
    problem=None,
)


def test_a_calibration_is_read_back_as_written(project: Project) -> None:
    file = write_calibration(project.root / "j", MEASURED)
    assert file == project.root / "j" / CALIBRATION
    first = file.read_bytes()
    found = read_calibration(project.root / "j", project.paths)
    assert found is not None
    assert found == load(project).calibration
    assert found.agreement == replace(SHARE, low=0.333333333333)  # 12 significant digits
    assert replace(found, **dict.fromkeys(MEASURES)) == replace(MEASURED, **dict.fromkeys(MEASURES))
    write_calibration(file, found)
    assert file.read_bytes() == first
    assert json.loads(first)["schema_version"] == 1


MEASURES = (
    "agreement",
    "kappa",
    "sensitivity",
    "specificity",
    "flip_rate",
    "first_slot",
    "length_correlation",
)


def test_a_calibration_does_not_change_the_digest(project: Project) -> None:
    before = load(project).digest
    write_calibration(project.root / "j", MEASURED)
    assert load(project).digest == before


def test_a_number_that_is_none_is_not_written(project: Project) -> None:
    with pytest.raises(ValueError, match="finite"):
        write_calibration(project.root / "j", replace(MEASURED, correlation2=float("nan")))
    assert not (project.root / "j" / CALIBRATION).exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "its schema_version is 2, and this version reads 1"),
        ({"agreement": None}, "agreement is null"),
        ({"agreement": {"value": 0.9}}, "agreement must hold value, low, high and n"),
        (
            {"agreement": {"value": 1.2, "low": 0, "high": 1, "n": 5}},
            "agreement.value must be a number from 0 to 1",
        ),
        ({"agreement": {"value": 0.9, "low": 1, "high": 0, "n": 5}}, "agreement.low is above agreement.high"),
        ({"agreement": {"value": True, "low": 0, "high": 1, "n": 5}}, "agreement.value must be a number"),
        ({"agreement": {"value": 0.9, "low": 0, "high": 1, "n": -1}}, "agreement.n must be a whole number"),
        (
            {"kappa": {"value": -1.2, "low": -1, "high": 1, "n": 5}},
            "kappa.value must be a number from -1 to 1",
        ),
        ({"n_judged": 61}, "n_judged is above n_labels"),
        ({"n_labels": 60.5}, "n_labels must be a whole number"),
        ({"models": "m"}, "models must be a list of texts"),
        ({"judge_digest": None}, "judge_digest must be text"),
        ({"problem": 3}, "problem must be text or null"),
        ({"correlation2": 7}, "correlation2 must be a number from 0 to 1"),
        ({"extra": 1}, "'extra' is unknown"),
    ],
)
def test_a_damaged_calibration_is_named(
    project: Project, failing: Failing, change: dict[str, Any], message: str
) -> None:
    file = write_calibration(project.root / "j", MEASURED)
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    (problem,) = said(project, failing)
    assert problem.startswith(f"j/{CALIBRATION}: is damaged: ")
    assert message in problem
    assert problem.endswith("delete it and run: evalharness judge calibrate j")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema_version": 1}', "\xff"])
def test_a_file_that_is_no_calibration_is_named(project: Project, failing: Failing, text: str) -> None:
    project.write(f"j/{CALIBRATION}", text.encode("latin-1"))
    (problem,) = said(project, failing)
    assert problem.startswith(f"j/{CALIBRATION}")


def test_a_calibration_is_not_read_through_a_link_that_leads_out(project: Project, tmp_path: Path) -> None:
    inner = PathPolicy(project.root / "j")
    outside = write_calibration(tmp_path, MEASURED)
    (project.root / "j" / CALIBRATION).symlink_to(outside)
    with pytest.raises(SpecError, match="leads out of the working directory"):
        read_calibration(project.root / "j", inner)
    assert read_calibration(project.root / "j", project.paths) is not None


# --- suites ------------------------------------------------------------------------------------------------------

JUDGED = SUITE.replace("[exact_match]", "[exact_match]\n    judge: ./j")


def suite_of(project: Project, text: str) -> Suite:
    return load_suite(project.write("suite.yaml", text), paths=project.paths, registry=project.registry)


def test_a_suite_reads_its_judges(project: Project, failing: Failing) -> None:
    suite = suite_of(project, JUDGED)
    assert suite.evals[0].judge == load(project)
    assert suite.metric_ids == ("e/exact_match", "e/judge")
    assert [(name, item.id, found.name) for name, item, found in suite.judged] == [("e/judge", "e", "j")]
    assert not any("judge" in warning for warning in suite_warnings(suite))
    project.write("j/prompt.md", PROMPT + "Be strict.")
    assert suite_of(project, JUDGED).digest != suite.digest
    project.write("j/judge.yaml", JUDGE.replace("pairwise", "x"))
    gate = "gate: {primary: [e/judge]}\n"
    (problem,) = failing(lambda: suite_of(project, JUDGED + gate))
    assert problem.file == "j/judge.yaml"


def test_a_judge_alone_makes_an_eval(project: Project) -> None:
    suite = suite_of(project, SUITE.replace("scorers: [exact_match]", "judge: ./j"))
    assert suite.metric_ids == ("e/judge",)


def test_two_evals_share_a_judge(project: Project) -> None:
    text = JUDGED + JUDGED.split("evals:\n")[1].replace("id: e", "id: f")
    suite = suite_of(project, text)
    assert suite.evals[0].judge is suite.evals[1].judge
    project.write("j/prompt.md", "{{ x }}")
    with pytest.raises(SpecError) as caught:
        suite_of(project, text)
    assert len(caught.value.problems) == 1


def test_the_gate_may_name_a_judge(project: Project) -> None:
    project.cases([{"id": "a", "input": "one", "target": "x", "tags": {"l": "de"}}])
    gate = suite_of(
        project,
        JUDGED
        + """gate:
  primary: [e/judge]
  metrics: {e/judge: {max_drop: 3pp}}
  slices: [{metric: e/judge, slice: l=de}]
  waivers: [{metric: e/judge, max_drop: 5pp, reason: a known trade, expires: 2027-01-01}]
""",
    ).gate
    assert gate.primary == ("e/judge",)
    assert str(gate.rule("e/judge").margin) == "3pp"
    assert gate.slices[0].metric == gate.waivers[0].metric == "e/judge"
    assert suite_of(project, JUDGED + "gate: {metrics: {e/judge: advisory}}\n").gate.rule("e/judge").advisory
    assert suite_of(project, JUDGED + "gate: {max_drop: 5%}\n").gate.max_drop.relative


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ("{metrics: {e/judge: {max_rise: 3pp}}}", "e/judge is better when higher"),
        ("{primary: [e/juge]}", "there is no metric 'e/juge'; did you mean e/judge?"),
        (
            "{metrics: {e/judge: {labels: e/exact_match, drawn: random}}}",
            "e/judge compares two answers, and the metric 'e/exact_match' has no preference between them",
        ),
    ],
)
def test_rules_of_a_judge_refused(project: Project, failing: Failing, gate: str, message: str) -> None:
    (problem,) = failing(lambda: suite_of(project, f"{JUDGED}gate: {gate}\n"))
    assert message in str(problem)


def test_a_judge_of_one_answer_can_be_corrected_by_labels(project: Project) -> None:
    judge(project, SINGLE, SINGLE_PROMPT)
    labels(project, SINGLE_LABEL)
    text = JUDGED.replace("[exact_match]", '["recorded:human"]')
    rule = 'gate: {metrics: {e/judge: {labels: "e/recorded:human", drawn: random}}}\n'
    assert suite_of(project, text + rule).gate.rule("e/recorded:human").advisory


def test_a_judges_metric_has_its_name_alone(project: Project, failing: Failing) -> None:
    text = JUDGED.replace("[exact_match]", "[{exact_match: {id: judge}}]")
    (problem,) = failing(lambda: suite_of(project, text))
    assert "two metrics of 'e' are called 'judge' (the other on line 6)" in problem.message


def test_claims_are_held_against_contexts_that_must_be_there(project: Project, failing: Failing) -> None:
    judge(project, CLAIMS, CLAIMS_PROMPT)
    labels(project, SINGLE_LABEL | {"contexts": ["c"]})
    project.cases(
        [
            {"id": "a", "input": "one", "target": "x", "contexts": ["c"]},
            {"id": "b", "input": "two", "target": "y"},
        ]
    )
    (problem,) = failing(lambda: suite_of(project, JUDGED))
    assert problem.line == 6
    assert "the judge j needs `contexts`, and 1 of 2 cases of set have none: b (line 2)" in problem.message
    project.write("j/judge.yaml", RECORDED.replace("pairwise", "claims"))
    project.write("j/verdicts.jsonl", "")
    (project.root / "j/prompt.md").unlink()
    assert suite_of(project, JUDGED).metric_ids[-1] == "e/judge"  # who recorded them had the contexts
