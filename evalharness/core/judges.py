"""Judge and Judgment: a model, or a recording of one, that says which answer is better, or whether one is good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from evalharness.core.candidates import Limits, Price

Mode: TypeAlias = Literal["pairwise", "pointwise", "claims"]
"""Two answers side by side; one answer by criteria; one answer claim by claim against the case's contexts."""
Order: TypeAlias = Literal["AB", "BA"]
"""Which answer stood first: "AB" the baseline's, "BA" the candidate's."""
SideName: TypeAlias = Literal["baseline", "candidate"]
Role: TypeAlias = Literal["pair"] | SideName
"""What was judged: both answers against each other, or one side's answer."""
Source: TypeAlias = Literal["judged", "identical", "recorded", "unjudged"]
"""Where a judgment comes from: a reply, two equal answers, a recording; or there is none."""

_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One thing an answer is judged by. `weight` is above 0; weights are normalised where they are used."""

    id: str
    text: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A worked example shown to the judge: what was asked, the answers, and the reply it should give.

    `contexts` and `target` are shown as a case's would be.
    """

    input: str
    answers: tuple[str, ...]
    reply: Mapping[str, Any]
    contexts: tuple[str, ...] = ()
    target: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One human label of a calibration.

    `answers` are the judged texts: (first, second) pairwise, (output,) otherwise. `label` is "first", "second" or
    "tie" pairwise, else "pass" or "fail". `line` is its line in the file. `note` is what stands beside it there, such
    as how the item was drawn.
    """

    id: str
    input: str
    answers: tuple[str, ...]
    label: str
    line: int
    contexts: tuple[str, ...] = ()
    target: str | None = None
    labeller: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairLabel:
    """What people said of one pair of answers.

    `texts` are the baseline's and the candidate's answer as people saw them. `value` is the preference for the
    candidate, averaged over the people who labelled the pair, in [0, 1]; ½ is a tie.
    """

    texts: tuple[str, str]
    value: float
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PairLabels:
    """People's preferences on a random draw of pairs of answers.

    `labels` by item: `<golden set>/<case>`, with `#<repeat>` where a side has several. `file` is the file that
    holds them, as messages name it; `drawn` counts the pairs of the draw, labelled or not.
    """

    file: str
    labels: Mapping[str, PairLabel]
    drawn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A share or coefficient with its 95% interval and the number of cases behind it."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How a judge agreed with people, bound to the judge by `judge_digest` and to the labels by `labels_digest`.

    `models` are the names the endpoint returned. `kappa` None: undefined (one class only), and `problem` says so.
    `sensitivity` and `specificity` are shares of the people's good (pairwise: candidate-better) and bad cases that the
    judge sees as such; None where there are none. `flip_rate` is the share of pairs whose verdict depends on the
    order, `first_slot` the share of those that favour the first answer, None for one answer at a time.
    `length_correlation` is between the difference in length and the preference. Rates lie in [0, 1].
    """

    judge_digest: str
    labels_digest: str
    models: tuple[str, ...]
    n_labels: int
    n_judged: int
    agreement: Measured
    kappa: Measured | None
    sensitivity: Measured | None
    specificity: Measured | None
    correlation2: float | None
    flip_rate: Measured | None
    first_slot: Measured | None
    length_correlation: Measured | None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Whether a judge has earned the right to gate. `reasons` say why not, most important first."""

    may_gate: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A judge as its folder describes it.

    `digest` covers what shapes a judgment: mode, provider, model, decoding, criteria, rubric, prompt, examples, orders,
    limits of text, panel; not labels, key, price or how hard the endpoint may be pushed.

    Attributes:
        orders: pairwise: "both" asks each pair twice, "random" once in a balanced random order.
        verdicts: path of recorded verdicts, for provider "replay".
        panel: the members where several judges vote; they have this judge's mode. Empty: this judge alone.
        combine: how votes of a panel become one.
        max_chars: longer answers are cut, and the judge is told so.
        flagged: what becomes of a candidate's answer that tries to steer a judge where the baseline's to the same case
            does not: "refuse" leaves it unjudged, which counts against the candidate; "judge" has it judged.
        calibration: as measured, None where it never was.
    """

    name: str
    mode: Mode
    provider: str
    model: str | None
    criteria: tuple[Criterion, ...]
    rubric: str
    prompt: str
    digest: str
    path: str
    decoding: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    options: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    api_key_env: str | None = None
    limits: Limits = field(default_factory=Limits)
    price: Price | None = None
    orders: Literal["both", "random"] = "both"
    examples: tuple[Example, ...] = ()
    verdicts: str | None = None
    panel: tuple[Judge, ...] = ()
    combine: Literal["majority", "mean"] = "majority"
    max_chars: int = 20_000
    flagged: Literal["refuse", "judge"] = "refuse"
    labels: tuple[Label, ...] = ()
    calibration: Calibration | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One reply of one judge.

    `value` is the preference for the candidate, or the weighted share of criteria met, in [0, 1]; None where the reply
    could not be read, and then `problem` says why and `raw` holds it. `marks` has each criterion's (or claim's) value.
    """

    judge: str
    order: Order | None
    value: float | None
    rationale: str = ""
    marks: Mapping[str, float] = field(default_factory=lambda: _NOTHING)
    problem: str | None = None
    raw: str = ""
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgment:
    """What a judge, or a panel, said of one case.

    `value` as in Vote, None where it could not be had (`problem`). `flipped`: the verdict depended on the order, which
    makes it a tie. `flags` name what is odd about the judged answers (empty, the same text for other prompts,
    instructions to a judge).
    """

    golden_set: str
    case_id: str
    repeat: int
    role: Role
    value: float | None
    votes: tuple[Vote, ...]
    source: Source
    flipped: bool = False
    flags: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class NotMeasured:
    """There is no such figure; `reason` is a sentence part that says why."""

    reason: str


Figure: TypeAlias = Measured | NotMeasured
"""A measured share or coefficient, or why there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """What the order of two answers does to the verdict, from pairs that were asked in both orders.

    Of a panel, each member's view of a pair counts as one. `n_first` and `n_second` flips favour the first and the
    second answer; `first_slot` is the share of the flips that favour the first (as in a calibration), `p_value`
    two-sided, of "flips favour neither"; both None without flips.
    """

    n_pairs: int
    n_flipped: int
    n_first: int
    n_second: int
    rate: Measured
    first_slot: Measured | None
    p_value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionShares:
    """How often each side's answers meet one criterion, over all votes."""

    id: str
    baseline: Figure
    candidate: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagCount:
    """How many answers of each side carry a flag. `examples` are ids of a few of their cases."""

    flag: str
    baseline: int
    candidate: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Families:
    """Model families by the names of models; empty where no name tells. `own`: the sides that share the judge's."""

    judge: tuple[str, ...]
    baseline: tuple[str, ...]
    candidate: tuple[str, ...]
    own: tuple[SideName, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a judge's verdicts in one comparison say of the judge.

    A judgment is of a pair of answers (pairwise) or of one answer; `n` counts them, by where they come from in
    `judged`, `identical`, `recorded` and `unjudged`.

    Attributes:
        without_value: judgments without a verdict. `problem`: the commonest reason, of `problem_count` of them; None
            and 0 where all have one.
        votes: replies, and recorded verdicts; `unreadable`: those of them that are no verdict.
        won, tied, lost: pairs that the judge decided for the candidate, for neither, for the baseline; equal answers
            are not among them. All 0 for one answer at a time.
        flips: from pairs asked in both orders.
        length_correlation: Spearman's, over cases, of how much longer the candidate's answer is (characters) and the
            preference for it; of one answer at a time, the difference of both values stands for the preference.
        style_correlation: the same with how much more formatted it is (Markdown marks a thousand characters).
        win_rate, length_controlled: of all pairs with a verdict, equal answers included as ties; as it is, and as it
            would be at equal length.
        criteria: of a judge by criteria, else empty.
        panel_agreement: Krippendorff's alpha between the members of a panel.
        families: for self-preference.
        flags: what is odd about the judged answers, the commonest first.
    """

    n: int
    judged: int
    identical: int
    recorded: int
    unjudged: int
    without_value: int
    problem: str | None
    problem_count: int
    votes: int
    unreadable: int
    won: int
    tied: int
    lost: int
    flips: Flips | NotMeasured
    length_correlation: Figure
    style_correlation: Figure
    win_rate: Figure
    length_controlled: Figure
    criteria: tuple[CriterionShares, ...]
    panel_agreement: Figure
    families: Families
    flags: tuple[FlagCount, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedEval:
    """Everything a judge said of the answers to one eval, on both sides.

    `models` are the names the endpoint returned; `facts` hold calls, tokens and money. `judgments` are in the order of
    the golden set. `health` is None until the comparison is made.
    """

    eval: str
    judge: Judge
    standing: Standing
    judgments: tuple[Judgment, ...]
    models: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    health: Health | None = None
