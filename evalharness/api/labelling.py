"""Answers for people to label, drawn at random, and their labels made into a judge's calibration.jsonl."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from evalharness._canon import short
from evalharness.api.settings import Settings
from evalharness.core.attempts import Response
from evalharness.core.candidates import Candidate
from evalharness.core.runs import Run
from evalharness.core.suites import Suite
from evalharness.engine.collect import collect
from evalharness.engine.sides import choose_suite, finished_run, suite_of
from evalharness.errors import Problem, SpecError, UsageError
from evalharness.judging.standing import MIN_LABELS
from evalharness.report.text import one_line
from evalharness.spec.load import load_candidate, recording
from evalharness.store.files import file_digest, write_text
from evalharness.store.folder import load_run

if TYPE_CHECKING:
    from evalharness.core.cases import Case
    from evalharness.core.judges import Label, Mode, SideName
    from evalharness.spec.labelling import Format, ToLabel


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What was drawn for people to label.

    Attributes:
        file: as typed here. format: "jsonl", "csv" or "html". mode: "pairwise" or "pointwise".
        n: items drawn of `of` cases that could be. n_same: cases left out because both answers are the same.
        n_unanswered: those left out because an answer is missing. seed: of the draw.
        notes: sentences about what a reader should know.
    """

    file: str
    format: str
    mode: str
    n: int
    of: int
    n_same: int
    n_unanswered: int
    seed: int
    notes: tuple[str, ...]

    def json(self) -> str:
        """As JSON, ASCII only."""
        return json.dumps(asdict(self), indent=2)

    def text(self) -> str:
        """For a terminal."""
        what = "pairs of answers" if self.mode == "pairwise" else "answers"
        return "\n".join(
            [f"{self.file}: {self.n:,} {what} drawn of {self.of:,} (seed {self.seed})", *self.notes]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """Labels of people in one calibration.jsonl.

    Attributes:
        file: as typed here. mode: "pairwise" or "pointwise". n_labels: lines. n_items: labelled items.
        labellers: how many labels each gave; "" where no name is given. n_empty: lines without a label, left out.
        n_tied: items whose labellers contradict one another evenly.
        labels: label → how many, one an item, ties between labellers left out.
        preferred: the same by side ("baseline", "candidate", "tie"), where every item says whose answer stood first;
            else None.
    """

    file: str
    mode: str
    n_labels: int
    n_items: int
    labellers: Mapping[str, int]
    n_empty: int
    n_tied: int
    labels: Mapping[str, int]
    preferred: Mapping[str, int] | None

    def json(self) -> str:
        """As JSON, ASCII only."""
        return json.dumps(asdict(self), indent=2)

    def text(self) -> str:
        """For a terminal; names are cleaned of what could drive one."""
        names = ", ".join(
            f"{one_line(name, 40) or 'no name'} {n:,}" for name, n in sorted(self.labellers.items())
        )
        lines = [
            f"{self.file}: {self.n_labels:,} labels of {self.n_items:,} items ({names})",
            "people said: " + ", ".join(f"{name} {n:,}" for name, n in self.labels.items()),
        ]
        if self.preferred is not None:
            lines.append(
                "by side: " + ", ".join(f"{name} {n:,}" for name, n in sorted(self.preferred.items()))
            )
        if self.n_tied:
            lines.append(f"{self.n_tied:,} items have as many labels for one thing as for another")
        if self.n_empty:
            lines.append(f"{self.n_empty:,} lines without a label were left out")
        if self.n_items - self.n_tied < MIN_LABELS:
            lines.append(f"a judge needs at least {MIN_LABELS} labelled items to gate")
        return "\n".join(lines)


def sample_to_label(
    answers: str | Path,
    out: str | Path,
    *,
    against: str | Path | None = None,
    n: int = 100,
    suite: str | Path | None = None,
    eval_id: str | None = None,
    form: Format | None = None,
    settings: Settings | None = None,
) -> Drawn:
    """Draw answers at random for people to label, and write the sheet or page they label in.

    Every case with an answer has the same chance, one answer a case (of several repeats one is drawn). The same
    answers and seed give the same file. With `against`, which of the two stands first is drawn too, half of the items
    each way, and not shown: a key in `note` keeps it for later. Pairs of equal answers are not drawn.

    Args:
        answers: a run folder, a candidate file of recorded outputs, or recorded outputs (JSONL).
        out: the file to write; one that is there is never replaced, since it may hold labels.
        against: the baseline to compare with, of the same kinds. None: one answer at a time.
        n: items to draw, at least 1; all of them where there are fewer.
        suite: a suite, in place of the one that the answers name; it holds the questions.
        eval_id: draw from this eval's golden set only.
        form: "jsonl", "csv" or "html"; None: by the ending of `out`.
        settings: the seed, the working directory and the store are used.

    Raises:
        SpecError, StoreError: a file is wrong. UsageError: the answers are none, were given to other questions, or
            `out` is there.
    """
    from evalharness.spec.labelling import FORMATS, sheet

    use = settings or Settings()
    target = use.cwd / out
    if target.exists():
        raise UsageError(f"{out}: is already there and may hold labels; choose another --out")
    ending = target.suffix.lower().removeprefix(".")
    chosen = form or next((known for known in FORMATS if known == ending), None)
    if chosen is None:
        raise UsageError(f"{out}: give --format {', '.join(FORMATS)}, or an ending that is one of them")
    right = _Source.find(answers, use)
    left = _Source.find(against, use) if against is not None else None
    questions = choose_suite(
        [source.suite for source in (left, right) if source is not None], suite, use.surroundings
    )
    sides = [source.run(questions, use) for source in (left, right) if source is not None]
    if eval_id is not None:
        evals = [item for item in questions.evals if item.id == eval_id]
        if not evals:
            known = ", ".join(item.id for item in questions.evals)
            raise UsageError(f"the suite has no eval {eval_id!r}; it has {known}")
        questions = replace(questions, evals=tuple(evals))
    items, n_same, unanswered, of = _draw(questions, sides, n, use.seed)
    if not items:
        raise UsageError(
            f"there is nothing to draw: {unanswered:,} cases lack an answer, and in {n_same:,} both are the same"
        )
    mode: Mode = "pairwise" if len(sides) == 2 else "pointwise"
    title = f"{questions.name}: {len(items)} " + ("pairs" if len(sides) == 2 else "answers")
    write_text(target, sheet(items, mode, chosen, title))
    return Drawn(
        file=str(out),
        format=chosen,
        mode=mode,
        n=len(items),
        of=of,
        n_same=n_same,
        n_unanswered=unanswered,
        seed=use.seed,
        notes=tuple(_about(len(items), n, n_same, unanswered)),
    )


def collect_labels(
    files: Sequence[str | Path], out: str | Path, settings: Settings | None = None
) -> Collected:
    """Join filled sheets, of several people too, into a judge's calibration.jsonl. Lines without a label are left out.

    Args:
        files: sheets (CSV or JSONL) as `sample_to_label` wrote them, with labels.
        out: the file to write; one that is there is never replaced.
        settings: the working directory is used.

    Raises:
        SpecError: a file is wrong, or labels contradict one another; every problem. UsageError: `out` is there, or no
            label is given.
    """
    from evalharness.judging.labels import consensus
    from evalharness.spec.judge_lines import read_labels
    from evalharness.spec.labelling import filled_lines, first_side

    use = settings or Settings()
    target = use.cwd / out
    if target.exists():
        raise UsageError(f"{out}: is already there; choose another --out, or move it away")
    rows, n_empty = [], 0
    for name in files:
        path = use.paths.argument(str(name))
        found, empty = filled_lines(path, use.paths.show(path))
        rows += found
        n_empty += empty
    if not rows:
        raise UsageError(f"no line has a label yet ({n_empty:,} have none)")
    mode: Mode = "pairwise" if "first" in rows[0] else "pointwise"
    text = "".join(json.dumps(row) + "\n" for row in rows)
    with tempfile.TemporaryDirectory() as folder:
        # Checked as a judge will read it.
        trial = Path(folder) / "labels.jsonl"
        write_text(trial, text)
        labels, problems = read_labels(trial, "the labels, joined", mode)
    if problems:
        raise SpecError([_placed(problem, rows) for problem in problems])
    write_text(target, text)
    agreed = consensus(labels)
    sides = {row["id"]: first_side(str(row.get("note", ""))) for row in rows}
    return Collected(
        file=str(out),
        mode=mode,
        n_labels=len(labels),
        n_items=len({label.id for label in labels}),
        labellers=dict(Counter(label.labeller for label in labels)),
        n_empty=n_empty,
        n_tied=len(agreed.tied),
        labels=dict(sorted(Counter(label.label for label in agreed.labels).items())),
        preferred=_preferred(agreed.labels, sides) if mode == "pairwise" else None,
    )


def _placed(problem: Problem, rows: Sequence[Mapping[str, object]]) -> Problem:
    """The problem with the item it is about: the line is one of the joined labels, in the order of the files."""
    if problem.line is None:
        return problem
    name = one_line(str(rows[problem.line - 1].get("id", "")), 60)
    return replace(problem, message=f"item {name!r}: {problem.message}")


def _preferred(labels: Sequence[Label], sides: Mapping[str, SideName | None]) -> dict[str, int] | None:
    if any(sides[label.id] is None for label in labels):
        return None
    said: Counter[str] = Counter()
    for label in labels:
        first = sides[label.id]
        other = "candidate" if first == "baseline" else "baseline"
        said[{"first": str(first), "second": other}.get(label.label, "tie")] += 1
    return dict(said)


# --- drawing --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the answers of one side are."""

    given: str
    suite: str | None
    folder: Path | None = None
    model: Candidate | None = None

    @classmethod
    def find(cls, given: str | Path, use: Settings) -> _Source:
        path = use.paths.argument(str(given))
        if path.is_dir():
            folder = finished_run(path)
            return cls(str(given), suite_of(folder, use.paths), folder=folder)
        if path.suffix == ".jsonl":
            return cls(str(given), None, model=recording(path, file_digest(path) or ""))
        if path.suffix in (".yaml", ".yml"):
            model = load_candidate(path, paths=use.paths, registry=use.registry)
            if not use.registry.load("providers", model.provider).recorded:
                raise UsageError(
                    f"{given}: has not answered yet; run it (evalharness run) and name the run folder"
                )
            return cls(str(given), model.suite_path, model=model)
        raise UsageError(
            f"{given}: give a run folder, a candidate file of recorded outputs, or recorded outputs"
        )

    def run(self, suite: Suite, use: Settings) -> Run:
        if self.model is not None:
            return collect(suite, self.model, use.registry, use.surroundings.how)[0]
        assert self.folder is not None
        run = load_run(self.folder)
        changed = [g.name for g in suite.golden_sets if run.golden_sets.get(g.name) != g.digest]
        if changed:
            raise UsageError(
                f"{self.given}: answered other cases than {changed[0]} has now; run the candidate again, or give the "
                "suite it answered with --suite"
            )
        return run


def _draw(suite: Suite, sides: Sequence[Run], n: int, seed: int) -> tuple[list[ToLabel], int, int, int]:
    """Items to label, in random order; the numbers of cases with equal answers and without one; cases to draw from."""
    import numpy as np

    from evalharness.judging.prompts import same_answer
    from evalharness.spec.labelling import ToLabel, blind_key

    rng = np.random.default_rng(seed)
    able: list[tuple[str, Case, list[tuple[int, tuple[str, ...]]]]] = []
    n_same = unanswered = 0
    sets = {item.golden_set.name: item.golden_set for item in suite.evals}
    for name, golden_set in sets.items():
        for case in golden_set.cases:
            found = list(_answers(sides, name, case.id))
            apart = [(r, texts) for r, texts in found if len(texts) == 1 or not same_answer(*texts)]
            n_same += bool(found) and not apart
            unanswered += not found
            if apart:
                able.append((name, case, apart))
    taken = rng.permutation(len(able))[:n]
    swapped = rng.permutation(np.arange(len(taken)) % 2 == 1)
    draw = f"sample seed={seed} drawn={len(taken)} of={len(able)} runs=" + ",".join(
        short(run.id) for run in sides
    )
    items = []
    for at, swap in zip(taken.tolist(), swapped.tolist(), strict=True):
        name, case, found = able[at]
        repeat, texts = found[int(rng.integers(len(found)))]
        item_id = f"{name}/{case.id}" + (f"#{repeat}" if any(run.repeats > 1 for run in sides) else "")
        note = draw
        if len(texts) == 2:
            first: SideName = "candidate" if swap else "baseline"
            note += f" key={blind_key(item_id, seed, first)}"
            texts = texts[::-1] if swap else texts
        items.append(
            ToLabel(
                id=item_id,
                input=case.question,
                answers=texts,
                contexts=case.contexts,
                target=str(case.targets[0]) if case.targets else None,
                note=note,
            )
        )
    return items, n_same, unanswered, len(able)


def _answers(sides: Sequence[Run], golden_set: str, case_id: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(repeat, texts) of every answer, or of every pair that a judge would see."""
    from evalharness.judging.pairs import answer_pairs

    if len(sides) == 2:
        yield from answer_pairs(golden_set, case_id, sides[0], sides[1])
        return
    (run,) = sides
    for repeat in range(run.repeats):
        attempt = run.attempts.get(golden_set, {}).get((case_id, repeat))
        if attempt is not None and isinstance(attempt.outcome, Response):
            yield repeat, (attempt.outcome.text,)


def _about(drawn: int, wanted: int, n_same: int, unanswered: int) -> Iterator[str]:
    if drawn < wanted:
        yield f"there are no more than {drawn:,} to draw from; {wanted:,} were asked for"
    if n_same:
        yield f"{n_same:,} cases are left out whose two answers are the same: nobody prefers one"
    if unanswered:
        yield f"{unanswered:,} cases are left out that lack an answer"
    if drawn < MIN_LABELS:
        yield f"a judge needs at least {MIN_LABELS} labelled items to gate"
