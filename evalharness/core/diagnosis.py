"""Finding: what a look at the surroundings says about tonight's run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal[
    "ok",
    "note",  # worth knowing, and nothing to do
    "warning",  # a run would go on, and somebody should look
    "problem",  # a run would stop or could not be judged
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. `about` names it, `fix` is what to do where there is something to do."""

    area: str
    about: str
    state: State
    text: str
    fix: str = ""
