"""What the documents tell a reader to write works as written."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import pytest
from support import ROOT, documents, evalharness, files_in, read, write_files

WITH_FILES = [
    p for p in documents() if any(n.endswith(".yaml") for n in files_in(p.read_text(encoding="utf-8")))
]
PLUGINS = "docs/plugins.md"


def test_documents_hold_examples() -> None:
    names = {str(p.relative_to(ROOT)) for p in WITH_FILES}
    assert {"README.md", "docs/providers.md", PLUGINS} <= names


# files.md is the matter of tests/spec, plugins.md of the tests below.
@pytest.mark.parametrize(
    "path", [p for p in WITH_FILES if p.name not in ("plugins.md", "files.md")], ids=lambda p: p.name
)
def test_example_files_validate(path: Path, tmp_path: Path) -> None:
    written = write_files(path.read_text(encoding="utf-8"), tmp_path)
    # a file of rules is a scorer's parameter: the suite that names it has it checked
    given = [
        str(p.relative_to(tmp_path))
        for p in written
        if p.suffix == ".yaml" and not p.name.endswith(".rules.yaml")
    ]
    if given:
        done = evalharness("validate", *given, cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_the_providers_page_shows_every_provider(tmp_path: Path) -> None:
    shown = {
        line.removeprefix("provider: ").split()[0]
        for text in files_in(read("docs/providers.md")).values()
        for line in text.splitlines()
        if line.startswith("provider: ")
    }
    assert shown >= {"openai", "vllm", "anthropic", "transformers", "python", "replay"}


def test_the_readme_example_decides_once_answers_are_there(tmp_path: Path) -> None:
    """Its two candidates, with recordings in place of the endpoint."""
    write_files(read("README.md"), tmp_path)
    for name, answers in (("base", ("question", "complaint")), ("candidate", ("question", "question"))):
        rows = [{"id": f"mail-{i + 1}", "output": text} for i, text in enumerate(answers)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        text = (tmp_path / f"{name}.yaml").read_text().split("provider:")[0]
        (tmp_path / f"{name}.yaml").write_text(f"{text}provider: replay\noutputs: ./{name}.jsonl\n")
    done = evalharness("compare", "base.yaml", "candidate.yaml", "--json", cwd=tmp_path)
    verdict = json.loads(done.stdout)
    # mail-2 is critical, passed and now fails.
    assert (done.returncode, verdict["verdict"], verdict["critical_failures"]) == (
        1,
        "regression",
        ["mail-2"],
    )


def test_the_rag_function_of_the_providers_page_answers(tmp_path: Path) -> None:
    write_files(read("docs/providers.md"), tmp_path)
    write_files(read("README.md"), tmp_path)
    done = evalharness("run", "python.yaml", "--suite", "suite.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    assert manifest["coverage"]["scored"] == 2
    attempts = (tmp_path / manifest["folder"] / "attempts.jsonl").read_text()
    assert "Parcels arrive within five days." in attempts


@pytest.fixture
def installed(tmp_path: Path) -> tuple[Path, Path]:
    """The package of docs/plugins.md as an installation leaves it: (project folder, site folder)."""
    project, site = tmp_path / "project", tmp_path / "site"
    project.mkdir()
    write_files(read(PLUGINS), project)
    about = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    site.mkdir()
    shutil.move(project / "acme_evals.py", site)
    info = site / f"acme_evals-{about['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n"
    )
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in names.items())
        for group, names in about["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))
    return project, site


def test_the_plugins_are_listed_and_not_imported(installed: tuple[Path, Path]) -> None:
    project, site = installed
    (site / "acme_evals.py").write_text("raise RuntimeError('imported')\n")
    done = evalharness("plugins", "--json", cwd=project, path=site)
    assert done.returncode == 0, done.stderr
    found = {(e["kind"], e["name"]): e["origin"] for e in json.loads(done.stdout)}
    assert found["scorers", "word_limit"] == "acme-evals 1.0"
    assert found["providers", "keywords"] == "acme-evals 1.0"


def test_the_plugins_answer_and_score(installed: tuple[Path, Path]) -> None:
    project, site = installed
    done = evalharness("validate", "keywords.yaml", "suite.yaml", cwd=project, path=site)
    assert done.returncode == 0, done.stderr
    done = evalharness("run", "keywords.yaml", "--json", "--quiet", cwd=project, path=site)
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    counts = manifest["coverage"]
    assert counts["planned"] == counts["scored"] > 100
    rows = (project / manifest["folder"] / "scores.jsonl").read_text().splitlines()
    assert json.loads(rows[0])["scores"]["routing/word_limit"]["detail"] == {"words": 1}
    assert {p["origin"] for p in manifest["plugins"]} == {"acme-evals 1.0", "evalharness"}


def test_bad_parameters_of_a_plugin_are_told_with_file_and_line(installed: tuple[Path, Path]) -> None:
    project, site = installed
    suite = project / "suite.yaml"
    suite.write_text(suite.read_text().replace("most: 3", "most: 0"))
    done = evalharness("validate", "suite.yaml", cwd=project, path=site)
    assert done.returncode == 2
    assert "suite.yaml:7: word_limit: most must be at least 1" in done.stderr
