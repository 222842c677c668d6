"""First step of the action: refuse a stranger's code, check the inputs, install this tool from the action's own commit.

    python -I ci/action/install.py            inputs from INPUT_…; sets `command`, `cache-key`, `cache-save`
    python -I ci/action/install.py --only     installs, and puts the command on the PATH of the steps that follow

Needs nothing but Python: this runs before anything is installed, and `-I` keeps the checkout off the import path.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - whatever python is on the PATH runs this
    print(f"::error title=evalharness::Python {sys.version.split()[0]} is too old; set up 3.11 or newer")
    raise SystemExit(2)

import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import tomllib
import venv
from pathlib import Path

ACTION = Path(__file__).resolve().parent
ROOT = ACTION.parents[1]
sys.path.insert(0, str(ROOT))

from evalharness.errors import EvalHarnessError, UsageError  # noqa: E402
from evalharness.github.guard import SECRET_EVENTS, refuse_stranger  # noqa: E402
from evalharness.github.job import NAME  # noqa: E402

YES_OR_NO = ("artifact", "cache", "comment", "install")


def main(arguments: list[str]) -> int:
    try:
        refuse_stranger(os.environ, Path.cwd())
        if arguments == ["--only"]:
            append("GITHUB_PATH", str(Path(install()).parent) + "\n")
            return 0
        check_inputs()
        command = install() if given("install") == "true" else on_path()
        check_version(command)
    except EvalHarnessError as error:
        print(f"::error title=evalharness::{one_line(str(error))}")
        return 2
    outputs({"command": command, **cache_key()})
    return 0


def given(name: str) -> str:
    return os.environ.get("INPUT_" + name.upper().replace("-", "_"), "").strip()


def check_inputs() -> None:
    """Raises: UsageError: every input that is wrong."""
    wrong = []
    for name in ("base", "candidate", "report"):
        if not given(name):
            wrong.append(f"`{name}` is missing")
    for name in YES_OR_NO:
        if given(name) not in ("true", "false"):
            wrong.append(f"`{name}` is {given(name)!r}; give 'true' or 'false'")
    if given("on-inconclusive") not in ("failure", "neutral"):
        wrong.append(f"`on-inconclusive` is {given('on-inconclusive')!r}; give 'failure' or 'neutral'")
    if not NAME.fullmatch(given("name")):
        wrong.append(f"`name` is {given('name')!r}; take letters, digits, '.', '_' and '-', at most 60")
    if not re.fullmatch(r"\d{1,2}", given("annotations")):
        wrong.append(f"`annotations` is {given('annotations')!r}; give a number, 0 for none")
    if wrong:
        raise UsageError("inputs of the action: " + "; ".join(wrong))


def install() -> str:
    """The command, in an environment of its own: dependencies by hash, this tool from the action's own commit.

    Raises:
        UsageError: it cannot be installed.
    """
    place = (
        Path(os.environ.get("RUNNER_TEMP") or ".").resolve()
        / f"evalharness-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]}"
    )
    folder = place / ("Scripts" if os.name == "nt" else "bin")
    command = folder / ("evalharness.exe" if os.name == "nt" else "evalharness")
    if command.exists():  # the action ran before in this job
        return str(command)
    venv.create(place, with_pip=True, clear=True)
    python = str(folder / Path(sys.executable).name)
    if not Path(python).exists():
        python = str(folder / ("python.exe" if os.name == "nt" else "python"))
    pip = [python, "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # No source distribution is built: one would run code whose own build requirements have no hash.
    pinned = [*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(ACTION / "requirements.txt")]
    for argv in (pinned, [*pip, "--no-deps", "--no-build-isolation", str(ROOT)]):
        done = subprocess.run(argv, check=False)
        if done.returncode != 0:
            raise UsageError("this tool could not be installed; pip says why above")
    return str(command)


def on_path() -> str:
    """Raises: UsageError: no `evalharness` is installed."""
    found = shutil.which("evalharness")
    if found is None:
        raise UsageError("`install` is false and no evalharness is on the PATH; install it in a step before")
    return str(Path(found).absolute())


def check_version(command: str) -> None:
    """Raises: UsageError: `version` names another one."""
    wanted = given("version")
    if not wanted:
        return
    if given("install") == "true":
        have = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    else:
        done = subprocess.run([command, "--version"], check=False, capture_output=True, text=True)
        have = done.stdout.split()[-1] if done.stdout.split() else "unknown"
    if have != wanted:
        raise UsageError(
            f"`version` is {wanted!r}, and this is {have}; the tool comes with the action, so pin the action's commit "
            "of that version"
        )


def cache_key() -> dict[str, str]:
    """How stored runs and answers are found again, and whether this job may store them.

    A job that a stranger causes may run for the default branch, whose cache every branch reads: it stores nothing.
    """
    event = os.environ.get("GITHUB_EVENT_NAME", "")
    key = f"evalharness-1-{os.environ.get('RUNNER_OS', 'any')}-{given('name')}-"
    wanted = given("cache") == "true" and event not in SECRET_EVENTS
    return {"cache-key": key, "cache-save": json.dumps(wanted)}


def outputs(values: dict[str, str]) -> None:
    for name, value in values.items():
        mark = secrets.token_hex(16)
        append("GITHUB_OUTPUT", f"{name}<<{mark}\n{value}\n{mark}\n")


def append(variable: str, text: str) -> None:
    with Path(os.environ[variable]).open("a", encoding="utf-8") as file:
        file.write(text)


def one_line(text: str) -> str:
    return " ".join(text.split()).replace("%", "%25")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
