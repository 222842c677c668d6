"""The pytest plugin, by pytest itself in a process of its own, as a user's project runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.e2e.conftest import Project

INI = "[pytest]\naddopts = -p no:cacheprovider --strict-markers\n"
TESTS = """
import pytest

def gate(candidate, base="base.yaml", **more):
    return pytest.mark.evalharness(base=base, candidate=candidate, **more)

@gate("cand.yaml", suite="suite.yaml", out="gate-report")
def test_regression():
    raise RuntimeError("a candidate that got worse needs no body")

@gate("same.yaml")
def test_same(evalharness_verdict):
    print("body", evalharness_verdict.outcome)

@gate("same.yaml")
def test_same_again_with_a_body_that_fails(evalharness_verdict):
    assert evalharness_verdict.comparison.metrics[0].estimate.n == 0

@gate("unsure.yaml")
def test_inconclusive(): pass

@gate("unsure.yaml", suite="lenient.yaml")
def test_inconclusive_let_through(): pass

@gate("missing.yaml")
def test_no_candidate(): pass

@gate("cand.yaml", base="missing.yaml")
def test_no_baseline(): pass

@gate("cand.yaml", sute="x")
def test_misspelt(): pass

@gate("cand.yaml")
@gate("same.yaml")
def test_two(): pass

@gate("down.yaml")
def test_provider(): pass

@gate("broken.yaml")
def test_too_many_failures(): pass

def test_no_mark(evalharness_verdict): pass

@pytest.mark.skip
@gate("missing.yaml")
def test_skipped(): pass

@pytest.mark.xfail(strict=True)
@gate("cand.yaml")
def test_known_to_fail(): pass
"""
HEAVY = (
    "numpy",
    "scipy",
    "pydantic",
    "yaml",
    "jinja2",
    "rich",
    "click",
    "openai",
    "anthropic",
    "torch",
    "duckdb",
)


def pytest_of(root: Path, *arguments: str, plugins: str = "evalharness") -> subprocess.CompletedProcess[str]:
    """pytest with these plugins and no other that happens to be installed: starting those takes longer than a test."""
    named = [word for name in plugins.split() for word in ("-p", name)]
    more = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "", "COLUMNS": "200", "TEST_KEY": "any"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *named, "-W", "error", *arguments],
        cwd=root, capture_output=True, text=True, timeout=120, env={**os.environ, **more},
    )  # fmt: skip


def outcomes(report: Path) -> dict[str, str]:
    """Test → its outcome as JUnit names it; "error" is of the setup."""
    return {
        case.attrib["name"]: next((c.tag for c in case if c.tag in ("failure", "error", "skipped")), "pass")
        for case in ET.parse(report).iter("testcase")
    }


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a regression, an unchanged candidate, one nobody can tell about, and what cannot be compared."""
    project = Project(tmp_path_factory.mktemp("user"))
    project.binary(100, 12, 0)
    base = [{"id": f"q{i}", "output": f"t{i}" if i < 12 or (i - 12) % 5 else "wrong"} for i in range(100)]
    project.candidate("same", base)
    wrong, right = ("q0", "q1", "q2", "q3", "q4"), ("q12", "q17")
    project.candidate(
        "unsure",
        [
            {
                **row,
                "output": "no" if row["id"] in wrong else f"t{i}" if row["id"] in right else row["output"],
            }
            for i, row in enumerate(base)
        ],
    )
    lenient = (project.root / "suite.yaml").read_text() + "gate: {on_inconclusive: warn}\n"
    project.write("lenient.yaml", lenient)
    project.candidate("broken", [{"id": "q0", "output": "t0"}])
    project.write(
        "down.yaml",
        "name: down\nsuite: ./suite.yaml\nprovider: openai\nmodel: m\nbase_url: http://127.0.0.1:9/v1\n"
        "api_key_env: TEST_KEY\nlimits: {max_retries: 0, timeout_s: 2}\n",
    )
    project.write("pytest.ini", INI)
    project.write("below/test_models.py", TESTS)
    return project


@pytest.fixture(scope="module")
def ran(user: Project) -> tuple[dict[str, str], str]:
    """One run of them all, from a folder below rootdir."""
    done = pytest_of(user.root / "below", f"--junitxml={user.root}/junit.xml", "-rP")
    assert done.returncode == 1 and "internal" not in done.stdout.lower(), done.stdout + done.stderr
    return outcomes(user.root / "junit.xml"), done.stdout


def test_a_regression_fails_with_its_reasons_and_cases(
    user: Project, ran: tuple[dict[str, str], str]
) -> None:
    found, said = ran
    assert found["test_regression"] == "failure"
    assert "regression: cand against base on project (exit 1)" in said
    assert "qa/exact_match regressed" in said
    assert "12 regressed cases: q0, q1, q2, q3, q4, q5, q6, q7, q8, q9 and 2 more" in said
    assert "needs no body" not in said and "pytest_plugin.py" not in said
    assert (user.root / "gate-report/report.html").exists()
    assert 'name="evalharness_verdict" value="regression"' in (user.root / "junit.xml").read_text()


def test_the_body_runs_where_nothing_speaks_against_the_candidate(ran: tuple[dict[str, str], str]) -> None:
    found, said = ran
    assert found["test_same"] == "pass" and "body pass" in said
    assert found["test_same_again_with_a_body_that_fails"] == "failure"


def test_marks_that_skip_come_first_and_xfail_holds(ran: tuple[dict[str, str], str]) -> None:
    assert ran[0]["test_skipped"] == "skipped" and ran[0]["test_known_to_fail"] == "skipped"
    assert "1 xfailed" in ran[1] and "1 skipped" in ran[1]


def test_what_cannot_be_compared_is_an_error_and_not_a_failure(ran: tuple[dict[str, str], str]) -> None:
    found, said = ran
    for name in (
        "no_candidate",
        "no_baseline",
        "misspelt",
        "two",
        "provider",
        "too_many_failures",
        "no_mark",
    ):
        assert found[f"test_{name}"] == "error", name
    for text in (
        "exit 2: ",
        "missing.yaml",
        "exit 4: there is no baseline",
        "unknown sute",
        "test_two: more than one",
        "invalid: broken",
    ):
        assert text in said
    assert "evalharness_verdict needs @pytest.mark.evalharness" in said


def test_what_a_verdict_that_passes_warns_of_is_shown(user: Project, ran: tuple[dict[str, str], str]) -> None:
    assert ran[0]["test_inconclusive_let_through"] == "pass"
    shown = ran[1].split("= evalharness warnings =")[1]
    assert (
        "::test_inconclusive_let_through\n  unsure against base: NOT BLOCKED, because on_inconclusive is warn"
        in shown
    )
    assert "::test_same\n  same against base: qa/exact_match is underpowered" in shown
    quiet = pytest_of(user.root, "-k", "test_skipped")
    assert "evalharness warnings" not in quiet.stdout


def test_paths_start_at_rootdir_wherever_pytest_runs(user: Project, ran: tuple[dict[str, str], str]) -> None:
    assert (user.root / ".evalharness/runs").is_dir()
    assert [path.name for path in (user.root / "below").iterdir() if path.suffix] == ["test_models.py"]


def test_an_inconclusive_comparison_does_what_the_setting_says(
    user: Project, ran: tuple[dict[str, str], str]
) -> None:
    assert ran[0]["test_inconclusive"] == "failure" and "inconclusive: unsure against base" in ran[1]
    report = user.root / "skipped.xml"
    asked = (
        "-k",
        "inconclusive and not let",
        "-o",
        "evalharness_on_inconclusive=skip",
        f"--junitxml={report}",
    )
    done = pytest_of(user.root, "-rs", *asked)
    assert done.returncode == 0 and outcomes(report) == {"test_inconclusive": "skipped"}
    assert "inconclusive: unsure against base" in done.stdout


def test_xdist_workers_report_the_same_verdicts(user: Project, ran: tuple[dict[str, str], str]) -> None:
    pytest.importorskip("xdist")
    report = user.root / "workers.xml"
    asked = ("-n", "2", "-k", "same or regression", f"--junitxml={report}")
    pytest_of(user.root, *asked, plugins="xdist evalharness")
    found = outcomes(report)
    assert len(found) == 3 and found == {name: ran[0][name] for name in found}


def test_a_setting_that_means_nothing_is_refused(user: Project) -> None:
    done = pytest_of(user.root, "-o", "evalharness_on_inconclusive=maybe")
    assert done.returncode == 4 and "choose one of fail, skip" in done.stderr


def test_a_project_without_comparisons_pays_nothing(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text(INI)
    (tmp_path / "test_plain.py").write_text(
        "import sys\n\ndef test_modules():\n    print('LOADED', *sorted(sys.modules))\n"
    )

    def loaded(plugins: str) -> set[str]:
        done = pytest_of(tmp_path, "-s", plugins=plugins)
        assert done.returncode == 0, done.stdout + done.stderr
        return set(
            next(line for line in done.stdout.splitlines() if "LOADED" in line).split("LOADED")[1].split()
        )

    more = loaded("evalharness") - loaded("")
    assert {name for name in more if name.startswith("evalharness")} == {
        "evalharness",
        "evalharness.pytest_plugin",
    }
    assert not [name for name in HEAVY if name in more] and len(more) <= 10
