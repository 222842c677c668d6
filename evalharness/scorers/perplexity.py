"""Perplexity: the exponential of nats a token (word, byte) over the whole set, of models asked or of recordings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Metric, Score, Scored, Unscored, Want
from evalharness.scorers.normalise import one_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_METRIC: Final = Metric(direction="lower", unit="perplexity", kind="log_ratio", low=1.0, high=None)
_MOST_NATS: Final = 230.0  # a token; e^230 is 1e100, and more is a mistake in the recording


class Perplexity:
    """exp(Σ nll / Σ tokens) over documents whose log-likelihood came with the response. Lower is better.

    `nll` and `tokens` name the recorded scores that hold a document's total negative log-likelihood, in nats and not
    negative, and the number of tokens it was summed over, at least 1. A case's own value is the document's perplexity;
    its statistics are `nll` and `tokens` under these two names, whatever the recording calls them. A document without
    both numbers is Unscored. There is no worst perplexity, so a failed document is left out of the metric and counted.

    Under these default names a candidate that can be asked is asked: how likely it finds each case's `input`. `per`
    "word" or "byte" divides by the document's own words (split at white space) or UTF-8 bytes, as
    lm-evaluation-harness' word_perplexity and byte_perplexity do: these can be compared between tokenizers, perplexity
    per token cannot.

    A document longer than the recorded `window` (both in `tokens`) was read in pieces, each with what stood before it
    in its window. Its statistics then hold `window` too: with another one a model finds the same text more or less
    likely, so that a comparison of the two says nothing of the model.
    """

    name: ClassVar[str] = "perplexity"
    version: ClassVar[str] = "3"
    needs: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[Mapping[str, str]] = {}

    __slots__ = ("_nll", "_per", "_tokens")

    def __init__(self, nll: str = "nll", tokens: str = "tokens", per: str = "token") -> None:
        # Parameters come from YAML, so their types are not to be trusted.
        one_of("per", per, ("token", "word", "byte"))
        words: dict[str, object] = {"nll": nll, "tokens": tokens}
        for key, value in words.items():
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"{key} must be a text that is not empty, not {value!r}")
        if nll == tokens:
            raise ValueError(f"nll and tokens must be two recorded scores, not both {nll!r}")
        self._nll = nll
        self._tokens = tokens
        self._per = per

    @property
    def asks(self) -> Want:
        """Log-likelihoods, unless the names say that a recording or a program of the user's brings them."""
        return "log_likelihood" if (self._nll, self._tokens) == ("nll", "tokens") else "answer"

    def __repr__(self) -> str:
        return f"Perplexity(nll={self._nll!r}, tokens={self._tokens!r}, per={self._per!r})"

    @property
    def metric(self) -> Metric:
        return _METRIC

    def score(self, case: Case, response: Response) -> Score:
        nll, tokens = _read(response, self._nll), _read(response, self._tokens)
        if isinstance(nll, Unscored):
            return nll
        if isinstance(tokens, Unscored):
            return tokens
        if nll < 0:
            return Unscored(
                f"recorded score {self._nll!r} is negative; it must be the negative log-likelihood"
            )
        if tokens < 1:
            return Unscored(f"recorded score {self._tokens!r} must be a count of 1 or more, not {tokens:g}")
        if self._per != "token":
            tokens = float(_count(case.question, self._per))
            if tokens < 1:
                return Unscored(f"the document has no {self._per}")
        rate = nll / tokens
        if rate > _MOST_NATS:
            return Unscored(
                f"{rate:.4g} nats a token is no perplexity: {self._nll!r} must be a total in nats and "
                f"{self._tokens!r} a count"
            )
        return Scored(math.exp(rate), stats={"nll": nll, "tokens": tokens, **_window(response)})

    def worst(self, case: Case) -> Scored:
        """There is no worst perplexity to count a failed document as.

        Raises:
            ValueError: always; a failed document is left out and counted, as `metric.worst` None says.
        """
        raise ValueError("perplexity has no worst value; a failed document is left out and counted")

    def corpus(self, names: Sequence[str], sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Perplexity from sums (..., len(names)) of `nll` and `tokens`; shape (...), at least 1.

        Raises:
            ValueError: there are no tokens; the perplexity of nothing is no number.
        """
        import numpy as np

        if not {"nll", "tokens"} <= set(names) or not (sums[..., names.index("tokens")] > 0).all():
            raise ValueError("perplexity needs at least one document with tokens")
        return np.asarray(np.exp(sums[..., names.index("nll")] / sums[..., names.index("tokens")]))

    def breakdown(self, names: Sequence[str], sums: NDArray[np.float64]) -> Mapping[str, Any]:
        """Nothing to break down."""
        return {}


def _window(response: Response) -> dict[str, float]:
    """The window that a document was read in piece by piece; nothing where it was read whole, or nobody tells."""
    read, window = _read(response, "tokens"), _read(response, "window")
    if isinstance(read, Unscored) or isinstance(window, Unscored) or read <= window:
        return {}
    return {"window": window}


def _count(text: str, per: str) -> int:
    return len(text.split()) if per == "word" else len(text.encode("utf-8", "surrogatepass"))


def _read(response: Response, name: str) -> float | Unscored:
    value: object = response.scores.get(name)
    if value is None:
        return Unscored(response.unscored.get(name) or f"no recorded score {name!r}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Unscored(f"recorded score {name!r} is not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        return Unscored(f"recorded score {name!r} is not finite")
    return number
