"""Whether another model answered: a provider may serve a new one under an old name."""

from __future__ import annotations

from typing import Final

from evalharness.core.runs import Run

_MOST: Final = 5


def upgrade_warning(baseline: Run, candidate: Run, *, blessed: str | None = None) -> str | None:
    """What to say where the endpoint returned other models for the two sides; None where there is nothing to say.

    Two sides that ask for two models differ on purpose, or say no model at all (recordings), and the report names both.
    So that is said only where the baseline stands under a name: sooner or later it has to be blessed anew.

    Args:
        baseline: its run.
        candidate: its run.
        blessed: what the baseline stands under (`main@3`), None where it is a run like any other.
    """
    before, after = _returned(baseline), _returned(candidate)
    if not before or not after or before == after:
        return None
    asked = _asked(baseline), _asked(candidate)
    since = f"since {blessed} was blessed" if blessed is not None else "between the two runs"
    if asked[0] == asked[1] and asked[0] is not None:
        again = f"; then bless that as {blessed.partition('@')[0]}" if blessed is not None else ""
        return (
            f"the model was changed behind its name {since}: asked for {asked[0]}, the endpoint "
            f"answered the baseline as {before} and the candidate as {after}; the difference holds what that did. To "
            f"tell it apart run the baseline's file again with --fresh{again}"
        )
    if blessed is None:
        return None
    return (
        f"the model changed {since}: the baseline was answered by {before}, the candidate by {after}; once the "
        "new one is in use, bless a run of it"
    )


def _returned(run: Run) -> str:
    return ", ".join(sorted(run.manifest["models_returned"])[:_MOST])


def _asked(run: Run) -> str | None:
    model: str | None = run.manifest["candidate"].get("model")
    return model
