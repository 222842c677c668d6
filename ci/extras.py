"""The extras: that they resolve, and that each installs and imports.

    python ci/extras.py --resolve      every extra by itself, and [all] beside [rag] (seconds, no install)
    python ci/extras.py                each installed in an environment of its own and imported (gigabytes)
    python ci/extras.py text rag       these only

[vllm] is resolved and not installed: its wheels need an NVIDIA GPU.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OVERRIDES = str(ROOT / "requirements" / "overrides.txt")

IMPORTS = {
    "benchmarks": ["lm_eval", "inspect_ai"],
    "rag": ["ragas", "ragas.metrics.collections"],
    "text": [
        "evaluate",
        "rouge_score",
        "sacrebleu",
        "bert_score",
        "sklearn",
        "nltk",
        "sentence_transformers",
    ],
    "retrieval": ["ranx", "sentence_transformers"],
    "contamination": ["datasketch", "pyarrow"],
    "stats": ["statsmodels", "pandas"],
    "local": ["transformers", "torch", "peft", "accelerate"],
    "train": ["trl", "peft", "datasets"],
    "remote": ["fsspec"],
    "traffic": ["duckdb"],
    "parquet": ["pyarrow.parquet"],
    "otel": ["opentelemetry.sdk._logs", "opentelemetry.exporter.otlp.proto.http._log_exporter"],
    "mlflow": ["mlflow"],
    "wandb": ["wandb"],
    "ray": ["ray"],
}
EVERYTHING = "all,rag"
NEEDS_TORCH = {"text", "retrieval", "local", "train", EVERYTHING}


def resolve(extras: str) -> bool:
    """Whether the requirements of these extras have a solution together. True when they do."""
    argv = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--no-config",
        "--python-version",
        "3.11",
    ]
    for extra in extras.split(","):
        argv += ["--extra", extra]
    if extras == EVERYTHING:
        argv += ["--override", OVERRIDES]
    done = subprocess.run([*argv, "pyproject.toml"], check=False, cwd=ROOT, stdout=subprocess.DEVNULL)
    print(f"{extras}: {'resolves' if done.returncode == 0 else 'DOES NOT RESOLVE'}", flush=True)
    return done.returncode == 0


def install(extras: str) -> bool:
    """Install extras in a fresh environment and import their modules. True when all imported."""
    modules = IMPORTS.get(extras) or [name for names in IMPORTS.values() for name in names]
    with tempfile.TemporaryDirectory(prefix="extra-") as folder:
        python = str(Path(folder) / "bin" / "python")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if extras in NEEDS_TORCH:
            # asked for first, so that no newer build with its CUDA libraries is taken
            subprocess.run([*pip, "torch==2.13.0"], check=True)
        uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python]
        if extras == EVERYTHING:
            uv += ["--override", OVERRIDES]
        done = subprocess.run([*uv, f"{ROOT}[{extras}]"], check=False)
        if done.returncode != 0:
            print(f"{extras}: DOES NOT INSTALL", flush=True)
            return False
        imports = "; ".join(f"import {name}" for name in ["evalharness.api", *modules])
        done = subprocess.run([python, "-W", "ignore", "-c", imports], check=False, cwd=folder)
        print(
            f"{extras}: {'installs and imports' if done.returncode == 0 else 'DOES NOT IMPORT'}", flush=True
        )
        return done.returncode == 0


def main() -> int:
    """Check the extras named on the command line, all of them by default."""
    if sys.argv[1:] == ["--resolve"]:
        return 0 if all([resolve(extras) for extras in (*IMPORTS, "vllm", "all", EVERYTHING)]) else 1
    return 0 if all([install(extras) for extras in sys.argv[1:] or (*IMPORTS, EVERYTHING)]) else 1


if __name__ == "__main__":
    raise SystemExit(main())
