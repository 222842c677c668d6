"""Overlap with reference texts: ROUGE-1, -2 and -L, BLEU, chrF, on a scale from 0 to 1.

They punish a correct paraphrase; let them point at a change, not decide it alone. Own code, so that the base install
has them; the tests hold them equal to the libraries `rouge-score` and `sacrebleu`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Final

from evalharness._lazy import require
from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Metric, Score, Scored
from evalharness.scorers.exact import CORPUS, NO_TARGETS
from evalharness.scorers.normalise import flag, one_of, written

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BOUNDED: Final = Metric(direction="higher", unit="fraction", kind="bounded")
_NOT_ROUGE: Final = re.compile(r"[^a-z0-9]+")


def rouge_tokens(text: str) -> list[str]:
    """The default tokens of `rouge-score`: lower case, runs of a-z and 0-9; every other script gives none."""
    return _NOT_ROUGE.sub(" ", text.lower()).split()


def lcs_length(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence.

    Bit-parallel (Hyyrö 2004, "Bit-parallel LCS-length computation revisited"): one integer holds a row of the
    dynamic programme, so the cost is len(longer) steps on integers of len(shorter) bits.
    """
    short, long = (left, right) if len(left) <= len(right) else (right, left)
    places: dict[str, int] = {}
    for index, token in enumerate(short):
        places[token] = places.get(token, 0) | 1 << index
    full = (1 << len(short)) - 1
    row = full
    for token in long:
        hits = places.get(token)
        if hits is not None:
            common = row & hits
            row = ((row + common) | (row - common)) & full
    return len(short) - row.bit_count()


@dataclass(frozen=True)
class Rouge1:
    """ROUGE-1 F1 (Lin 2004) against the best reference, 0 to 1: words in common, each as often as in both.

    Equals `rouge-score`'s rouge1 with its default tokeniser and without stemming: see `RougeL`.
    """

    name: ClassVar[str] = "rouge_1"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("targets",)
    files: ClassVar[Mapping[str, str]] = {}
    n: ClassVar[int] = 1

    @property
    def metric(self) -> Metric:
        return _BOUNDED

    def score(self, case: Case, response: Response) -> Score:
        if not case.targets:
            return NO_TARGETS
        output = _word_ngrams(rouge_tokens(response.text), self.n)
        best = 0.0
        for target in case.targets:
            reference = _word_ngrams(rouge_tokens(written(target)), self.n)
            common = (output & reference).total()
            if common:
                best = max(best, 2 * common / (output.total() + reference.total()))
        return Scored(best)


@dataclass(frozen=True)
class Rouge2(Rouge1):
    """ROUGE-2 F1 (Lin 2004): as `Rouge1`, with pairs of neighbouring words."""

    name: ClassVar[str] = "rouge_2"
    n: ClassVar[int] = 2


@dataclass(frozen=True)
class RougeL:
    """ROUGE-L F1 (Lin 2004) against the best reference, 0 to 1.

    Equals `rouge-score`'s rougeL with its default tokeniser and without stemming: only a-z and 0-9 count, so a text
    in another script scores 0; use chrf for it.
    """

    name: ClassVar[str] = "rouge_l"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("targets",)
    files: ClassVar[Mapping[str, str]] = {}

    @property
    def metric(self) -> Metric:
        return _BOUNDED

    def score(self, case: Case, response: Response) -> Score:
        if not case.targets:
            return NO_TARGETS
        output = rouge_tokens(response.text)
        best = 0.0
        for reference in (rouge_tokens(written(target)) for target in case.targets):
            common = lcs_length(output, reference)
            if common:
                best = max(best, 2 * common / (len(output) + len(reference)))
        return Scored(best)


# The rules of mteval-v13a.pl (NIST) for Western languages, as sacrebleu's tokeniser "13a" applies them.
_13A: Final = (
    (re.compile(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])"), r" \1 "),
    (re.compile(r"([^0-9])([\.,])"), r"\1 \2 "),
    (re.compile(r"([\.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)
_ENTITIES: Final = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))


def bleu_tokens(text: str) -> list[str]:
    """Tokens by mteval-v13a, as `sacrebleu` makes them by default."""
    text = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    if "&" in text:
        for entity, character in _ENTITIES:
            text = text.replace(entity, character)
    text = f" {text} "
    for pattern, replacement in _13A:
        text = pattern.sub(replacement, text)
    return text.split()


def _word_ngrams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[i:] for i in range(n)), strict=False))


_TOKENISERS: Final = {
    "13a": "Tokenizer13a",
    "intl": "TokenizerV14International",
    "zh": "TokenizerZh",
    "char": "TokenizerChar",
    "none": "NoneTokenizer",
}
"""Those of sacrebleu's that need no download, and its classes."""


@dataclass(frozen=True)
class Bleu:
    """Corpus BLEU (Papineni et al. 2002), 0 to 1, so that 2pp are two BLEU points.

    Equals sacrebleu's corpus BLEU / 100 with exponential smoothing, with several references (the closest length
    counts). A case's own value is its sentence BLEU with effective order, shown and never averaged.

    `tokenize` is sacrebleu's "13a" (default), or, with sacrebleu installed, "intl", "zh", "char" or "none";
    `lowercase` takes the case out first.
    """

    tokenize: str = "13a"
    lowercase: bool = False

    name: ClassVar[str] = "bleu"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("targets",)
    files: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        one_of("tokenize", self.tokenize, _TOKENISERS)
        flag("lowercase", self.lowercase)
        if self.tokenize != "13a":
            _sacrebleu_tokens(
                self.tokenize
            )  # refused now where sacrebleu is missing, not at the first answer

    @property
    def metric(self) -> Metric:
        return CORPUS

    def score(self, case: Case, response: Response) -> Score:
        return _bleu(case, response.text, self._tokens) if case.targets else NO_TARGETS

    def worst(self, case: Case) -> Scored:
        """The statistics of an empty answer: nothing matched, and the length of the shortest reference."""
        return _bleu(case, "", self._tokens) if case.targets else Scored(0.0)

    def _tokens(self, text: str) -> list[str]:
        text = text.lower() if self.lowercase else text
        if self.tokenize == "13a":
            return bleu_tokens(text)
        return _sacrebleu_tokens(self.tokenize)(text.rstrip()).split()

    def corpus(self, names: Sequence[str], sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """BLEU from sums (..., len(names)); shape (...)."""
        import numpy as np

        match = _columns(names, sums, [f"match{n}" for n in range(1, 5)])
        total = _columns(names, sums, [f"total{n}" for n in range(1, 5)])
        reference = _columns(names, sums, ["reference"])[..., 0]
        length = total[..., 0]
        possible = (total > 0).all(axis=-1) & (match > 0).any(axis=-1)
        # Exponential smoothing: the k-th order without a match counts as 1 / 2^k of a match.
        halvings = np.cumsum(match == 0, axis=-1)
        precision = np.where(match > 0, match, 0.5**halvings) / np.where(total > 0, total, 1.0)
        safe = np.where(length > 0, length, 1.0)
        brevity = np.minimum(0.0, 1.0 - reference / safe)
        value = np.exp(brevity + np.log(precision).mean(axis=-1))
        return np.asarray(np.where(possible, value, 0.0), dtype=np.float64)

    def breakdown(self, names: Sequence[str], sums: NDArray[np.float64]) -> Mapping[str, Any]:
        """The four n-gram precisions before smoothing, and output length over reference length."""
        match = _columns(names, sums, [f"match{n}" for n in range(1, 5)])
        total = _columns(names, sums, [f"total{n}" for n in range(1, 5)])
        reference = float(_columns(names, sums, ["reference"])[0])
        precisions = [float(m / t) if t else 0.0 for m, t in zip(match, total, strict=True)]
        return {"precisions": precisions, "length_ratio": float(total[0]) / reference if reference else 0.0}


@cache
def _sacrebleu_tokens(name: str) -> Callable[[str], str]:
    """One of sacrebleu's tokenisers: text → tokens between spaces."""
    module = require(
        f"sacrebleu.tokenizers.tokenizer_{name}", extra="text", why=f"compute bleu with tokenize: {name}"
    )
    tokeniser: Callable[[str], str] = getattr(module, _TOKENISERS[name])()
    return tokeniser


def _bleu(case: Case, text: str, tokens: Callable[[str], list[str]]) -> Scored:
    output = tokens(text)
    references = [tokens(written(target)) for target in case.targets]
    length = len(output)
    stats: dict[str, float] = {}
    logs: list[float] = []
    halving = 1.0
    for n in range(1, 5):
        total = length - n + 1
        if total <= 0:
            break
        most = _word_ngrams(references[0], n)
        for reference in references[1:]:
            most |= _word_ngrams(reference, n)
        seen = Counter(gram for gram in zip(*(output[i:] for i in range(n)), strict=False) if gram in most)
        match = sum(min(count, most[gram]) for gram, count in seen.items())
        stats[f"total{n}"] = float(total)
        if match:
            stats[f"match{n}"] = float(match)
        else:
            halving *= 2
        logs.append(math.log((match or 1 / halving) / total))
    closest = min((len(reference) for reference in references), key=lambda r: (abs(length - r), r))
    stats["reference"] = float(closest)
    if not any(name.startswith("match") for name in stats):
        return Scored(0.0, stats=stats)
    brevity = min(0.0, 1 - closest / length)
    return Scored(math.exp(brevity + sum(logs) / len(logs)), stats=stats)


_CHRF_ORDERS: Final = range(1, 7)
_BETA2: Final = 4.0


@dataclass(frozen=True)
class Chrf:
    """Corpus chrF2 (Popović 2015): character n-grams up to 6, recall weighted twice, white space ignored; 0 to 1.

    Equals sacrebleu's corpus chrF / 100 with its defaults; of several references the best one counts for each case.
    A case's own value is its sentence chrF, shown and never averaged.
    """

    name: ClassVar[str] = "chrf"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("targets",)
    files: ClassVar[Mapping[str, str]] = {}

    @property
    def metric(self) -> Metric:
        return CORPUS

    def score(self, case: Case, response: Response) -> Score:
        return _chrf(case, response.text) if case.targets else NO_TARGETS

    def worst(self, case: Case) -> Scored:
        """The statistics of an empty answer: the first reference's n-grams, none of them matched."""
        return _chrf(case, "") if case.targets else Scored(0.0)

    def corpus(self, names: Sequence[str], sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """The chrF2 of sums (..., len(names)); shape (...)."""
        import numpy as np

        output, reference, match = (
            _columns(names, sums, [f"{kind}{n}" for n in _CHRF_ORDERS])
            for kind in ("output", "reference", "match")
        )
        counted = (output > 0) & (reference > 0)
        orders = np.maximum(counted.sum(axis=-1), 1)
        precision = np.divide(match, output, out=np.zeros(match.shape), where=counted).sum(axis=-1) / orders
        recall = np.divide(match, reference, out=np.zeros(match.shape), where=counted).sum(axis=-1) / orders
        below = _BETA2 * precision + recall
        value = np.zeros(below.shape)
        np.divide((1 + _BETA2) * precision * recall, below, out=value, where=below > 0)
        return value

    def breakdown(self, names: Sequence[str], sums: NDArray[np.float64]) -> Mapping[str, Any]:
        """No table: {}."""
        return {}


def _chrf(case: Case, text: str) -> Scored:
    output = "".join(text.split())
    best: tuple[float, dict[str, float]] | None = None
    for reference in ("".join(written(target).split()) for target in case.targets):
        counts = [_chrf_order(output, reference, n) for n in _CHRF_ORDERS]
        value = _chrf_value(counts)
        if best is None or value > best[0]:
            stats = {
                f"{kind}{n}": float(count)
                for n, order in zip(_CHRF_ORDERS, counts, strict=True)
                for kind, count in zip(("output", "reference", "match"), order, strict=True)
                if count
            }
            best = value, stats
    assert best is not None
    return Scored(best[0], stats=best[1])


def _chrf_order(output: str, reference: str, n: int) -> tuple[int, int, int]:
    """Counts of n-grams in the output (0 where the reference has none), in the reference, and in both."""
    in_reference = len(reference) - n + 1
    if in_reference <= 0:
        return 0, 0, 0
    wanted = Counter([reference[i : i + n] for i in range(in_reference)])
    # Only n-grams of the reference are kept, so that a huge output costs time and no memory.
    seen = Counter([gram for i in range(len(output) - n + 1) if (gram := output[i : i + n]) in wanted])
    return (
        max(0, len(output) - n + 1),
        in_reference,
        sum(min(count, wanted[gram]) for gram, count in seen.items()),
    )


def _chrf_value(counts: Sequence[tuple[int, int, int]]) -> float:
    counted = [order for order in counts if order[0] and order[1]]
    if not counted:
        return 0.0
    precision = sum(match / output for output, _, match in counted) / len(counted)
    recall = sum(match / reference for _, reference, match in counted) / len(counted)
    below = _BETA2 * precision + recall
    return (1 + _BETA2) * precision * recall / below if below else 0.0


def _columns(names: Sequence[str], sums: NDArray[np.float64], wanted: Sequence[str]) -> NDArray[np.float64]:
    """The columns called `wanted`, zeros for those that are not there; shape (..., len(wanted))."""
    import numpy as np

    found = np.zeros((*sums.shape[:-1], len(wanted)))
    for index, name in enumerate(wanted):
        if name in names:
            found[..., index] = sums[..., names.index(name)]
    return found
