"""A judge held against people: run on its labelled items, measured, and its calibration written."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from evalharness.api.settings import Settings
from evalharness.api.tables import counted, table
from evalharness.content import CONTENT_FOLDERS, builtin_root
from evalharness.core.judges import Calibration, Judge, Label, Measured, Standing
from evalharness.errors import EXIT_INVALID, EXIT_PASS, ProviderError, StoreError, UsageError
from evalharness.report.text import one_line
from evalharness.spec.judges import RECORDED, load_judge

if TYPE_CHECKING:
    import numpy as np

    from evalharness.engine.calibrating import Heard

WIDTH: Final = 80
_HEAD: Final = ("", "value", "95% interval", "items", "needed")
_NUMBERS: Final = (1, 3)
_REASONS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What a judge must reach to gate."""

    labels: int
    agreement: float
    kappa: float
    flip_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeCalibration:
    """A judge as measured against its labels.

    Attributes:
        judge, mode: its name and mode. file: calibration.json as typed here; None where nothing could be measured.
        calibration: what was measured, None where the judge gave no verdict at all.
        standing: whether it may gate, and every reason why not.
        thresholds: what is needed.
        n_items: labelled items. n_tied: those left out because their labellers contradict one another evenly.
        n_labellers: people who are named, at least 1.
        facts: calls, tokens and money, as in a run's manifest; empty for recorded verdicts.
        notes: sentences about what a reader should know.
    """

    judge: str
    mode: str
    file: str | None
    calibration: Calibration | None
    standing: Standing
    thresholds: Thresholds
    n_items: int
    n_tied: int
    n_labellers: int
    facts: Mapping[str, Any]
    notes: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0 where the judge may gate, else 4."""
        return EXIT_PASS if self.standing.may_gate else EXIT_INVALID

    def json(self) -> str:
        """As JSON, ASCII only."""
        whole = asdict(self) | {"exit_code": self.exit_code}
        return json.dumps(whole, indent=2, allow_nan=False)

    def text(self) -> str:
        """For a terminal, at most 80 columns but for long names."""
        found = self.calibration
        models = ", ".join(one_line(name, 60) for name in found.models) if found is not None else ""
        judged = found.n_judged if found is not None else 0
        lines = [
            f"judge {one_line(self.judge, 60)}, {self.mode}" + (f", answered by {models}" if models else ""),
            f"{counted(self.n_items, 'labelled item')} by {_people(self.n_labellers)}, {judged:,} judged"
            + (f", {self.n_tied:,} left out: their labellers contradict one another" if self.n_tied else ""),
        ]
        if found is not None:
            lines += ["", *table([_HEAD, *_rows(found, self.thresholds)], right=_NUMBERS)]
        spent = _spent(self.facts)
        notes = [*([spent] if spent else []), *self.notes]
        if notes:
            lines += ["", *(_filled(note) for note in notes)]
        lines += ["", "May gate: yes." if self.standing.may_gate else "May gate: no."]
        lines += [_filled(f"- {reason}", indent="  ") for reason in self.standing.reasons]
        return "\n".join(lines)


def calibrate_judge(folder: str | Path, settings: Settings | None = None) -> JudgeCalibration:
    """Have a judge judge its labelled items, measure it against people, and write its calibration.json.

    Several labels of one item count as the one most people gave; an item without one is left out. An item that the
    judge gives no verdict on is in no figure, and counted. A calibration of before is replaced, and removed where there
    is nothing to put in its place: it would speak for a judge that no longer answers.

    Args:
        folder: the judge's folder, or its judge.yaml.
        settings: seed (of the interval of kappa), store, `fresh` and progress are used.

    Raises:
        SpecError: files are wrong. UsageError: there are no labels to hold the judge against, the judge ships with the
            package, or it cannot be asked. ProviderError: the endpoint failed or a cap was reached; what was collected
            is kept. StoreError: calibration.json cannot be written.
    """
    import numpy as np

    from evalharness.engine.calibrating import judge_labels
    from evalharness.judging.labels import consensus
    from evalharness.judging.standing import MAX_FLIPS, MIN_AGREEMENT, MIN_KAPPA, MIN_LABELS, standing
    from evalharness.spec.calibration import CALIBRATION, write_calibration

    use = settings or Settings()
    path = use.paths.argument(str(folder))
    judge = load_judge(path, paths=use.paths, registry=use.registry)
    home = path if path.is_dir() else path.parent
    _refuse_shipped(home, use)
    agreed = consensus(judge.labels)
    if not agreed.labels:
        raise UsageError(f"{use.paths.show(home)}: {_nothing_to_hold(judge)}")
    heard, all_items = judge_labels(judge, agreed.labels, use.registry, use.surroundings.how)
    items = [item for item in all_items if item.judgment.source != "identical"]
    file = home / CALIBRATION
    found: Calibration | None = None
    if any(item.value is not None for item in items):
        rng = np.random.default_rng(use.seed)
        found = _measured(judge, items, heard.models, MIN_AGREEMENT, rng)
        write_calibration(file, found)
    else:
        _refuse_silence(judge, items)
        _remove(file)
    stands = standing(replace(judge, calibration=found), heard.models)
    if found is None:
        why = f"the judge {judge.name} gave no verdict on any of {counted(len(items), 'labelled item')}"
        stands = Standing(may_gate=False, reasons=(f"{why}: {_commonest(items)}",))
    return JudgeCalibration(
        judge=judge.name,
        mode=judge.mode,
        file=use.paths.show(file) if found is not None else None,
        calibration=found,
        standing=stands,
        thresholds=Thresholds(
            labels=MIN_LABELS, agreement=MIN_AGREEMENT, kappa=MIN_KAPPA, flip_rate=MAX_FLIPS
        ),
        n_items=len(items) + len(agreed.tied),
        n_tied=len(agreed.tied),
        n_labellers=len({label.labeller for label in judge.labels}),
        facts=dict(heard.facts),
        notes=(
            *_about_equal(len(all_items) - len(items)),
            *_notes(judge, items, agreed.tied, found, use.paths.show(file)),
        ),
    )


def _refuse_shipped(home: Path, use: Settings) -> None:
    """A shipped judge is everybody's: its calibration would be lost with the next version of the package."""
    root = builtin_root()
    if root is None or home.resolve().is_relative_to(use.cwd.resolve()):
        return
    if any(home.resolve().is_relative_to((root / name).resolve()) for name in CONTENT_FOLDERS):
        raise UsageError(
            f"the judge {home.name} ships with the package; copy its folder ({home.resolve()}) into your project, "
            "label answers of your own (evalharness judge sample), and calibrate the copy"
        )


def _nothing_to_hold(judge: Judge) -> str:
    if judge.labels:
        return (
            "its labellers contradict one another evenly on every item; have one more person label them, "
            "and talk about the rubric"
        )
    return (
        "the judge has no human labels; draw answers to label with `evalharness judge sample`, and keep the labels as "
        "calibration.jsonl in its folder"
    )


def _refuse_silence(judge: Judge, items: Sequence[Heard]) -> None:
    """An endpoint that failed on everything says nothing of the judge: an earlier calibration is left alone."""
    if items and judge.provider != RECORDED and not any(v.raw for item in items for v in item.judgment.votes):
        raise ProviderError(
            f"the judge {judge.name} was asked about {counted(len(items), 'labelled item')} and replied to none: "
            f"{_commonest(items)}; nothing was measured"
        )


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            f"{file}: cannot be removed: {error.strerror or error}; delete it: the judge gave no verdict"
        ) from error


def _about_equal(number: int) -> Iterator[str]:
    if number:
        yield f"{counted(number, 'item')} left out, whose two answers are the same: no judge is asked about these."


def _measured(
    judge: Judge,
    items: Sequence[Heard],
    models: tuple[str, ...],
    least: float,
    rng: np.random.Generator,
) -> Calibration:
    """Every figure, from the items that the judge gave a verdict on."""
    import numpy as np

    from evalharness.judging.labels import labels_digest
    from evalharness.stats.agreement import Undefined
    from evalharness.stats.judging import NotEstimated, against_labels, position
    from evalharness.stats.length import length_correlation

    judged = [item for item in items if item.value is not None]
    values = np.array([item.value for item in judged], dtype=np.float64)
    people = np.array([_meant(item.label) for item in judged])
    found = against_labels(values, people, rng=rng)
    kappa = None
    if not isinstance(found.kappa, Undefined):
        kappa = Measured(
            value=found.kappa.value, low=found.kappa.low, high=found.kappa.high, n=found.kappa.n_items
        )
    both = [item.orders for item in judged if None not in item.orders]
    placed = position(
        np.array([first for first, _ in both], dtype=np.float64),
        np.array([second for _, second in both], dtype=np.float64),
    )
    bent = None if isinstance(placed, NotEstimated) else placed
    longer = length_correlation(values, np.array([_longer(item.label) for item in judged], dtype=np.float64))
    return Calibration(
        judge_digest=judge.digest,
        labels_digest=labels_digest(judge.labels),
        models=models,
        n_labels=len(items),
        n_judged=len(judged),
        agreement=found.agreement,
        kappa=kappa,
        sensitivity=found.sensitivity,
        specificity=found.specificity,
        correlation2=found.correlation2,
        flip_rate=bent.flip_rate if bent is not None else None,
        first_slot=bent.flips_to_first if bent is not None else None,
        length_correlation=None if isinstance(longer, NotEstimated) else longer,
        problem=_problem(judged, len(items), found.agreement, found.kappa, least),
    )


def _problem(
    judged: Sequence[Heard], n_items: int, agreement: Measured, kappa: Any, least: float
) -> str | None:
    """What keeps these figures from speaking for the judge, whatever they are; the most important first."""
    from evalharness.stats.agreement import Undefined

    kinds = {item.label.label for item in judged} - {"tie"}
    if len(kinds) < 2:
        only = next(iter(kinds), "tie")
        return f"people gave no label but {only!r}, so nothing shows that the judge can tell the two apart"
    if isinstance(kappa, Undefined):
        return kappa.reason
    worst = agreement.value * len(judged) / n_items
    if worst < least <= agreement.value:
        return (
            f"{n_items - len(judged):,} of {n_items:,} labelled items have no verdict; were it wrong on these, it "
            f"would agree with people on {worst:.1%}"
        )
    return None


def _meant(label: Label) -> float:
    """1 where people prefer the second answer or let the one answer pass, 0 for the opposite, ½ for a tie."""
    return {"second": 1.0, "pass": 1.0, "tie": 0.5}.get(label.label, 0.0)


def _longer(label: Label) -> int:
    """How much longer the second answer is, or how long the one answer is; in characters."""
    first = len(label.answers[0])
    return len(label.answers[1]) - first if len(label.answers) == 2 else first


def _notes(
    judge: Judge, items: Sequence[Heard], tied: Sequence[str], found: Calibration | None, file: str
) -> Iterator[str]:
    if tied:
        names = ", ".join(tied[:_REASONS]) + (" and others" if len(tied) > _REASONS else "")
        yield (
            f"{counted(len(tied), 'item')} left out, as many people said one thing as the other: {names}. One more "
            "label settles each."
        )
    missing = [item for item in items if item.value is None]
    if missing and found is not None:
        yield f"{counted(len(missing), 'item')} without a verdict, in no figure: {_commonest(items)}."
    if judge.orders == "random" and judge.mode == "pairwise" and judge.provider != RECORDED:
        yield (
            "Both orders were asked here to measure flips; agreement is that of the one order in which this judge is "
            "otherwise asked."
        )
    if found is None:
        yield "Nothing was written, and no earlier calibration.json is left."
    else:
        yield f"Written: {file}"


def _commonest(items: Sequence[Heard]) -> str:
    why = Counter(item.judgment.problem or "no verdict" for item in items if item.value is None)
    return "; ".join(f"{reason} ({n:,})" for reason, n in why.most_common(_REASONS))


# --- the table ------------------------------------------------------------------------------------------------------


def _rows(found: Calibration, needed: Thresholds) -> Iterator[tuple[str, ...]]:
    yield "labelled items judged", f"{found.n_judged:,}", "", "", f"at least {needed.labels}"
    yield _percent("agreement with people", found.agreement, f"at least {needed.agreement:.0%}")
    yield _coefficient("beyond chance (Cohen's kappa)", found.kappa, f"at least {needed.kappa:.2f}")
    yield _percent("sensitivity: good ones seen", found.sensitivity)
    yield _percent("specificity: bad ones seen", found.specificity)
    squared = "none" if found.correlation2 is None else f"{found.correlation2:.2f}"
    yield "squared correlation", squared, "", f"{found.n_judged:,}", ""
    if found.flip_rate is not None:
        yield _percent("flips with the order", found.flip_rate, f"at most {needed.flip_rate:.0%}")
        if found.first_slot is not None:
            yield _percent("  of these for the first slot", found.first_slot)
    yield _coefficient("length and verdict", found.length_correlation)


def _percent(name: str, value: Measured | None, needed: str = "") -> tuple[str, ...]:
    if value is None:
        return name, "none", "", "", needed
    interval = f"{100 * value.low:.1f}% to {100 * value.high:.1f}%"
    return name, f"{100 * value.value:.1f}%", interval, f"{value.n:,}", needed


def _coefficient(name: str, value: Measured | None, needed: str = "") -> tuple[str, ...]:
    if value is None:
        return name, "none", "", "", needed
    return name, f"{value.value:.2f}", f"{value.low:.2f} to {value.high:.2f}", f"{value.n:,}", needed


def _spent(facts: Mapping[str, Any]) -> str:
    if not facts:
        return ""
    parts = [counted(facts.get("calls", 0), "call")]
    if facts.get("cached"):
        parts.append(f"{facts['cached']:,} from the cache")
    tokens = facts.get("spent_input_tokens"), facts.get("spent_output_tokens")
    if None not in tokens:
        parts.append(f"{tokens[0]:,} tokens in and {tokens[1]:,} out")
    if facts.get("spent_usd") is not None:
        parts.append(f"${facts['spent_usd']:.4f}")
    return "Asked: " + ", ".join(parts) + "."


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(
        one_line(text), WIDTH, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )


def _people(number: int) -> str:
    return "1 person" if number == 1 else f"{number:,} people"
