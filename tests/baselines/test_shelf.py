"""What stands under a name, who wins, and which answers belong to what was asked."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from evalharness.baselines import objects
from evalharness.baselines.asked import asked_bytes, asked_of, carried, read_asked
from evalharness.baselines.places import open_place
from evalharness.baselines.refs import Entry
from evalharness.baselines.shelf import Shelf, standing
from evalharness.core.cases import Card, Case, GoldenSet, Message
from evalharness.core.suites import EvalSpec, GatePolicy, Margin, Suite
from evalharness.errors import StoreError

RUN = {"id": "sha256:1", "name": "base", "candidate": {"digest": "sha256:2"}, "models_returned": []}


def shelf(tmp_path: Path, job: str) -> Shelf:
    """A job's view of one shared store, with a cache of its own."""
    return Shelf("store", tmp_path, tmp_path / job)


def staged(of: Shelf, tmp_path: Path, text: str) -> Entry:
    run = tmp_path / f"run-{text}"
    run.mkdir(exist_ok=True)
    (run / "manifest.json").write_text("{}")
    (run / "attempts.jsonl").write_text(text)
    object_id, _ = of.stage(run, b"{}")
    return Entry(
        name="main", number=0, action="bless", object=object_id, at="2026-01-01T00:00:00+00:00", by=text,
        run=RUN, suite={"name": "s", "digest": "sha256:3"},
    )  # fmt: skip


def test_whoever_read_before_the_other_wrote_loses_and_is_told_by_whom(tmp_path: Path) -> None:
    one, two = shelf(tmp_path, "one"), shelf(tmp_path, "two")
    before = one.current("main"), two.current("main")
    assert before == (None, None)
    entries = staged(one, tmp_path, "Ana"), staged(two, tmp_path, "Kim")
    won, made = one.bless(entries[0], before[0])
    assert made and won.number == 1
    with pytest.raises(StoreError, match=r"Ana blessed base .* at 2026-01-01T00:00:00"):
        two.bless(entries[1], before[1])
    assert two.current("main") == won and len(two.history("main")) == 1
    with pytest.raises(StoreError, match="changed meanwhile"):
        two.expire(replace(won, number=0), at=won.at, by="Kim", note="", commit=None, version="")
    assert two.bless(entries[1], two.current("main"))[0].number == 2


def test_two_jobs_that_bless_the_very_same_are_both_content(tmp_path: Path) -> None:
    one, two = shelf(tmp_path, "one"), shelf(tmp_path, "two")
    first = one.bless(staged(one, tmp_path, "same"), None)
    second = two.bless(replace(staged(two, tmp_path, "same"), by="another"), None)
    assert first[1] is True and second[1] is False and second[0] == first[0]


def test_content_comes_first_and_a_gap_in_the_numbers_is_no_harm(tmp_path: Path) -> None:
    one = shelf(tmp_path, "one")
    entry, _ = one.bless(staged(one, tmp_path, "a"), None)
    one.bless(staged(one, tmp_path, "b"), entry)
    (tmp_path / "store" / "refs" / "main" / "000001.json").unlink()
    assert [e.number for e in one.history("main")] == [2]
    assert one.fetch(one.history("main")[0]).joinpath("attempts.jsonl").read_text() == "b"


@pytest.mark.parametrize(
    ("action", "number", "expires", "state"),
    [
        ("bless", 2, None, "stands"), ("bless", 2, "2026-02-01", "stands"), ("bless", 2, "2026-01-31", "expired"),
        ("bless", 1, None, "superseded"), ("expire", 2, None, "expired"),
    ],
)  # fmt: skip
def test_what_stands_on_a_day(
    tmp_path: Path, action: Any, number: int, expires: str | None, state: str
) -> None:
    entry = Entry(
        name="main",
        number=number,
        action=action,
        object="",
        at="2026-01-01T00:00:00+00:00",
        by="",
        expires=expires,
    )
    assert standing(entry, replace(entry, number=2), date(2026, 2, 1)).state == state


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "a/../../evil", ".hidden", "a\\b", "c:evil", "a\nb", "object.json", ""]
)
def test_an_index_that_names_files_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    row = {"bytes": 2, "digest": "sha256:" + "0" * 64}
    files = {"manifest.json": row, name: row}
    object_id = objects._id_of(files)
    place = open_place("store", tmp_path)
    path = tmp_path / "store" / objects.path_of(object_id)
    path.mkdir(parents=True)
    (path / "object.json").write_text(json.dumps({"schema_version": 1, "files": files}))
    with pytest.raises(StoreError, match=r"object\.json is not what was blessed"):
        objects.fetch(place, object_id, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir()) and not (tmp_path / "evil").exists()


def test_what_lies_in_a_run_folder_beside_the_run_stays_there(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "logs").mkdir(parents=True)
    for name in ("manifest.json", "attempts.jsonl", "logs/tool.eval", "journal.jsonl", ".lock"):
        (run / name).write_text(name)
    (run / "link").symlink_to("/etc/hostname")
    object_id, folder = objects.stage(run, {"asked.json": b"{}"}, tmp_path / "cache")
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert names == {"manifest.json", "attempts.jsonl", "logs/tool.eval", "asked.json", "object.json"}
    assert objects.stage(run, {"asked.json": b"{}"}, tmp_path / "cache")[0] == object_id


def suite(*cases: Case, task: str = "", digest: str = "new") -> Suite:
    golden_set = GoldenSet(card=Card(name="q", version="1", task=task), cases=cases, digest=digest)
    return Suite(
        name="s", evals=(EvalSpec(id="e", golden_set=golden_set, scorers=()),), digest=digest,
        gate=GatePolicy(max_drop=Margin(Fraction(1, 50), relative=False)),
    )  # fmt: skip


CASE = Case(id="a", input="?", choices=("x", "y"), contexts=("c",), tags={"k": "v"}, targets=("x",))


@pytest.mark.parametrize(
    ("change", "sees", "belongs"),
    [
        ({"targets": ("y",)}, ("tags", "task"), True), ({"critical": True}, (), True), ({"cluster": "z"}, (), True),
        ({"relevant": {"d": 1.0}}, (), True), ({"human": {"h": 1}}, (), True), ({"line": 9}, (), True),
        ({"tags": {}}, (), True), ({"tags": {}}, ("tags",), False), ({"input": "!"}, (), False),
        ({"id": "b"}, (), False), ({"choices": ("y", "x")}, (), False), ({"contexts": ()}, (), False),
        ({"input": None, "messages": (Message("user", "?"),)}, (), False),
    ],
)  # fmt: skip
def test_answers_belong_to_what_was_asked(
    tmp_path: Path, change: dict[str, Any], sees: tuple[str, ...], belongs: bool
) -> None:
    (tmp_path / "asked.json").write_bytes(asked_bytes(asked_of(suite(CASE, digest="old"), sees)))
    found = carried(tmp_path, suite(replace(CASE, **change)), {"q": "old"})
    assert found == (frozenset(("q",)) if belongs else frozenset())


@pytest.mark.parametrize(("sees", "belongs"), [((), True), (("task",), False)])
def test_the_task_was_asked_where_a_prompt_shows_it(
    tmp_path: Path, sees: tuple[str, ...], belongs: bool
) -> None:
    (tmp_path / "asked.json").write_bytes(asked_bytes(asked_of(suite(CASE, task="old"), sees)))
    assert bool(carried(tmp_path, suite(CASE, task="new"), {"q": "old"})) is belongs


def test_fewer_cases_are_answered_and_more_are_not(tmp_path: Path) -> None:
    other = replace(CASE, id="b")
    (tmp_path / "asked.json").write_bytes(asked_bytes(asked_of(suite(CASE, other), ())))
    assert carried(tmp_path, suite(other), {"q": "old"}) and carried(
        tmp_path, suite(other, CASE), {"q": "old"}
    )
    assert not carried(tmp_path, suite(CASE, other, replace(CASE, id="c")), {"q": "old"})
    assert not carried(tmp_path, suite(CASE), {})  # the run knows no such golden set


def test_a_run_that_nobody_wrote_that_down_of_carries_nothing(tmp_path: Path) -> None:
    assert read_asked(tmp_path) is None and not carried(tmp_path, suite(CASE), {"q": "old"})
    (tmp_path / "asked.json").write_text('{"schema_version": 1, "sees": 3}')
    with pytest.raises(StoreError, match="damaged"):
        read_asked(tmp_path)
