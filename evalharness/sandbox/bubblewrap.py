"""The backend of Linux: bubblewrap, which makes namespaces and needs no service.

What a program sees: the interpreter and the system's libraries, read-only; /proc of its own processes; a few devices;
an empty scratch folder in memory. Nothing else of the host is there to be read, whoever runs the harness.

How rights are given up depends on who that is, and on what the system lets them do: see `Rights`. Each way is tried by
`find_sandbox` and taken only where a program is seen to be contained.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from evalharness.sandbox._seccomp import filter_program
from evalharness.sandbox.limits import ENVIRONMENT, MEGABYTE, SCRATCH, Limits, SandboxFailedError
from evalharness.sandbox.process import Started

Rights: TypeAlias = Literal[
    "root",  # namespaces are made by root, the program then becomes a user nobody else is
    "nobody",  # root becomes a user without rights first, who makes the namespaces
    "user",  # a user makes the namespaces, a user namespace among them
]
_NOBODY: Final = 65534
_FIRST_UID: Final = 0x60000000
"""Users from here on are the sandbox's: above what systems and containers give out, below 2**31."""
_BOOT: Final = Path(__file__).with_name("_boot.py")
_LIBRARIES: Final = ("/usr/lib", "/usr/lib32", "/usr/lib64", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache")
_TIMES: Final = "/usr/share/zoneinfo"
_STORE: Final = "/nix/store"
_count = itertools.count()


def boot_arguments(limits: Limits, *, uid: int | None) -> list[str]:
    """What follows the interpreter on its command line."""
    memory, size = limits.memory_mb * MEGABYTE, limits.scratch_mb * MEGABYTE
    spec = {
        "uid": uid,
        "scratch": SCRATCH,
        "limits": {
            "RLIMIT_AS": (memory, memory),
            "RLIMIT_CORE": (0, 0),
            # the first ends a program with a signal of its own, the second one that ignores it
            "RLIMIT_CPU": (limits.cpu_s, limits.cpu_s + 1),
            "RLIMIT_FSIZE": (size, size),
            "RLIMIT_MEMLOCK": (0, 0),
            "RLIMIT_MSGQUEUE": (0, 0),
            "RLIMIT_NOFILE": (128, 128),
            "RLIMIT_NPROC": (limits.processes, limits.processes),
        },
    }
    # neither the user's site nor installed packages, nothing written beside the standard library
    return ["-s", "-S", "-B", "-c", _BOOT.read_text(encoding="utf-8"), json.dumps(spec)]


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """`path` is the program bwrap."""

    path: str
    rights: Rights

    @property
    def name(self) -> str:
        return f"bubblewrap ({self.rights})"

    def start(self, limits: Limits, *, stdin: int, stdout: int, stderr: int) -> Started:
        """As `process.Backend.start`."""
        program = filter_program()
        if program is None:
            raise SandboxFailedError("system calls of this machine are not known")
        reading, writing = os.pipe()
        try:
            os.write(writing, program)  # a few hundred bytes, which a pipe always holds
            os.close(writing)
            who = _NOBODY if self.rights == "nobody" else None
            popen = subprocess.Popen(
                self.command(limits, reading),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=dict(ENVIRONMENT),
                cwd="/",
                pass_fds=(reading,),
                start_new_session=True,
                user=who,
                group=who,
                extra_groups=() if who is not None else None,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise SandboxFailedError(f"{self.path} cannot be started: {error}") from error
        finally:
            os.close(reading)

        def kill() -> None:
            if popen.poll() is None:  # else the number may be another's by now
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(popen.pid, signal.SIGKILL)

        return Started(popen, kill, lambda: sum(map(_memory, _tree(popen.pid))))

    def command(self, limits: Limits, seccomp: int) -> list[str]:
        """The command line. `seccomp` is the descriptor that holds the filter."""
        uid = None
        if self.rights == "root":
            # Its own for each program: the limit of processes counts those of one user.
            uid = _FIRST_UID + (os.getpid() * 1024 + next(_count) % 1024) % 0x10000000
            rights = ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        else:
            rights = ["--unshare-user", "--uid", str(_NOBODY), "--gid", str(_NOBODY), "--cap-drop", "ALL"]
        python, folders = _interpreter()
        shown = (*_LIBRARIES, *folders, _TIMES, str(python))
        # made by name: parents that bubblewrap makes by itself can be entered by root alone
        parents = sorted(
            {str(parent) for path in shown for parent in Path(path).parents if str(parent) != "/"}
        )
        binds = [word for parent in parents for word in ("--dir", parent)]
        binds += [word for path in shown for word in ("--ro-bind-try", path, path)]
        return [
            self.path,
            *rights,
            *("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"),
            *("--hostname", "sandbox", "--die-with-parent", "--new-session"),
            *binds,
            *("--proc", "/proc", "--dev", "/dev"),
            *("--perms", "1777", "--size", str(limits.scratch_mb * MEGABYTE), "--tmpfs", SCRATCH),
            *("--chdir", SCRATCH, "--remount-ro", "/dev", "--remount-ro", "/"),
            *("--seccomp", str(seccomp), "--", str(python), *boot_arguments(limits, uid=uid)),
        ]


def _interpreter() -> tuple[Path, tuple[str, ...]]:
    """The interpreter behind this one's environment, and the folders it needs."""
    prefix = Path(sys.base_prefix)
    python = prefix / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    if not python.exists():
        python = Path(sys.executable)
    folders = [str(prefix / "lib"), str(prefix / "lib64")]
    if _STORE in (str(parent) for parent in prefix.parents):
        folders.append(_STORE)
    return python.resolve(), tuple(folders)


def _tree(pid: int) -> Iterator[int]:
    """A process and everything under it."""
    yield pid
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return
    for task in tasks:
        with (
            contextlib.suppress(OSError),
            open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file,
        ):
            for child in file.read().split():
                yield from _tree(int(child))


def _memory(pid: int) -> int:
    """Bytes that are this process's and no file's."""
    found = 0
    with (
        contextlib.suppress(OSError),
        open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file,
    ):
        for line in file:
            if line.startswith(("RssAnon:", "RssShmem:", "VmSwap:")):
                found += int(line.split()[1]) * 1024
    return found
