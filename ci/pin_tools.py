"""Pin requirements/tools.in with hashes as requirements/tools.txt.

    python ci/pin_tools.py

PyTorch and what its CUDA builds bring are left out: CI first installs a CPU build of the version that tools.in names,
then the rest with `uv pip install --no-deps --require-hashes`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"
_GPU = re.compile(r"^(?:torch|triton|nvidia-[\w-]+|cuda-[\w-]+)==", re.MULTILINE)


def compiled(left_out: list[str]) -> str:
    """The pinned requirements, without the packages that are left out."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--generate-hashes", "--no-header"),
            *("--no-annotate", "--no-emit-index-url", "--no-emit-find-links", "--no-config"),
            *("--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"),
            *("--override", str(REQUIREMENTS / "overrides.txt"), str(REQUIREMENTS / "tools.in")),
            *(word for name in left_out for word in ("--no-emit-package", name)),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def main() -> None:
    """Write requirements/tools.txt."""
    gpu = [found.removesuffix("==") for found in _GPU.findall(compiled([]))]
    text = compiled(gpu)
    left = _GPU.findall(text)
    assert not left, left
    (REQUIREMENTS / "tools.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
