"""Canaries in every text that a report is made of: none may stand in anything that is shown or written for readers."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalharness.core.attempts import Response
from evalharness.core.scores import Scored
from evalharness.core.suites import Redaction
from evalharness.redaction import Arrival, Redactor, secret_values
from tests.e2e.conftest import Project
from tests.e2e.judged import Bench, of
from tests.servers.fixture import ModelServerHandle

KEYS = {
    "openai": "sk-proj-abcdefghij0123456789ABCDEFGH",
    "github": "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "fine grained": "github_pat_11ABCDEFG0123456789_abcdefghijklmnop",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "google": "AIzaSyA0123456789abcdefghijklmnopqrstuv",
    "slack": "xoxb-123456789012-abcdefghijkl",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "bearer": "Bearer abcdefghijklmnop0123456789",
    "pem": "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabc=\n-----END RSA PRIVATE KEY-----",
}
BY_VALUE = "hunter2-correct-horse"
ORDER = "ORD-123456"
EMAIL = "jane.doe@example.com"
PHONE = "+44 20 7946 0958"


def test_words_that_a_verdict_is_told_by_are_nobodys(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.binary(60, 30, 0)
    more = "gate: {max_drop: 2pp}\nredact: {patterns: ['regression|higher|[a-z]{10}']}\n"
    project.write("suite.yaml", (tmp_path / "suite.yaml").read_text() + more)
    project.run("compare", "base.yaml", "cand.yaml", "--out", "gate", check=1)
    found = json.loads((tmp_path / "gate/comparison.json").read_text())
    (metric,) = found["metrics"]
    assert (found["verdict"], metric["status"], metric["direction"]) == ("regression", "regression", "higher")
    assert "<failure" in (tmp_path / "gate/junit.xml").read_text()


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS.keys())
def test_a_key_is_taken_out_by_its_form(key: str) -> None:
    found = Redactor(Redaction()).text(f"before {key} after")
    assert found == "before [key] after"


def test_ordinary_texts_stay_as_they_are() -> None:
    text = "ask-me-anything sk-8 AKIA bearer of news, 2026-11-21, a@b, 1-2-3, sha256:" + "ab12" * 16
    assert Redactor(Redaction(kinds=("email", "phone", "card", "iban", "ssn"))).text(text) == text


def test_values_of_the_environment_are_known_by_their_names() -> None:
    environ = {"A_KEY": "longvalue-1", "MY_TOKEN": "short", "PATH": "/usr/bin:/bin", "PLAIN": "named-value"}
    environ["DB_PASSWORD"] = "p4ssw0rd!"
    assert secret_values(environ, ["PLAIN"]) == ("longvalue-1", "named-value", "p4ssw0rd!")


def test_nothing_of_a_structure_is_copied_that_does_not_change() -> None:
    value = {"a": ("x", [1, 2.5, None]), "b": "y"}
    assert Redactor(Redaction()).all(value) is value


def test_no_canary_reaches_an_artefact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_SECRET", BY_VALUE)
    project = Project(tmp_path)
    said = " ".join([*KEYS.values(), BY_VALUE, ORDER, EMAIL, PHONE])
    tags = {"who": EMAIL}
    cases = [
        {
            "id": f"q{i} {EMAIL}",
            "input": f"question {i} {said}",
            "target": f"a {said}",
            "tags": tags,
            "critical": i == 0,
        }
        for i in range(20)
    ]
    project.golden_set("questions", cases)
    project.suite(gate="{max_drop: 2pp}")
    project.write(
        "suite.yaml",
        (tmp_path / "suite.yaml").read_text()
        + 'redact: {emails: true, phones: true, patterns: ["ORD-[0-9]{6}"]}\n',
    )
    project.candidate("base", [{"id": case["id"], "output": case["target"]} for case in cases])
    rows = [{"id": case["id"], "output": f"wrong {said}"} for case in cases[:-1]]
    project.candidate("cand", [*rows, {"id": cases[-1]["id"], "error": f"failed with {said}"}])
    done = project.run("compare", "base.yaml", "cand.yaml", "--out", "out")
    again = project.run("report", "out")
    as_json = project.run("compare", "base.yaml", "cand.yaml", "--out", "out", "--json")
    shown = [done.out, done.err, again.out, again.err, as_json.out, as_json.err]
    shown += [path.read_text() for path in (tmp_path / "out").iterdir()]
    assert (
        len(shown) > 9 and any("[key]" in text for text in shown) and any("[email]" in text for text in shown)
    )
    for canary in [*KEYS.values(), BY_VALUE, ORDER, EMAIL, PHONE]:
        for text in shown:
            assert canary not in text
            assert json.dumps(canary)[1:-1] not in text
    for part in ("MIIEpAIBAAKCAQEA", "dozjgNryP4J3jVmNHl0w5N"):
        assert not any(part in text for text in shown)


def test_errors_and_notes_are_told_without_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_SECRET", BY_VALUE)
    project = Project(tmp_path)
    project.golden_set("questions", [{"id": f"q{i}", "input": "a", "target": "b"} for i in range(3)])
    project.suite()
    project.write("own.py", f"def answer(request):\n    raise ValueError('{KEYS['openai']} {BY_VALUE}')\n")
    project.write("base.yaml", "name: base\nsuite: ./suite.yaml\nprovider: python\ntarget: own:answer\n")
    done = project.run("run", "base.yaml")
    assert done.code == 5 and "ValueError: [key] [key]" in done.err
    done = project.run("run", f"{BY_VALUE}.yaml", check=2)
    assert "[key]" in done.err and BY_VALUE not in done.err


def test_a_golden_set_is_checked_without_showing_a_key(tmp_path: Path) -> None:
    project = Project(tmp_path)
    rows = [{"id": f"q{i} {KEYS['github']}", "input": "the same question", "target": "t"} for i in range(12)]
    project.golden_set("questions", rows)
    for options in ([], ["--json"]):
        done = project.run("golden", "check", "questions", *options)
        assert "q0 [key]" in done.out and KEYS["github"] not in done.out + done.err


def test_a_pattern_that_fits_everything_or_is_none_is_refused_with_its_line(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.golden_set("questions", [{"id": "q", "input": "a", "target": "b"}])
    project.suite()
    text = (tmp_path / "suite.yaml").read_text()
    project.write("suite.yaml", text + 'redact: {patterns: ["x*", "(?=a)b"]}\n')
    err = project.run("validate", "suite.yaml", check=2).err
    assert (
        "suite.yaml:6: " in err and "'x*' also fits nothing at all" in err and "is no RE2 expression" in err
    )


def test_judgments_find_their_cases_again_whatever_their_ids_look_like(
    project: Project, model_server: ModelServerHandle
) -> None:
    bench = Bench(project, model_server)
    ids = [f"{name}{i}@example.com" for i, name in enumerate(["ann", "bob", "eve"] * 8)]
    project.golden_set("questions", [{"id": case, "input": f"question to {case}"} for case in ids])
    bench.judge()
    bench.suite(more="redact: {emails: true}\n")
    for side, quality in (("base", 0.5), ("cand", 0.9)):
        rows = [{"id": case, "output": f"{of(quality, side, i)} says {case}"} for i, case in enumerate(ids)]
        project.candidate(side, rows)
    bench.calibrate()
    bench.compare(check=0)
    (folder,) = {path.parent for path in project.root.rglob("judgments.jsonl")}
    first = (folder / "comparison.json").read_bytes()
    project.run("report", str(folder.relative_to(project.root)), check=0)
    assert (folder / "comparison.json").read_bytes() == first
    assert b"@example.com" not in first


# --- what a text may hide -----------------------------------------------------------------------------------------

EVERYTHING = Redaction(kinds=("email", "phone", "card", "iban", "ssn"), patterns=("[a-z]+x", "ORD-[0-9]{6}"))
SECRETS = (BY_VALUE, 'p@ss/w"rd-99')


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("cut hunter2-correct-h", "cut [key]"),
        ("cut hunter2-corre… and on", "cut [key]… and on"),
        ("hunter2 is no key", "hunter2 is no key"),
        ("?u=p%40ss%2Fw%22rd-99&v", "?u=[key]&v"),
        (json.dumps({"k": SECRETS[1]}), '{"k": "[key]"}'),
        ("http://user:pass@host:8000/v1", "http://[key]@host:8000/v1"),
        (same := "https://mail.org/a:b@c", same),
        ("Authorization: Basic dXNlcjpwYXNzd29yZA==", "[key]"),
        ('{"k": "-----BEGIN PRIVATE KEY-----\\nMIIE\\n", "v": 1}', '{"k": "[key]", "v": 1}'),
        ("sk-abcd\u200befgh\u2060ijkl\u00admnop", "[key]"),
        ("555\u2011123\u20114567 or +44\u00a020\u202f7946 0958", "[phone] or [phone]"),
        ("jane\uff20mail.org", "[email]"),
        ("half an emoji \ud83d jane@mail.org", "half an emoji \ud83d [email]"),
        ("DE89370400440532013000sk-abcdefghijklmnop", "[iban][key]"),
        ("ORD-123456@mail.org", "[redacted]"),
        ("[redacted] and [email] stay, foox goes", "[redacted] and [email] stay, [redacted] goes"),
        (same := "order 100-200-300, 2026-11-21, v1.2.3, 3.14159265358979", same),
        (same := "case 4111 1111 1111 1112 is no card, ORD-12345 no order", same),
    ],
)  # fmt: skip
def test_what_is_cut_glued_quoted_or_set_with_unseen_characters_is_found(text: str, left: str) -> None:
    redactor = Redactor(EVERYTHING, SECRETS)
    assert redactor.text(text) == left
    assert redactor.text(left) == left


PIECES = [
    *(*KEYS.values(), *SECRETS, ORDER, EMAIL, PHONE, "4111 1111 1111 1111"),
    *("[email]", "[", "]", "x", "\u200b", " ", "é"),
]


@given(st.lists(st.sampled_from(PIECES), max_size=8), st.integers(0, 40), st.integers(0, 40))
@settings(max_examples=150, deadline=None)
def test_taking_out_twice_changes_nothing_more(pieces: list[str], first: int, last: int) -> None:
    redactor = Redactor(EVERYTHING, SECRETS)
    text = "".join(pieces)
    once = redactor.text(text[first : len(text) - last] if first else text)
    assert redactor.text(once) == once


def test_a_pattern_that_would_never_end_takes_all() -> None:
    redactor = Redactor(Redaction(patterns=(r"\]y",)))
    assert redactor.text("[key]" + "y" * 1000) == "[redacted]"


def test_marks_that_stand_there_already_cost_linear_time() -> None:
    text = "[email] j@ex.com " * 12_000
    started = time.process_time()
    assert Redactor(Redaction(kinds=("email",))).text(text) == "[email] [email] " * 12_000
    assert time.process_time() - started < 1


def test_a_pattern_that_fits_between_characters_takes_nothing_out_there() -> None:
    redactor = Redactor(Redaction(patterns=(r"\b[A-Z]*\b",)))
    assert redactor.text("the code is ABC now") == "the code is [redacted] now"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('{"why": "jane\\u0040mail.org", "card": 4111111111111111}', '{"why": "[email]", "card": "[card]"}'),
        ('So:\n```json\n{"why": "jane\\u0040mail.org"}\n```', 'So:\n```json\n{"why": "[email]"}\n```'),
        ('{"a":  "no more than \\u0041"}', '{"a":  "no more than \\u0041"}'),
        ("{not json} jane@mail.org", "{not json} [email]"),
        (
            '{"jane@mail.org": 1, "[email] 2": 2, "joe@mail.org": {"a@b.org": 3}}',
            '{"[email]": 1, "[email] 2": 2, "[email] 3": {"[email]": 3}}',
        ),
    ],
)
def test_json_stays_json_and_its_escapes_are_read(text: str, left: str) -> None:
    arrive = Arrival(Redaction(kinds=("email", "card"), stored=True))
    assert arrive.response(Response(text=text)).text == left
    assert arrive.response(Response(text=left)).text == left


def test_statistics_whose_names_become_one_are_added_up() -> None:
    score = Scored(0.5, {"tp:a@mail.org": 1.0, "tp:b@mail.org": 2.0, "n": 3.0}, {"want": "a@mail.org"})
    arrive = Arrival(Redaction(kinds=("email",), stored=True))
    assert arrive.score(score) == Scored(0.5, {"tp:[email]": 3.0, "n": 3.0}, {"want": "[email]"})
    assert Arrival(Redaction(kinds=("email",))).score(score) is score
