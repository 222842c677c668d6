"""Whether a judge may gate: its calibration held against the thresholds, and against what answers today.

The thresholds are those of the gate's design and are compared with the point estimates; the intervals are shown beside
them. Anything that is missing, stale or undefined counts as not earned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Final

from evalharness.core.judges import Calibration, Judge, Measured, Standing
from evalharness.judging.labels import labels_digest

MIN_LABELS: Final = 50
"""Labelled items the judge must have judged."""
MIN_AGREEMENT: Final = 0.80
"""Least share of items on which judge and people agree."""
MIN_KAPPA: Final = 0.60
"""Least agreement beyond chance (Cohen's kappa)."""
MAX_FLIPS: Final = 0.10
"""Largest share of pairs whose verdict depends on which answer stands first."""

_BY_NAME: Final = frozenset(("openai", "anthropic", "vllm", "ollama"))
"""Providers whose endpoint says which model answered, by the name it is asked for."""
_ROUNDING: Final = 1e-9
"""A value this near its threshold is at it: 0.6 computed as 0.5999999999999999 is 0.6."""


def standing(judge: Judge, models_seen: Sequence[str] = ()) -> Standing:
    """Whether `judge` has earned the right to gate, with every reason why not.

    A panel stands on its own calibration, not on its members'; a recorded judge needs one like any other.

    Args:
        judge: as loaded, with its calibration.
        models_seen: the names of the models that the endpoint returned now; empty where nothing was asked yet. Each of
            them must be one the judge was calibrated with.
    """
    reasons = tuple(_reasons(judge, models_seen))
    return Standing(may_gate=not reasons, reasons=reasons)


def _reasons(judge: Judge, models_seen: Sequence[str]) -> Iterator[str]:
    again = f"run: evalharness judge calibrate {_folder(judge)}"
    found = judge.calibration
    if found is None:
        yield _never(judge, again)
        return
    if found.judge_digest != judge.digest:
        yield f"the judge {judge.name} has changed since it was calibrated; {again}"
    if found.labels_digest != labels_digest(judge.labels):
        yield f"the labels of the judge {judge.name} have changed since it was calibrated; {again}"
    other = sorted(set(models_seen) - set(found.models))
    if other:
        was = ", ".join(found.models) or "a model that gave no name"
        yield (
            f"the judge {judge.name} was answered by {', '.join(other)}, and it was calibrated with {was}: name the "
            f"model you mean, and {again}"
        )
    asked = _asked(judge)
    strange = sorted(set(found.models) - asked) if asked else []
    if strange:
        yield (
            f"the judge {judge.name} asks for {', '.join(sorted(asked))}, and {', '.join(strange)} answered when it "
            f"was calibrated: write the name that answers as its `model`, and {again}"
        )
    if found.n_judged < MIN_LABELS:
        fix = _more(judge, MIN_LABELS - found.n_judged)
        if found.n_labels >= MIN_LABELS:
            fix = f"the other {found.n_labels - found.n_judged} have no verdict: mend the prompt or the recording"
        yield (
            f"the judge {judge.name} was calibrated on {found.n_judged} labelled items, and at least {MIN_LABELS} are "
            f"needed; {fix}, then {again}"
        )
    yield from _measured(judge, found, f"change its rubric, prompt or model, then {again}")
    if found.problem is not None and found.kappa is not None:
        yield f"the calibration of the judge {judge.name} says: {found.problem}; {again}"


def _asked(judge: Judge) -> frozenset[str]:
    """The names of the models that are asked for; empty where a name is not what answers (a recording, a folder)."""
    members = judge.panel or (judge,)
    if any(member.model is None or member.provider not in _BY_NAME for member in members):
        return frozenset()
    return frozenset(str(member.options.get("adapter") or member.model) for member in members)


def _measured(judge: Judge, found: Calibration, fix: str) -> Iterator[str]:
    if found.agreement.value < MIN_AGREEMENT - _ROUNDING:
        yield (
            f"the judge {judge.name} agrees with people on {_percent(found.agreement)} of the items, and at least "
            f"{MIN_AGREEMENT:.0%} is needed; {fix}"
        )
    if found.kappa is None:
        why = found.problem or "judge and people gave one and the same label to every item"
        yield (
            f"the agreement of the judge {judge.name} beyond chance (kappa) is undefined: {why}; "
            f"{_more(judge, 0)} of both kinds, then run: evalharness judge calibrate {_folder(judge)}"
        )
    elif found.kappa.value < MIN_KAPPA - _ROUNDING:
        kappa = found.kappa
        yield (
            f"the judge {judge.name} agrees with people beyond chance with kappa {kappa.value:.3f} "
            f"({kappa.low:.3f} to {kappa.high:.3f}), and at least {MIN_KAPPA:.2f} is needed; {fix}"
        )
    if judge.mode != "pairwise":
        return
    if found.flip_rate is None:
        yield (
            f"how often the order changes the verdict of the judge {judge.name} was not measured; have every labelled "
            f"pair judged in both orders, then run: evalharness judge calibrate {_folder(judge)}"
        )
    elif found.flip_rate.value > MAX_FLIPS + _ROUNDING:
        yield (
            f"the order changes the verdict of the judge {judge.name} on {_percent(found.flip_rate)} of the pairs, and "
            f"at most {MAX_FLIPS:.0%} is allowed; {fix}"
        )


def _never(judge: Judge, again: str) -> str:
    if judge.labels:
        return f"the judge {judge.name} was never calibrated; {again}"
    return (
        f"the judge {judge.name} was never calibrated and has no human labels; {_more(judge, MIN_LABELS)}, "
        f"then {again}"
    )


def _more(judge: Judge, count: int) -> str:
    return f"label {f'{count} more' if count else 'more'} items in {_folder(judge)}/calibration.jsonl"


def _folder(judge: Judge) -> str:
    """The judge's folder as typed here; one outside the working directory is not named: reports are alike anywhere."""
    return "FOLDER" if PurePath(judge.path).is_absolute() else judge.path


def _percent(share: Measured) -> str:
    return f"{100 * share.value:.4g}% ({share.low:.1%} to {share.high:.1%})"
