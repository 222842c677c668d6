"""Each limit, hit for real; and how a program's end is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from evalharness.sandbox import (
    Backend,
    Ended,
    Finished,
    Killed,
    Limits,
    OutOfMemory,
    Program,
    TimedOut,
    TooMuchOutput,
    converse,
    run,
)
from tests.sandbox.conftest import LIMITS

ROOT = Path(__file__).resolve().parents[2]
BOMB = """
import os, time
started = 0
try:
    while True:
        if os.fork() == 0:
            while True:
                try: os.fork()
                except OSError: time.sleep(0.01)
        started += 1
except OSError as error:
    print(started, error.errno, flush=True)
time.sleep(1)
print(len([p for p in os.listdir("/proc") if p.isdigit()]), flush=True)
os._exit(0)
"""


def last_line(ended: Ended) -> str:
    return ended.stderr.decode().strip().splitlines()[-1]


def test_a_fork_bomb_is_held_and_the_machine_still_answers(contained: Callable[..., Ended]) -> None:
    ended = contained(BOMB, limits=Limits(cpu_s=3, wall_s=10.0, processes=16))
    assert isinstance(ended, Finished), ended
    first, alive = ended.stdout.decode().splitlines()
    assert int(first.split()[0]) < 16 and first.split()[1] == "11"
    assert int(alive) <= 16 + 2
    assert subprocess.run(["true"], check=False).returncode == 0


def test_threads_are_processes_too(output: Callable[..., str]) -> None:
    started = output(
        "import threading\nwait = threading.Event()\nn = 0\n"
        "try:\n    while n < 100:\n        threading.Thread(target=wait.wait, daemon=True).start(); n += 1\n"
        "except RuntimeError: pass\nprint(n)"
    )
    assert 8 <= int(started) < LIMITS.processes


def test_memory_of_one_process(contained: Callable[..., Ended]) -> None:
    ended = contained("x = bytearray(10**9)")
    assert isinstance(ended, Finished) and ended.code == 1
    assert last_line(ended) == "MemoryError"


def test_memory_of_many_processes_together(contained: Callable[..., Ended]) -> None:
    began = time.monotonic()
    ended = contained(
        "import os, time\nfor _ in range(3): os.fork()\nx = bytearray(b'x') * 100_000_000\ntime.sleep(10)",
    )
    assert isinstance(ended, OutOfMemory), ended
    assert time.monotonic() - began < 8


def test_memory_that_is_a_file(contained: Callable[..., Ended]) -> None:
    ended = contained(
        "n = 0\n"
        "try:\n    while n < 100:\n        open(f'f{n}', 'wb').write(b'x' * 1_000_000); n += 1\n"
        "except OSError as error: print(n, error.errno)"
    )
    assert ended.stdout.split() == [b"3", b"28"] or ended.stdout.split() == [b"4", b"28"]
    ended = contained("open('big', 'wb').write(b'x' * 50_000_000)")
    assert isinstance(ended, Finished) and "File too large" in last_line(ended)
    ended = contained("import os\nf = open('hole', 'wb')\nos.ftruncate(f.fileno(), 10**12)")
    assert isinstance(ended, Finished) and "File too large" in last_line(ended)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_without_end(contained: Callable[..., Ended], stream: str) -> None:
    ended = contained(f"import sys\nwhile True: sys.{stream}.write('x' * 5000)")
    assert isinstance(ended, TooMuchOutput)
    assert getattr(ended, stream) == b"x" * LIMITS.output_bytes


def test_output_up_to_the_limit(contained: Callable[..., Ended]) -> None:
    ended = contained(f"print('x' * {LIMITS.output_bytes - 1})")
    assert isinstance(ended, Finished) and len(ended.stdout) == LIMITS.output_bytes


def test_an_endless_loop_uses_up_its_cpu_time(contained: Callable[..., Ended]) -> None:
    ended = contained("while True: pass", limits=Limits(cpu_s=1, wall_s=20.0))
    assert isinstance(ended, TimedOut) and ended.seconds < 19
    ended = contained(
        "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass",
        limits=Limits(cpu_s=1, wall_s=20.0),
    )
    assert isinstance(ended, Killed) and ended.signal == 9


def test_a_program_that_waits_uses_up_its_wall_time(contained: Callable[..., Ended]) -> None:
    ended = contained("import time; time.sleep(60)", limits=Limits(wall_s=0.7))
    assert isinstance(ended, TimedOut) and 0.7 <= ended.seconds < 5


def test_endless_recursion_and_crashes(contained: Callable[..., Ended]) -> None:
    ended = contained("def f(): f()\nf()")
    assert isinstance(ended, Finished) and last_line(ended).startswith("RecursionError")
    ended = contained("import ctypes; ctypes.string_at(0)")
    assert isinstance(ended, Killed) and ended.signal == 11
    ended = contained("import os; os.abort()")
    assert isinstance(ended, Killed) and ended.signal == 6


def test_codes_input_files_and_job(contained: Callable[..., Ended], output: Callable[..., str]) -> None:
    ended = contained("import sys; sys.exit(7)")
    assert isinstance(ended, Finished) and ended.code == 7
    assert (
        output(
            "import sys\nprint(JOB['a'], open('f.txt').read(), sys.stdin.read(), __name__)",
            {"a": [1, "ü"]},
            files={"f.txt": "text ü"},
            stdin=b"line 1\nline 2",
        )
        == "[1, 'ü'] text ü line 1\nline 2 __main__"
    )
    assert output("import sys; print(repr(sys.stdin.read()))") == "''"
    # a name cannot lead out of the scratch folder
    assert output("import os; print(os.listdir('.'))", files={"../../x/evil.txt": "x"}) == "['evil.txt']"


def test_a_large_input_goes_in_and_nothing_can_be_written_to_it(output: Callable[..., str]) -> None:
    assert output("import sys; print(len(sys.stdin.buffer.read()))", stdin=b"x" * 30_000_000) == "30000000"
    assert (
        output("import os\ntry: os.write(0, b'x')\nexcept OSError as error: print(type(error).__name__)")
        == "PermissionError"
    )


def test_programs_find_the_same_world_each_time(output: Callable[..., str]) -> None:
    source = "import time, os, sys\nprint(hash('a'), {'x', 'y', 'z'}, time.tzname, sys.stdout.encoding, os.getcwd())"
    assert output(source) == output(source)
    assert "('UTC', 'UTC')" in output(source)


def test_neither_installed_packages_nor_this_one_can_be_imported(output: Callable[..., str]) -> None:
    for name in ("evalharness", "pydantic", "pip"):
        assert output(f"try: import {name}\nexcept ImportError: print('no')") == "no"


def test_what_is_stopped_ends_at_once(sandbox: Backend) -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    ended = run(sandbox, Program(main="import time; time.sleep(60)"), Limits(wall_s=60.0), stop)
    assert not isinstance(ended, Finished) and time.monotonic() - began < 5


def test_descriptors_are_given_back(contained: Callable[..., Ended]) -> None:
    contained("print(1)")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        contained("print(1)")
    assert len(os.listdir("/proc/self/fd")) == before


def test_two_programs_converse(sandbox: Backend) -> None:
    leader = Program(
        main="line = input()\nprint(f'got {line}', flush=True)\nimport sys\nsys.stderr.write(input())"
    )
    partner = Program(main="print('hello', flush=True)\nprint(input().upper(), flush=True)\ninput()")
    first, second = converse(sandbox, leader, partner, LIMITS)
    assert isinstance(first, Finished) and first.code == 0 and first.stderr == b"GOT HELLO"
    assert isinstance(second, Finished)  # it saw the end of its input
    # a partner that is gone is seen at once, one that goes on for ever is ended
    leader = Program(main="import sys\nsys.stderr.write(repr(sys.stdin.read()))")
    first, second = converse(sandbox, leader, Program(main="import os; os._exit(3)"), LIMITS)
    assert isinstance(first, Finished) and first.stderr == b"''"
    assert isinstance(second, Finished) and second.code == 3
    leader = Program(main="pass")
    first, second = converse(sandbox, leader, Program(main="import time\nprint(1)\ntime.sleep(60)"), LIMITS)
    assert isinstance(first, Finished) and isinstance(second, Killed) and first.seconds < 5


def test_the_programs_of_a_conversation_cannot_see_each_other(sandbox: Backend) -> None:
    spy = Program(
        main="import json, os, sys\nopen('mine', 'w').close()\n"
        "seen = [sorted(os.listdir()), len([p for p in os.listdir('/proc') if p.isdigit()])]\n"
        "sys.stderr.write(json.dumps(seen))\nprint(1, flush=True)\nsys.stdin.read()",
        files={"answer.py": ""},
    )
    leader = Program(main="input()\nimport time; time.sleep(0.2)", files={"tests.py": ""})
    _, second = converse(sandbox, leader, spy, LIMITS)
    names, pids = json.loads(second.stderr)
    assert names == ["answer.py", "mine"] and pids <= 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_without_rights_has_a_sandbox_that_holds(sandbox: Backend, tmp_path: Path) -> None:
    python = Path("/usr/bin/python3")
    if not python.exists() or not os.stat(ROOT).st_mode & 0o005:
        pytest.skip("no interpreter, or no checkout, that another user may read")
    asked = subprocess.run(
        [python, "-c", "import sys; print(sys.version_info >= (3, 11))"], capture_output=True, check=False
    )
    if asked.stdout.strip() != b"True":
        pytest.skip(f"{python} is too old")
    code = (
        "from evalharness.sandbox import *\n"
        "b = find_sandbox()\n"
        f"e = run(b, Program(main={BOMB!r}), Limits(cpu_s=3, wall_s=10.0, processes=16))\n"
        "print(b.name, *e.stdout.decode().split())\n"
        "e = run(b, Program(main='import os; print(os.listdir(\"/\"), os.getuid())'), Limits())\n"
        "print(e.stdout.decode())"
    )
    done = subprocess.run(
        [python, "-B", "-c", code],
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        user=12345,
        group=12345,
        extra_groups=(),
        capture_output=True,
        text=True,
        check=False,
    )
    if "SandboxUnavailableError" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.strip().splitlines()
    name, rights, started, number, alive = first.split()
    assert (name, rights, number) == ("bubblewrap", "(user)", "11")
    assert int(started) < 16 and int(alive) <= 18
    assert "home" not in second and second.endswith("65534")


def test_the_interpreter_here_is_the_one_inside(output: Callable[..., str]) -> None:
    assert output("import sys; print(sys.version)") == sys.version
