"""People's preferences laid beside a pairwise judge's, case by case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from evalharness.analysis.align import Array
from evalharness.core.cases import Case
from evalharness.core.judges import PairLabel, PairLabels
from evalharness.core.runs import Run
from evalharness.core.scores import Scored
from evalharness.judging.pairs import answer_pairs
from evalharness.judging.prompts import same_answer
from evalharness.spec.labelling import kept
from evalharness.stats.ppi import MIN_LABELS, PpiRefused
from evalharness.stats.preference import EVEN

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PeoplesPairs:
    """The labels of a pairwise judge's metric, and what they are to be held against."""

    labels: PairLabels
    metric_id: str
    golden_set: str

    @property
    def file(self) -> str:
        """The name of the file that holds them, which is the same wherever it lies."""
        return PurePath(self.labels.file).name


@dataclass(frozen=True, slots=True)
class Joined:
    """A case an entry: people's preference less one half, whether there is one, and whether it is known without.

    `people` counts where `labelled` only. A case is `settled` where nobody's verdict is asked for: its answers are
    equal, and a tie, or the judge has no value for it, and then it counts as lost for people, too. A label of such a
    case is not used.
    """

    people: Array
    labelled: Mask
    settled: Mask

    @property
    def complete(self) -> bool:
        """Whether every case is settled or labelled."""
        return bool((self.labelled | self.settled).all())


def joined(pairs: PeoplesPairs, runs: tuple[Run, Run], cases: Sequence[Case]) -> Joined:
    """Lay the labels beside the judge's values of `cases`.

    With repeats, people label one pair of a case, drawn from those that differ; it stands for all of them, and the
    equal ones beside them are ties.

    Raises:
        ValueError: labels of other answers, or of a comparison the other way round.
    """
    people = np.zeros(len(cases))
    labelled = np.zeros(len(cases), dtype=np.bool_)
    settled = np.zeros(len(cases), dtype=np.bool_)
    other: list[str] = []
    turned = 0
    for place, case in enumerate(cases):
        found = _Case(pairs, runs, case)
        other += found.other
        turned += found.turned
        settled[place] = not found.open
        labelled[place] = found.open and bool(found.said)
        if labelled[place]:
            people[place] = found.value(runs[1].repeats) - EVEN
    _refuse_others(pairs, other, turned)
    return Joined(people, labelled, settled)


def refuse_few(found: Joined) -> None:
    """Raise PpiRefused where too few of the pairs that need a label have one."""
    labels, of = int(found.labelled.sum()), int((~found.settled).sum())
    if labels < MIN_LABELS:
        raise PpiRefused(
            f"only {labels} of the {of:,} pairs that differ have a label; at least {MIN_LABELS} are needed to correct "
            "the judge, or a label on every one of them"
        )


class _Case:
    """The pairs of one case: what the judge and people said of them.

    `fixed` is the sum of the values of equal pairs, `apart` the number of the others, `said` people's values of those.
    """

    def __init__(self, pairs: PeoplesPairs, runs: tuple[Run, Run], case: Case) -> None:
        self.open = False
        self.said: list[float] = []
        self.other: list[str] = []
        self.turned = 0
        self._fixed = 0.0
        self._apart = 0
        scores = runs[1].scores[pairs.metric_id]
        texts = dict(answer_pairs(pairs.golden_set, case.id, *runs))
        for repeat in range(max(run.repeats for run in runs)):
            given = _given(pairs, case.id, repeat)
            pair = texts.get(repeat)
            if given is not None and not self._these(given, pair):
                self.other.append(case.id)
            if pair is None:
                continue
            score = scores.get((case.id, repeat))
            if same_answer(*pair):
                self._fixed += score.value if isinstance(score, Scored) else 0.0
                continue
            self._apart += 1
            self.open = self.open or isinstance(score, Scored)
            if given is not None:
                self.said.append(given.value if isinstance(score, Scored) else 0.0)

    def _these(self, given: PairLabel, pair: tuple[str, str] | None) -> bool:
        if pair is None:
            return False
        shown = (kept(pair[0]), kept(pair[1]))
        self.turned += given.texts == shown[::-1] != shown
        return given.texts == shown and not same_answer(*pair)

    def value(self, repeats: int) -> float:
        """People's preference for the candidate, over all repeats: one that was not answered is lost."""
        return (self._fixed + self._apart * sum(self.said) / len(self.said)) / repeats


def _given(pairs: PeoplesPairs, case_id: str, repeat: int) -> PairLabel | None:
    """The label of one pair. A draw numbers repeats only where there are several."""
    item = f"{pairs.golden_set}/{case_id}"
    found = pairs.labels.labels.get(f"{item}#{repeat}")
    return found or (pairs.labels.labels.get(item) if repeat == 0 else None)


def _refuse_others(pairs: PeoplesPairs, other: Sequence[str], turned: int) -> None:
    if not other:
        return
    if turned == len(other):
        raise ValueError(
            f"the labels in {pairs.file} are of a comparison the other way round: draw them again with "
            "`evalharness judge sample CANDIDATE --against BASELINE`"
        )
    count = "1 label" if len(other) == 1 else f"{len(other):,} labels"
    verb = "is" if len(other) == 1 else "are"
    raise ValueError(
        f"{count} in {pairs.file} {verb} of other answers than these (such as that of {other[0]}), and those "
        "left would be no random draw; label a draw of these answers"
    )
