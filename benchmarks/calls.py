"""1,000 calls to a loopback server that takes 50 ms for each, 100 at once: time of the calls, CPU of the process.

python benchmarks/calls.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import EVALHARNESS, cost, median_of, report

CALLS = 1000
LATENCY_S = 0.05
CONCURRENCY = 100
SERVER = Path(__file__).resolve().parents[1] / "tests" / "servers" / "model_server.py"


def write_inputs(folder: Path, port: str) -> None:
    """A golden set of questions and a candidate that asks the server."""
    golden = folder / "echo"
    golden.mkdir()
    (golden / "card.yaml").write_text("name: echo\nversion: 1.0.0\ntask: echo\n", encoding="utf-8")
    with open(golden / "cases.jsonl", "w", encoding="utf-8") as cases:
        for i in range(CALLS):
            row = {
                "id": f"c{i}",
                "input": f"please repeat the number {i}",
                "target": f"please repeat the number {i}",
            }
            cases.write(json.dumps(row) + "\n")
    (folder / "suite.yaml").write_text(
        "name: echo\nevals:\n  - {id: echo, golden_set: ./echo, scorers: [exact_match]}\n", encoding="utf-8"
    )
    (folder / "candidate.yaml").write_text(
        f"name: server\nsuite: ./suite.yaml\nprovider: openai\nmodel: echo\nbase_url: http://127.0.0.1:{port}/v1\n"
        f"limits: {{concurrency: {CONCURRENCY}}}\n",
        encoding="utf-8",
    )


def main() -> int:
    """Print the figures; 1 when one is over its limit."""
    server = subprocess.Popen(
        [sys.executable, str(SERVER), "--port", "0", "--latency-ms", str(int(LATENCY_S * 1000))],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        port = server.stdout.readline().split()[1]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_inputs(folder, port)
            argv = [*EVALHARNESS, "run", "candidate.yaml", "--fresh", "--quiet"]
            whole = median_of(3, lambda: cost(argv, cwd=folder))
            if whole.code != 0:
                raise SystemExit(f"the run ended with exit code {whole.code}")
            manifest = json.loads(
                next(folder.glob(".evalharness/runs/*/manifest.json")).read_text(encoding="utf-8")
            )
            calls_s = manifest["facts"]["wall_s"]
    finally:
        server.terminate()
        server.wait()
    ideal = CALLS * LATENCY_S / CONCURRENCY
    # each call may cost a millisecond of CPU, and the calls share one core
    limit = 2 * ideal + CALLS * 0.001
    good = report(
        f"{CALLS} calls of 50 ms, {CONCURRENCY} at once: wall time of the calls", calls_s, limit, "s"
    )
    good &= report("the same as a whole process: CPU, imports included", whole.cpu_s, 2.5, "s")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
