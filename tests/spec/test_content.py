"""Paths in files: where they are looked up, and where they may not lead."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalharness.content import PathPolicy, builtin_root
from evalharness.errors import SpecError


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    work = tmp_path / "work"
    (work / "sub").mkdir(parents=True)
    (work / "a.txt").write_text("cwd")
    (work / "sub" / "a.txt").write_text("sub")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("secret")
    return work


def refused(policy: PathPolicy, text: str, naming: Path) -> str:
    with pytest.raises(SpecError) as caught:
        policy.resolve(text, naming, line=7)
    return str(caught.value)


def test_dot_paths_are_relative_to_the_naming_file(cwd: Path) -> None:
    policy, naming = PathPolicy(cwd), cwd / "sub" / "f.yaml"
    assert policy.resolve("./a.txt", naming).read_text() == "sub"
    assert policy.resolve("../a.txt", naming).read_text() == "cwd"
    assert policy.resolve("a.txt", naming).read_text() == "cwd"
    assert policy.resolve(str(cwd / "a.txt"), naming).read_text() == "cwd"


def test_the_working_directory_comes_before_shipped_content(cwd: Path) -> None:
    root = builtin_root()
    assert root is not None
    policy, naming = PathPolicy(cwd), cwd / "f.yaml"
    name = "golden_sets/support-routing"
    assert policy.resolve(name, naming) == (root / name).resolve()
    (cwd / name).mkdir(parents=True)
    assert policy.resolve(name, naming) == (cwd / name).resolve()


def test_only_content_folders_are_shipped(cwd: Path) -> None:
    assert "does not exist" in refused(PathPolicy(cwd), "pyproject.toml", cwd / "f.yaml")


@pytest.mark.parametrize(
    "text", ["../../outside/secret.txt", "sub/../../outside/secret.txt", "../../outside/none.txt"]
)
def test_leaving_the_working_directory_is_refused(cwd: Path, text: str) -> None:
    message = refused(PathPolicy(cwd), text, cwd / "sub" / "f.yaml")
    assert message.startswith(f"{Path('sub/f.yaml')}:7: ")
    assert "leads out of the working directory" in message
    assert "--allow-path" in message


def test_absolute_paths_and_links_are_resolved_first(cwd: Path, tmp_path: Path) -> None:
    (cwd / "link.txt").symlink_to(tmp_path / "outside" / "secret.txt")
    (cwd / "linked").symlink_to(tmp_path / "outside")
    policy = PathPolicy(cwd)
    for text in (
        "link.txt",
        "./linked/secret.txt",
        "linked",
        str(tmp_path / "outside" / "secret.txt"),
        "/etc/passwd",
    ):
        assert "leads out" in refused(policy, text, cwd / "f.yaml")


def test_allowed_folders(cwd: Path, tmp_path: Path) -> None:
    policy = PathPolicy(cwd, (tmp_path / "outside",))
    assert policy.resolve("../outside/secret.txt", cwd / "f.yaml").read_text() == "secret"
    assert policy.resolve("./../outside/secret.txt", cwd / "f.yaml").read_text() == "secret"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.tx", "'a.tx' does not exist; did you mean a.txt"),
        ("./sub/b.txt", "did you mean ./sub/a.txt"),
        ("nowhere/a.txt", "there is no folder"),
        ("", "the path is empty"),
        ("a\0b", "control character"),
        ("~/x", "not expanded"),
        ("loop", "cannot be read"),
        ("x" * 5000, "cannot be read"),
    ],
)
def test_what_is_not_there(cwd: Path, text: str, message: str) -> None:
    (cwd / "loop").symlink_to(cwd / "loop")
    assert message in refused(PathPolicy(cwd), text, cwd / "f.yaml")


@pytest.mark.parametrize("text", ["", " "])
def test_an_argument_that_a_shell_left_empty_is_no_folder(cwd: Path, text: str) -> None:
    with pytest.raises(SpecError, match="an argument is empty"):
        PathPolicy(cwd=cwd).argument(text)


def test_arguments_may_lie_anywhere(cwd: Path, tmp_path: Path) -> None:
    policy = PathPolicy(cwd)
    assert policy.argument("../outside/secret.txt") == (tmp_path / "outside" / "secret.txt").resolve()
    with pytest.raises(SpecError, match=r"did you mean a\.txt"):
        policy.argument("a.text")
