"""Write the generated parts of the documents again: the demo's output, the JSON example, the simulation table, the
sample report and its picture (where Debian's chromium is installed).

    python tests/docs/refresh.py

`test_generated.py` compares the documents with the same functions, so a change of the output is a change of the docs.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import baselines
import rules
import simulate
import support

EXAMPLE = ("examples/support-desk/base.yaml", "examples/support-desk/candidate.yaml")
README_SIZES = ("| 200 |", "| 1,000 |")
HEADER = (
    "| cases | true change | naive rule: fail at −2pp | exit 1, regression | exit 3, inconclusive "
    "| exit 0, underpowered | exit 0, a proven pass |\n|---|---|---|---|---|---|---|\n"
)


def compare_example(*options: str) -> str:
    """stdout of `evalharness compare` on the embedded example."""
    with tempfile.TemporaryDirectory() as folder:
        places = ("--store", f"{folder}/store", "--out", f"{folder}/report", "--quiet")
        done = support.evalharness("compare", *EXAMPLE, *places, *options, cwd=support.ROOT)
    assert done.returncode == 1, f"the example must end in a regression: {done.returncode}\n{done.stderr}"
    return done.stdout


def demo() -> str:
    return f"\n```text\n$ evalharness compare {' '.join(EXAMPLE)}\n\n{compare_example().rstrip()}\n```\n"


def plan() -> str:
    """The plan of the embedded example, its churn taken from the committed report."""
    words = (*EXAMPLE, "--from", "reports/sample")
    with tempfile.TemporaryDirectory() as folder:
        done = support.evalharness("plan", *words, "--store", f"{folder}/store", cwd=support.ROOT)
    assert done.returncode == 2, f"the example cannot see twice its margin: {done.returncode}\n{done.stderr}"
    return f"\n```text\n$ evalharness plan {' '.join(words)}\n\n{done.stdout}{done.stderr.rstrip()}\n```\n"


def shortened(document: dict[str, Any]) -> dict[str, Any]:
    """A document with its long lists cut to their first entry, and of metrics the first one only."""
    flips = {name: ids[:2] for name, ids in document["flips"].items()}
    cut = {"metrics": document["metrics"][:1], "slices": document["slices"][:1], "flips": flips}
    cut |= {name: document[name][:1] for name in ("reasons", "warnings", "critical_failures")}
    return document | cut


def comparison() -> str:
    text = json.dumps(shortened(json.loads(compare_example("--json"))), indent=2, ensure_ascii=True)
    return f"\n```json\n{text}\n```\n"


def table(sizes: tuple[str, ...] | None = None) -> str:
    rows = [row for row in simulate.rows() if sizes is None or row.startswith(sizes)]
    return HEADER + "\n".join(rows) + "\n"


def rules_table() -> str:
    head = "| cases | churn | rule | stopped: no change | −4pp | −8pp | cases asked |\n|---|---|---|---|---|---|---|\n"
    return head + "\n".join(rules.rows()) + "\n"


REGIONS = {
    ("README.md", "output", "demo"): demo,
    ("README.md", "table", "simulation"): lambda: table(README_SIZES),
    ("docs/gate.md", "table", "simulation"): table,
    ("docs/gate.md", "table", "rules"): rules_table,
    ("docs/planning.md", "output", "plan"): plan,
    ("docs/baselines.md", "table", "null"): baselines.null_table,
    ("docs/baselines.md", "table", "creep"): baselines.creep_table,
    ("docs/comparison-json.md", "output", "comparison"): comparison,
}


def sample() -> None:
    """The report of the embedded example, and a picture of its first screen."""
    folder = support.ROOT / "reports" / "sample"
    with tempfile.TemporaryDirectory() as store:
        done = support.evalharness(
            "compare", *EXAMPLE, "--store", store, "--out", str(folder), "--quiet", cwd=support.ROOT
        )
    assert done.returncode == 1, done.stderr
    # where the runs of this machine lie is nobody's business but `evalharness report`'s
    (folder / "manifest.json").unlink()
    chromium = shutil.which("chromium")
    if chromium is None:
        print("no chromium: docs/report.png stays as it is")
        return
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --hide-scrollbars --window-size=1180,1500"
    )
    with tempfile.TemporaryDirectory() as profile:
        picture = f"--screenshot={support.ROOT / 'docs' / 'report.png'}"
        page = (folder / "report.html").as_uri()
        subprocess.run(
            [chromium, *flags.split(), f"--user-data-dir={profile}", picture, page],
            check=True,
            stderr=subprocess.DEVNULL,
        )
    print("reports/sample, docs/report.png")


def main() -> None:
    for (name, kind, region), make in REGIONS.items():
        text = support.replaced(support.read(name), kind, region, make())
        (support.ROOT / name).write_text(text, encoding="utf-8")
        print(f"{name}: {region}")
    sample()


if __name__ == "__main__":
    main()
