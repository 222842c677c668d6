"""Prompts: templates over data, sandboxed, the same text every time."""

from __future__ import annotations

import time

import pytest

from evalharness.core.candidates import Prompt
from evalharness.core.cases import Case, Message
from evalharness.errors import SpecError
from evalharness.spec.prompts import VARIABLES, render_messages, template_problems
from evalharness.templates import TemplateProblem, fill

CASE = Case(
    id="a",
    input="{{ 7 * 7 }} {% raw %} <b>&",
    choices=("x", "y"),
    contexts=("one", "two"),
    tags={"lang": "en"},
)


def user(template: str, case: Case = CASE, task: str = "T") -> str:
    (message,) = render_messages(Prompt(user=template), case, task)
    assert message.role == "user"
    return message.content


def test_data_is_never_a_template() -> None:
    for template in ("{{ input }}", "{{input}}", "{{ input }}\n", "{{ input | trim }}"):
        assert user(template) == "{{ 7 * 7 }} {% raw %} <b>&"


def test_every_variable() -> None:
    template = "{{ id }}|{{ tags.lang }}|{{ choices | join('/') }}|{{ contexts[1] }}|{{ task }}|{{ messages | length }}"
    assert user(template) == "a|en|x/y|two|T|0"
    assert user("{% for c in choices %}{{ loop.index }}. {{ c }}\n{% endfor %}") == "1. x\n2. y\n"
    assert user("{{ tags | tojson }}") == '{"lang": "en"}'


def test_system_prompt() -> None:
    messages = render_messages(Prompt(system="Be kind, {{ task }}.\n", user="{{ input }}!"), CASE, "T")
    assert [m.role for m in messages] == ["system", "user"]
    assert messages[0].content == "Be kind, T."
    assert render_messages(Prompt(system="No templates.\n"), CASE, "T")[0].content == "No templates."


def test_chats_are_kept() -> None:
    chat = (Message("user", "hi"), Message("assistant", "{{ input }}"), Message("user", "again"))
    case = Case(id="m", messages=chat)
    assert render_messages(Prompt(user="{{ nothing }}"), case, "T") == chat
    with_system = render_messages(Prompt(system="Last said: {{ input }}"), case, "T")
    assert with_system == (Message("system", "Last said: again"), *chat)


@pytest.mark.parametrize(
    "template",
    [
        "{{ tags.absent }}",
        "{{ tags['absent'] }}",
        "{{ input['__class__'] }}",
        "{{ ''['__cl' ~ 'ass__'].mro() }}",
        "{{ input | attr('__class__') }}",
        "{{ tags.update({'a': 'b'}) }}",
        "{{ tags.clear() }}",
        "{{ 1 / 0 }}",
        "{{ choices[9] }}",
        "{{ input + 1 }}",
        "{{ 'x' * 100000000 }}",
        "{{ [0] * 100000000 }}",
        "{{ 10 ** 100000000 }}",
        "{{ range(1000000000) | list }}",
        "{{ '{0.__class__}'.format(input) }}",
        "{{ messages[0].content }}",
        "{{ cycler('a') }}",
    ],
)
def test_what_a_template_cannot_do_is_an_error_with_the_case(template: str) -> None:
    with pytest.raises(SpecError) as caught:
        user(template)
    assert "prompt.user cannot be filled for case 'a'" in str(caught.value)
    assert CASE.tags == {"lang": "en"}


def test_tags_that_a_case_may_have() -> None:
    assert user("{{ tags.absent | default('none') }}") == "none"


@pytest.mark.parametrize(
    ("template", "line", "message"),
    [
        ("a\n{{ x", 2, "unexpected end of template"),
        ("a\nb\n{{ targets }}", 3, "unknown variable 'targets'"),
        ("{% include 'x' %}", 1, "not available"),
        ("{% import 'x' as y %}", 1, "not available"),
        ("{% extends base %}", 1, "not available"),
        ("\n{{ input.__class__ }}", 2, "is private"),
        ("{{ input | nosuch }}", 1, "No filter named"),
    ],
)
def test_problems_seen_before_any_case(template: str, line: int, message: str) -> None:
    found = list(template_problems(template, VARIABLES))
    assert found[0][0] == line
    assert any(message in text for _, text, _ in found)


def test_right_templates_have_no_problems() -> None:
    for template in (
        "",
        "plain",
        "{{ input }}",
        "{% set n = 2 %}{{ n }}{% for i in range(2) %}{{ i }}{% endfor %}",
    ):
        assert list(template_problems(template, VARIABLES)) == []


def test_rendering_costs_microseconds() -> None:
    prompt = Prompt(system="You are {{ task }}.", user="Q: {{ input }}\nA:")
    render_messages(prompt, CASE, "T")
    start = time.process_time()
    for _ in range(5000):
        render_messages(prompt, CASE, "T")
    assert (time.process_time() - start) / 5000 < 100e-6  # about 15 µs on an idle core


def test_a_loop_that_would_fill_the_memory_is_given_up() -> None:
    endless = (
        "{% for i in range(99999) %}{% for j in range(99999) %}xxxxxxxxxxxxxxxxxxxx{% endfor %}{% endfor %}"
    )
    with pytest.raises(TemplateProblem, match="grows beyond"):
        fill(endless, {})
    assert fill("{% for i in range(3) %}{{ i }},{% endfor %}", {}) == "0,1,2,"
