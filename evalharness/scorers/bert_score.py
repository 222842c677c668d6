"""BERTScore against reference texts, with a model of the user's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from evalharness._lazy import quiet, refuse_missing, require
from evalharness.content import model_digest
from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Metric, Score, Scored, Unscored
from evalharness.errors import UsageError
from evalharness.scorers.exact import NO_TARGETS
from evalharness.scorers.normalise import encodable, one_of, written

_METRIC: Final = Metric(direction="higher", unit="fraction", kind="bounded")
_PARTS: Final = ("precision", "recall", "f1")
_WHY: Final = "compute bert_score"
_NO_LIMIT: Final = 100_000
"""A tokenizer that says it takes more tokens than this says nothing."""


class BertScore:
    """BERTScore (Zhang et al. 2020) of the best reference, 0 to 1: tokens matched by the cosine of their embeddings.

    `model` is a folder or a hub id, read with safetensors and without its code; `num_layers` the layer whose
    embeddings count (needed for a folder; the library knows that of the models of its paper); `part` "f1", "precision"
    or "recall". `baseline` is what unrelated texts score with this model and layer: values become
    (x - baseline) / (1 - baseline), as the library rescales them. No inverse document frequencies: they would make a
    case's value depend on the others. Equals `bert_score.score`; a value below 0 (worse than unrelated) is 0, as is
    that of an empty answer. Texts longer than the model's window are cut.
    """

    name: ClassVar[str] = "bert_score"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("targets",)
    files: ClassVar[Mapping[str, str]] = {"model": "model"}

    def __init__(
        self,
        model: str,
        num_layers: int | None = None,
        part: str = "f1",
        baseline: float = 0.0,
        device: str | None = None,
        batch_size: int = 64,
    ) -> None:
        # Parameters come from YAML, so their types are not to be trusted.
        given: dict[str, object] = {"model": model, "device": device or "cpu"}
        for key, value in given.items():
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"{key} must be a text that is not empty, not {value!r}")
        one_of("part", part, _PARTS)
        counts: dict[str, object] = {
            "batch_size": batch_size,
            "num_layers": 1 if num_layers is None else num_layers,
        }
        for key, count in counts.items():
            if type(count) is not int or count < 1:
                raise ValueError(f"{key} must be a whole number of at least 1, not {count!r}")
        level: object = baseline
        if isinstance(level, bool) or not isinstance(level, int | float) or not -1 < level < 1:
            raise ValueError(f"baseline must be a number above -1 and below 1, not {baseline!r}")
        if num_layers is None and Path(model).is_dir():
            raise ValueError(
                "num_layers is needed for a model in a folder: the layer whose embeddings are compared, such as 9 of "
                "bert-base or 17 of roberta-large"
            )
        self._model = model
        self._num_layers = num_layers
        self._part = part
        self._baseline = float(baseline)
        self._device = device
        self._batch_size = batch_size
        self._loaded: tuple[Any, Any] | None = None

    @property
    def metric(self) -> Metric:
        return _METRIC

    @property
    def identity(self) -> Mapping[str, Any]:
        folder = Path(self._model)
        model = {"content": model_digest(folder)} if folder.is_dir() else {"name": self._model}
        return {
            "model": model,
            "num_layers": self._num_layers,
            "part": self._part,
            "baseline": self._baseline,
        }

    def ready(self) -> None:
        """Raises MissingExtraError before any call is paid for."""
        refuse_missing("bert_score", "torch", "transformers", extra="text", why=_WHY)

    def score(self, case: Case, response: Response) -> Score:
        return self.score_many([(case, response)])[0]

    def score_many(self, items: Sequence[tuple[Case, Response]]) -> Sequence[Score]:
        """One score an item.

        Raises:
            UsageError: the model cannot be loaded, or has fewer layers.
            MissingExtraError: bert-score is not installed.
        """
        pairs: list[tuple[str, str]] = []
        for case, response in items:
            pairs += _pairs(case, response)
        whole = [(output, reference) for output, reference in dict.fromkeys(pairs) if output and reference]
        values = dict(zip(whole, self._values(whole), strict=True)) if whole else {}
        return [self._best(case, response, values) for case, response in items]

    def _best(self, case: Case, response: Response, values: Mapping[tuple[str, str], float]) -> Score:
        if not case.targets:
            return NO_TARGETS
        found = [values.get(pair, 0.0) for pair in _pairs(case, response)]
        if any(value != value for value in found):
            return Unscored("the model gives embeddings that are not finite")
        return Scored(min(1.0, max(0.0, *found)))

    def _values(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """The chosen part of each pair of output and reference."""
        library = require("bert_score.utils", extra="text", why=_WHY)
        torch = require("torch", extra="text", why=_WHY)
        if self._loaded is None:
            self._loaded = self._load(torch)
        embedded = self._embedded(library, list(dict.fromkeys(text for pair in pairs for text in pair)))
        place = _PARTS.index(self._part)
        found = []
        for output, reference in pairs:
            said, wanted = embedded[output], embedded[reference]
            # The library normalises what it is given in place.
            parts = library.greedy_cos_idf(*(t.clone() for t in wanted), *(t.clone() for t in said))
            found.append((float(parts[place][0]) - self._baseline) / (1 - self._baseline))
        return found

    def _embedded(self, library: Any, texts: Sequence[str]) -> dict[str, tuple[Any, Any, Any]]:
        """Embeddings, mask and weights of each text, on the CPU; shape (1, tokens[, dimensions]).

        Texts of one length make a batch, so that no padding, and with it no other text, moves a digit.
        """
        assert self._loaded is not None
        tokenizer, model = self._loaded
        weights: defaultdict[int | None, float] = defaultdict(lambda: 1.0)
        weights[tokenizer.sep_token_id] = weights[tokenizer.cls_token_id] = 0.0
        by_length: dict[int, list[str]] = {}
        for text in sorted(texts):
            by_length.setdefault(len(library.sent_encode(tokenizer, text)), []).append(text)
        found: dict[str, tuple[Any, Any, Any]] = {}
        for alike in by_length.values():
            for start in range(0, len(alike), self._batch_size):
                batch = alike[start : start + self._batch_size]
                parts = library.get_bert_embedding(batch, model, tokenizer, weights, device=model.device)
                rows = zip(*(part.cpu().split(1) for part in parts), strict=True)
                found |= dict(zip(batch, rows, strict=True))
        return found

    def _load(self, torch: Any) -> tuple[Any, Any]:
        """Tokenizer and the model's first layers. The library's loader reads pickles and guesses by path."""
        transformers = require("transformers", extra="text", why=_WHY)
        layers = self._num_layers
        if layers is None:
            known = require("bert_score.utils", extra="text", why=_WHY).model2layers
            if self._model not in known:
                raise UsageError(
                    f"bert_score: the best layer of {self._model!r} is not known; give num_layers"
                )
            layers = known[self._model]
        try:
            with quiet(transformers):
                config = transformers.AutoConfig.from_pretrained(self._model, trust_remote_code=False)
                if layers > config.num_hidden_layers:
                    raise UsageError(
                        f"bert_score: {self._model!r} has {config.num_hidden_layers} layers; num_layers says {layers}"
                    )
                tokenizer = transformers.AutoTokenizer.from_pretrained(self._model, trust_remote_code=False)
                model, info = transformers.AutoModel.from_pretrained(
                    self._model,
                    num_hidden_layers=layers,
                    use_safetensors=True,
                    trust_remote_code=False,
                    dtype=torch.float32,
                    output_loading_info=True,
                )
        except (OSError, ValueError, ImportError, RuntimeError, KeyError, AttributeError) as error:
            said = " ".join(str(error).split())[:300]
            raise UsageError(f"bert_score: cannot load model {self._model!r}: {said}") from error
        missing = [key for key in info["missing_keys"] if "pooler" not in key]
        if missing:
            raise UsageError(
                f"bert_score: {self._model!r} has no weights for {missing[0]}: its scores would be noise"
            )
        window = getattr(config, "max_position_embeddings", None)
        if tokenizer.model_max_length > _NO_LIMIT and window:
            tokenizer.model_max_length = window - 2  # RoBERTa's first two positions are not for tokens
        if config.is_encoder_decoder:
            model = model.get_encoder()
        device = self._device or ("cuda" if torch.cuda.is_available() else "cpu")
        return tokenizer, model.to(device).eval()


def _pairs(case: Case, response: Response) -> list[tuple[str, str]]:
    """The output beside each reference, as the model reads them."""
    output = encodable(response.text).strip()
    return [(output, encodable(written(target)).strip()) for target in case.targets]
