"""Install each extra in an environment of its own and import what it brings; then all of them together.

    python ci/extras.py            every extra
    python ci/extras.py text rag   these

A heavy check (gigabytes of downloads): for a scheduled job and for a person, not for every commit.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

IMPORTS = {
    "benchmarks": ["lm_eval", "inspect_ai"],
    "rag": ["ragas", "ragas.metrics.collections"],
    "text": ["evaluate", "rouge_score", "sacrebleu", "bert_score", "sklearn"],
    "retrieval": ["ranx"],
    "stats": ["statsmodels", "pandas"],
    "local": ["transformers", "torch", "peft", "accelerate"],
    "train": ["trl", "peft", "datasets"],
    "traffic": ["duckdb"],
    "ray": ["ray"],
}
NEEDS_TORCH = {"text", "local", "train", "all"}


def check(extra: str, modules: list[str]) -> bool:
    """Install one extra in a fresh environment and import its modules. True when all imported."""
    with tempfile.TemporaryDirectory(prefix="extra-") as folder:
        python = str(Path(folder) / "bin" / "python")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "uv"], check=True)
        uv = [python, "-m", "uv", "pip", "install", "--quiet", "--python", python]
        if extra in NEEDS_TORCH:
            subprocess.run([*pip, "torch==2.13.0"], check=True)
        overrides = Path(folder) / "overrides.txt"
        overrides.write_text("jiter>=0.16\n", encoding="utf-8")
        done = subprocess.run([*uv, "--override", str(overrides), f"{ROOT}[{extra}]"], check=False)
        if done.returncode != 0:
            print(f"{extra}: does not install", flush=True)
            return False
        imports = "; ".join(f"import {name}" for name in ["evalharness.api", *modules])
        done = subprocess.run([python, "-W", "ignore", "-c", imports], check=False, cwd=folder)
        print(f"{extra}: {'ok' if done.returncode == 0 else 'does not import'}", flush=True)
        return done.returncode == 0


def main() -> int:
    """Check the extras named on the command line, all of them by default."""
    wanted = sys.argv[1:] or [*IMPORTS, "all"]
    everything = [name for names in IMPORTS.values() for name in names]
    results = [check(extra, IMPORTS.get(extra, everything)) for extra in wanted]
    return 0 if all(results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
