"""Links lead somewhere, and documents name nothing of the machine they were written on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import ROOT, documents, read, without_fences

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FRAGMENT = re.compile(r"[a-z0-9-]+\.(added|changed|fixed)\.md")
_FORBIDDEN = re.compile(
    r"/(work|root|home/[a-z]+|tmp|Users)/|\b[A-Za-z]:\\|pypi\.org|files\.pythonhosted|test\.pypi"
    r"|artifactory|nexus|index-url \S*://|localhost:\d{5}",
    re.IGNORECASE,
)


def anchors(path: Path) -> set[str]:
    """Anchors of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", without_fences(path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", documents(), ids=lambda p: str(p.relative_to(ROOT)))
def test_links_resolve(path: Path) -> None:
    wrong = []
    for link in _LINK.findall(without_fences(path.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    assert not wrong


@pytest.mark.parametrize("path", documents(), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_machine_paths_and_no_registry_hosts(path: Path) -> None:
    assert not _FORBIDDEN.findall(path.read_text(encoding="utf-8"))


def test_every_document_can_be_reached_from_the_readme() -> None:
    readme = read("README.md")
    for path in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{path.name})" in readme, path.name


def test_changes_are_one_line_each_and_named_by_kind() -> None:
    fragments = [p for p in (ROOT / "docs/changes").iterdir() if p.name != "README.md"]
    for path in fragments:
        assert _FRAGMENT.fullmatch(path.name), path.name
        text = path.read_text(encoding="utf-8")
        assert text.strip() and text.count("\n") == 1, path.name


def test_decisions_are_numbered_without_gaps_and_have_their_parts() -> None:
    paths = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert [p.name[:3] for p in paths] == [f"{n:03}" for n in range(1, len(paths) + 1)]
    for path in paths:
        text = path.read_text(encoding="utf-8")
        titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        assert titles[0].startswith(path.name[:3] + " "), path.name
        assert titles[1:] == ["Context", "Decision", "Consequences"], path.name


def test_the_version_to_pin_is_the_version() -> None:
    version = re.search(r'^version = "(.+)"$', read("pyproject.toml"), re.MULTILINE)
    assert version is not None
    assert f"pip install evalharness=={version[1]}" in read("README.md")
