"""Run once inside a sandbox: tries what a contained program must not be able to do, and prints what it could.

Never imported: its text is handed to the contained interpreter. JOB holds `port` (a listener on the host's loopback),
`file` (a file of the host), `folders` (where nothing may be written), `processes` and `memory_mb`.
"""

import functools
import json
import os
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

JOB = globals()["JOB"]
could: "list[str]" = []


def tried(what: str, how: "Callable[[], object]") -> None:
    try:
        how()
    except (OSError, MemoryError):
        return
    could.append(what)


def write(path: str) -> None:
    with open(path, "w"):
        pass
    os.remove(path)


def processes() -> None:
    """Start one more process than is allowed; they wait until this one ends."""
    reading, writing = os.pipe()
    try:
        for _ in range(JOB["processes"]):
            if os.fork() == 0:
                os.close(writing)
                os.read(reading, 1)
                os._exit(0)
    finally:
        os.close(writing)


tried(
    "connect to the host's network", lambda: socket.create_connection(("127.0.0.1", JOB["port"]), 2).close()
)
tried("reach the host of a virtual machine", lambda: socket.socket(40, socket.SOCK_STREAM).close())
tried("read a file of the host", lambda: os.close(os.open(JOB["file"], os.O_RDONLY)))
for folder in JOB["folders"]:
    tried(f"write to {folder}", functools.partial(write, os.path.join(folder, "canary")))
tried("use more memory than allowed", lambda: bytearray(JOB["memory_mb"] * 1_000_000))
tried("start more processes than allowed", processes)
with open("/proc/self/status") as file:
    status = dict(line.split(":", 1) for line in file.read().splitlines() if ":" in line)
for name, wanted in (("CapEff", 0), ("CapPrm", 0), ("NoNewPrivs", 1), ("Seccomp", 2)):
    if int(status[name], 16) != wanted:
        could.append(f"keep rights ({name} is {status[name].strip()})")
if os.getuid() == 0:
    could.append("be root")
with open("canary", "w") as file:  # the scratch folder is there
    file.write("x")
sys.stdout.write(json.dumps(could))
