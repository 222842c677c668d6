"""Candidate files."""

from __future__ import annotations

import pytest

from evalharness.core.candidates import Candidate
from evalharness.spec.load import load_candidate
from tests.spec.conftest import CANDIDATE, Failing, Project

OPENAI = "name: c\nprovider: openai\nmodel: m-1\n"


def load(project: Project, text: str = CANDIDATE, name: str = "c.yaml") -> Candidate:
    return load_candidate(project.write(name, text), paths=project.paths, registry=project.registry)


def test_everything_a_candidate_can_say(project: Project) -> None:
    project.write("prompts/system.md", "Be kind.\r\nBe short.\n")
    candidate = load(
        project,
        """name: support bot 2
suite: suite.yaml
provider: openai
model: gpt-x-2026-01-01
base_url: http://127.0.0.1:8000/v1
api_key_env: MY_KEY
adapter: lora-1
prompt: {system: prompts/system.md, user: "Q: {{ input }}"}
decoding: {temperature: 0, max_tokens: 512, seed: 7, stop: "\\n"}
repeats: 3
limits: {concurrency: 64, requests_per_minute: 3000, timeout_s: 60, max_retries: 2, max_cost_usd: 1.5}
price: {input_per_million: 0.5, output_per_million: 2}
extra_body: {reasoning: {effort: low}}
""",
    )
    assert (candidate.name, candidate.model, candidate.repeats) == ("support bot 2", "gpt-x-2026-01-01", 3)
    assert candidate.prompt.system == "Be kind.\nBe short.\n"
    assert candidate.prompt.user == "Q: {{ input }}"
    assert candidate.decoding == {"temperature": 0, "max_tokens": 512, "seed": 7, "stop": ["\n"]}
    assert candidate.options == {
        "base_url": "http://127.0.0.1:8000/v1",
        "adapter": "lora-1",
        "extra_body": {"reasoning": {"effort": "low"}},
    }
    assert candidate.api_key_env == "MY_KEY"
    assert (candidate.limits.concurrency, candidate.limits.max_cost_usd) == (64, 1.5)
    assert candidate.price is not None
    assert candidate.price.output_per_million == 2
    assert candidate.suite_path == str(project.root / "suite.yaml")
    assert candidate.path == "c.yaml"


def test_defaults(project: Project) -> None:
    candidate = load(project, OPENAI)
    assert (candidate.prompt.system, candidate.prompt.user) == (None, "{{ input }}")
    assert (candidate.suite_path, candidate.repeats, candidate.price) == (None, None, None)
    assert candidate.limits.concurrency == 16


def test_replay_takes_an_absolute_outputs_path(project: Project) -> None:
    assert load(project).options == {"outputs": str(project.root / "out.jsonl")}


def test_digest_covers_what_shapes_outputs(project: Project) -> None:
    base = load(project, OPENAI).digest
    same = "name: other\nlimits: {concurrency: 2}\napi_key_env: K\n"
    same += "price: {input_per_million: 1, output_per_million: 1}\n"
    assert load(project, same + OPENAI.removeprefix("name: c\n")).digest == base
    for change in (
        "decoding: {temperature: 0}\n",
        "decoding: {temperature: 0.5}\n",
        "base_url: http://localhost:1/v1\n",
        "adapter: a\n",
        "prompt: {system: hi}\n",
        "prompt: {user: '{{ task }} {{ input }}'}\n",
    ):
        assert load(project, OPENAI + change).digest != base, change


def test_digest_follows_the_content_of_outputs_not_their_place(project: Project) -> None:
    first = load(project).digest
    project.write("elsewhere/copy.jsonl", (project.root / "out.jsonl").read_bytes())
    assert load(project, CANDIDATE.replace("./out.jsonl", "elsewhere/copy.jsonl")).digest == first
    project.write("out.jsonl", '{"id": "a", "output": "z"}\n')
    assert load(project).digest != first


def test_digest_follows_the_content_of_a_local_model(project: Project) -> None:
    text = "name: c\nprovider: transformers\nmodel: ./m\nadapter: ./lora\n"
    project.write("m/config.json", "{}")
    project.write("m/weights.bin", b"\0" * 1000)
    project.write("lora/a.bin", "1")
    first = load(project, text)
    assert first.options["model_path"] == str(project.root / "m")
    assert first.options["adapter"] == str(project.root / "lora")
    project.write("m/weights.bin", b"\1" * 1000)
    second = load(project, text)
    project.write("lora/a.bin", "2")
    assert len({first.digest, second.digest, load(project, text).digest}) == 3


def test_a_hub_id_is_not_a_path(project: Project) -> None:
    candidate = load(project, "name: c\nprovider: transformers\nmodel: org/model\nrevision: abc\n")
    assert candidate.model == "org/model"
    assert candidate.options == {"revision": "abc"}


def test_weights_that_differ_in_one_byte_are_another_model(project: Project) -> None:
    from evalharness.content import content_digest

    data = bytearray(1 << 18)
    project.write("m/w.safetensors", bytes(data))
    first = content_digest(project.root / "m")
    data[12_345] = 1
    project.write("m/w.safetensors", bytes(data))
    assert content_digest(project.root / "m") != first


def test_every_problem_at_once_with_lines(project: Project, failing: Failing) -> None:
    text = """name: c
suite: ./siute.yaml
provider: replay
outputs: ./out.jsonl
modle: no
decoding: {temperature: "0", max_tokens: 1.5}
prompt:
  user: |
    {{ input }}
    {{ inptu }}
limits: {concurrency: 0}
"""
    problems = failing(lambda: load(project, text))
    assert [str(p) for p in problems] == [
        "c.yaml:2: './siute.yaml' does not exist; did you mean ./suite.yaml?",
        "c.yaml:5: unknown key 'modle'; did you mean model?",
        "c.yaml:6: decoding.temperature must be a number, not '0'; remove the quotes",
        "c.yaml:6: decoding.max_tokens must be a whole number, not 1.5",
        "c.yaml:10: template: unknown variable 'inptu'; did you mean input?",
        "c.yaml:11: limits.concurrency should be greater than or equal to 1, not 0; Calls in flight at once",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("provider: openai\nmodel: m\n", "c.yaml:1: the key 'name' is missing"),
        ("name: c\nmodel: m\n", "the key 'provider' is missing"),
        ("name: c\nprovider: opnai\nmodel: m\n", "c.yaml:2: unknown provider 'opnai'; did you mean openai?"),
        ("name: c\nprovider: openai\n", "provider 'openai' needs the key 'model'"),
        ("name: c\nprovider: replay\n", "provider 'replay' needs the key 'outputs'"),
        ("name: c\nprovider: python\n", "provider 'python' needs the key 'target'"),
        (
            OPENAI + "outputs: ./out.jsonl\n",
            "c.yaml:4: provider 'openai' does not use 'outputs'; it belongs to replay",
        ),
        (OPENAI + "target: a:b\n", "it belongs to python"),
        (OPENAI + "dtype: auto\n", "it belongs to transformers"),
        (CANDIDATE + "base_url: http://x/v1\n", "provider 'replay' does not use 'base_url'"),
        ("name: c\nprovider: python\ntarget: not a callable\n", "write package.module:function"),
        (OPENAI + "base_url: ftp://x\n", "is not an http(s) URL"),
        (OPENAI + "base_url: http://user:pw@x/v1\n", "must not carry a user name or password"),
        (OPENAI + "base_url: 'http://[::1'\n", "write http://host:port/v1"),
        (
            "name: no\nprovider: openai\nmodel: m\n",
            'name must be text, not false; YAML reads no as false; write "no" in',
        ),
        (
            "name: c\nprovider: openai\nmodel: 4.0\n",
            'c.yaml:3: model must be text, not 4.0; write "4.0" in quotes',
        ),
        ("name: c\nprovider: openai\nmodel:\n", "provider 'openai' needs the key 'model'"),
        ("name: ''\nprovider: openai\nmodel: m\n", "name: the text is empty"),
        (
            'name: "a\\u001b[31m"\nprovider: openai\nmodel: m\n',
            "name: the text holds line breaks or control characters",
        ),
        (OPENAI + "prompt: hello\n", "prompt must be a mapping"),
        (OPENAI + "prompt: {system: ./gone.md}\n", "c.yaml:4: './gone.md' does not exist"),
        (OPENAI + "prompt: {system: ../out.md}\n", "leads out of the working directory"),
        (OPENAI + "prompt: {user: '{{ input'}\n", "c.yaml:4: template: unexpected end of template"),
        (OPENAI + "prompt: {user: '{% include \"x\" %}'}\n", "include, import and extends are not available"),
        (OPENAI + "prompt: {user: '{{ input.__class__ }}'}\n", "the attribute '__class__' is private"),
        (OPENAI + "prompt: {user: '{{ input | random }}'}\n", "No filter named 'random'"),
        (OPENAI + "decoding: {stop: []}\n", "stop is a text or a list of texts"),
        (OPENAI + "decoding: {temprature: 1}\n", "did you mean temperature?"),
        (OPENAI + "decoding: {temperature: .inf}\n", ".inf is not a number"),
        (OPENAI + "repeats: true\n", "repeats must be a whole number, not true"),
        (OPENAI + "repeats: 0\n", "greater than or equal to 1"),
        (OPENAI + "limits: {max_cost_usd: 5}\n", "limits.max_cost_usd needs `price`"),
        (OPENAI + "api: chats\n", "'chats' is not one of chat, completions; did you mean chat?"),
        (CANDIDATE.replace("./out.jsonl", "./set"), "is not a file; a JSONL file is needed"),
        ("name: c\nprovider: transformers\nmodel: a/b/c\n", "c.yaml:3: 'a/b/c' does not exist"),
        (CANDIDATE.replace("./out.jsonl", "./ot.jsonl"), "did you mean ./out.jsonl?"),
    ],
)
def test_refused(project: Project, failing: Failing, text: str, message: str) -> None:
    problems = failing(lambda: load(project, text))
    assert any(message in str(problem) for problem in problems), [str(p) for p in problems]


KEY = "sk-proj-abcdefghijklmnopqrstuv4wx"


@pytest.mark.parametrize(
    "text",
    [
        OPENAI + f"api_key_env: {KEY}\n",
        OPENAI + f"api_key: {KEY}\n",
        OPENAI + f"extra_body: {{headers: {{auth: 'Bearer {KEY}'}}}}\n",
        OPENAI + f"base_url: http://x/v1?key={KEY}\n",
        OPENAI + f"prompt: {{system: 'use {KEY}'}}\n",
        OPENAI + f"decoding: {{stop: [{KEY}]}}\n",
        OPENAI + f"dtype: {KEY}\n",
        "name: c\nprovider: openai\nmodel: hf_abcdefghijklmnopqrstuvwx\n",
    ],
)
def test_a_literal_key_is_refused_and_not_repeated(project: Project, failing: Failing, text: str) -> None:
    shown = "\n".join(str(problem) for problem in failing(lambda: load(project, text)))
    assert "holds what looks like an API key" in shown
    assert "api_key_env" in shown
    assert "abcdefghijklmnop" not in shown


def test_api_key_is_answered_with_api_key_env(project: Project, failing: Failing) -> None:
    (problem,) = failing(lambda: load(project, OPENAI + "api_key: secret\n"))
    assert "keys do not belong in files; name the variable in api_key_env" in str(problem)


def test_prompt_files_are_checked_with_their_own_lines(project: Project, failing: Failing) -> None:
    project.write("p/user.j2", "Hello\n{{ nme }}\n{% if %}\n")
    (problem,) = failing(lambda: load(project, OPENAI + "prompt: {user: p/user.j2}\n"))
    assert str(problem).startswith("p/user.j2:3: template: ")


def test_text_that_only_looks_a_little_like_a_path_is_text(project: Project) -> None:
    assert load(project, OPENAI + "prompt: {system: 'Read notes.md'}\n").prompt.system == "Read notes.md"


def test_words_that_only_start_like_a_key_are_fine(project: Project) -> None:
    assert load(project, OPENAI.replace("name: c", "name: sk-learn-based-classifier, risk-adjusted"))


def test_a_suite_given_as_a_candidate_is_called_that_and_nothing_else(
    project: Project, failing: Failing
) -> None:
    (problem,) = failing(lambda: load(project, "name: s\nevals: []\ngate: {max_drop: 2pp}\n", "suite.yaml"))
    assert str(problem).startswith("suite.yaml: is a suite, not a candidate; give a candidate file")
