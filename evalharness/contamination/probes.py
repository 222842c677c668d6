"""What of a golden set is looked for in training data: questions and long answers, as words, n-grams and shingles."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from evalharness.contamination.text import length, words
from evalharness.core.cases import Case

Part = Literal["input", "target"]
Gram = tuple[str, ...]

NGRAM: Final = 13
"""Words of an n-gram: GPT-3's analysis of contamination (Brown et al. 2020, appendix C)."""
THRESHOLD: Final = 0.7
"""Share of a case's n-grams, or Jaccard similarity of word triples, from which a row leaks the case."""
SHINGLE: Final = 3
MIN_EXACT: Final = 4
"""A text of fewer words is too short to tell: "yes" is in every training file."""
MIN_PARTIAL: Final = 8
"""A text of fewer words is looked for as a whole only. The least n of GPT-3's analysis."""
MIN_TEMPLATE: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How alike is too alike.

    Attributes:
        threshold: in (0, 1], for the share of n-grams and for Jaccard similarity.
        ngram: words of an n-gram, at least 3; shorter texts have shorter ones.
    """

    threshold: float = THRESHOLD
    ngram: int = NGRAM


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A case under the golden set it is of."""

    golden_set: str
    case: Case


class Owner(NamedTuple):
    """A case that a probe is a text of: its place in the list of cases, what it is there, and as it stands there."""

    item: int
    part: Part
    text: str


@dataclass(slots=True, kw_only=True)
class Probe:
    """A text that is looked for: once, however many cases have it.

    Attributes:
        words: as it is compared.
        owners: the cases that have it.
        partial: it is long enough to be looked for in parts.
        n: words of its n-grams.
        grams: its n-grams, without those of the set's template.
        shingles: its word triples, likewise.
        only_template: there is nothing else in it, and nothing was left out.
    """

    words: list[str]
    owners: list[Owner]
    partial: bool
    n: int
    grams: frozenset[Gram] = field(default_factory=frozenset)
    shingles: frozenset[Gram] = field(default_factory=frozenset)
    only_template: bool = False

    @property
    def text(self) -> str:
        """As the first of the cases has it."""
        return self.owners[0].text


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """Everything that is looked for.

    Attributes:
        items: the cases.
        probes: their texts, each once.
        targets: per case, its answers as words joined by spaces.
        questions: per case, its question likewise.
        template: word triples that stand in more than a tenth of the cases of one set, and in more than ten.
        whole_only: places of cases whose question is looked for as a whole only.
        too_short: places of cases whose question is too short to tell.
    """

    items: Sequence[Item]
    probes: Sequence[Probe]
    targets: Sequence[Sequence[str]]
    questions: Sequence[str]
    template: frozenset[Gram]
    whole_only: Sequence[int]
    too_short: Sequence[int]


def make_probes(sets: Mapping[str, Sequence[Case]], options: Options) -> Probes:
    """The texts of golden sets that are looked for.

    Args:
        sets: cases by the name that results use for their golden set.
        options: how long n-grams are.
    """
    items = [Item(golden_set=name, case=case) for name, cases in sets.items() for case in cases]
    known: dict[tuple[str, ...], Probe] = {}
    targets: list[list[str]] = []
    questions: list[str] = []
    whole_only: list[int] = []
    too_short: list[int] = []

    def look_for(place: int, part: Part, key: tuple[str, ...], text: str) -> Probe:
        probe = known.setdefault(key, _probe(key, options))
        probe.owners.append(Owner(place, part, text))
        return probe

    for place, item in enumerate(items):
        found: dict[tuple[str, ...], str] = {}
        for text in _questions(item.case):
            found.setdefault(tuple(words(text)), text)
        asked = [
            look_for(place, "input", key, text) for key, text in found.items() if length(key) >= MIN_EXACT
        ]
        if not asked:
            too_short.append(place)
        elif not any(probe.partial for probe in asked):
            whole_only.append(place)
        answers = {tuple(words(text)): text for text in map(_as_text, item.case.targets)}
        targets.append([" ".join(key) for key in answers if key])
        questions.append(" ".join(next(iter(found), ())))
        for key, text in answers.items():
            if length(key) >= max(options.ngram, MIN_PARTIAL) and key not in found:
                look_for(place, "target", key, text)
    probes = list(known.values())
    template = _leave_template_out(probes, items)
    return Probes(
        items=items, probes=probes, targets=targets, questions=questions, template=template,
        whole_only=whole_only, too_short=too_short,
    )  # fmt: skip


def _questions(case: Case) -> list[str]:
    """The question; of a chat the whole of it and its last turn. Contexts and system prompts are not questions."""
    if not case.messages:
        return [case.question]
    whole = "\n".join(message.content for message in case.messages if message.role != "system")
    return [whole, case.question]


def _as_text(target: Any) -> str:
    return target if isinstance(target, str) else json.dumps(target, ensure_ascii=False)


def _probe(key: tuple[str, ...], options: Options) -> Probe:
    n = min(options.ngram, max(MIN_PARTIAL, len(key) // 2), len(key))
    return Probe(words=list(key), owners=[], partial=length(key) >= MIN_PARTIAL, n=n)


def grams_of(found: Sequence[str], n: int) -> Iterable[Gram]:
    """Runs of n words, in order, repeats included."""
    return zip(*(found[start:] for start in range(n)), strict=False)


def _leave_template_out(probes: Sequence[Probe], items: Sequence[Item]) -> frozenset[Gram]:
    """Fill in grams and shingles. What most cases share is the prompt's template, which training data may share.

    GPT-3's analysis likewise leaves out n-grams that run into more than ten documents. A text that is nothing but
    template keeps everything: there is nothing else to know it by.
    """
    template: set[Gram] = set()
    sizes = Counter(item.golden_set for item in items)
    for name, size in sizes.items():
        per_case: dict[int, set[Gram]] = {}
        for probe in probes:
            mine = {owner.item for owner in probe.owners if items[owner.item].golden_set == name}
            for item in mine if probe.partial else ():
                per_case.setdefault(item, set()).update(grams_of(probe.words, SHINGLE))
        counts = Counter(gram for grams_ in per_case.values() for gram in grams_)
        template.update(gram for gram, count in counts.items() if count > max(MIN_TEMPLATE, size / 10))
    for probe in probes:
        if probe.partial:
            shingles, grams = set(grams_of(probe.words, SHINGLE)), set(grams_of(probe.words, probe.n))
            probe.only_template = shingles <= template
            if not probe.only_template:
                shingles -= template
                grams = {gram for gram in grams if not template.issuperset(grams_of(gram, SHINGLE))}
            probe.grams, probe.shingles = frozenset(grams), frozenset(shingles)
    return frozenset(template)
