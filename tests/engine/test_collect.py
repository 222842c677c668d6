"""Suite × candidate → run: what is asked, what is not asked again, and what is written down."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections import Counter
from dataclasses import replace

import pytest

from evalharness.core.attempts import Response, Usage
from evalharness.core.candidates import Price, Prompt
from evalharness.core.protocols import Request
from evalharness.core.scores import Scored, Unscored
from evalharness.engine.build import rescore_folder
from evalharness.errors import (
    BudgetError,
    CallError,
    InvalidComparisonError,
    PluginError,
    ProviderError,
    SpecError,
    StoreError,
)
from evalharness.store.folder import load_run, read_manifest
from tests.engine.support import REGISTRY, Lines, Place, candidate, echo, golden_set, suite


async def seeded(request: Request, number: int) -> Response:
    """An answer that depends on the seed, as a server's does."""
    return Response(text=f"{request.messages[-1].content} {request.seed}", usage=Usage(10, 2))


def stops_after(n: int) -> object:
    async def behave(request: Request, number: int) -> Response:
        if number > n:
            raise CallError("auth", "wrong key", fatal=True)
        return await echo(request, number)

    return behave


def test_a_run_answers_scores_and_stores_every_case(place: Place) -> None:
    log: Counter[str] = Counter()
    run, folder = place.collect(candidate(log=log))
    assert [s.value for s in run.scores["questions/same"].values() if isinstance(s, Scored)] == [1.0] * 5
    assert log["calls"] == 5 and log["open"] == log["close"] == 1
    assert load_run(folder) == replace(run, manifest=read_manifest(folder))
    assert not (folder / "journal.jsonl").exists()


def test_an_identical_run_costs_no_call_and_opens_no_connection(place: Place) -> None:
    first, folder = place.collect(candidate())
    written = {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.name != ".lock"}
    log: Counter[str] = Counter()
    second, again = place.collect(candidate(log=log))
    assert (second.id, again) == (first.id, folder) and not log
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.name != ".lock"} == written


def test_a_run_that_stopped_makes_only_the_missing_calls(place: Place) -> None:
    with pytest.raises(ProviderError):
        place.collect(candidate(stops_after(3), concurrency=1))  # type: ignore[arg-type]
    assert (place.folder / "journal.jsonl").exists()
    log: Counter[str] = Counter()
    progress = Lines()
    run, folder = place.collect(candidate(log=log), progress=progress)
    assert log["calls"] == 2
    assert read_manifest(folder)["facts"]["resumed"] == 3
    assert any("3 answers kept" in note for note in progress.notes)
    whole, _ = Place(place.root / "other").collect(candidate())
    assert run.id == whole.id


def test_a_line_torn_inside_a_character_costs_only_itself(place: Place) -> None:
    umlauts = candidate(stops_after(3), concurrency=1, prompt=Prompt(user="ü{{ input }}ü"))  # type: ignore[arg-type]
    with pytest.raises(ProviderError):
        place.collect(umlauts)
    journal = place.folder / "journal.jsonl"
    data = journal.read_bytes()
    journal.write_bytes(data[: data.rindex("ü".encode()) + 1])
    # the cache holds it too: without that, only the journal can tell
    for file in place.store.root.glob("cache.sqlite*"):
        file.unlink()
    log: Counter[str] = Counter()
    place.collect(candidate(log=log, prompt=Prompt(user="ü{{ input }}ü")))
    assert log["calls"] == 3


def test_failures_are_asked_again_and_never_cached(place: Place) -> None:
    async def flaky(request: Request, number: int) -> Response:
        if request.case.id == "q2":
            raise CallError("bad_request", "too long")
        return await echo(request, number)

    first, folder = place.collect(candidate(flaky))
    assert first.manifest["coverage"] == {
        "planned": 5,
        "scored": 4,
        "failed": 1,
        "unscored": 0,
        "reasons": {"bad_request": 1},
    }
    log: Counter[str] = Counter()
    again, _ = place.collect(candidate(flaky, log))  # it fails again: same run, same verdict, no error
    assert log == {"q2": 1, "calls": 1, "open": 1, "close": 1} and again.id == first.id
    log.clear()
    mended, _ = place.collect(candidate(log=log))
    assert log["calls"] == 1 and mended.manifest["coverage"]["failed"] == 0
    assert load_run(folder).id == mended.id != first.id


def test_fresh_asks_everything_and_its_answers_take_the_place_of_the_old(place: Place) -> None:
    place.collect(candidate())

    async def newer(request: Request, number: int) -> Response:
        return Response(text="newer")

    log: Counter[str] = Counter()
    run, _ = place.collect(candidate(newer, log), fresh=True)
    assert log["calls"] == 5 and {a.outcome.text for a in run.attempts["questions"].values()} == {"newer"}  # type: ignore[union-attr]
    # one case more is another plan: its other answers come from the cache, and must be the newer ones
    more, _ = place.collect(candidate(), suite(golden_set(6)))
    texts = [a.outcome.text for a in more.attempts["questions"].values()]  # type: ignore[union-attr]
    assert texts == ["newer"] * 5 + ["question 5"]


def test_a_fresh_run_that_fails_leaves_the_finished_one_and_resumes_fresh(place: Place) -> None:
    first, folder = place.collect(candidate())

    async def newer(request: Request, number: int) -> Response:
        if number > 2:
            raise CallError("auth", "wrong key", fatal=True)
        return Response(text="newer")

    with pytest.raises(ProviderError):
        place.collect(candidate(newer, concurrency=1), fresh=True)
    assert load_run(folder).id == first.id
    log: Counter[str] = Counter()
    run, _ = place.collect(candidate(log=log))
    assert log["calls"] == 3  # neither the stored run nor the cache answered for the rest
    assert [a.outcome.text for a in run.attempts["questions"].values()][:2] == ["newer", "newer"]  # type: ignore[union-attr]


def test_a_fresh_run_that_never_began_leaves_everything_as_it_was(place: Place) -> None:
    place.collect(candidate())
    with pytest.raises(ProviderError):
        place.collect(candidate(stops_after(0)), fresh=True)  # type: ignore[arg-type]
    log: Counter[str] = Counter()
    place.collect(candidate(log=log))
    assert log["calls"] == 0


def test_other_candidates_cases_and_cards_are_other_runs(place: Place) -> None:
    folders = [
        place.collect(candidate())[1],
        place.collect(candidate(identity="changed"))[1],
        place.collect(candidate(repeats=2))[1],
        place.collect(candidate(), suite(golden_set(6)))[1],
        # prompts see the card's task
        place.collect(candidate(), suite(golden_set(5, task="reworded")))[1],
    ]
    assert len(set(folders)) == 5


def test_a_changed_prompt_is_asked_anew_though_the_case_is_the_same(place: Place) -> None:
    prompt = Prompt(user="{{ task }}: {{ input }}")
    place.collect(candidate(prompt=prompt))
    log: Counter[str] = Counter()
    run, _ = place.collect(candidate(prompt=prompt, log=log), suite(golden_set(5, task="reworded")))
    assert log["calls"] == 5
    assert run.attempts["questions"]["q0", 0].outcome.text == "reworded: question 0"  # type: ignore[union-attr]


def test_a_journal_of_another_plan_is_not_used(place: Place) -> None:
    with pytest.raises(ProviderError):
        place.collect(candidate(stops_after(3), concurrency=1))  # type: ignore[arg-type]
    foreign = (place.folder / "journal.jsonl").read_bytes()
    for file in place.store.root.glob("cache.sqlite*"):
        file.unlink()
    other = Place(place.root / "other")
    with pytest.raises(ProviderError):
        other.collect(candidate(stops_after(0), identity="changed"))  # type: ignore[arg-type]
    (other.folder / "journal.jsonl").write_bytes(foreign)
    log: Counter[str] = Counter()
    other.collect(candidate(log=log, identity="changed"))
    assert log["calls"] == 5


def test_a_finished_run_of_the_users_own_program_is_made_anew_and_an_unfinished_one_resumed(
    place: Place,
) -> None:
    for _ in range(2):
        log: Counter[str] = Counter()
        place.collect(candidate(log=log, provider="uncacheable"))
        assert log["calls"] == 5
    assert not place.store.cache_path.exists()
    with pytest.raises(ProviderError):
        place.collect(candidate(stops_after(2), provider="uncacheable", concurrency=1))  # type: ignore[arg-type]
    log = Counter()
    place.collect(candidate(log=log, provider="uncacheable"))
    assert log["calls"] == 3


def test_every_case_that_a_prompt_does_not_fit_is_named_before_any_call(place: Place) -> None:
    log: Counter[str] = Counter()
    with pytest.raises(SpecError) as error:
        place.collect(candidate(log=log, prompt=Prompt(user="{{ tags.tone }}")))
    assert [f"'q{i}'" in str(p) for i, p in enumerate(error.value.problems)] == [True] * 5
    assert not log


def test_repeats_have_seeds_of_their_own(place: Place) -> None:
    run, _ = place.collect(candidate(seeded, repeats=4, seed=7))
    texts = [run.attempts["questions"]["q0", k].outcome.text for k in range(4)]  # type: ignore[union-attr]
    assert texts[0] == "question 0 7" and len(set(texts)) == 4
    again, _ = Place(place.root / "other").collect(candidate(seeded, repeats=4, seed=7))
    assert again.id == run.id


def test_repeats_without_a_seed_are_asked_separately_and_cached_separately(place: Place) -> None:
    async def differs(request: Request, number: int) -> Response:
        return Response(text=f"answer {number}")

    log: Counter[str] = Counter()
    run, folder = place.collect(candidate(differs, log, repeats=3, concurrency=1))
    assert log["calls"] == 15
    # gone from the run folder, they are still in the cache, each repeat with its own answer
    for name in ("manifest.json", "attempts.jsonl", "scores.jsonl"):
        (folder / name).unlink()
    log.clear()
    again, _ = place.collect(candidate(differs, log, repeats=3))
    assert not log and again.id == run.id
    assert read_manifest(folder)["facts"]["cached"] == 15


def test_repeat_zero_is_shared_between_runs_with_more_and_fewer_repeats(place: Place) -> None:
    place.collect(candidate(repeats=1, seed=3))
    log: Counter[str] = Counter()
    place.collect(candidate(repeats=2, seed=3, log=log))
    assert log["calls"] == 5


def test_the_manifest_says_what_was_asked_and_what_it_took(place: Place) -> None:
    async def renamed(request: Request, number: int) -> Response:
        usage = Usage(1000, 100) if request.case.id != "q4" else None
        return Response(text="x", model="m-2026-01-01", usage=usage, latency_ms=10.0 * number)

    price = Price(input_per_million=2.0, output_per_million=10.0)
    progress = Lines()
    _run, folder = place.collect(candidate(renamed, price=price, concurrency=1), progress=progress)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["models_returned"] == ["m-2026-01-01"]
    facts = manifest["facts"]
    assert facts["usage_known"] == 4 and facts["usage_unknown"] == 1
    assert (facts["input_tokens"], facts["output_tokens"]) == (4000, 400)
    assert facts["cost_usd"] == facts["spent_usd"] == pytest.approx(0.012)
    assert (facts["calls"], facts["tries"], facts["cached"], facts["resumed"]) == (5, 5, 0, 0)
    assert (facts["latency_p50_ms"], facts["wall_s"] >= 0) == (30.0, True)
    assert manifest["candidate"]["model"] == "m" and manifest["seed"] == 7
    assert manifest["environment"]["started"] == "2026-01-01T00:00:00+00:00"
    assert {"kind": "scorers", "name": "same", "target": "tests.engine.support:Same"}.items() <= manifest[
        "plugins"
    ][1].items()
    assert progress.started == [(5, 0)] and progress.finished == 1
    assert progress.spent[-1] == pytest.approx(0.012)


def test_the_run_id_holds_no_times_and_no_money(place: Place) -> None:
    async def slower(request: Request, number: int) -> Response:
        found = await echo(request, number)
        return replace(found, latency_ms=99.0, usage=None)

    first, _ = place.collect(candidate())
    second, _ = Place(place.root / "other").collect(candidate(slower))
    assert first.id == second.id


def test_a_cap_is_a_cap_on_the_run_and_raising_it_resumes(place: Place) -> None:
    def capped(tokens: int, log: Counter[str]) -> object:
        return candidate(log=log, concurrency=1, max_tokens_total=tokens)

    log: Counter[str] = Counter()
    for calls in (2, 0):  # the same command again does not spend the cap once more
        log.clear()
        with pytest.raises(BudgetError):
            place.collect(capped(24, log))  # type: ignore[arg-type]
        assert log["calls"] == calls
    place.collect(capped(60, log))  # type: ignore[arg-type]
    assert log["calls"] == 3


def test_a_scorer_may_do_anything_and_the_run_still_ends(place: Place) -> None:
    run, folder = place.collect(candidate(), suite(golden_set(6), scorers=["same", "odd"]))
    scores = run.scores["questions/odd"]
    assert scores["q0", 0] == Scored(1.0)
    assert scores["q1", 0] == Unscored("scorer gave NoneType, not a score")
    assert scores["q2", 0] == Unscored("scorer gave a value that is not finite")
    assert isinstance(scores["q3", 0], Unscored) and "ValueError" in scores["q3", 0].reason
    assert scores["q4", 0] == Scored(0.5, {"hits": 3.0}, {"labels": "{'a'}", "rate": "inf"})
    assert scores["q5", 0] == Unscored("scorer raised ZeroDivisionError: no tokens")
    counts = run.manifest["coverage"]
    assert (counts["planned"], counts["scored"], counts["unscored"]) == (6, 2, 4)
    assert counts["reasons"]["questions/odd: scorer raised ZeroDivisionError: no tokens"] == 1
    assert load_run(folder).id == run.id


def test_stored_answers_are_scored_again_without_a_call(place: Place) -> None:
    run, folder = place.collect(candidate())
    wider = suite(golden_set(5), scorers=["same", "odd"])
    again = rescore_folder(folder, wider, REGISTRY)
    assert set(again.scores) == {"questions/same", "questions/odd"}
    assert again.scores["questions/same"] == run.scores["questions/same"]
    assert [row["name"] for row in again.manifest["plugins"]] == ["scripted", "odd", "same"]
    log: Counter[str] = Counter()
    collected, _ = place.collect(candidate(log=log), wider)
    assert not log and collected.id == again.id


def test_scoring_again_refuses_another_version_of_a_golden_set(place: Place) -> None:
    _, folder = place.collect(candidate())
    with pytest.raises(InvalidComparisonError, match="golden set questions"):
        rescore_folder(folder, suite(golden_set(5, start=1)), REGISTRY)


def test_scoring_again_refuses_edited_answers(place: Place) -> None:
    _, folder = place.collect(candidate())
    file = folder / "attempts.jsonl"
    file.write_text(file.read_text().replace('"question 1"', '"question 7"'))
    with pytest.raises(StoreError, match=r"attempts\.jsonl.*edited or damaged"):
        rescore_folder(folder, suite(), REGISTRY)


@pytest.mark.parametrize("name", ["attempts.jsonl", "scores.jsonl", "manifest.json"])
def test_running_again_mends_a_damaged_folder(place: Place, name: str) -> None:
    run, folder = place.collect(candidate())
    (folder / name).write_text('{"half')
    log: Counter[str] = Counter()
    place.collect(candidate(log=log))
    assert log["calls"] == 0  # the cache has the answers
    assert load_run(folder).id == run.id


def test_a_run_cut_short_while_it_was_stored_again_keeps_its_answers(place: Place) -> None:
    """New attempts are written, the manifest is still the old one, the journal is there: nothing is asked again."""

    async def flaky(request: Request, number: int) -> Response:
        if request.case.id == "q2":
            raise CallError("bad_request", "too long")
        return await echo(request, number)

    _, folder = place.collect(candidate(flaky))
    old = (folder / "manifest.json").read_bytes()
    with pytest.raises(ProviderError):
        place.collect(candidate(stops_after(0)))  # type: ignore[arg-type]
    journal = (folder / "journal.jsonl").read_bytes()
    place.collect(candidate())
    row = next(r for r in (folder / "attempts.jsonl").read_text().splitlines() if '"q2"' in r)
    (folder / "manifest.json").write_bytes(old)
    (folder / "journal.jsonl").write_bytes(journal + row.encode() + b"\n")
    for file in place.store.root.glob("cache.sqlite*"):
        file.unlink()
    log: Counter[str] = Counter()
    place.collect(candidate(log=log))
    assert not log["calls"] and load_run(folder).manifest["coverage"]["failed"] == 0


def test_a_killed_runs_answers_reach_the_cache_when_it_is_resumed(place: Place) -> None:
    with pytest.raises(ProviderError):
        place.collect(candidate(stops_after(3), concurrency=1))  # type: ignore[arg-type]
    for file in place.store.root.glob("cache.sqlite*"):
        file.unlink()  # as if killed before the cache was written
    place.collect(candidate())
    log: Counter[str] = Counter()
    place.collect(candidate(log=log), suite(golden_set(6)))
    assert log["calls"] == 1


def test_a_cache_that_cannot_be_written_costs_nothing_but_itself(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.collect(candidate())  # makes the cache
    monkeypatch.setattr("evalharness.store.cache._BUSY_SECONDS", 0.05)
    import sqlite3

    blocker = sqlite3.connect(place.store.cache_path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    progress = Lines()
    run, folder = place.collect(candidate(identity="changed"), progress=progress)
    blocker.close()
    assert load_run(folder).id == run.id
    assert any("response cache" in note and "goes on without it" in note for note in progress.notes)


def test_a_provider_that_closes_badly_keeps_its_answers(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def close(self: object) -> None:
        raise OSError("socket gone")

    monkeypatch.setattr("tests.engine.support.Scripted.close", close)
    progress = Lines()
    run, _ = place.collect(candidate(), progress=progress)
    assert run.manifest["coverage"]["scored"] == 5
    assert any("socket gone" in note for note in progress.notes)


def test_a_plugin_that_is_no_provider_is_named(place: Place) -> None:
    with pytest.raises(PluginError, match="nothing"):
        place.collect(candidate(provider="nothing"))


def test_a_run_inside_a_running_loop(place: Place) -> None:
    async def notebook() -> str:
        return place.collect(candidate())[0].id

    assert asyncio.run(notebook()) == Place(place.root / "other").collect(candidate())[0].id


def test_the_stop_button_of_a_notebook_ends_the_run_and_keeps_the_answers(place: Place) -> None:
    async def slow(request: Request, number: int) -> Response:
        if number > 2:
            await asyncio.sleep(30)
        return await echo(request, number)

    async def notebook() -> None:
        place.collect(candidate(slow, concurrency=1))

    def press() -> None:
        journal = next(place.root.glob(".evalharness/runs/*/journal.jsonl"), None)
        for _ in range(100):
            time.sleep(0.05)
            journal = next(place.root.glob(".evalharness/runs/*/journal.jsonl"), None)
            if journal is not None and journal.read_bytes().count(b"\n") == 3:
                break
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    loop = asyncio.new_event_loop()  # as in a notebook: nobody handles SIGINT but Python itself
    began = time.perf_counter()
    try:
        presser.start()
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(notebook())
    finally:
        presser.join()
        loop.close()
    assert time.perf_counter() - began < 10
    log: Counter[str] = Counter()
    place.collect(candidate(log=log))
    assert log["calls"] == 3


def test_the_engine_adds_little_to_a_call(place: Place) -> None:
    """Processor time per call beyond the provider; the aim is 0.15 ms, the test leaves room for a busy machine."""
    n = 4000
    what = suite(golden_set(n))
    who = candidate(concurrency=64)
    before = time.process_time()
    place.collect(who, what)
    per_call_ms = (time.process_time() - before) / n * 1000
    print(f"{per_call_ms:.3f} ms a call")
    assert per_call_ms < 0.45


def test_memory_grows_with_the_answers_and_not_faster(place: Place) -> None:
    import tracemalloc

    def peak(n: int) -> int:
        what = suite(golden_set(n))
        tracemalloc.start()
        place.collect(candidate(concurrency=32, identity=str(n)), what)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(50)  # what is imported on first use is not the run's
    assert peak(2000) / peak(500) < 6
