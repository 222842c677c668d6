"""Values of ranx for each query: jobs as JSON on stdin, values as JSON on stdout.

A process of its own, and without ranx's just-in-time compiler: the same source, minutes sooner.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

os.environ["NUMBA_DISABLE_JIT"] = "1"


def main() -> None:
    """A job is {"qrels", "run", "metrics", "objects"}; `objects`: through Qrels and Run, which hold whole grades."""
    from ranx import Qrels, Run, evaluate

    def values(job: dict[str, Any]) -> dict[str, dict[str, float]]:
        if job["objects"]:
            qrels = Qrels(job["qrels"])
            run = Run(job["run"]).make_comparable(qrels)
            names = list(qrels.keys())
        else:
            qrels, run, names = job["qrels"], job["run"], list(job["qrels"])
        found = evaluate(qrels, run, job["metrics"], return_mean=False)
        return {
            metric: dict(zip(names, map(float, of), strict=True))
            for metric, of in ((metric, found[metric]) for metric in job["metrics"])
        }

    json.dump([values(job) for job in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
