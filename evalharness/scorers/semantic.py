"""How near an answer is to a reference in the space of an embedding model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from evalharness._lazy import refuse_missing
from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Metric, Score, Scored, Unscored
from evalharness.embedding import Embedder, EmbedderSpec, RefusedTextError, build_embedder
from evalharness.scorers.exact import NO_TARGETS
from evalharness.scorers.normalise import encodable, written

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_METRIC: Final = Metric(direction="higher", unit="cosine", kind="bounded", low=-1.0, high=1.0)
_ENDPOINT: Final = (
    "base_url",
    "model",
    "api_key_env",
    "server_dimensions",
    "timeout_s",
    "max_retries",
    "concurrency",
)
_AT_ONCE: Final = 128
_DIGITS: Final = 4
"""Of a cosine. Behind them the texts that were embedded in the same batch show, by their padding."""


class SemanticSimilarity:
    """The cosine of the embeddings of answer and reference, -1 to 1, of the best reference; 0 for an empty answer.

    `model` is a sentence-transformers folder or hub id, or `endpoint` an OpenAI-compatible server: `base_url`, `model`
    and, where needed, `api_key_env`, `server_dimensions`, `timeout_s`, `max_retries`, `concurrency`. `prompt` is put
    before both texts (None: what the model's configuration names for documents), `dimensions` cuts the vectors
    (Matryoshka). Near texts can say the opposite: "refunds take 5 days" and "refunds take 50 days" are neighbours.
    """

    name: ClassVar[str] = "semantic_similarity"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("targets",)
    files: ClassVar[Mapping[str, str]] = {"model": "model"}

    def __init__(
        self,
        model: str | None = None,
        endpoint: Mapping[str, Any] | None = None,
        prompt: str | None = None,
        dimensions: int | None = None,
        batch_size: int = 32,
        device: str | None = None,
        revision: str | None = None,
    ) -> None:
        if (model is None) == (endpoint is None):
            raise ValueError("name either a model or an endpoint")
        given: object = endpoint  # from YAML: its type is not to be trusted
        if given is not None and not (isinstance(given, Mapping) and {"base_url", "model"} <= given.keys()):
            raise ValueError("endpoint needs base_url and model")
        unknown = sorted(set(endpoint or ()) - set(_ENDPOINT))
        if unknown:
            raise ValueError(f"endpoint has no key {unknown[0]!r}; it takes {', '.join(_ENDPOINT)}")
        where: Mapping[str, Any] = endpoint or {"model": model, "device": device, "revision": revision}
        if endpoint is not None and (device is not None or revision is not None):
            raise ValueError("device and revision belong to a model, not to an endpoint")
        spec = EmbedderSpec(**where, document_prompt=prompt, dimensions=dimensions, batch_size=batch_size)
        self._local = endpoint is None
        self._embedder: Embedder = build_embedder(spec)

    @property
    def metric(self) -> Metric:
        return _METRIC

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"embedder": dict(self._embedder.identity)}

    def ready(self) -> None:
        """Raises MissingExtraError before any call is paid for."""
        if self._local:
            refuse_missing("sentence_transformers", extra="text", why="embed texts with a local model")

    def score(self, case: Case, response: Response) -> Score:
        return self.score_many([(case, response)])[0]

    def score_many(self, items: Sequence[tuple[Case, Response]]) -> Sequence[Score]:
        """One score an item; an item with a text that the server refuses is Unscored.

        Raises:
            UsageError: the model cannot be loaded, a key is missing.
            ProviderError: the server cannot be reached, or failed to the end of the retries.
        """
        texts = [encodable(response.text) for _, response in items]
        texts += [encodable(written(target)) for case, _ in items for target in case.targets]
        vectors = self._embed([text for text in dict.fromkeys(texts) if text.strip()])
        return [_nearest(case, response, vectors) for case, response in items]

    def _embed(self, texts: Sequence[str]) -> dict[str, NDArray[np.float32] | str]:
        """The vector of each text, or why it has none."""
        found: dict[str, NDArray[np.float32] | str] = {}
        # A refusal costs the texts that it was sent with a second call.
        for start in range(0, len(texts), _AT_ONCE):
            left = list(texts[start : start + _AT_ONCE])
            while left:
                try:
                    found |= dict(zip(left, self._embedder.embed(left), strict=True))
                    break
                except RefusedTextError as error:
                    found[left.pop(error.index)] = str(error)
        return found


def _nearest(case: Case, response: Response, vectors: Mapping[str, NDArray[np.float32] | str]) -> Score:
    import numpy as np

    if not case.targets:
        return NO_TARGETS
    output = vectors.get(encodable(response.text))
    best = -1.0
    for reference in (vectors.get(encodable(written(target))) for target in case.targets):
        if isinstance(output, str):
            return Unscored(output)
        if isinstance(reference, str):
            return Unscored(reference)
        if output is None or reference is None:  # an empty text has nothing in common with any
            cosine = 0.0
        else:
            cosine = round(float(np.dot(output.astype(np.float64), reference.astype(np.float64))), _DIGITS)
        best = max(best, min(1.0, cosine))
    return Scored(best)
