"""Pairwise judgments as preference data for training, and what must never get there.

A case of a golden set is held out: it measures models, so no model is trained on it. Unless the set's card says
otherwise, nothing of it leaves here, and neither does a case that asks the same elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from evalharness.api.asking import asked_again
from evalharness.api.settings import Settings
from evalharness.core.cases import Case, GoldenSet
from evalharness.core.judges import JudgedEval, Judgment
from evalharness.errors import UsageError

if TYPE_CHECKING:
    from evalharness.api.comparing import Answer
    from evalharness.core.suites import Suite

_TIE: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """What was written and what was not.

    Attributes:
        pairs: lines written.
        golden: judgments on cases of golden sets that are held out, by set.
        repeated: on cases that ask the same, or nearly, as a held-out case.
        ties, flips, unjudged, flagged: without a winner; with one that depends on the order; without a verdict; with
            something odd about an answer (written for a judge, empty, one text for unrelated prompts).
        notes: sentences about what a reader may get wrong.
    """

    pairs: int
    golden: Mapping[str, int]
    repeated: int
    ties: int
    flips: int
    unjudged: int
    flagged: int
    notes: tuple[str, ...]

    def json(self) -> str:
        """As JSON, ASCII only."""
        return json.dumps(asdict(self), indent=2)

    def text(self) -> str:
        """For a terminal, with everything that was left out."""
        out = [f"{self.pairs:,} {'pair' if self.pairs == 1 else 'pairs'} of preferences"]
        out += [f"left out: {line}" for line in self._left_out()]
        return "\n".join([*out, *self.notes])

    def _left_out(self) -> Iterator[str]:
        for name, number in self.golden.items():
            yield f"{number:,} of the golden set {name}, which is held out"
        for number, why in (
            (self.repeated, "that ask what a held-out case asks"),
            (self.ties, "tied"),
            (self.flips, "whose verdict depends on the order"),
            (self.unjudged, "without a verdict"),
            (self.flagged, "with an odd answer (see the report)"),
        ):
            if number:
                yield f"{number:,} {why}"


def export_preferences(
    report: str | Path,
    out: str | Path,
    *,
    held_out: Sequence[str | Path] = (),
    settings: Settings | None = None,
) -> Preferences:
    """Write the pairwise judgments of an earlier comparison as preference pairs, one JSON object a line.

    A line has `prompt`, `chosen` and `rejected` (text; lists of messages where a case is a chat), `id`, `golden_set`,
    `eval`, `repeat`, `judge`, `chosen_side` and `value`, the preference for the chosen answer in (0.5, 1].

    Args:
        report: the folder that `compare` wrote.
        out: the JSONL file.
        held_out: golden sets beside the suite's that no pair may repeat.
        settings: the surroundings.

    Raises:
        UsageError: no judge compared pairs, or nothing may be exported; nothing is written then. StoreError: `report`
            is not a report folder, its runs are gone or were replaced, or `out` cannot be written. SpecError: a golden
            set is wrong.
    """
    from evalharness.spec.load import load_golden_set
    from evalharness.store.files import write_lines

    use = settings or Settings()
    others = [load_golden_set(use.paths.argument(str(path)), paths=use.paths) for path in held_out]
    answer, suite, _ = asked_again(report, use)
    rows, told = _sorted_out(answer, suite, others)
    if not rows:
        raise UsageError(_nothing(told))
    write_lines(Path(out), rows)
    return told


def _sorted_out(
    answer: Answer, suite: Suite, others: Sequence[GoldenSet]
) -> tuple[list[dict[str, Any]], Preferences]:
    """The lines to write, and the count of everything else."""
    from evalharness.engine.judging import judged_items

    if answer.verdict.comparison.problems:
        raise UsageError(
            "the two sides of this report could not be compared, so there are no preferences to export"
        )
    pairwise = [one for one in answer.judged if one.judge.mode == "pairwise"]
    if not pairwise:
        raise UsageError(
            "no judge of this report compared pairs of answers: there are no preferences to export"
        )
    evals = {item.id: item for item in suite.evals}
    repeated = _repeated(suite, others)
    counts = dict.fromkeys(("repeated", "ties", "flips", "unjudged", "flagged"), 0)
    golden: dict[str, int] = {}
    kept: list[tuple[JudgedEval, Judgment, Case, tuple[str, ...]]] = []
    for one in pairwise:
        item = evals[one.eval]
        items = {(i.case.id, i.repeat): i for i in judged_items(item, one.judge, None, *answer.runs)}
        for judgment in one.judgments:
            if item.golden_set.card.held_out:
                golden[item.golden_set.name] = golden.get(item.golden_set.name, 0) + 1
            elif (
                why := _why_not(judgment, (item.golden_set.name, judgment.case_id) in repeated)
            ) is not None:
                counts[why] += 1
            else:
                judged = items[judgment.case_id, judgment.repeat]
                kept.append((one, judgment, judged.case, judged.texts))
    chat = any(case.messages for _, _, case, _ in kept)  # one file, one form
    rows = [_row(*pair, chat=chat) for pair in kept]
    return rows, Preferences(pairs=len(rows), golden=golden, notes=tuple(_notes(pairwise)), **counts)


def _why_not(judgment: Judgment, repeated: bool) -> str | None:
    """Why a judgment is no preference, as the name of its count."""
    if repeated:
        return "repeated"
    if judgment.value is None:
        return "unjudged"
    if judgment.flipped:
        return "flips"
    if judgment.flags:
        return "flagged"
    return "ties" if judgment.value == _TIE else None


def _repeated(suite: Suite, others: Sequence[GoldenSet]) -> frozenset[tuple[str, str]]:
    """Cases of sets that are not held out whose question stands, or nearly stands, in one that is."""
    from evalharness.spec.golden import words_alone
    from evalharness.spec.near import near_duplicates

    secret: dict[str, None] = {}
    open_cases: list[tuple[tuple[str, str], str]] = []
    sets = [(one, one.card.held_out) for one in suite.golden_sets] + [(one, True) for one in others]
    for golden_set, apart in sets:
        for case in golden_set.cases:
            asked = case.input if case.input is not None else "\n".join(m.content for m in case.messages)
            words = words_alone(asked) or asked.strip()
            if apart:
                secret[words] = None
            else:
                open_cases.append(((golden_set.name, case.id), words))
    found = {key for key, words in open_cases if words in secret}
    texts = [*secret, *(words for _, words in open_cases)]
    for group in near_duplicates(texts) if secret and open_cases else ():
        if any(index < len(secret) for index in group):
            found |= {open_cases[index - len(secret)][0] for index in group if index >= len(secret)}
    return frozenset(found)


def _row(
    one: JudgedEval, judgment: Judgment, case: Case, texts: tuple[str, ...], *, chat: bool
) -> dict[str, Any]:
    assert judgment.value is not None
    candidate = judgment.value > _TIE
    chosen, rejected = texts[::-1] if candidate else texts
    prompt: Any = case.input
    if chat:
        prompt = [{"role": m.role, "content": m.content} for m in case.messages] or [
            {"role": "user", "content": case.question}
        ]
    return {
        "id": case.id,
        "prompt": prompt,
        "chosen": _said(chosen) if chat else chosen,
        "rejected": _said(rejected) if chat else rejected,
        "value": judgment.value if candidate else 1 - judgment.value,
        "chosen_side": "candidate" if candidate else "baseline",
        "judge": one.judge.name,
        "eval": one.eval,
        "golden_set": judgment.golden_set,
        "repeat": judgment.repeat,
    }


def _said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def _notes(judged: Sequence[JudgedEval]) -> Iterator[str]:
    for one in judged:
        if not one.standing.may_gate:
            yield f"The judge {one.judge.name} may not gate: nobody knows how far people share these preferences."


def _nothing(told: Preferences) -> str:
    why = ", ".join(told._left_out()) or "there are no judgments"
    hint = ""
    if told.golden:
        hint = (
            "; a held-out case never becomes training data: have answers to training prompts judged, in a golden set "
            "whose card says `held_out: false`"
        )
    return f"nothing to export: {why}{hint}"
