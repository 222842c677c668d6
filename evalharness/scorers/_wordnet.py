"""WordNet for nltk, from what is on this machine: nltk's own data or Debian's package. Nothing is downloaded."""

from __future__ import annotations

import io
import os
import sys
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from evalharness._canon import digest
from evalharness._lazy import require
from evalharness.content import model_digest
from evalharness.errors import UsageError

DEBIAN: Final = Path("/usr/share/wordnet")
_NEEDED: Final = tuple(
    f"{kind}.{part}" for kind in ("index", "data") for part in ("adj", "adv", "noun", "verb")
)
_HOW: Final = (
    "METEOR's synonyms need WordNet, which is not on this machine: install Debian's packages wordnet-base and "
    "wordnet-sense-index, or run `python -m nltk.downloader wordnet` where there is a network and set NLTK_DATA to its "
    "folder; meteor_stems needs no WordNet"
)
# lexnames(5WN): fixed since WordNet 1.6. Debian's package leaves the file out, and nltk reads it first.
_LEXNAMES: Final = (
    "adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body noun.cognition "
    "noun.communication noun.event noun.feeling noun.food noun.group noun.location noun.motive noun.object noun.person "
    "noun.phenomenon noun.plant noun.possession noun.process noun.quantity noun.relation noun.shape noun.state "
    "noun.substance noun.time verb.body verb.change verb.cognition verb.communication verb.competition "
    "verb.consumption verb.contact verb.creation verb.emotion verb.motion verb.perception verb.possession verb.social "
    "verb.stative verb.weather adj.ppl"
)  # fmt: skip
_POS_NUMBERS: Final = {"noun": 1, "verb": 2, "adj": 3, "adv": 4}


def wordnet_folder() -> Path:
    """The folder with WordNet's files, first nltk's places, then Debian's.

    Raises:
        UsageError: it is in none of them; says the ways to get it.
    """
    set_by_user = [Path(place) for place in os.environ.get("NLTK_DATA", "").split(os.pathsep) if place]
    usual = [Path.home() / "nltk_data", Path(sys.prefix, "nltk_data"), Path(sys.prefix, "share", "nltk_data")]
    shared = [Path("/usr/share/nltk_data"), Path("/usr/local/share/nltk_data"), Path("/usr/lib/nltk_data")]
    for place in (*(root / "corpora" / "wordnet" for root in (*set_by_user, *usual, *shared)), DEBIAN):
        if all((place / name).is_file() for name in _NEEDED):
            return place
    raise UsageError(_HOW)


def wordnet_digest() -> str:
    """The content of what synonyms are read from.

    Raises:
        UsageError: there is no WordNet.
    """
    folder = wordnet_folder()
    names = (*_NEEDED, *(f"{part}.exc" for part in ("adj", "adv", "noun", "verb")))
    return digest([[name, model_digest(folder / name)] for name in names if (folder / name).is_file()])


@lru_cache(maxsize=2)
def wordnet(folder: Path) -> Any:
    """The reader nltk has for such a folder; loaded once, in two seconds."""
    reader = require("nltk.corpus.reader.wordnet", extra="text", why="compute meteor")
    data = require("nltk.data", extra="text", why="compute meteor")
    if str(folder) not in data.path:  # nltk opens nothing outside the folders it is told of
        data.path.append(str(folder))

    class Reader(reader.WordNetCorpusReader):  # type: ignore[misc, name-defined, unused-ignore]
        """Reads a folder that lacks what METEOR does not use."""

        def open(self, name: str) -> Any:
            if name == "lexnames" and not (folder / name).is_file():
                rows = (
                    f"{n:02}\t{lexname}\t{_POS_NUMBERS[lexname.partition('.')[0]]}\n"
                    for n, lexname in enumerate(_LEXNAMES.split())
                )
                return io.StringIO("".join(rows))
            return super().open(name)

        def map_wn(self, version: str = "wordnet") -> None:
            """No map to other versions, which other languages need: it would be looked for in nltk's own folder."""

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The multilingual functions")
        return Reader(str(folder), None)
