"""Four real systems on 1,319 real problems: the public GSM8K example solutions as a golden set and four recordings.

    python benchmarks/gsm8k.py example_model_solutions.jsonl OUT     writes OUT, compares, prints the figures

The file is from the public repository openai/grade-school-math (MIT licence). A line holds `question`, `ground_truth`
(last line `A: <number>`) and for each system `solution` and `is_correct`, the authors' own verdict.
Correctness is decided here from the text of the answers alone, with the `numeric` scorer.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

SYSTEMS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")


def read(source: Path) -> list[dict[str, Any]]:
    """The problems, one a line."""
    return [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]


def write_project(problems: list[dict[str, Any]], out: Path) -> None:
    """Write the golden set, the suite and the four candidates."""
    golden = out / "gsm8k"
    golden.mkdir(parents=True, exist_ok=True)
    (golden / "card.yaml").write_text(
        "name: gsm8k\nversion: 1.0.0\ntask: arithmetic\nlicence: MIT\n"
        "provenance: openai/grade-school-math, example_model_solutions.jsonl\n",
        encoding="utf-8",
    )
    with open(golden / "cases.jsonl", "w", encoding="utf-8") as cases:
        for number, problem in enumerate(problems):
            target = problem["ground_truth"].rsplit("A:", 1)[1].strip()
            cases.write(
                json.dumps({"id": case_id(number), "input": problem["question"], "target": target}) + "\n"
            )
    for system in SYSTEMS:
        with open(out / f"{system}.jsonl", "w", encoding="utf-8") as outputs:
            for number, problem in enumerate(problems):
                outputs.write(
                    json.dumps({"id": case_id(number), "output": problem[system]["solution"]}) + "\n"
                )
        (out / f"{system}.yaml").write_text(
            f"name: {system}\nsuite: ./suite.yaml\nprovider: replay\noutputs: ./{system}.jsonl\n",
            encoding="utf-8",
        )
    (out / "suite.yaml").write_text(
        "name: gsm8k\nevals:\n  - {id: maths, golden_set: ./gsm8k, scorers: [numeric]}\n", encoding="utf-8"
    )


def case_id(number: int) -> str:
    """The id of the problem on line `number` (from 0)."""
    return f"gsm8k-{number:04d}"


def main() -> int:
    """Write, compare in three directions, print."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("source", type=Path)
    options.add_argument("out", type=Path)
    given = options.parse_args()
    problems = read(given.source)
    write_project(problems, given.out)

    from evalharness.api import Settings, compare

    settings = Settings(cwd=given.out.resolve())
    for base, cand in (
        ("6b_verification", "175b_finetuning"),
        ("175b_finetuning", "6b_verification"),
        ("175b_finetuning", "175b_verification"),
    ):
        verdict = compare(f"{base}.yaml", f"{cand}.yaml", settings=settings)
        found = verdict.comparison.metrics[0].estimate
        assert found is not None
        print(
            f"{base} ({found.baseline:.4f}) → {cand} ({found.candidate:.4f}): {found.n_regressed} regressed, "
            f"{found.n_fixed} fixed, {100 * found.delta:+.2f}pp, {verdict.checks[0].status}, exit {verdict.exit_code}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
