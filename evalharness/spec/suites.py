"""Suite files: YAML → `core.suites.Suite`, with golden sets read, scorers built once and the gate checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalharness._canon import digest
from evalharness.content import PathPolicy
from evalharness.core.benchmarks import RESULTS, BenchmarkSpec
from evalharness.core.cases import Card, GoldenSet
from evalharness.core.judges import Judge
from evalharness.core.suites import JUDGE_METRIC, Budget, EvalSpec, Redaction, ScorerSpec, Suite
from evalharness.errors import Problem, SpecError
from evalharness.plugins import Registry
from evalharness.spec.advice import advice
from evalharness.spec.benchmarks import benchmark_spec
from evalharness.spec.candidates import resolve
from evalharness.spec.checking import check, part
from evalharness.spec.gates import JUDGED, GateChecker, Named, gate_warnings, policy, sampling_of
from evalharness.spec.golden_sets import CARD, CASES, load_golden_set
from evalharness.spec.judges import JUDGE, load_judge, reads_contexts
from evalharness.spec.models import EvalFile, GateFile, SamplingFile, SuiteFile
from evalharness.spec.pair_labels import read_pair_labels
from evalharness.spec.reader import (
    Document,
    Loc,
    raise_problems,
    read_yaml,
)
from evalharness.spec.redacting import id_problems, nothing_left, redaction, redaction_warnings
from evalharness.spec.scorer_building import Built, ScorerBuilder
from evalharness.spec.values import RECORDED_NAME


def load_suite(path: Path, *, paths: PathPolicy, registry: Registry) -> Suite:
    """Read a suite with everything it names.

    Raises:
        SpecError: every problem found in the suite, its golden sets, the files its scorers read and its judges.
    """
    document = read_yaml(path, paths)
    if "provider" in document.data and "evals" not in document.data:
        hint = "give the file that lists `evals`"
        raise SpecError(
            [*document.problems, Problem("is a candidate, not a suite", document.shown, hint=hint)]
        )
    model = check(SuiteFile, document)
    loader = _Loader(document, paths, registry)
    if model is None:
        loader.check_anyway()
        raise_problems([*document.problems, *loader.elsewhere])
        raise AssertionError("a failed check always leaves a problem")
    evals = [loader.load_eval(index, item) for index, item in enumerate(model.evals)]
    loader.check_names(dict(enumerate(model.evals)))
    loader.pair_labels(model.gate)
    loader.gate.check(model.gate)
    if model.sampling is not None:
        loader.gate.check_sampling(model.sampling)
    redact = redaction(model.redact)
    loader.check_redaction(redact)
    raise_problems([*document.problems, *loader.elsewhere])
    done = tuple(item for item in evals if item is not None)
    return Suite(
        name=model.name,
        evals=done,
        gate=policy(model.gate, loader.gate.sets, loader.gate.metrics, loader.gate.pairs),
        sampling=sampling_of(model.sampling),
        redact=redact,
        budget=Budget(**model.budget.model_dump()) if model.budget is not None else None,
        digest=digest([*(loader.identity(item) for item in done), *redact.identity]),
        path=paths.show(path),
    )


def suite_warnings(suite: Suite) -> tuple[str, ...]:
    """What a user should know of a suite: sets without a lock or not held out, worn benchmarks, thin slices."""
    warnings = [
        # no path: warnings are part of comparison.json, which is the same wherever the files lie
        f"golden set {item.name} is not locked: its cases can change unseen; run: evalharness golden lock FOLDER"
        for item in suite.golden_sets
        if not item.card.cases_digest and item.name not in suite.benchmark_sets
    ]
    warnings += [
        f"golden set {item.name} is not held out: models may be trained on its cases, and what they score on it then "
        "says little of new ones"
        for item in suite.golden_sets
        if not item.card.held_out
    ]
    return (*warnings, *redaction_warnings(suite), *advice(suite), *gate_warnings(suite))


def nothing_gated(suite: Suite) -> bool:
    """Whether every metric is advisory, so that a comparison could only end as invalid.

    What a tool brings is not known before it is asked.
    """
    return suite.complete and all(suite.gate.rule(name).advisory for name in suite.metric_ids)


class _Loader:
    """Collects evals, metrics and problems of one suite."""

    def __init__(self, document: Document, paths: PathPolicy, registry: Registry) -> None:
        self.document = document
        self.paths = paths
        self.registry = registry
        self.elsewhere: list[Problem] = []
        self.sets: dict[Path, GoldenSet | None] = {}
        self.judges: dict[Path, Judge | None] = {}
        self.built: dict[tuple[str, str], Built] = {}
        self.builder = ScorerBuilder(document, paths, registry, self.elsewhere)
        self.gate = GateChecker(document)

    def check_anyway(self) -> None:
        """In a file that is wrong elsewhere, the evals and the gate that can be checked all the same."""
        evals = self.document.data.get("evals")
        sound: dict[int, EvalFile] = {}
        for index, raw in enumerate(evals if isinstance(evals, list) else []):
            item = part(EvalFile, raw)
            if item is None:
                self.gate.complete = self.gate.all_sets = False
            else:
                self.load_eval(index, item)
                sound[index] = item
        self.check_names(sound)
        written = self.document.data.get("gate", {})
        gate = part(GateFile, written)
        if gate is not None:
            self.pair_labels(gate)
            self.gate.check(gate)
        else:
            self.gate.check_anyway(written)
        sampling = part(SamplingFile, self.document.data.get("sampling"))
        if sampling is not None:
            self.gate.check_sampling(sampling)

    def load_eval(self, index: int, item: EvalFile) -> EvalSpec | None:
        loc: Loc = ("evals", index)
        sources = [name for name in ("golden_set", "benchmark", "results") if getattr(item, name) is not None]
        if len(sources) > 1:
            message = f"the eval {item.id!r} has {' and '.join(sources)}"
            self.document.add((*loc, sources[1]), message, "one of them brings the cases; keep one")
        elif sources and sources[0] != "golden_set":
            return self.brought(loc, item)
        golden_set = None
        if item.golden_set is None:
            self.document.add(
                (*loc, "golden_set"), f"the eval {item.id!r} has no golden_set", "or a benchmark, or results"
            )
        else:
            golden_set = self.golden_set((*loc, "golden_set"), item.golden_set)
        judge = self.judge((*loc, "judge"), item.id, item.judge) if item.judge is not None else None
        if not item.scorers and item.judge is None:
            self.document.add(
                (*loc, "scorers"), f"the eval {item.id!r} has no scorers", "add `scorers: [exact_match]`"
            )
        specs = self.scorers((*loc, "scorers"), item, golden_set)
        if golden_set is None:
            self.gate.all_sets = False
            return None
        self.gate.sets[item.id] = golden_set
        if judge is not None and reads_contexts(judge):
            self.builder.check_needs((*loc, "judge"), f"the judge {judge.name}", ("contexts",), golden_set)
        return EvalSpec(id=item.id, golden_set=golden_set, scorers=tuple(specs), judge=judge)

    def brought(self, loc: Loc, item: EvalFile) -> EvalSpec | None:
        """An eval whose cases another tool brings: which ones is known once the tool is asked."""
        self.gate.complete = self.gate.all_sets = False
        judge = self.judge((*loc, "judge"), item.id, item.judge) if item.judge is not None else None
        if item.benchmark is None:
            assert item.results is not None
            taken = {
                place: match.group(1)
                for place, (name, given) in enumerate(item.scorers)
                if given is None and (match := RECORDED_NAME.fullmatch(name))
            }
            own = [place for place in range(len(item.scorers)) if place not in taken]
            specs = self.scorers((*loc, "scorers"), item, None, own)
            spec = BenchmarkSpec(
                runner=RESULTS,
                task=item.results,
                params={},
                written={"results": item.results},
                metrics=tuple(taken.values()),
            )
        else:
            if item.judge is not None:
                hint = "judge answers to a golden set, or compare the logs as `results`"
                self.document.add((*loc, "judge"), "a benchmark scores its answers itself", hint)
            found = benchmark_spec(self.document, loc, item, self.paths, self.registry)
            if found is None:
                return None
            spec, specs = found, []
        return EvalSpec(
            id=item.id,
            golden_set=GoldenSet(
                card=Card(name=f"{spec.runner}:{item.id}", version="", task=""), cases=(), digest=""
            ),
            scorers=tuple(specs),
            judge=judge,
            benchmark=spec,
        )

    def folder(self, loc: Loc, text: str, names: Sequence[str]) -> Path | None:
        """The folder that `text` names. A link inside it leads no further than a path in the suite may."""
        found = resolve(self.document, loc, text, self.paths)
        if found is None:
            return None
        links = [name for name in names if (found / name).is_symlink()]
        inside = [resolve(self.document, loc, f"{text.rstrip('/')}/{name}", self.paths) for name in links]
        return None if None in inside else found

    def golden_set(self, loc: Loc, text: str) -> GoldenSet | None:
        found = self.folder(loc, text, (CARD, CASES))
        if found is None:
            return None
        if found not in self.sets:
            try:
                self.sets[found] = load_golden_set(found, paths=self.paths)
            except SpecError as error:
                self.sets[found] = None
                self.elsewhere += error.problems
        loaded = self.sets[found]
        for path, other in self.sets.items():
            if loaded is not None and other is not None and path != found and other.name == loaded.name:
                message = f"two golden sets are named {loaded.name!r}: {other.path} and {loaded.path}"
                self.document.add(loc, message, "rename one of them in its card.yaml")
        return loaded

    def judge(self, loc: Loc, eval_id: str, text: str) -> Judge | None:
        found = self.folder(loc, text, (JUDGE,))
        if found is not None and found not in self.judges:
            try:
                self.judges[found] = load_judge(found, paths=self.paths, registry=self.registry)
            except SpecError as error:
                self.judges[found] = None
                self.elsewhere += error.problems
        judge = self.judges[found] if found is not None else None
        pairwise = judge is not None and judge.mode == "pairwise"
        # Also where the judge is wrong: what the gate says of its metric is then not wrong, too.
        self.gate.metrics[f"{eval_id}/{JUDGE_METRIC}"] = Named(JUDGED, loc, pairwise=pairwise)
        return judge

    def pair_labels(self, gate: GateFile) -> None:
        """The files of preferences that correct pairwise judges."""
        for name, rule in gate.metrics.items():
            named = self.gate.metrics.get(name)
            if named is None or not named.pairwise or rule.labels is None or rule.labels in self.gate.metrics:
                continue
            found = resolve(self.document, ("gate", "metrics", name, "labels"), rule.labels, self.paths)
            if found is None:
                continue
            labels, problems = read_pair_labels(found, self.paths.show(found))
            self.elsewhere += problems
            if labels is not None:
                self.gate.pairs[name] = labels

    def scorers(
        self, loc: Loc, item: EvalFile, golden_set: GoldenSet | None, only: Sequence[int] | None = None
    ) -> list[ScorerSpec]:
        """The scorers of an eval, or `only` those at some places of its list."""
        specs: list[ScorerSpec] = []
        lines = (
            {JUDGE_METRIC: self.document.place((*loc[:-1], "judge")).line} if item.judge is not None else {}
        )
        for index, (written, params) in enumerate(item.scorers):
            if only is not None and index not in only:
                continue
            at = (*loc, index)
            built = self.builder.build(at, written, params)
            if built is None:
                self.gate.complete = False
                continue
            line = self.document.place(at).line
            if built.spec.id in lines:
                twin = f"the other on line {lines[built.spec.id]}"
                self.document.add(
                    at,
                    f"two metrics of {item.id!r} are called {built.spec.id!r} ({twin})",
                    f"give one a name: {{{written}: {{id: another_name}}}}",
                )
                continue
            lines[built.spec.id] = line
            opinion = getattr(built.scorer, "judged", False) is True
            self.gate.metrics[f"{item.id}/{built.spec.id}"] = Named(built.scorer.metric, at, opinion=opinion)
            self.built[item.id, built.spec.id] = built
            if golden_set is not None:
                self.builder.check_needs(at, built.spec.id, built.scorer.needs, golden_set)
                self.builder.check_cases(at, built, golden_set)
            specs.append(built.spec)
        return specs

    def check_redaction(self, redact: Redaction) -> None:
        """What cannot be kept apart from, or measured in, answers that are stored redacted."""
        if not redact.stored:
            return
        self.elsewhere += id_problems(redact, [found for found in self.sets.values() if found is not None])
        for (eval_id, name), built in self.built.items():
            why = nothing_left(redact, f"{eval_id}/{name}", built.scorer)
            if why is not None:
                self.document.add(("redact", "stored"), why, "leave `stored` out, or what it counts")

    def check_names(self, evals: Mapping[int, EvalFile]) -> None:
        lines: dict[str, int] = {}
        for index, item in evals.items():
            line = self.document.place(("evals", index, "id")).line
            first = lines.setdefault(item.id, line)
            if first != line:
                self.document.add(
                    ("evals", index, "id"), f"the eval id {item.id!r} is already on line {first}"
                )

    def identity(self, item: EvalSpec) -> dict[str, Any]:
        """What makes results of this eval comparable: golden set, scorers with versions and content, judge."""
        scorers = [
            {
                "id": spec.id,
                "name": spec.name,
                "version": self.built[item.id, spec.id].scorer.version,
                "params": self.built[item.id, spec.id].identity,
            }
            for spec in item.scorers
        ]
        return {
            "id": item.id,
            "golden_set": item.golden_set.digest,
            "golden_set_name": item.golden_set.name,
            "task": item.golden_set.card.task,
            "scorers": scorers,
            "judge": item.judge.digest if item.judge is not None else None,
        } | ({"benchmark": dict(item.benchmark.written)} if item.benchmark is not None else {})
