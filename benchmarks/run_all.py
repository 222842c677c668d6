"""Every figure, one after the other.

python benchmarks/run_all.py [--million]
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run the scripts; 1 when any figure is over its limit."""
    codes = []
    scripts = (
        ("startup.py", []),
        ("decisions.py", []),
        ("calls.py", []),
        ("retrieval.py", []),
        ("contamination.py", []),
        ("read_eval_log.py", []),
        ("report_page.py", []),
        ("scale.py", sys.argv[1:]),
    )
    for script, options in scripts:
        codes.append(subprocess.run([sys.executable, str(HERE / script), *options], check=False).returncode)
    return 1 if any(codes) else 0


if __name__ == "__main__":
    raise SystemExit(main())
