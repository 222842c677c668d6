"""Golden sets: reading cases.jsonl and the card, every kind of damage, the lock, the checks."""

from __future__ import annotations

import time
from datetime import date
from typing import Any

import numpy as np
import pytest

from evalharness.core.cases import GoldenSet, Message
from evalharness.errors import SpecError, StoreError
from evalharness.spec.golden import Finding, check_golden_set, lock_golden_set
from evalharness.spec.load import load_golden_set
from evalharness.spec.near import near_duplicates
from tests.spec.conftest import CARD, Failing, Project

FULL = {
    "id": "a",
    "input": "Where is my parcel?",
    "target": ["late", "delayed"],
    "choices": ["late", "delayed", "lost"],
    "contexts": ["rule 1"],
    "relevant": {"d1": 2, "d2": 0.5},
    "cluster": "k",
    "tags": {"channel": "mail"},
    "critical": True,
    "human": {"label": "ok"},
}


def load(project: Project, name: str = "set") -> GoldenSet:
    return load_golden_set(project.root / name, paths=project.paths)


def test_every_field_of_a_case(project: Project) -> None:
    chat = {"id": "b", "messages": [{"role": "user", "content": "hi"}], "target": {"total": 3}}
    project.cases([FULL, chat, {"id": "c", "input": "", "target": 4}])
    golden = load(project)
    first, second, third = golden.cases
    assert first.targets == ("late", "delayed")
    assert (first.choices, first.contexts) == (("late", "delayed", "lost"), ("rule 1",))
    assert (first.relevant, first.cluster, first.tags) == ({"d1": 2, "d2": 0.5}, "k", {"channel": "mail"})
    assert (first.critical, first.human, first.line) == (True, {"label": "ok"}, 1)
    assert (second.messages, second.input, second.targets) == (
        (Message("user", "hi"),),
        None,
        ({"total": 3},),
    )
    assert (third.targets, third.critical, third.line) == ((4,), False, 3)
    assert (golden.card.name, golden.card.version, golden.card.reviewed) == ("set", "1", {"by": "nobody"})


def test_the_folder_the_card_and_the_cases_all_name_the_set(project: Project) -> None:
    digests = {
        load_golden_set(project.root / "set" / name, paths=project.paths).digest
        for name in ("", "card.yaml", "cases.jsonl")
    }
    assert len(digests) == 1


def lines(project: Project, *rows: bytes) -> None:
    project.write("set/cases.jsonl", b"".join(rows))


GOOD = b'{"id":"a","input":"x","target":"y"}\n'


@pytest.mark.parametrize(
    ("rows", "line", "message"),
    [
        (
            [GOOD, b'{"id":"b","inp'],
            2,
            "the line ends in the middle of a JSON value; the file looks truncated",
        ),
        ([GOOD, b'{"id":"b","input":"x"'], 2, "the file looks truncated"),
        ([GOOD, b'{"id":"b","input":"x\n', GOOD], 2, "one object has to be on one line"),
        ([GOOD, b'{"id":"b","input":"x\x00y"}\n'], 2, "holds a NUL byte"),
        ([GOOD, b'{"id":"b","input":"caf\xe9"}\n'], 2, "is not valid UTF-8 (byte 0xe9)"),
        ([GOOD, b"[1, 2]\n"], 2, "a case must be a JSON object, not a list"),
        ([GOOD, b'"text"\n'], 2, "not text"),
        ([GOOD, b"not json\n"], 2, "is not JSON"),
        ([GOOD, b'{"id":"b","input":"x"} trailing\n'], 2, "is not JSON: Extra data"),
        ([b'{"id":"b","input":"x","human":{"v":NaN}}\n'], 1, "NaN is not JSON"),
        ([b'{"id":"b","input":"x","target":Infinity}\n'], 1, "Infinity is not JSON"),
        ([b'{"id":"b","input":"x","target":1e999}\n'], 1, "holds a number that is too large"),
        (
            [b'{"id":"b","input":"x","target":' + b"9" * 5000 + b"}\n"],
            1,
            "a whole number of thousands of digits",
        ),
        ([b'{"id":"b","input":"x","target":"\\ud800"}\n'], 1, "half a character"),
        ([b'{"id":"b","input":"x","human":' + b'{"a":' * 100_000 + b"}\n"], 1, "is nested too deeply"),
        ([b'{"id":"b","input":"x","input":"y"}\n'], 1, "the key 'input' stands twice"),
        ([GOOD, b'{"input":"x"}\n'], 2, "the key 'id' is missing"),
        ([b'{"id":7,"input":"x"}\n'], 1, 'id must be text, not a number; write "7" in quotes'),
        ([b'{"id":"","input":"x"}\n'], 1, "id '' is empty"),
        ([b'{"id":"a\\nb","input":"x"}\n'], 1, "control characters"),
        ([b'{"id":" a","input":"x"}\n'], 1, "padded with spaces"),
        ([GOOD, b"\n", b'{"id":"a","input":"z"}\n'], 3, "the id 'a' is already on line 1"),
        ([b'{"id":"b"}\n'], 1, "has neither input nor messages"),
        (
            [b'{"id":"b","input":"x","messages":[{"role":"user","content":"x"}]}\n'],
            1,
            "has both input and messages",
        ),
        ([b'{"id":"b","input":["x"]}\n'], 1, "input must be text, not a list"),
        ([b'{"id":"b","messages":[]}\n'], 1, "messages must be a list"),
        ([b'{"id":"b","messages":[{"role":"bot","content":"x"}]}\n'], 1, "messages must be a list"),
        ([b'{"id":"b","input":"x","traget":"y"}\n'], 1, "unknown key 'traget'; did you mean target?"),
        ([b'{"id":"b","input":"x","target":null}\n'], 1, "target is null; leave the key out"),
        ([b'{"id":"b","input":"x","target":[]}\n'], 1, "target holds no answer"),
        ([b'{"id":"b","input":"x","target":["y",null]}\n'], 1, "target holds no answer or null"),
        ([b'{"id":"b","input":"x","choices":"y"}\n'], 1, "choices must be a list of texts"),
        ([b'{"id":"b","input":"x","choices":[]}\n'], 1, "choices is empty"),
        ([b'{"id":"b","input":"x","choices":["y","y"]}\n'], 1, "names one twice"),
        ([b'{"id":"b","input":"x","contexts":[1]}\n'], 1, "contexts must be a list of texts"),
        ([b'{"id":"b","input":"x","tags":["mail"]}\n'], 1, "tags must be an object of texts"),
        ([b'{"id":"b","input":"x","tags":{"year":2024}}\n'], 1, "the tag 'year' must be text, not a number"),
        ([b'{"id":"b","input":"x","relevant":{"d":-1}}\n'], 1, "relevant must be"),
        ([b'{"id":"b","input":"x","relevant":{"d":true}}\n'], 1, "relevant must be"),
        ([b'{"id":"b","input":"x","human":1}\n'], 1, "human must be an object"),
        ([b'{"id":"b","input":"x","cluster":3}\n'], 1, "cluster must be a text"),
        ([b'{"id":"b","input":"x","critical":"no"}\n'], 1, "critical must be true or false, not text"),
        ([b"\n \n"], 1, "holds no cases"),
        ([b""], 1, "holds no cases"),
        (["{}\n".encode("utf-16")], 1, "is not valid UTF-8"),
    ],
)
def test_damage_has_its_line(
    project: Project, failing: Failing, rows: list[bytes], line: int, message: str
) -> None:
    lines(project, *rows)
    problem = failing(lambda: load(project))[0]
    assert problem.file == "set/cases.jsonl"
    assert problem.line == line
    assert message in str(problem)


def test_all_lines_are_reported_up_to_a_limit(project: Project, failing: Failing) -> None:
    project.cases([{"id": f"c{i}"} for i in range(500)])
    problems = failing(lambda: load(project))
    assert len(problems) == 51
    assert "450 more" in str(problems[-1]) + str(problems[0])


def test_bom_crlf_and_blank_lines_do_not_matter(project: Project) -> None:
    lines(project, GOOD, b'{"id": "b", "input": "\xc3\xa9"}\n')
    plain = load(project).digest
    lines(project, b"\xef\xbb\xbf", GOOD.replace(b"\n", b"\r\n"), b"\r\n", b'{"input":"\\u00e9","id":"b"}')
    assert load(project).digest == plain


def test_order_and_every_field_matter(project: Project) -> None:
    rows: list[Any] = [FULL, {"id": "b", "input": "x"}]
    digests = set()
    for change in ({}, {"critical": False}, {"human": {}}, {"tags": {}}, {"target": "late"}):
        project.cases([FULL | change, rows[1]])
        digests.add(load(project).digest)
    project.cases(rows[::-1])
    assert len(digests | {load(project).digest}) == 6


def test_a_line_of_ten_megabytes(project: Project) -> None:
    project.cases([{"id": "big", "input": "x" * 10_000_000}, {"id": "b", "input": "y"}])
    assert len(load(project).cases[0].input or "") == 10_000_000


def test_100_000_cases_are_read_quickly(project: Project) -> None:
    project.cases(
        [
            {"id": f"c{i}", "input": f"question {i} about a parcel", "target": "x", "tags": {"k": "v"}}
            for i in range(100_000)
        ]
    )
    start = time.process_time()
    assert len(load(project).cases) == 100_000
    assert time.process_time() - start < 5  # 1.2 s on an idle core; the margin is for a busy one


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (
            "name: set\nversion: 1.0\ntask: t\n",
            'set/card.yaml:2: version must be text, not 1.0; write "1.0" in quotes',
        ),
        ("name: set\ntask: t\n", "the key 'version' is missing"),
        (CARD + "license: MIT\n", "unknown key 'license'"),
        (CARD + "created: 2026-1-1\n", "is not a date; write it as 2026-01-31"),
        (CARD.replace("{by: nobody}", "{by: no}"), 'write "no" in quotes'),
        (CARD.replace("name: set", "name: a/b"), "is not a name"),
    ],
)
def test_cards(project: Project, failing: Failing, card: str, message: str) -> None:
    project.write("set/card.yaml", card)
    assert any(message in str(problem) for problem in failing(lambda: load(project)))


def test_missing_files(project: Project, failing: Failing) -> None:
    (project.root / "set" / "card.yaml").unlink()
    assert "set: has no card.yaml" in str(failing(lambda: load(project))[0])
    (project.root / "empty").mkdir()
    assert "a golden set is a folder with card.yaml and cases.jsonl" in str(
        failing(lambda: load(project, "empty"))[0]
    )


# --- the lock ----------------------------------------------------------------------------------------------------


def lock(project: Project) -> str:
    return lock_golden_set(project.root / "set", paths=project.paths)


def card_text(project: Project) -> str:
    return (project.root / "set" / "card.yaml").read_bytes().decode()


def test_lock_writes_two_lines_and_keeps_the_rest(project: Project) -> None:
    text = "# About\r\n" + CARD.replace("\n", "\r\n") + "cases_digest: # the lock\r\n# end"
    project.write("set/card.yaml", text)
    digest = lock(project)
    assert (
        card_text(project) == text.replace("digest: #", f"digest: {digest} #") + '\r\nlocked_version: "1"\r\n'
    )
    assert load(project).card.cases_digest == digest == load(project).digest
    before = card_text(project)
    assert lock(project) == digest
    assert card_text(project) == before


def test_lock_leaves_who_may_read_the_card_as_it_was(project: Project) -> None:
    card = project.root / "set" / "card.yaml"
    card.chmod(0o640)
    lock(project)
    assert card.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in card.parent.iterdir()) == ["card.yaml", "cases.jsonl"]


def test_changed_cases_under_a_lock_are_refused(project: Project, failing: Failing) -> None:
    lock(project)
    project.cases([{"id": "a", "input": "one", "target": "changed"}])
    (problem,) = failing(lambda: load(project))
    assert problem.message == "cases.jsonl changed under its lock"
    assert "bump `version` in set/card.yaml (line 2) and run: evalharness golden lock set" in str(
        problem.hint
    )


def test_changed_cases_cannot_be_locked_again_under_the_same_version(
    project: Project, failing: Failing
) -> None:
    first = lock(project)
    project.cases([{"id": "a", "input": "one", "target": "changed"}])
    before = card_text(project)
    (problem,) = failing(lambda: lock(project))
    assert "version is still '1'; bump `version`" in str(problem)
    assert card_text(project) == before
    project.write("set/card.yaml", before.replace('version: "1"\n', 'version: "2"\n', 1))
    (problem,) = failing(lambda: load(project))
    assert "version is now 2, and the lock still belongs to 1; run: evalharness golden lock set" in str(
        problem
    )
    assert lock(project) != first
    assert load(project).card.version == "2"


def test_a_version_may_change_alone(project: Project) -> None:
    digest = lock(project)
    project.write("set/card.yaml", card_text(project).replace('version: "1"\n', 'version: "2"\n', 1))
    assert load(project).digest == digest


def test_a_lock_that_cannot_be_written_by_line_leaves_the_card_alone(
    project: Project, failing: Failing
) -> None:
    text = '{name: set, version: "1", task: t}\n'
    project.write("set/card.yaml", text)
    with pytest.raises(SpecError):
        lock(project)
    assert card_text(project) == text


def test_a_card_that_cannot_be_written(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    before = card_text(project)
    with pytest.raises(StoreError, match="No space left"):
        lock(project)
    assert card_text(project) == before
    assert sorted(path.name for path in (project.root / "set").iterdir()) == ["card.yaml", "cases.jsonl"]


# --- golden check ------------------------------------------------------------------------------------------------


def numbered(count: int, **more: Any) -> list[dict[str, Any]]:
    words = ["alpha", "bravo", "carol", "delta", "echo", "fox", "golf", "hotel", "india", "july"]
    return [
        {
            "id": f"c{i}",
            "input": f"{words[i % 10]} {words[i // 10 % 10]} {words[i // 100]} {i}",
            "target": f"t{i % 5}",
            **more,
        }
        for i in range(count)
    ]


def check(project: Project, rows: list[dict[str, Any]], **options: Any) -> list[Finding]:
    project.cases(rows)
    return check_golden_set(project.root / "set", paths=project.paths, **options)


def codes(findings: list[Finding], level: str | None = None) -> set[str]:
    return {finding.code for finding in findings if level in (None, finding.level)}


def test_a_good_set_has_no_errors_or_warnings(project: Project) -> None:
    project.cases(numbered(200))
    lock(project)
    findings = check_golden_set(project.root / "set", paths=project.paths)
    assert [str(f) for f in findings if f.level != "info"] == []
    assert codes(findings) == {"critical"}


@pytest.mark.parametrize(("count", "level"), [(99, "error"), (100, "warning"), (199, "warning"), (200, None)])
def test_size(project: Project, count: int, level: str | None) -> None:
    found = [f.level for f in check(project, numbered(count)) if f.code == "size"]
    assert found == ([level] if level else [])


def test_a_small_set_may_be_allowed(project: Project) -> None:
    assert "size" in codes(check(project, numbered(10), allow_small=True), "warning")
    project.write("set/card.yaml", CARD + "allow_small: a first try\n")
    assert "size" in codes(check(project, numbered(10)), "warning")


def test_exact_duplicates_after_normalisation(project: Project) -> None:
    rows = numbered(200)
    rows[7] |= {"input": "Where is  my Parcel?", "target": "late"}
    rows[9] |= {"input": "where is my parcel", "target": "Late"}
    (finding,) = [f for f in check(project, rows) if f.code == "duplicate"]
    assert (finding.level, finding.ids, finding.line) == ("error", ("c7", "c9"), 8)
    assert "c7 (line 8), c9 (line 10)" in finding.message


def test_the_same_question_over_other_contexts_is_another_case(project: Project) -> None:
    rows = [
        row | {"input": "What does the rule say?", "contexts": [f"rule {i}"]}
        for i, row in enumerate(numbered(200))
    ]
    assert not codes(check(project, rows)) & {"duplicate", "ambiguous"}


def test_ambiguous_targets(project: Project) -> None:
    rows = numbered(200)
    rows[7] |= {"input": "same", "target": "late"}
    rows[9] |= {"input": "same", "target": "lost"}
    (finding,) = [f for f in check(project, rows) if f.code == "ambiguous"]
    assert (finding.level, finding.ids) == ("error", ("c7", "c9"))


def test_near_duplicates(project: Project) -> None:
    rows = numbered(200)
    text = "my order has not arrived after nine days and I would like to know where it is"
    rows[3]["input"], rows[5]["input"] = text, text + " now"
    (finding,) = [f for f in check(project, rows) if f.code == "near_duplicate"]
    assert (finding.level, finding.ids) == ("warning", ("c3", "c5"))
    rows[3]["cluster"] = rows[5]["cluster"] = "one"
    assert "near_duplicate" not in codes(check(project, rows))


def test_targets(project: Project) -> None:
    rows = numbered(200)
    rows[1]["target"] = "  "
    rows[2] |= {"target": "zebra", "choices": ["t1", "t2"]}
    rows[3]["target"] = "T3 "
    found = {
        f.code: f.ids for f in check(project, rows) if f.code in ("empty_target", "not_a_choice", "spelling")
    }
    assert found == {"empty_target": ("c1",), "not_a_choice": ("c2",), "spelling": ("c3",)}


def test_a_question_that_its_passage_does_not_answer_has_an_empty_target(project: Project) -> None:
    rows = numbered(200)
    rows[3] |= {"target": "", "contexts": ["About something else."]}
    (finding,) = [f for f in check(project, rows) if f.code in ("no_answer", "empty_target")]
    assert (finding.level, finding.code, finding.ids) == ("info", "no_answer", ("c3",))


def test_a_target_that_does_not_stand_where_it_says_is_an_error(project: Project) -> None:
    rows = numbered(200)
    text = "Ada Lovelace was born in London."
    city, shifted = {"text": "London", "start": 25, "end": 31}, {"text": "London", "start": 24, "end": 30}
    rows[1] |= {"input": text, "target": [{"type": "LOC", **city}]}
    rows[2] |= {"contexts": [text], "target": city}
    rows[3] |= {"contexts": [text], "target": {"text": ["Ada"], "answer_start": [0]}}
    rows[4] |= {"contexts": ["", text], "target": {**city, "context": 1}}
    assert "misplaced" not in codes(check(project, rows))
    rows[5] |= {"contexts": [text], "target": [[{"type": "LOC", **shifted}]]}
    (finding,) = [f for f in check(project, rows) if f.code == "misplaced"]
    assert (finding.level, finding.ids, finding.line) == ("error", ("c5",), 6)
    assert "c5 (line 6): 'London' at 24:30, where ' Londo' is; it stands at 25:31" in finding.message


def test_starts_and_ends_that_never_hold_their_text_may_be_something_else(project: Project) -> None:
    rows = numbered(200)
    for row in rows:
        row["target"] = {"text": f"spoken {row['id']}", "start": 3, "end": 9}
    (finding,) = [f for f in check(project, rows) if f.code == "misplaced"]
    assert finding.level == "warning"


def test_a_question_without_text_is_an_error(project: Project) -> None:
    rows = numbered(200)
    rows[4]["input"] = "  "
    del rows[6]["input"]
    rows[6]["messages"] = [{"role": "user", "content": " "}]
    (finding,) = [f for f in check(project, rows) if f.code == "empty_question"]
    assert (finding.level, finding.ids) == ("error", ("c4", "c6"))


def test_two_spellings_inside_one_case_are_its_accepted_answers(project: Project) -> None:
    rows = numbered(200)
    rows[1]["target"] = ["t1", "T1"]
    assert "spelling" not in codes(check(project, rows))


def test_slices_balance_clusters_and_critical(project: Project) -> None:
    rows = numbered(200, target="same")
    for index, row in enumerate(rows):
        row["tags"] = {"channel": "mail" if index < 191 else "fax"}
        row["cluster"] = f"k{index % 3}"
    rows[0]["critical"] = True
    found = {f.code: f for f in check(project, rows)}
    assert "the slice channel=fax has 9 cases" in found["slice"].message
    assert "100% of the cases have the target 'same'" in found["balance"].message
    assert found["clusters"].level == "warning"
    assert found["critical"].message == "1 of 200 cases marked critical"


def test_rotation_date_and_card_fields(project: Project) -> None:
    project.write("set/card.yaml", 'name: set\nversion: "1"\ntask: t\nrotate_after: 2026-06-30\n')
    early = check(project, numbered(200), today=date(2026, 6, 30))
    late = check(project, numbered(200), today=date(2026, 7, 1))
    assert "rotation" not in codes(early)
    assert "rotation" in codes(late, "warning")
    assert [f.message.split()[-1] for f in late if f.code == "card"] == [
        "`licence`",
        "`provenance`",
        "`reviewed`",
    ]
    assert "unlocked" in codes(late, "warning")


def test_check_reports_damage_and_a_broken_lock_instead_of_raising(project: Project) -> None:
    project.cases(numbered(200))
    lock(project)
    findings = check(project, numbered(201))
    assert findings[0].code == "file"
    assert "changed under its lock" in findings[0].message
    project.write("set/cases.jsonl", b'{"id": "a"}\n')
    assert "has neither input nor messages" in str(
        check_golden_set(project.root / "set", paths=project.paths)[0]
    )


# --- near duplicates ---------------------------------------------------------------------------------------------


def brute_force(texts: list[str], threshold: float) -> list[list[int]]:
    def shingles(text: str) -> set[tuple[str, ...]]:
        words = text.split()
        return {tuple(words[i : i + 3]) for i in range(len(words) - 2)} if len(words) > 2 else {tuple(words)}

    sets = [shingles(text) for text in texts]
    group = list(range(len(texts)))
    for i in range(len(texts)):
        for j in range(i):
            if len(sets[i] & sets[j]) / len(sets[i] | sets[j]) >= threshold - 1e-12:
                old, new = group[i], group[j]
                group = [new if g == old else g for g in group]
    found = [[i for i, g in enumerate(group) if g == label] for label in dict.fromkeys(group)]
    return [members for members in found if len(members) > 1]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.9, 1.0])
def test_near_duplicates_are_those_of_all_pairs(threshold: float) -> None:
    rng = np.random.default_rng(4)
    texts = []
    for _ in range(60):
        base = list(rng.choice(list("abcdefgh"), size=int(rng.integers(1, 14))))
        texts.append(" ".join(base))
        if rng.random() < 0.6:
            base[int(rng.integers(len(base)))] = "z"
            texts.append(" ".join(base))
    assert near_duplicates(texts, threshold) == brute_force(texts, threshold)


def test_twenty_thousand_texts_stay_fast() -> None:
    rng = np.random.default_rng(1)
    words = np.array([f"w{i}" for i in range(3000)])
    texts = [" ".join(rng.choice(words, size=20)) for _ in range(19_000)]
    texts += [text + " more" for text in texts[:500]] + ["one text over and over again"] * 500
    start = time.process_time()
    groups = near_duplicates(texts)
    assert time.process_time() - start < 15
    assert len(groups) == 501
