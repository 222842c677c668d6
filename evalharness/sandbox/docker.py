"""The backend for whoever names an image: a fresh container of Docker's engine for each program.

The image must be there (nothing is downloaded) and hold `python3`, 3.9 or newer.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import uuid
from dataclasses import dataclass
from typing import Final

from evalharness.sandbox.bubblewrap import boot_arguments
from evalharness.sandbox.limits import ENVIRONMENT, MEGABYTE, SCRATCH, Limits, SandboxFailedError
from evalharness.sandbox.process import Started

_IMAGE: Final = re.compile(r"[a-z0-9][a-z0-9._/:@-]{0,254}", re.IGNORECASE)
_WAIT_S: Final = 20
_NOBODY: Final = "65534:65534"


def is_image(name: object) -> bool:
    """Whether this can be an image's name, and no option of the command line."""
    return isinstance(name, str) and _IMAGE.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Docker:
    """`path` is the program docker, `image` the name of an image, better with its digest."""

    path: str
    image: str

    @property
    def name(self) -> str:
        return f"docker ({self.image})"

    def refusal(self) -> str | None:
        """Why containers of the image cannot be made here; None when they can."""
        for words, why in (
            (("version", "--format", "{{.Server.Version}}"), "Docker's engine does not answer"),
            (("image", "inspect", "--format", "{{.Id}}", self.image), f"the image {self.image} is not here"),
        ):
            try:
                done = subprocess.run(
                    [self.path, *words],
                    check=False,
                    capture_output=True,
                    timeout=_WAIT_S,
                    stdin=subprocess.DEVNULL,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                return f"{why}: {error}"
            if done.returncode:
                lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
                return f"{why}: {lines[-1][:300] if lines else f'exit {done.returncode}'}"
        return None

    def start(self, limits: Limits, *, stdin: int, stdout: int, stderr: int) -> Started:
        """As `process.Backend.start`."""
        container = f"evalharness-{uuid.uuid4().hex}"
        try:
            popen = subprocess.Popen(
                self.command(limits, container),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,  # Ctrl-C reaches the harness, which then ends the container
            )
        except OSError as error:
            raise SandboxFailedError(f"{self.path} cannot be started: {error}") from error

        def kill() -> None:
            if popen.poll() is not None:
                return
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(
                    [self.path, "kill", container],
                    check=False,
                    capture_output=True,
                    timeout=_WAIT_S,
                    stdin=subprocess.DEVNULL,
                )
            with contextlib.suppress(ProcessLookupError):
                os.killpg(popen.pid, 9)

        return Started(popen, kill, None)

    def command(self, limits: Limits, container: str) -> list[str]:
        """The command line that runs one program in a container of this name."""
        size, memory = limits.scratch_mb * MEGABYTE, str(limits.memory_mb * MEGABYTE)
        environment = [
            word
            for name, value in ENVIRONMENT.items()
            if name != "PATH"
            for word in ("--env", f"{name}={value}")
        ]
        return [
            *(self.path, "run", "--rm", "--interactive", "--pull", "never", "--name", container),
            *("--network", "none", "--ipc", "none", "--hostname", "sandbox", "--log-driver", "none"),
            *("--read-only", "--tmpfs", f"{SCRATCH}:rw,nosuid,nodev,mode=1777,size={size}"),
            *("--user", _NOBODY, "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
            # the container's own first process is one of them
            *("--pids-limit", str(limits.processes), "--cpus", "1"),
            *("--memory", memory, "--memory-swap", memory),
            *("--workdir", SCRATCH, *environment, "--entrypoint", "python3", self.image),
            *boot_arguments(limits, uid=None),
        ]
