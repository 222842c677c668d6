"""Start-up as a ratio to bare Python, measured in turn.

python benchmarks/startup.py
"""

from __future__ import annotations

import sys

from measure import EVALHARNESS, cost, ratios, report


def main() -> int:
    """Print the ratios; 1 when one is over its limit."""
    bare = lambda: cost([sys.executable, "-c", "pass"])  # noqa: E731
    help_ratio, _, _ = ratios(15, lambda: cost([*EVALHARNESS, "--help"]), bare)
    import_ratio, _, _ = ratios(15, lambda: cost([sys.executable, "-c", "import evalharness"]), bare)
    click_ratio, _, _ = ratios(15, lambda: cost([sys.executable, "-c", "import click"]), bare)
    print(f"      (import click alone: {click_ratio:.2f} times bare Python)")
    good = report("evalharness --help, CPU against bare Python", help_ratio, 8, "times")
    good &= report("import evalharness, CPU against bare Python", import_ratio, 3, "times")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
