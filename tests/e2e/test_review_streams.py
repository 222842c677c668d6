"""The exit code is the verdict, whatever became of the terminal, the pipe or the user's own code."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import pytest

from tests.e2e.conftest import Project


def shell(project: Project, command: str) -> subprocess.CompletedProcess[str]:
    """A line as a shell runs it, `evalharness` being this one."""
    own = f"{shlex.quote(sys.executable)} -m evalharness"
    return subprocess.run(
        ["bash", "-c", command.replace("evalharness", own)],
        cwd=project.root,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("streams", "code"),
    [
        (">&-", 1),
        ("2>&-", 1),
        (">&- 2>&- <&-", 1),
        ("2>/dev/full", 1),
        (">/dev/full", 2),  # what was asked for could not be handed over
        ("--json | true; exit ${PIPESTATUS[0]}", 1),
        ("2>&1 >/dev/null | true; exit ${PIPESTATUS[0]}", 1),
    ],
)
def test_closed_and_full_streams(project: Project, streams: str, code: int) -> None:
    project.binary(200, 20, 0)
    done = shell(project, f"evalharness compare base.yaml cand.yaml --out out {streams}")
    assert done.returncode == code, done.stderr
    assert "defect" not in done.stderr and "Traceback" not in done.stderr


def test_a_closed_stderr_does_not_put_errors_among_the_product(project: Project) -> None:
    done = shell(project, "evalharness run no.yaml --json 2>&-")
    assert (done.returncode, done.stdout) == (2, "")
    refused = shell(project, "evalharness compare no.yaml no.yaml --json 2>&-")
    assert refused.returncode == json.loads(refused.stdout)["exit_code"] == 4


def test_a_working_directory_that_is_gone(project: Project) -> None:
    done = shell(project, "mkdir gone; cd gone; rmdir ../gone; evalharness validate x.yaml")
    assert done.returncode == 2
    assert "working directory" in done.stderr


@pytest.mark.parametrize("where", ["", "    "])
def test_sys_exit_in_the_users_own_code_is_no_verdict(project: Project, where: str) -> None:
    project.binary(200, 0, 0)
    project.write("app.py", f"import sys\n\ndef answer(case):\n    pass\n{where}sys.exit(0)\n")
    project.write("cand.yaml", "name: app\nsuite: ./suite.yaml\nprovider: python\ntarget: app:answer\n")
    assert project.process("compare", "base.yaml", "cand.yaml").code not in (0, 1)


@pytest.mark.parametrize("line", ["print('hello')", "import sys; sys.stdout.close()"])
def test_what_the_users_own_code_prints_is_not_the_product(project: Project, line: str) -> None:
    project.binary(150, 0, 0)
    project.candidate("base", [{"id": f"q{i}", "output": f"t{i}"} for i in range(150)])
    project.write("app.py", f"def answer(case):\n    {line}\n    return 't' + case['id'][1:]\n")
    project.write("cand.yaml", "name: app\nsuite: ./suite.yaml\nprovider: python\ntarget: app:answer\n")
    done = project.process("compare", "base.yaml", "cand.yaml", "--json", check=0)
    assert json.loads(done.out)["verdict"] == "pass"
