"""Judge folders: judge.yaml with the prompt, examples and human labels it names → `core.judges.Judge`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from evalharness._canon import digest
from evalharness.content import PathPolicy
from evalharness.core.candidates import Limits
from evalharness.core.judges import Calibration, Criterion, Example, Judge, Label, Mode
from evalharness.errors import Problem, SpecError
from evalharness.plugins import Registry
from evalharness.spec.calibration import read_calibration
from evalharness.spec.candidates import (
    NEEDS,
    NOT_IN_DIGEST,
    TAKES,
    check_price,
    check_provider,
    named_text,
    provider_options,
    resolve,
)
from evalharness.spec.checking import check
from evalharness.spec.judge_lines import TEXTS, read_examples, read_labels
from evalharness.spec.models import JudgeFile
from evalharness.spec.prices import price_of
from evalharness.spec.prompts import template_problems
from evalharness.spec.reader import Document, Loc, read_yaml
from evalharness.templates import environment

JUDGE: Final = "judge.yaml"
RECORDED: Final = "replay"
"""The provider whose verdicts are read, not asked for."""
PANEL: Final = "panel"
"""What stands for the provider of a judge that is several judges."""
MAX_CHARS: Final = 20_000

_NO_JUDGES: Final = ("python", "embeddings")
_TAKES: Final = {name: keys for name, keys in TAKES.items() if name not in _NO_JUDGES} | {
    RECORDED: frozenset(("verdicts",))
}
_NEEDS: Final = {name: keys for name, keys in NEEDS.items() if name not in _NO_JUDGES} | {
    RECORDED: ("verdicts",)
}
_PANEL_KEYS: Final = frozenset(("name", "mode", "panel", "combine", "flagged", "calibration"))
_SEES: Final = frozenset(("input", "contexts", "target", "criteria", "rubric"))
_MUST_SHOW: Final[Mapping[Mode, tuple[str, ...]]] = {**TEXTS, "claims": ("output", "contexts")}
_FILLED: Final = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_MOVING: Final = re.compile(r"(?i)(?:.*[-:@/])?latest")
_BRANCHES: Final = frozenset((None, "main", "master"))


def load_judge(path: Path, *, paths: PathPolicy, registry: Registry) -> Judge:
    """Read a judge's folder (or its judge.yaml), the judges of a panel included.

    Whether the judge may gate is another question (`judging.standing`): one without labels, or never calibrated, loads.

    Raises:
        SpecError: every problem found in judge.yaml, the prompt, the examples, the labels and the calibration.
    """
    return _load(path, paths, registry, member=False)


def reads_contexts(judge: Judge) -> bool:
    """Whether somebody has to hold the claims of an answer against its case's contexts."""
    return judge.mode == "claims" and any(one.provider != RECORDED for one in judge.panel or (judge,))


def _load(path: Path, paths: PathPolicy, registry: Registry, *, member: bool) -> Judge:
    file = path / JUDGE if path.is_dir() else path
    document = read_yaml(file, paths)
    model = check(JudgeFile, document)
    if member and "panel" in document.data:
        document.add(("panel",), "a panel cannot be a member of a panel", "name its members instead")
        document.finish()  # before its own members are followed, who may be the panel we come from
    if model is None:
        check_provider(document, document.data, registry, _TAKES, _NEEDS)
        _check_anyway(document, paths)
        document.finish()
        raise AssertionError("a failed check always leaves a problem")
    if model.panel is None:
        return _One(document, model, paths).judge(registry)
    return _Panel(document, model, paths).judge(registry)


def _check_anyway(document: Document, paths: PathPolicy) -> None:
    """In a file that is wrong elsewhere, the prompt and the labels that can be checked all the same."""
    mode = next((known for known in TEXTS if known == document.data.get("mode")), None)
    if mode is None or "panel" in document.data:
        return
    reader = _Files(document, mode, paths)
    reader.prompt(document.data.get("prompt"), needed=False)
    reader.labels(document.data.get("calibration"))


class _Files:
    """Reads what a judge.yaml of one mode names, recording what is wrong."""

    def __init__(self, document: Document, mode: Mode, paths: PathPolicy) -> None:
        self.document = document
        self.mode = mode
        self.paths = paths

    def prompt(self, written: Any, *, needed: bool, also: tuple[str, ...] = ()) -> str:
        """The template. `also`: what it must show beside the texts."""
        text = self.default(written, "./prompt.md", needed=needed)
        if text is None:
            return ""
        found = named_text(self.document, ("prompt",), text, self.paths)
        if found is None:
            return ""
        body, shown, first = found
        wrong = list(template_problems(body, _SEES | set(TEXTS[self.mode]))) or _hidden(body, self.mode, also)
        for line, message, hint in wrong:
            self.document.problems.append(Problem(message, shown, first + line - 1, hint=hint))
        return body

    def labels(self, written: Any) -> tuple[Label, ...]:
        text = self.default(written, "./calibration.jsonl", needed=False)
        found = self.file("calibration", text)
        if found is None:
            return ()
        labels, problems = read_labels(found, self.paths.show(found), self.mode)
        self.document.problems += problems
        return labels

    def examples(self, written: str | None, criteria: tuple[Criterion, ...]) -> tuple[Example, ...]:
        found = self.file("examples", written)
        if found is None:
            return ()
        examples, problems = read_examples(
            found, self.paths.show(found), self.mode, [item.id for item in criteria]
        )
        self.document.problems += problems
        return examples

    def calibration(self) -> Calibration | None:
        try:
            return read_calibration(self.document.path.parent, self.paths)
        except SpecError as error:
            self.document.problems += error.problems
            return None

    def default(self, written: Any, usual: str, *, needed: bool) -> str | None:
        """The value of a key, or the usual one where it is not written and the file is there or needed."""
        if isinstance(written, str):
            return written
        if written is None and (needed or (self.document.path.parent / usual).exists()):
            return usual
        return None

    def file(self, key: str, text: str | None) -> Path | None:
        """The file a key names, None after recording why there is none, or without a name."""
        found = resolve(self.document, (key,), text, self.paths) if text is not None else None
        if found is not None and not found.is_file():
            self.document.add((key,), f"{key}: {text!r} is not a file; a JSONL file is needed")
            return None
        return found


class _One(_Files):
    """Reads one judge: a model, or recorded verdicts."""

    def __init__(self, document: Document, model: JudgeFile, paths: PathPolicy) -> None:
        super().__init__(document, model.mode, paths)
        self.model = model
        self.recorded = model.provider == RECORDED

    def judge(self, registry: Registry) -> Judge:
        document, model = self.document, self.model
        self.check_keys(registry)
        check_price(document, model)
        criteria = self.criteria()
        rubric = self.rubric()
        given = (("criteria", criteria), ("rubric", rubric))
        also = () if self.recorded else tuple(name for name, value in given if value)
        prompt = self.prompt(model.prompt, needed=not self.recorded, also=also)
        examples = self.examples(model.examples, criteria)
        labels = self.labels(model.calibration)
        verdicts = self.file("verdicts", model.verdicts)
        options, contents = provider_options(document, model, self.paths)
        self.check_pinned(local="model_path" in options)
        calibration = self.calibration()
        document.finish()
        assert model.provider is not None
        orders = model.orders or "both"
        max_chars = model.max_chars or MAX_CHARS
        decoding = self.decoding()
        identity = {
            "mode": self.mode,
            "provider": model.provider,
            "model": None if "model_path" in contents else model.model,
            "decoding": decoding,
            "options": {key: value for key, value in contents.items() if key not in NOT_IN_DIGEST},
            "criteria": [[item.id, item.text, item.weight] for item in criteria],
            "rubric": rubric,
            "prompt": prompt,
            "examples": [
                [item.input, item.answers, item.reply, item.contexts, item.target] for item in examples
            ],
            "orders": orders if self.mode == "pairwise" else None,
            "max_chars": max_chars,
            # Without a model or a prompt to go by, the name says whose verdicts these are.
            "recorded": model.name if self.recorded else None,
        }
        return Judge(
            name=model.name,
            mode=self.mode,
            provider=model.provider,
            model=model.model,
            criteria=criteria,
            rubric=rubric,
            prompt=prompt,
            digest=digest(identity),
            path=self.paths.show(document.path.parent),
            decoding=decoding,
            options=options,
            api_key_env=model.api_key_env,
            limits=Limits(**model.limits.model_dump()),
            price=price_of(model),
            orders=orders,
            examples=examples,
            verdicts=str(verdicts) if verdicts is not None else None,
            max_chars=max_chars,
            flagged=model.flagged or "refuse",
            labels=labels,
            calibration=calibration,
        )

    def check_keys(self, registry: Registry) -> None:
        """Keys that are missing, or that this mode or provider does not use."""
        document, model = self.document, self.model
        if model.provider is None:
            document.add(
                (), "the key 'provider' is missing", "or `panel`, with the folders of several judges"
            )
        elif model.provider == "python":
            hint = "record its verdicts and use provider: replay"
            document.add(("provider",), "a function of yours cannot be a judge here", hint)
        elif model.provider in _NO_JUDGES:
            document.add(("provider",), f"provider {model.provider!r} ranks documents and cannot judge")
        check_provider(document, document.data, registry, _TAKES, _NEEDS)
        if model.combine is not None:
            document.add(("combine",), "combine says how a panel's votes become one, and there is no panel")
        if model.orders is not None and self.mode != "pairwise":
            document.add(
                ("orders",), f"a {self.mode} judge sees one answer, which has no order", "take it out"
            )

    def check_pinned(self, *, local: bool) -> None:
        """Refuse a name that may stand for another model tomorrow. `local`: it is a folder, known by its content."""
        model = self.model
        if model.model is None or self.recorded or local:
            return
        message, hint = f"model {model.model!r} is not pinned", "name the dated version"
        if model.provider == "ollama" and ":" not in model.model:
            message, hint = f"{message}: without a tag it is the latest", "name its tag"
        elif model.provider == "transformers" and model.revision in _BRANCHES:
            message, hint = f"{message}: a branch moves", "name a commit as its `revision`"
        elif not _MOVING.fullmatch(model.model):
            return
        self.document.add(("model",), message, f"a calibration holds for one exact model: {hint}")

    def criteria(self) -> tuple[Criterion, ...]:
        document = self.document
        found: list[Criterion] = []
        lines: dict[str, int] = {}
        if not self.model.criteria and not self.recorded and self.mode != "claims":
            wrong = "criteria is empty" if "criteria" in document.data else "the key 'criteria' is missing"
            document.add(("criteria",), wrong, "what is judged, one sentence each")
        for index, item in enumerate(self.model.criteria):
            name = item.id or f"c{index + 1}"
            line = document.place(("criteria", index)).line
            first = lines.setdefault(name, line)
            if first != line or name in (other.id for other in found):
                document.add(("criteria", index), f"the criterion id {name!r} is already on line {first}")
            self.check_plain(("criteria", index), item.text, document.shown, line)
            found.append(Criterion(id=name, text=item.text, weight=item.weight))
        return tuple(found)

    def rubric(self) -> str:
        written = self.model.rubric
        if written is None:
            if not self.recorded:
                self.document.add(("rubric",), "the key 'rubric' is missing", "how to decide, in plain text")
            return ""
        found = named_text(self.document, ("rubric",), written, self.paths)
        if found is None:
            return ""
        text, shown, first = found
        if not text.strip():
            self.document.problems.append(Problem("the rubric is empty", shown, first))
        self.check_plain(("rubric",), text, shown, first)
        return text

    def check_plain(self, loc: Loc, text: str, shown: str, first: int) -> None:
        """Refuse `{{ … }}` where nothing is filled in: the judge would read it as it is."""
        for match in _FILLED.finditer(text):
            line = first + text.count("\n", 0, match.start())
            message = f"{_where(loc)} is plain text, and {match.group()!r} would reach the judge as it is"
            self.document.problems.append(
                Problem(message, shown, line, hint="variables belong into the prompt")
            )

    def decoding(self) -> dict[str, Any]:
        """As written; temperature 0 unless the file says otherwise (null: the provider's own)."""
        given = self.model.decoding
        still = {} if self.recorded or "temperature" in given.model_fields_set else {"temperature": 0}
        return still | given.model_dump(exclude_none=True)


class _Panel(_Files):
    """Reads several judges that vote."""

    def __init__(self, document: Document, model: JudgeFile, paths: PathPolicy) -> None:
        super().__init__(document, model.mode, paths)
        self.model = model

    def judge(self, registry: Registry) -> Judge:
        document, model = self.document, self.model
        for key in document.data:
            if key not in _PANEL_KEYS:
                hint = "a panel has name, mode, panel, combine, flagged and calibration"
                document.add((key,), f"{key!r} belongs to the judges of a panel, not beside it", hint)
        elsewhere: list[Problem] = []
        members = tuple(self.members(registry, elsewhere))
        labels = self.labels(model.calibration)
        calibration = self.calibration()
        document.finish(*elsewhere)
        combine = model.combine or "majority"
        shared = {tuple((item.id, item.weight) for item in member.criteria) for member in members}
        identity = {
            "mode": self.mode,
            "panel": sorted(member.digest for member in members),
            "combine": combine,
        }
        return Judge(
            name=model.name,
            mode=self.mode,
            provider=PANEL,
            model=None,
            criteria=members[0].criteria if len(shared) == 1 else (),
            rubric="",
            prompt="",
            digest=digest(identity),
            path=self.paths.show(document.path.parent),
            orders=members[0].orders,
            panel=members,
            combine=combine,
            max_chars=min(member.max_chars for member in members),
            flagged=model.flagged or "refuse",
            labels=labels,
            calibration=calibration,
        )

    def members(self, registry: Registry, elsewhere: list[Problem]) -> Iterator[Judge]:
        first: dict[str, int] = {}
        same: dict[str, str] = {}
        orders: dict[str, int] = {}
        for index, text in enumerate(self.model.panel or ()):
            at: Loc = ("panel", index)
            found = resolve(self.document, at, text, self.paths)
            if found is not None and found.is_dir():
                found = resolve(self.document, at, f"{text.rstrip('/')}/{JUDGE}", self.paths)
            if found is None:
                continue
            try:
                member = _load(found, self.paths, registry, member=True)
            except SpecError as error:
                elsewhere += error.problems
                continue
            line = self.document.place(at).line
            if member.mode != self.mode:
                message = f"{member.name} is a {member.mode} judge in a {self.mode} panel"
                self.document.add(at, message, "the judges of a panel have its mode")
            if member.name in first:
                message = f"{member.name!r} is already in the panel on line {first[member.name]}"
                self.document.add(at, message, "the judges of a panel have names of their own")
            elif member.digest in same:
                message = f"{member.name} is the very judge that {same[member.digest]} is"
                self.document.add(at, message, "it would only vote twice; name another")
            first.setdefault(member.name, line)
            same.setdefault(member.digest, member.name)
            orders.setdefault(member.orders, line)
            if len(orders) > 1 and member.orders != next(iter(orders)):
                message = f"{member.name} has orders: {member.orders}, unlike the judge before it"
                self.document.add(at, message, "a panel sees each pair in the same orders")
            yield member


def _hidden(text: str, mode: Mode, also: tuple[str, ...]) -> list[tuple[int, str, str]]:
    """What a sound template keeps from the judge, as (line from 1, message, hint)."""
    from jinja2 import nodes
    from jinja2.meta import find_undeclared_variables

    tree = environment().parse(text)
    shown = find_undeclared_variables(tree)
    wrong = [
        (1, f"the prompt of a {mode} judge never shows {name!r}", f"write {{{{ {name} }}}} where it belongs")
        for name in (*_MUST_SHOW[mode], *also)
        if name not in shown
    ]
    for node in tree.find_all((nodes.Getattr, nodes.Getitem, nodes.Filter)):
        of = getattr(node, "node", None)
        if isinstance(of, nodes.Name) and of.name in ("input", *TEXTS[mode]):
            message = f"template: {of.name!r} is shown as it is; no part of it is taken and nothing changed"
            hint = f"write {{{{ {of.name} }}}}; max_chars says where a long answer is cut"
            wrong.append((node.lineno, message, hint))
    return wrong


def _where(loc: Loc) -> str:
    return "the rubric" if loc == ("rubric",) else "a criterion"
