"""What of a golden set is looked for in training data: questions and long answers, as words, n-grams and shingles."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

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


@dataclass(slots=True, kw_only=True)
class Probe:
    """One text of a case.

    Attributes:
        item: place of its case in the list of cases.
        part: what it is of the case.
        text: as the golden set has it.
        words: as it is compared.
        partial: it is long enough to be looked for in parts.
        n: words of its n-grams.
        grams: its n-grams, without those of the set's template.
        shingles: its word triples, likewise.
        only_template: there is nothing else in it, and nothing was left out.
    """

    item: int
    part: Part
    text: str
    words: list[str]
    partial: bool
    n: int
    grams: frozenset[Gram] = field(default_factory=frozenset)
    shingles: frozenset[Gram] = field(default_factory=frozenset)
    only_template: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """Everything that is looked for.

    Attributes:
        items: the cases.
        probes: their texts.
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
    probes: list[Probe] = []
    targets: list[list[str]] = []
    questions: list[str] = []
    whole_only: list[int] = []
    too_short: list[int] = []
    for place, item in enumerate(items):
        found: dict[tuple[str, ...], str] = {}
        for text in _questions(item.case):
            found.setdefault(tuple(words(text)), text)
        long = {key: text for key, text in found.items() if length(key) >= MIN_EXACT}
        for key, text in long.items():
            probes.append(_probe(place, "input", text, list(key), options))
        if not long:
            too_short.append(place)
        elif not any(probe.partial for probe in probes[-len(long) :]):
            whole_only.append(place)
        answers = {" ".join(words(text)): text for text in map(_as_text, item.case.targets)}
        answers.pop("", None)
        targets.append(list(answers))
        questions.append(" ".join(next(iter(found), ())))
        for joined, text in answers.items():
            answer = joined.split(" ")
            if length(answer) >= options.ngram and tuple(answer) not in found:
                probes.append(_probe(place, "target", text, answer, options))
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


def _probe(place: int, part: Part, text: str, found: list[str], options: Options) -> Probe:
    partial = length(found) >= MIN_PARTIAL
    n = min(options.ngram, max(MIN_PARTIAL, len(found) // 2), len(found))
    return Probe(item=place, part=part, text=text, words=found, partial=partial, n=n)


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
            if probe.partial and items[probe.item].golden_set == name:
                per_case.setdefault(probe.item, set()).update(grams_of(probe.words, SHINGLE))
        counts = Counter(gram for mine in per_case.values() for gram in mine)
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
