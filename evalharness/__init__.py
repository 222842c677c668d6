"""evalharness: the merge gate for LLM changes.

The public API is the verbs of `evalharness.api`, importable from here; nothing heavy is loaded before one is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalharness.api import (
        check_golden_set as check_golden_set,
    )
    from evalharness.api import (
        compare as compare,
    )
    from evalharness.api import (
        load_candidate as load_candidate,
    )
    from evalharness.api import (
        load_golden_set as load_golden_set,
    )
    from evalharness.api import (
        load_run as load_run,
    )
    from evalharness.api import (
        load_suite as load_suite,
    )
    from evalharness.api import (
        lock_golden_set as lock_golden_set,
    )
    from evalharness.api import (
        plan as plan,
    )
    from evalharness.api import (
        render as render,
    )
    from evalharness.api import (
        rescore as rescore,
    )
    from evalharness.api import (
        run as run,
    )

__all__ = [
    "check_golden_set",
    "compare",
    "load_candidate",
    "load_golden_set",
    "load_run",
    "load_suite",
    "lock_golden_set",
    "plan",
    "render",
    "rescore",
    "run",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from evalharness import api

        return getattr(api, name)
    if name == "__version__":
        from importlib.metadata import version

        return version("evalharness")
    raise AttributeError(f"module 'evalharness' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
