"""What a suite's gate and sampling say, held against the metrics and golden sets that the suite has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, cast

from evalharness.core.cases import GoldenSet, Slice
from evalharness.core.judges import PairLabels
from evalharness.core.scores import Kind, Metric
from evalharness.core.suites import (
    GatePolicy,
    Margin,
    MetricRule,
    Sampling,
    SliceRule,
    Suite,
    Waiver,
)
from evalharness.spec.checking import part
from evalharness.spec.models import GateFile, SamplingFile, SliceFile, WaiverFile
from evalharness.spec.pair_labels import unknown_items
from evalharness.spec.reader import Document, Loc, did_you_mean
from evalharness.spec.values import ONE_MARGIN

SMALL_SLICE: Final = 50
"""A gating slice of fewer cases than this sees large drops only."""
_RATIOS: Final[frozenset[Kind]] = frozenset(("log_ratio", "quantile"))
"""Kinds whose change is a ratio and not a difference."""
_BY_CASE: Final[frozenset[Kind]] = frozenset(("binary", "bounded", "unbounded"))
"""Kinds that are a mean of case values, which human labels can correct case by case."""


OPINION: Final = (
    "its values are a language model's opinions, which gate only where people's labels correct them"
)
"""Why such a metric is advisory."""
JUDGED: Final = Metric(direction="higher", unit="fraction", kind="bounded")
"""How a judge's values are read: a win rate, or a share of criteria met or claims supported."""


@dataclass(frozen=True, slots=True)
class Named:
    """One metric of the suite, a scorer's or a judge's, and where it is named.

    `pairwise`: it compares two answers. `opinion`: a scorer whose values a language model makes up.
    """

    metric: Metric
    loc: Loc
    pairwise: bool = False
    opinion: bool = False

    @property
    def key(self) -> str:
        """The word for its margin: max_drop where higher is better, else max_rise."""
        return "max_drop" if self.metric.direction == "higher" else "max_rise"


@dataclass(slots=True)
class GateChecker:
    """Records in `document` what is wrong with the gate and the sampling.

    `metrics` holds every metric known so far by id, `sets` the golden sets by eval id. `complete`: every metric id is
    known, so that an unknown one in the gate is the gate's fault; `all_sets`: every golden set is. `pairs` holds the
    preferences that correct pairwise judges, by metric id.
    """

    document: Document
    metrics: dict[str, Named] = field(default_factory=dict)
    sets: dict[str, GoldenSet] = field(default_factory=dict)
    complete: bool = True
    all_sets: bool = True
    pairs: dict[str, PairLabels] = field(default_factory=dict)

    def check(self, gate: GateFile) -> None:
        """Everything about a gate whose own keys are right."""
        self.check_names(gate)
        rules = advisory_rules(gate.metrics, self.metrics)
        self.check_slices(dict(enumerate(gate.slices)), rules)
        self.check_waivers(dict(enumerate(gate.waivers)), rules)
        for name, named in self.metrics.items():
            rule = rules.get(name, MetricRule())
            if not rule.advisory:
                at: Loc = ("gate", "metrics", name) if name in gate.metrics else named.loc
                self.check_unit(at, name, named, rule.margin or gate.max_drop)
        for index, waiver in enumerate(gate.waivers):
            self.check_wider(index, waiver, rules.get(waiver.metric, MetricRule()).margin or gate.max_drop)

    def check_anyway(self, written: Any) -> None:
        """What can be checked of a gate that is wrong in some of its keys."""
        if not isinstance(written, dict):
            return
        named = {
            key: written[key]
            for key in ("primary", "metrics")
            if key in written and part(GateFile, {key: written[key]})
        }
        gate = part(GateFile, named)
        if gate is None:
            return
        self.check_names(gate)
        rules = advisory_rules(gate.metrics, self.metrics)
        self.check_slices(_sound(SliceFile, written.get("slices")), rules)
        self.check_waivers(_sound(WaiverFile, written.get("waivers")), rules)

    def check_names(self, gate: GateFile) -> None:
        for index, name in enumerate(gate.primary):
            self.check_metric(("gate", "primary", index), name)
            rule = gate.metrics.get(name)
            if rule is not None and rule.advisory:
                message = f"{name!r} is primary and advisory at once"
                self.document.add(("gate", "primary", index), message, "an advisory metric never gates")
        for name, rule in gate.metrics.items():
            at = ("gate", "metrics", name)
            self.check_metric(at, name)
            self.check_direction(at, name, self.document.data["gate"]["metrics"][name])
            if rule.labels is not None:
                self.check_labels(at, name, rule.labels, gate)

        for name, named in self.metrics.items():
            rule = gate.metrics.get(name, MetricRule())
            asked = name in gate.primary or (name in gate.metrics and not rule.advisory)
            if named.opinion and asked and rule.labels is None:
                where: Loc = ("gate", "metrics", name) if name in gate.metrics else ("gate", "primary")
                hint = (
                    f"write `{name}: advisory`, or `{name}: {{labels: …}}` with the metric of people's scores"
                )
                self.document.add(where, f"{name} cannot gate: {OPINION}", hint)

    def check_metric(self, loc: Loc, name: str) -> None:
        if name not in self.metrics and self.complete:
            self.document.add(loc, f"there is no metric {name!r}", did_you_mean(name, self.metrics))

    def check_direction(self, loc: Loc, name: str, written: Any) -> None:
        """Refuse max_drop where lower is better, and max_rise where higher is."""
        named = self.metrics.get(name)
        if named is None or not isinstance(written, dict):
            return
        other = "max_rise" if named.key == "max_drop" else "max_drop"
        if other in written and named.key not in written:
            self.document.add(
                (*loc, other),
                f"{name} is better when {named.metric.direction}",
                f"write {named.key} instead of {other}",
            )

    def check_unit(self, loc: Loc, name: str, named: Named, margin: Margin) -> None:
        """Refuse percentage points of what is no fraction, and more of it than there is to lose."""
        metric = named.metric
        if margin.relative and margin.amount > 1 and named.key == "max_drop" and (metric.low or 0.0) >= 0:
            message = f"{name} could lose all it has and not drop by {margin}"
            self.document.add(loc, message, "write less than 100%, such as 5%")
            return
        if margin.relative or (metric.unit == "fraction" and metric.kind not in _RATIOS):
            return
        why = (
            f"{name} changes by a ratio" if metric.kind in _RATIOS else f"{name} is measured in {metric.unit}"
        )
        self.document.add(
            loc,
            f"{why}, so a margin of {margin} says nothing about it",
            f"write {named.key}: 5%"
            if loc[:2] in (("gate", "slices"), ("gate", "waivers"))
            else f"under gate.metrics write `{name}: {{{named.key}: 5%}}` or `{name}: advisory`",
        )

    def check_labels(self, loc: Loc, name: str, labels: str, gate: GateFile) -> None:
        """Human labels are another metric of the same eval, read the same way, and gate nothing themselves."""
        if name not in self.metrics:
            return
        if self.metrics[name].pairwise:
            self.check_file(loc, name, labels)
            return
        eval_id = name.partition("/")[0]
        siblings = [other for other in self.metrics if other.startswith(f"{eval_id}/") and other != name]
        if labels not in siblings:
            if labels == name:
                self.document.add(loc, f"{name} cannot be its own labels", did_you_mean(labels, siblings))
            elif labels in self.metrics:
                message = f"the labels {labels!r} belong to another eval than {name}, and so to other answers"
                self.document.add(loc, message, did_you_mean(labels, siblings))
            elif self.complete:
                message = f"there is no metric {labels!r} to take labels from"
                hint = "a file of labels corrects a pairwise judge" if labels.endswith(".jsonl") else None
                self.document.add(loc, message, hint or did_you_mean(labels, siblings))
            return
        self.check_alike(loc, name, labels)
        rule = gate.metrics.get(labels)
        if labels in gate.primary or (rule is not None and not rule.advisory):
            self.document.add(
                loc,
                f"{labels!r} holds the labels of {name} and cannot gate: most cases have none",
                "take it out of gate.primary and gate.metrics; labels are advisory by themselves",
            )

    def check_file(self, loc: Loc, name: str, labels: str) -> None:
        """The labels of a pairwise judge are people's preferences, in a file; `pairs` has them where they are sound."""
        if labels in self.metrics:
            message = f"{name} compares two answers, and the metric {labels!r} has no preference between them"
            hint = "write the file of people's preferences: labels: ./labels.jsonl (evalharness judge sample, collect)"
            self.document.add(loc, message, hint)
        found, golden_set = self.pairs.get(name), self.sets.get(name.partition("/")[0])
        if found is not None and golden_set is not None and golden_set.cases:
            self.document.problems += unknown_items(found, golden_set)

    def check_alike(self, loc: Loc, name: str, labels: str) -> None:
        named, human = self.metrics[name], self.metrics[labels]
        for which, item in ((name, named), (labels, human)):
            if item.pairwise:
                message = f"{which} compares two answers and has no value for one of them"
                self.document.add(loc, message, "take labels from a metric that scores each answer")
                return
            if item.metric.kind not in _BY_CASE:
                message = f"{which} is no mean of case values, and labels can only correct such a mean"
                self.document.add(loc, message, "take labels out")
                return
        for what in ("direction", "unit"):
            left, right = getattr(named.metric, what), getattr(human.metric, what)
            if left != right:
                message = f"{name} and its labels {labels} differ in {what}: {left} and {right}"
                self.document.add(loc, message, "labels must be on the scale of what they check")

    def check_slices(self, slices: Mapping[int, SliceFile], rules: Mapping[str, MetricRule]) -> None:
        seen: dict[tuple[str, str], int] = {}
        for index, item in slices.items():
            at: Loc = ("gate", "slices", index)
            key = (item.metric, item.slice)
            if key in seen:
                message = f"{item.metric} on {item.slice} already gates on line {seen[key]}"
                self.document.add(at, message, "keep one of them")
            seen.setdefault(key, self.document.place(at).line)
            self.check_gated((*at, "metric"), item.metric, rules)
            self.check_margins(at, item)
            golden_set = self.sets.get(item.metric.partition("/")[0])
            if golden_set is not None and item.metric in self.metrics:
                self.check_slice((*at, "slice"), item.slice, golden_set)
            elif golden_set is None and "=" not in item.slice:
                message = f"{item.slice!r} is not a slice: write a tag and its value, key=value"
                self.document.add((*at, "slice"), message)

    def check_slice(self, loc: Loc, text: str, golden_set: GoldenSet) -> None:
        known = slices_of(golden_set)
        if text in known:
            return
        hint = did_you_mean(text, known) or "give its cases tags"
        if "=" not in text:
            self.document.add(loc, f"{text!r} is not a slice: write a tag and its value, key=value", hint)
        else:
            self.document.add(loc, f"no case of {golden_set.path} is in the slice {text!r}", hint)

    def check_waivers(self, waivers: Mapping[int, WaiverFile], rules: Mapping[str, MetricRule]) -> None:
        seen: dict[str, int] = {}
        for index, item in waivers.items():
            at: Loc = ("gate", "waivers", index)
            if item.metric in seen:
                message = f"{item.metric} already has a waiver on line {seen[item.metric]}"
                self.document.add(at, message, "a metric has one waiver at most")
            seen.setdefault(item.metric, self.document.place(at).line)
            self.check_gated((*at, "metric"), item.metric, rules)
            self.check_margins(at, item)
            if item.max_drop is None and item.max_rise is None:
                named = self.metrics.get(item.metric)
                word = named.key if named is not None else "max_drop"
                message = f"the waiver of {item.metric} does not say how much it may lose"
                self.document.add(at, message, f"add, for example, {word}: 3pp")

    def check_gated(self, loc: Loc, name: str, rules: Mapping[str, MetricRule]) -> None:
        """The metric of a slice or a waiver must be one that gates."""
        advisory = rules.get(name, MetricRule()).advisory
        self.check_metric(loc, name)
        if advisory and name in self.metrics:
            labels = [other for other, rule in rules.items() if rule.labels == name]
            why = f"holds the labels of {labels[0]}" if labels else "is advisory"
            self.document.add(loc, f"{name!r} {why} and never gates", "name a metric that gates")

    def check_margins(self, loc: Loc, item: SliceFile | WaiverFile) -> None:
        """At most one margin, in the metric's direction and unit."""
        if item.max_drop is not None and item.max_rise is not None:
            self.document.add(loc, ONE_MARGIN[0], ONE_MARGIN[1])
            return
        written = [key for key in ("max_drop", "max_rise") if getattr(item, key) is not None]
        self.check_direction(loc, item.metric, dict.fromkeys(written))
        named = self.metrics.get(item.metric)
        if named is not None and written:
            self.check_unit((*loc, written[0]), item.metric, named, getattr(item, written[0]))

    def check_wider(self, index: int, waiver: WaiverFile, own: Margin) -> None:
        """A waiver must allow more than the metric's own margin, and be in its unit so that this can be known."""
        margin: Margin | None = waiver.max_drop or waiver.max_rise
        if margin is None:
            return
        key = "max_drop" if waiver.max_drop is not None else "max_rise"
        at: Loc = ("gate", "waivers", index, key)
        if margin.relative != own.relative:
            self.document.add(
                at,
                f"the waiver of {waiver.metric} is {margin} and its own margin {own}: which of them is wider depends "
                "on the baseline",
                f"write the waiver in {'%' if own.relative else 'pp'}, as the margin",
            )
        elif margin.amount <= own.amount:
            self.document.add(
                at,
                f"a waiver of {margin} is no wider than the margin of {waiver.metric}, {own}",
                "a waiver allows more for a time; to allow less, set the metric's own margin",
            )

    def check_sampling(self, sampling: SamplingFile) -> None:
        """Whether the numbers leave room for a first look and, with a reserve, for the routine ones."""
        sizes = {item.name: len(item.cases) for item in self.sets.values()}
        largest = max(sizes.values(), default=None) if self.all_sets else None
        initial, most = sampling.initial, sampling.max
        if most is not None and most < initial:
            message = f"sampling.max ({most}) is below sampling.initial ({initial})"
            self.document.add(
                ("sampling", "max"), message, "the last look holds at least the first look's cases"
            )
            return
        if largest is not None and initial > largest:
            told = ", ".join(f"{name} has {size:,}" for name, size in sizes.items())
            self.document.add(
                ("sampling", "initial"),
                f"the first look ({initial:,} cases) is more than any golden set ({told}), so there is one look only",
                "lower initial, or take sampling out: without it there is one look at all cases",
            )
            return
        limit = min((size for size in (most, largest) if size is not None), default=None)
        if limit is None or limit - sampling.reserve >= initial:
            return
        of = f"sampling.max ({most:,})" if limit == most else f"the largest golden set ({limit:,} cases)"
        left = max(limit - sampling.reserve, 0)
        self.document.add(
            ("sampling", "reserve"),
            f"a reserve of {sampling.reserve:,} leaves {left:,} of {of} for the looks before --extend, and the first "
            f"look asks {initial:,}",
            f"at most {limit - initial:,} can be held in reserve",
        )


def advisory_rules(rules: Mapping[str, MetricRule], metrics: Mapping[str, Named]) -> dict[str, MetricRule]:
    """The rules, and those of metrics that cannot gate.

    One that only holds labels has no value for most cases. One that is a language model's opinion gates where labels
    correct it: unlike a judge's, its agreement with people was never measured.
    """
    labels = [
        rule.labels
        for name, rule in rules.items()
        if rule.labels is not None and not (name in metrics and metrics[name].pairwise)
    ]
    found = dict(rules) | {name: MetricRule(advisory=True) for name in labels}
    for name, named in metrics.items():
        rule = found.get(name, MetricRule())
        if named.opinion and not rule.advisory and rule.labels is None:
            found[name] = replace(rule, advisory=True, why=OPINION)
    return found


def policy(
    gate: GateFile,
    sets: Mapping[str, GoldenSet],
    metrics: Mapping[str, Named] = MappingProxyType({}),
    pairs: Mapping[str, PairLabels] = MappingProxyType({}),
) -> GatePolicy:
    """The policy a checked gate stands for.

    `sets` are the golden sets by eval id, `metrics` those of the suite, `pairs` the preferences by metric id.
    """
    rules = {
        name: replace(rule, labels=None, pairs=pairs[name]) if name in pairs else rule
        for name, rule in advisory_rules(gate.metrics, metrics).items()
    }
    return GatePolicy(
        max_drop=gate.max_drop,
        alpha=gate.alpha,
        on_inconclusive=gate.on_inconclusive,
        on_underpowered=gate.on_underpowered,
        primary=tuple(gate.primary),
        metrics=rules,
        max_failures=gate.max_failures,
        slices=tuple(
            SliceRule(
                metric=item.metric,
                slice=Slice(*item.slice.split("=", 1))
                if item.metric.partition("/")[0] not in sets
                else slices_of(sets[item.metric.partition("/")[0]])[item.slice],
                margin=item.max_drop or item.max_rise,
            )
            for item in gate.slices
        ),
        waivers=tuple(
            Waiver(
                metric=item.metric,
                margin=cast(Margin, item.max_drop or item.max_rise),
                reason=item.reason,
                expires=item.expires,
            )
            for item in gate.waivers
        ),
    )


def sampling_of(file: SamplingFile | None) -> Sampling | None:
    """The run-time noun of a checked `sampling`."""
    return None if file is None else Sampling(**file.model_dump())


def slices_of(golden_set: GoldenSet) -> dict[str, Slice]:
    """Every slice of a golden set by its text, `key=value`."""
    found = (Slice(key, value) for case in golden_set.cases for key, value in case.tags.items())
    return {str(item): item for item in found}


def gate_warnings(suite: Suite) -> Iterator[str]:
    """What a user should know of gating slices and looks that are allowed and may disappoint."""
    sets = {item.id: item.golden_set for item in suite.evals}
    gating = [(rule, sets[rule.metric.partition("/")[0]]) for rule in suite.gate.slices]
    for rule, golden_set in gating:
        count = sum(case.tags.get(rule.slice.key) == rule.slice.value for case in golden_set.cases)
        if count < SMALL_SLICE:
            yield (
                f"{rule.metric} gates on {rule.slice}, which has {count} {'case' if count == 1 else 'cases'}: "
                f"so few see only large drops; have at least {SMALL_SLICE}"
            )
    for golden_set in suite.golden_sets:
        for key in dict.fromkeys(rule.slice.key for rule, of in gating if of.name == golden_set.name):
            yield from _cut_clusters(key, golden_set)
    if suite.sampling is not None and suite.sampling.looks > 1:
        largest = max(len(item.cases) for item in suite.golden_sets)
        if suite.sampling.initial >= min(largest, suite.sampling.max or largest) - suite.sampling.reserve:
            yield (
                f"sampling has one look before --extend: its first, {suite.sampling.initial:,} cases, "
                "is already all of them"
            )


def _cut_clusters(key: str, golden_set: GoldenSet) -> Iterator[str]:
    """A warning where clusters hold cases of several values of a tag that gates."""
    values: dict[str, set[str | None]] = {}
    for case in golden_set.cases:
        if case.cluster is not None:
            values.setdefault(case.cluster, set()).add(case.tags.get(key))
    cut = [cluster for cluster, found in values.items() if len(found) > 1]
    if cut:
        yield (
            f"golden set {golden_set.name}: {len(cut)} of {len(values)} clusters (such as {cut[0]}) hold cases of "
            f"several values of {key!r}, on which slices gate: a slice takes a part of each such cluster, and "
            "slices of this tag are not independent of one another"
        )


def _sound(model: Any, written: Any) -> dict[int, Any]:
    """The entries of a list that are right on their own, by their place."""
    entries = written if isinstance(written, list) else []
    parts = ((index, part(model, raw)) for index, raw in enumerate(entries))
    return {index: item for index, item in parts if item is not None}
