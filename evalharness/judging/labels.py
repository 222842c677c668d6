"""Labels of several people: which of them stands for an item, and the identity of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from evalharness._canon import digest
from evalharness.core.judges import Label


@dataclass(frozen=True, slots=True, kw_only=True)
class Consensus:
    """One label an item. `tied` are the ids of the items left out because no label had more votes than any other."""

    labels: tuple[Label, ...]
    tied: tuple[str, ...]


def consensus(labels: Sequence[Label]) -> Consensus:
    """The label most labellers of an item gave, for each item, in the order of first appearance.

    An item is its id; its labels come from different labellers (the loader sees to both). An item whose most frequent
    label is not alone at the top is left out. A label that stands for several labellers names none.
    """
    items: dict[str, list[Label]] = {}
    for label in labels:
        items.setdefault(label.id, []).append(label)
    decided: list[Label] = []
    tied: list[str] = []
    for name, given in items.items():
        votes = Counter(label.label for label in given).most_common(2)
        if len(votes) == 2 and votes[0][1] == votes[1][1]:
            tied.append(name)
        elif len(given) == 1:
            decided.append(given[0])
        else:
            decided.append(replace(given[0], label=votes[0][0], labeller=""))
    return Consensus(labels=tuple(decided), tied=tuple(tied))


def labels_digest(labels: Sequence[Label]) -> str:
    """The identity of a set of labels: every text, label and labeller; not the lines or their order."""
    rows = [
        [item.id, item.labeller, item.input, item.answers, item.contexts, item.target, item.label]
        for item in labels
    ]
    return digest(sorted(rows, key=lambda row: (row[0], row[1])))
