"""Which sandbox this machine has: found once, and believed only after a program in it failed to get out."""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from evalharness.sandbox.bubblewrap import Bubblewrap
from evalharness.sandbox.docker import Docker, is_image
from evalharness.sandbox.limits import Finished, Limits, Program, SandboxFailedError, SandboxUnavailableError
from evalharness.sandbox.process import Backend, run

_CANARY: Final = Path(__file__).with_name("_canary.py")
_LIMITS: Final = Limits(cpu_s=5, wall_s=20.0, memory_mb=256, processes=8, scratch_mb=1)
_FOLDERS: Final = ("/", "/dev", "/dev/shm", "/etc", "/proc", "/root", "/run", "/tmp", "/usr/lib", "/var/tmp")
_INSTALL: Final = (
    "install bubblewrap 0.7 or newer (apt-get install bubblewrap; dnf install bubblewrap) or name an image "
    "(docker: python:3.12-slim)"
)
_NAMESPACES: Final = (
    "; the system must let this user make namespaces (docs/code.md says how), or name an image "
    "(docker: python:3.12-slim)"
)


def find_sandbox(docker: str | None = None) -> Backend:
    """The sandbox to run programs in. Tried once a process, then remembered.

    Args:
        docker: the image to run them in, where containers of Docker are wanted; None: bubblewrap.

    Raises:
        SandboxUnavailableError: none that contains; says why and what to do. There is no other way to run a program.
    """
    if docker is None:
        found = _bubblewrap(shutil.which("bwrap"))
    elif is_image(docker):
        found = _docker(shutil.which("docker"), docker)
    else:
        found = f"{docker!r} is not the name of an image"
    if isinstance(found, str):
        raise SandboxUnavailableError(f"code is only run in a sandbox, and there is none: {found}")
    return found


@functools.cache
def _bubblewrap(path: str | None) -> Backend | str:
    if sys.platform != "linux":
        return "bubblewrap needs Linux; name an image (docker: python:3.12-slim)"
    if path is None:
        return f"bubblewrap is not installed; {_INSTALL}"
    whys = []
    for backend in _ways(path):
        why = escapes(backend)
        if why is None:
            return backend
        whys.append(f"as {backend.rights}: {why}")
    return f"{path} does not contain programs here ({'; '.join(whys)}){_NAMESPACES}"


def _ways(path: str) -> Iterator[Bubblewrap]:
    if os.geteuid() == 0:
        yield Bubblewrap(path, "root")
        yield Bubblewrap(path, "nobody")
    yield Bubblewrap(path, "user")


@functools.cache
def _docker(path: str | None, image: str) -> Backend | str:
    if path is None:
        return "docker is not installed, and the suite names an image for it"
    backend = Docker(path, image)
    why = backend.refusal() or escapes(backend)
    return backend if why is None else f"{why} (image {image}; get it with: docker pull {image})"


def escapes(backend: Backend) -> str | None:
    """What a program in this sandbox could do that it must not, in words; None when it is contained."""
    with socket.create_server(("127.0.0.1", 0)) as server, tempfile.NamedTemporaryFile() as file:
        os.chmod(file.name, 0o644)
        job = {
            "port": server.getsockname()[1],
            "file": file.name,
            "folders": [
                *_FOLDERS,
                str(Path(file.name).parent),
                str(Path(os.__file__).parent),
                str(Path.cwd()),
            ],
            "processes": _LIMITS.processes,
            "memory_mb": _LIMITS.memory_mb,
        }
        try:
            ended = run(backend, Program(main=_CANARY.read_text(encoding="utf-8"), job=job), _LIMITS)
        except SandboxFailedError as error:
            return str(error)
    if not isinstance(ended, Finished) or ended.code:
        said = ended.stderr.decode("utf-8", "replace").strip().splitlines()
        return (
            f"a harmless program did not end well there ({said[-1][:300] if said else type(ended).__name__})"
        )
    try:
        could = json.loads(ended.stdout)
    except ValueError:
        return "a harmless program could not be understood there"
    return f"a program could {', '.join(map(str, could))}" if could else None
