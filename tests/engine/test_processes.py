"""`evalharness run` as a real process against a real server: killed, interrupted, out of space, twice at once."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers.fixture import ModelServerHandle

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "evalharness", "run", "cand.yaml"]


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Workplace:
    """A folder with a suite and a candidate that asks the server."""

    root: Path
    server: ModelServerHandle

    def setup(self, n: int, model: str, *, concurrency: int = 4, extra: str = "") -> None:
        golden = self.root / "questions"
        golden.mkdir(exist_ok=True)
        (golden / "card.yaml").write_text("name: questions\nversion: 1.0.0\ntask: demonstration\n")
        rows = [{"id": f"q{i}", "input": f"frage {i} ü", "target": f"frage {i} ü"} for i in range(n)]
        (golden / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (self.root / "suite.yaml").write_text(
            "name: s\nevals:\n  - {id: qa, golden_set: ./questions, scorers: [exact_match]}\n"
        )
        (self.root / "cand.yaml").write_text(
            f"name: cand\nsuite: ./suite.yaml\nprovider: openai\nmodel: {model}\nbase_url: {self.server.base_url}\n"
            f"limits: {{max_retries: 1, timeout_s: 5, concurrency: {concurrency}}}\n{extra}"
        )

    def start(self, *extra: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, *extra],
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            **options,
        )

    def run(self, *extra: str, **options: Any) -> Done:
        return finish(self.start(*extra, **options))

    def answered(self) -> int:
        """Answers in the journal."""
        journal = next((self.root / ".evalharness").glob("runs/*/journal.jsonl"), None)
        return max(0, journal.read_bytes().count(b"\n") - 1) if journal is not None else 0

    def wait_for(self, answers: int, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + 60
        while self.answered() < answers:
            assert process.poll() is None, finish(process)
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def by_case(self) -> dict[str, int]:
        found: dict[str, int] = self.server.counters()["by_input"]
        return found

    def manifest(self) -> dict[str, Any]:
        (path,) = (self.root / ".evalharness").glob("runs/*/manifest.json")
        found: dict[str, Any] = json.loads(path.read_text())
        return found


def finish(process: subprocess.Popen[str]) -> Done:
    out, err = process.communicate(timeout=90)
    assert "Traceback" not in err, err
    return Done(process.returncode, out, err)


@pytest.fixture
def work(tmp_path: Path, model_server: ModelServerHandle) -> Workplace:
    return Workplace(tmp_path, model_server)


def test_kill_9_costs_only_the_calls_under_way(work: Workplace) -> None:
    work.setup(60, "slow")
    process = work.start()
    work.wait_for(15, process)
    process.kill()
    process.communicate()
    kept = work.answered()
    journal = next((work.root / ".evalharness").glob("runs/*/journal.jsonl"))
    journal.write_bytes(journal.read_bytes()[:-5])  # and the last line is torn
    work.server.reset()

    done = work.run()
    assert done.code == 0, done.err
    assert f"{kept - 1} answers kept" in done.err
    assert work.server.counters()["requests"] == 60 - (kept - 1)
    assert max(work.by_case().values()) == 1
    assert work.manifest()["coverage"]["scored"] == 60

    work.server.reset()
    again = work.run("--json")
    assert (again.code, again.err) == (0, "") and work.server.counters()["requests"] == 0
    assert json.loads(again.out)["run_id"] == work.manifest()["run_id"]

    # the cache survived too: one case more is one call
    work.setup(61, "slow")
    assert work.run().code == 0
    assert work.server.counters()["requests"] == 1


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "cancelled-job"])
def test_an_interrupt_says_so_keeps_the_answers_and_resumes(work: Workplace, sent: signal.Signals) -> None:
    work.setup(60, "slow")
    process = work.start()
    work.wait_for(10, process)
    process.send_signal(sent)
    done = finish(process)
    assert done.code == 130
    assert "interrupted; what was collected is kept: the same command resumes" in done.err
    kept = work.answered()
    assert kept >= 10
    work.server.reset()
    assert work.run().code == 0
    assert work.server.counters()["requests"] == 60 - kept


def test_control_c_while_waiting_for_another_process(work: Workplace) -> None:
    work.setup(40, "echo?latency_ms=200")
    first = work.start()
    work.wait_for(1, first)
    second = work.start()
    assert second.stderr is not None
    assert "waiting for another process" in second.stderr.readline()
    second.send_signal(signal.SIGINT)
    assert finish(second).code == 130
    assert finish(first).code == 0


def test_two_processes_on_one_store_share_one_run(work: Workplace) -> None:
    work.setup(40, "slow")
    processes = [work.start("--json") for _ in range(2)]
    done = [finish(p) for p in processes]
    assert [d.code for d in done] == [0, 0], done
    assert len({json.loads(d.out)["run_id"] for d in done}) == 1
    assert work.server.counters()["requests"] == 40


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A disk of 300 KB at `folder`; False where this machine lets nobody mount one."""
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and shutil.which("mount") is not None
        and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)], capture_output=True
        ).returncode
        == 0
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_keeps_the_answers_and_resumes_when_there_is_space(
    work: Workplace, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk") as mounted:
        if not mounted:
            pytest.skip("no right to mount a small disk; the file size limit below covers the same path")
        work.setup(200, "echo?text=" + "x" * 3000, concurrency=2)
        ballast = tmp_path / "disk" / "ballast"
        ballast.write_bytes(b"x" * 100_000)
        done = work.run("--store", "disk/store")
        assert done.code == 2, done.err
        assert "free some space and run the same command again" in done.err
        journal = next((tmp_path / "disk" / "store").glob("runs/*/journal.jsonl"))
        kept = journal.read_bytes().count(b"\n") - 1
        assert kept > 3
        ballast.unlink()
        subprocess.run(["mount", "-o", "remount,size=20m", str(tmp_path / "disk")], check=True)
        work.server.reset()
        done = work.run("--store", "disk/store")
        assert done.code == 0, done.err
        assert work.server.counters()["requests"] == 200 - kept


def test_a_file_that_may_not_grow_is_a_full_disk_too(work: Workplace) -> None:
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))

    work.setup(60, "echo?text=" + "x" * 3000, concurrency=1)
    done = work.run(preexec_fn=limit)
    assert done.code == 2 and "free some space" in done.err, done.err
    kept = work.answered()
    assert 3 < kept < 60
    work.server.reset()
    assert work.run().code == 0
    assert work.server.counters()["requests"] == 60 - kept


def test_a_store_that_cannot_be_written_is_explained(work: Workplace, tmp_path: Path) -> None:
    work.setup(5, "echo")
    target = tmp_path / "readonly"
    with small_disk(target) as mounted:
        if mounted:
            subprocess.run(["mount", "-o", "remount,ro", str(target)], check=True)
        elif os.geteuid() != 0:
            target.chmod(0o500)
        else:
            pytest.skip("root writes everywhere, and may not mount here")
        done = work.run("--store", "readonly/store")
        assert done.code == 2
        assert "--store" in done.err and len(done.err.splitlines()) == 1
        assert work.server.counters()["requests"] == 0


def test_a_damaged_cache_names_the_file_and_the_way_out(work: Workplace) -> None:
    work.setup(5, "echo")
    (work.root / ".evalharness").mkdir()
    cache = work.root / ".evalharness" / "cache.sqlite"
    cache.write_bytes(b"not a database at all " * 50)
    done = work.run()
    assert done.code == 2 and "cache.sqlite" in done.err and "delete the file" in done.err
    cache.unlink()
    assert work.run().code == 0


def test_seeds_and_returned_names_reach_the_server_and_the_manifest(work: Workplace) -> None:
    work.setup(4, "seeded?returned=seeded-2026-01-01", extra="repeats: 3\ndecoding: {seed: 11}\n")
    done = work.run()
    assert done.code == 0, done.err
    counters = work.server.counters()
    assert counters["requests"] == counters["distinct_bodies"] == 12
    assert work.manifest()["models_returned"] == ["seeded-2026-01-01"]
    (attempts,) = (work.root / ".evalharness").glob("runs/*/attempts.jsonl")
    rows = [json.loads(line) for line in attempts.read_text().splitlines()]
    assert len({row["output"] for row in rows if row["id"] == "q0"}) == 3


def test_a_server_that_sets_a_pace_is_followed(work: Workplace) -> None:
    work.setup(60, "echo?per_second=40&retry_after_ms=300", concurrency=60)
    (work.root / "cand.yaml").write_text(
        (work.root / "cand.yaml").read_text().replace("max_retries: 1", "max_retries: 8")
    )
    done = work.run()
    assert done.code == 0, done.err
    assert work.manifest()["coverage"]["scored"] == 60
    assert "calls at once" in done.err


def test_a_log_gets_plain_lines(work: Workplace) -> None:
    work.setup(10, "no-usage")
    done = work.run()
    assert done.code == 0
    assert done.err.splitlines() == ["cand: 10 calls to make", "cand: 10/10"]
    facts = work.manifest()["facts"]
    assert (facts["usage_known"], facts["usage_unknown"]) == (0, 10)
    work.setup(11, "no-usage")
    assert work.run().err.splitlines()[0] == "cand: 1 calls to make, 10 need no call"


def test_nobody_reading_the_log_does_not_end_the_run(work: Workplace) -> None:
    work.setup(10, "echo")
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(COMMAND, cwd=work.root, stdout=subprocess.PIPE, stderr=write, timeout=90)
    finally:
        os.close(write)
    assert done.returncode == 0
    assert work.manifest()["coverage"]["scored"] == 10


def on_terminal(command: list[str], cwd: Path, seen: Callable[[bytes], None]) -> tuple[int, str]:
    """Run with stderr on a pseudo-terminal; returns the exit code and what it showed."""
    main, side = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    with subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=side, env=environment) as process:
        os.close(side)
        shown = b""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if select.select([main], [], [], 0.2)[0]:
                try:
                    part = os.read(main, 65536)
                except OSError:  # the other side is closed
                    break
                if not part:
                    break
                shown += part
                seen(shown)
        process.communicate(timeout=30)
    os.close(main)
    return process.returncode, shown.decode("utf-8", "replace")


def test_a_terminal_gets_a_bar_that_moves(work: Workplace) -> None:
    price = "price: {input_per_million: 100, output_per_million: 100}\n"
    work.setup(40, "slow", concurrency=4, extra=price)
    code, shown = on_terminal(COMMAND, work.root, lambda _: None)
    assert code == 0
    counts = [int(part.rsplit(" ", 1)[-1].rsplit("m", 1)[-1] or 0) for part in shown.split("/40")[:-1]]
    assert len(set(counts)) > 3 and max(counts) == 40
    assert "$0.0" in shown and "cand" in shown


def test_a_bar_that_never_began_ends_quietly(work: Workplace) -> None:
    work.setup(5, "echo", extra="api_key_env: NOT_SET_ANYWHERE\n")
    code, shown = on_terminal(COMMAND, work.root, lambda _: None)
    assert code == 2
    assert "NOT_SET_ANYWHERE" in shown and "internal" not in shown
