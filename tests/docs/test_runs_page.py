"""docs/runs.md on baselines of the user's own program: new answers never replace what they are compared with."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import evalharness, read, write_files


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A program that answers right, its baseline stored; then what it imports changes, unseen by its digest."""
    write_files(read("README.md"), tmp_path)
    (tmp_path / "app.yaml").write_text(
        "name: app\nsuite: ./suite.yaml\nprovider: python\ntarget: app:answer\n"
    )
    (tmp_path / "app.py").write_text("from rules import answer\n")
    (tmp_path / "rules.py").write_text(
        "def answer(case):\n    return ['question', 'complaint'][int(case['id'][-1]) - 1]\n"
    )
    assert evalharness("run", "app.yaml", "-q", cwd=tmp_path).returncode == 0
    (tmp_path / "rules.py").write_text("def answer(case):\n    return 'neither'\n")
    return tmp_path


def baseline(project: Path) -> str:
    (folder,) = (project / ".evalharness/runs").glob("app-*")
    return str(folder.relative_to(project))


def test_a_new_version_under_the_old_name_is_refused_and_the_baseline_kept(project: Path) -> None:
    before = (project / baseline(project) / "attempts.jsonl").read_bytes()
    for _ in range(2):
        done = evalharness("compare", baseline(project), "app.yaml", "-q", cwd=project)
        assert done.returncode == 2
        assert "give this version another `name`" in done.stderr
    assert (project / baseline(project) / "attempts.jsonl").read_bytes() == before


def test_a_new_version_under_its_own_name_regresses_every_time(project: Path) -> None:
    text = (project / "app.yaml").read_text()
    (project / "app-2.yaml").write_text(text.replace("name: app", "name: app-2"))
    stored = baseline(project)
    for _ in range(2):
        done = evalharness("compare", stored, "app-2.yaml", "-q", cwd=project)
        assert done.returncode == 1, done.stderr


def test_a_change_of_the_named_module_itself_is_another_candidate(project: Path) -> None:
    stored = baseline(project)
    (project / "app.py").write_text("def answer(case):\n    return 'neither'\n")
    for _ in range(2):
        done = evalharness("compare", stored, "app.yaml", "-q", cwd=project)
        assert done.returncode == 1, done.stderr


def test_a_report_whose_run_was_replaced_is_not_rendered_from_another(project: Path) -> None:
    done = evalharness("compare", "app.yaml", "app.yaml", "-q", "--out", "aa", cwd=project)
    assert done.returncode in (0, 3), done.stderr
    (project / "rules.py").write_text("def answer(case):\n    return case['input']\n")
    assert evalharness("run", "app.yaml", "-q", cwd=project).returncode == 0
    done = evalharness("report", "aa", cwd=project)
    assert done.returncode == 2
    assert "no longer those of the" in done.stderr
