"""The wheel, installed where there is no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the built wheel and nothing of the checkout; its dependencies are the test environment's."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    environment = folder / "venv"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    subprocess.run(
        [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
            "--disable-pip-version-check",
            str(wheel),
        ],
        check=True,
        capture_output=True,
    )
    site = next((environment / "lib").glob("python*/site-packages"))
    libraries = next(p for p in sys.path if p.endswith("site-packages"))
    # after the wheel's own folder, so that the package can only come from the wheel
    (site / "zz_libraries.pth").write_text(libraries + "\n", encoding="utf-8")
    return environment / "bin" / "evalharness"


def run(command: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [str(command), *arguments], cwd=cwd, capture_output=True, text=True, timeout=120, env=clean
    )


def test_the_embedded_example_runs_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    done = run(
        installed, tmp_path, "compare", "examples/support-desk/base.yaml", "examples/support-desk/candidate.yaml",
        "--out", "out",
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "REGRESSION" in done.stdout
    assert (tmp_path / "out" / "report.html").exists()


def test_init_and_compare_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    assert run(installed, tmp_path, "init", "mine").returncode == 0
    done = run(installed, tmp_path / "mine", "compare", "base.yaml", "candidate.yaml")
    assert done.returncode in (0, 1, 3), done.stdout + done.stderr
    assert run(installed, tmp_path / "mine", "validate", "base.yaml", "candidate.yaml").returncode == 0


def test_judges_that_ship_are_found_by_name(installed: Path, tmp_path: Path) -> None:
    names = ("helpfulness-pairwise", "correctness-pointwise", "groundedness", "safety")
    done = run(installed, tmp_path, "validate", *(f"judges/{name}" for name in names))
    assert done.returncode == 0, done.stdout + done.stderr
    assert run(installed, tmp_path, "init", ".").returncode == 0
    suite = tmp_path / "suite.yaml"
    text = suite.read_text(encoding="utf-8")
    assert "# judge: ./judge " in text
    suite.write_text(text.replace("# judge: ./judge ", "judge: judges/safety "), encoding="utf-8")
    done = run(installed, tmp_path, "validate", "base.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_comes_from_the_wheel_with_types_and_without_models(installed: Path, tmp_path: Path) -> None:
    code = "import evalharness, pathlib; print(pathlib.Path(evalharness.__file__).parent)"
    package = Path(run(installed.parent / "python", tmp_path, "-c", code).stdout.strip())
    assert ROOT not in package.parents
    assert (package / "py.typed").exists()
    assert {p.name for p in (package / "_content").iterdir()} >= {
        "golden_sets",
        "suites",
        "judges",
        "examples",
    }
    assert not [p for p in package.rglob("*") if p.suffix in (".safetensors", ".bin", ".pt")]


def test_every_extra_of_the_design_is_there_and_all_holds_what_installs_together() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert set(extras) == {
        "benchmarks", "rag", "text", "retrieval", "contamination", "stats", "local", "vllm", "train", "traffic",
        "parquet", "otel", "mlflow", "wandb", "remote", "ray", "all",
    }  # fmt: skip


def test_pinned_requirements_carry_hashes_and_no_addresses() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text(encoding="utf-8")
        assert "://" not in text and "--index" not in text, path
        if path.name != "overrides.txt":
            names = [line for line in text.splitlines() if "==" in line]
            assert names and text.count("--hash=sha256:") >= len(names)
