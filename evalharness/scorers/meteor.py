"""METEOR against reference texts, offline."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar, Final

from evalharness._lazy import refuse_missing, require
from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Metric, Score, Scored
from evalharness.scorers._wordnet import wordnet, wordnet_digest, wordnet_folder
from evalharness.scorers.exact import NO_TARGETS
from evalharness.scorers.normalise import written

_METRIC: Final = Metric(direction="higher", unit="fraction", kind="bounded")
_TOKEN: Final = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
_WHY: Final = "compute meteor"


def meteor_tokens(text: str) -> list[str]:
    """Words, with their apostrophes, and single marks; lower case."""
    return _TOKEN.findall(text.lower())


class Meteor:
    """METEOR (Lavie & Agarwal 2007) against the best reference, 0 to 1: words, stems and WordNet's synonyms in common.

    Equals nltk's `meteor_score` (alpha 0.9, beta 3, gamma 0.5, Porter's stemmer) on the tokens of `meteor_tokens`.
    English. The synonyms are part of the suite's identity: two sides scored with different WordNets do not compare.

    Raises:
        UsageError: there is no WordNet on this machine. Said at once: nltk would score pairs that share all their
            words and fail on the others.
    """

    name: ClassVar[str] = "meteor"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("targets",)
    files: ClassVar[Mapping[str, str]] = {}
    synonyms: ClassVar[bool] = True

    def __init__(self) -> None:
        self._folder = wordnet_folder() if self.synonyms else None

    @property
    def metric(self) -> Metric:
        return _METRIC

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"wordnet": wordnet_digest() if self.synonyms else None}

    def ready(self) -> None:
        """Raises MissingExtraError before any call is paid for."""
        refuse_missing("nltk", extra="text", why=_WHY)

    def score(self, case: Case, response: Response) -> Score:
        if not case.targets:
            return NO_TARGETS
        nltk = require("nltk.translate.meteor_score", extra="text", why=_WHY)
        value = nltk.meteor_score(
            [meteor_tokens(written(target)) for target in case.targets],
            meteor_tokens(response.text),
            stemmer=_stemmer(),
            wordnet=wordnet(self._folder) if self._folder is not None else _NoSynonyms(),
        )
        return Scored(float(value))


class MeteorStems(Meteor):
    """METEOR without its synonym stage: words and stems in common. Needs no WordNet, and is another metric."""

    name: ClassVar[str] = "meteor_stems"
    synonyms: ClassVar[bool] = False


class _NoSynonyms:
    def synsets(self, word: str) -> list[Any]:
        """None for any word."""
        return []


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    """Porter's stemmer, each word once: it is half of METEOR's cost."""
    porter = require("nltk.stem.porter", extra="text", why=_WHY)

    class Stemmer:
        def __init__(self) -> None:
            self.stem = lru_cache(maxsize=100_000)(porter.PorterStemmer().stem)

    return Stemmer()
