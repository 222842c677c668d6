"""A sandbox is used only where it is there and holds; nothing is ever run without one."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evalharness.errors import UsageError
from evalharness.sandbox import (
    Backend,
    Limits,
    Program,
    SandboxFailedError,
    SandboxUnavailableError,
    find_sandbox,
    run,
)
from evalharness.sandbox._seccomp import filter_program
from evalharness.sandbox.bubblewrap import Bubblewrap
from evalharness.sandbox.docker import Docker, is_image
from evalharness.sandbox.find import escapes

Fake = Callable[[str, str], Path]
# what follows the command's own options, as the backends write it
UNCONTAINED = {
    "bwrap": 'while [ "$1" != "--" ]; do shift; done; shift; cd "$(mktemp -d)"; exec "$@"',
    "docker": 'case "$1" in version|image) echo 1; exit 0;; esac\n'
    'while [ "$1" != "--entrypoint" ]; do shift; done; shift 3; cd "$(mktemp -d)"; '
    f'exec {sys.executable} "$@"',
}


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """fake(name, script): the only program of that name on PATH, next to the system's."""

    def make(name: str, script: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
        return path

    return make


def test_without_bubblewrap_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxUnavailableError, match=r"apt-get install bubblewrap.*docker: python"):
        find_sandbox()
    with pytest.raises(UsageError, match="docker is not installed"):
        find_sandbox("python:3.12-slim")


def test_a_bubblewrap_that_may_not_make_namespaces_counts_as_none(fake: Fake) -> None:
    fake("bwrap", "echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1")
    with pytest.raises(SandboxUnavailableError, match="setting up uid map: Permission denied"):
        find_sandbox()


@pytest.mark.parametrize("name", ["bwrap", "docker"])
def test_a_sandbox_that_does_not_contain_is_not_used(fake: Fake, name: str, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    # a stand-in that runs the program as it is: with the boot program's limits, and in no namespace
    fake(name, UNCONTAINED[name])
    with pytest.raises(SandboxUnavailableError) as found:
        find_sandbox("some/image" if name == "docker" else None)
    assert "there is none" in str(found.value)


@pytest.mark.parametrize(
    ("edit", "could"),
    [
        ("a.remove('--unshare-net')", "connect to the host's network"),
        ("a[1:1] = ['--ro-bind', '/tmp', '/tmp']", "read a file of the host"),
        (
            "i = a.index('--perms'); a[i:i] = ['--perms', '1777', '--tmpfs', '/run']",
            "write to /run",
        ),
        ("i = a.index('--seccomp'); del a[i:i + 2]", "reach the host of a virtual machine"),
        ("a[a.index('--') + 7] = a[a.index('--') + 7].replace('RLIMIT_AS', 'RLIMIT_NO')", "use more memory"),
        (
            "a[a.index('--') + 7] = a[a.index('--') + 7].replace('RLIMIT_NPROC', 'RLIMIT_NO')",
            "start more processes",
        ),
    ],
    ids=["network", "files", "writes", "calls", "memory", "processes"],
)
def test_what_a_canary_could_do_is_said(
    sandbox: Backend, fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: str, could: str
) -> None:
    """Bubblewrap itself, with one thing left out."""
    assert isinstance(sandbox, Bubblewrap)
    monkeypatch.setattr("tempfile.tempdir", "/tmp")
    path = fake("bwrap", "")
    path.write_text(
        f"#!{sys.executable} -IS\nimport os, sys\na = sys.argv\n{edit}\nos.execv({sandbox.path!r}, a)\n"
    )
    why = escapes(Bubblewrap(str(path), sandbox.rights))
    assert why is not None and why.startswith("a program could") and could in why


def test_root_in_a_user_namespace_is_refused_because_forks_are_not_held(sandbox: Backend) -> None:
    if os.geteuid() != 0 or not isinstance(sandbox, Bubblewrap):
        pytest.skip("only root is exempt from the limit of processes")
    why = escapes(Bubblewrap(sandbox.path, "user"))
    assert why is not None and ("processes" in why or "did not start" in why)


def test_what_was_found_is_remembered(sandbox: Backend) -> None:
    assert find_sandbox() is sandbox


def test_a_start_that_fails_is_no_end_of_the_program(fake: Fake) -> None:
    path = fake("bwrap", "echo 'bwrap: no space' >&2; exit 1")
    with pytest.raises(SandboxFailedError, match=r"did not start \(exit 1\): bwrap: no space"):
        run(Bubblewrap(str(path), "user"), Program(main="print(1)"), Limits())
    with pytest.raises(SandboxFailedError, match="cannot be started"):
        run(Bubblewrap("/nowhere/bwrap", "user"), Program(main="print(1)"), Limits())


def test_the_filter_knows_its_machines() -> None:
    for machine in ("x86_64", "aarch64"):
        program = filter_program(machine)
        assert program is not None and len(program) % 8 == 0 and len(program) < 4096
        assert all(program[i] in (0x06, 0x15, 0x20, 0x35, 0x45) for i in range(0, len(program), 8))
        # every jump stays inside
        count = len(program) // 8
        for place in range(count):
            code, _, yes, no = program[place * 8 : place * 8 + 4]
            if code not in (0x06, 0x20):
                assert place + 1 + max(yes, no) < count
    assert filter_program("riscv64") is None


def test_the_command_line_of_docker() -> None:
    limits = Limits(memory_mb=300, processes=12, scratch_mb=8)
    command = Docker("/usr/bin/docker", "registry.example/img:1@sha256:ab").command(limits, "name-1")
    image = command.index("registry.example/img:1@sha256:ab")
    assert command[:2] == ["/usr/bin/docker", "run"]
    assert command[image - 2 : image] == ["--entrypoint", "python3"]
    assert command[image + 1 : image + 5] == ["-s", "-S", "-B", "-c"]
    options = command[2:image]
    for one in ("--rm", "--interactive", "--read-only"):
        assert one in options
    pairs = list(itertools.pairwise(options))
    for pair in (
        ("--pull", "never"),
        ("--network", "none"),
        ("--ipc", "none"),
        ("--user", "65534:65534"),
        ("--cap-drop", "ALL"),
        ("--security-opt", "no-new-privileges"),
        ("--pids-limit", "12"),
        ("--memory", "300000000"),
        ("--memory-swap", "300000000"),
        ("--cpus", "1"),
        ("--name", "name-1"),
        ("--workdir", "/scratch"),
        ("--tmpfs", "/scratch:rw,nosuid,nodev,mode=1777,size=8000000"),
        ("--env", "PYTHONHASHSEED=0"),
    ):
        assert pair in pairs, pair
    assert not {"--privileged", "--volume", "-v", "--mount", "--cap-add", "--pid", "--device"} & set(options)


@pytest.mark.parametrize(
    "name", ["--privileged", "-v/:/host", "", "a b", "img\nx", "x" * 300, None, 3, "$(id)", ";id"]
)
def test_an_image_is_no_option_and_no_command(name: object) -> None:
    assert not is_image(name)
    if isinstance(name, str):
        with pytest.raises(SandboxUnavailableError, match="not the name of an image"):
            find_sandbox(name)


def test_an_engine_that_does_not_answer_or_has_no_image_is_said(fake: Fake) -> None:
    fake("docker", "echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock.' >&2; exit 1")
    with pytest.raises(SandboxUnavailableError, match=r"engine does not answer: Cannot connect.*docker pull"):
        find_sandbox("python:3.12-slim")
    fake("docker", "[ \"$1\" = version ] && exit 0; echo 'Error: No such image: a:1' >&2; exit 1")
    with pytest.raises(SandboxUnavailableError, match=r"image b:1 is not here: Error: No such image"):
        find_sandbox("b:1")


def test_a_container_is_ended_by_name(fake: Fake, tmp_path: Path) -> None:
    log = tmp_path / "log"
    path = fake("docker", f'echo "$1 $2" >> {log}; [ "$1" = kill ] || exec sleep 60')
    reading, writing = os.pipe()
    started = Docker(str(path), "a:1").start(Limits(), stdin=reading, stdout=writing, stderr=writing)
    while not log.exists():
        pass
    started.kill()
    started.popen.wait(timeout=10)
    started.kill()  # a second time is harmless
    os.close(reading)
    os.close(writing)
    run_line, kill_line = log.read_text().splitlines()
    assert run_line.startswith("run") and kill_line.startswith("kill evalharness-")
