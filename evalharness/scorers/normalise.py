"""Text normalisations, by name. Each is a pure function of text, linear in its length.

A text that is not blank never becomes empty: a target "A" under "squad" (where "a" is an article) or "()" under
"loose" would otherwise equal an empty answer.
"""

from __future__ import annotations

import json
import re
import string
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

Normalise: TypeAlias = Callable[[str], str]

# Characters nobody sees: C0 controls that are not white space, DEL, soft hyphen, zero-width space, word joiner, BOM.
_UNSEEN: Final = {
    code: None for code in (*range(0x00, 0x09), *range(0x0E, 0x1C), 0x7F, 0xAD, 0x200B, 0x2060, 0xFEFF)
}
# Signs that carry meaning at the edge of an answer stay: "-5", "C++", "C#", "$5", "50%", ".5".
_OPENING: Final = "\"'`*_()[]{}«»‹›“”„‘’‚¿¡、。 "
_CLOSING: Final = _OPENING + ".,;:!?…"
_SQUAD_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)
_ARTICLES: Final = re.compile(r"\b(a|an|the)\b")


def trim(text: str) -> str:
    """White space at both ends removed."""
    return text.strip()


def loose(text: str) -> str:
    """NFKC, casefold, unseen characters removed, white space folded to one space, surrounding punctuation removed.

    "(Refund.)" and "refund" are one text; "-5" and "5", "C++" and "C" are two.
    """
    if text.isascii():
        text = text.lower()
    else:
        # Casefolding can undo NFKC ("ͅ" is one case), so it is applied again; Unicode names this NFKC_Casefold.
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    if not text.isprintable():
        text = text.translate(_UNSEEN)
    text = " ".join(text.split())
    bare = text.lstrip(_OPENING).rstrip(_CLOSING)
    return bare or text


def squad(text: str) -> str:
    """SQuAD's answer normalisation: lower case, ASCII punctuation and articles removed, white space folded.

    Source: the official evaluation script of SQuAD 1.1 (Rajpurkar et al. 2016), `normalize_answer`.
    """
    lowered = text.lower()
    bare = " ".join(_ARTICLES.sub(" ", lowered.translate(_SQUAD_PUNCTUATION)).split())
    return bare or " ".join(lowered.split())


def _as_is(text: str) -> str:
    return text


NORMALISATIONS: Final[dict[str, Normalise]] = {"none": _as_is, "trim": trim, "loose": loose, "squad": squad}


def by_name(name: object) -> Normalise:
    """The normalisation called `name`. Raises ValueError naming those there are."""
    found = NORMALISATIONS.get(name) if isinstance(name, str) else None
    if found is None:
        raise ValueError(f"normalise must be one of {', '.join(NORMALISATIONS)}, not {name!r}")
    return found


def text_of(value: Any) -> str:
    """A target as text: strings as they are, 3.0 as "3", true as "true", None as "null"."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def written(target: Any) -> str:
    """A target as an answer would write it: an object or a list as JSON, the rest as `text_of`."""
    return json.dumps(target, ensure_ascii=False) if isinstance(target, dict | list) else text_of(target)


def encodable(text: str) -> str:
    """The text with a UTF-8 form: half of a surrogate pair (an answer cut inside an emoji) becomes "?"."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def texts(name: str, values: object) -> tuple[str, ...]:
    """A parameter that is a list of distinct, non-blank texts, as a tuple. Raises TypeError or ValueError."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a list of texts, not {type(values).__name__}")
    found = tuple(values)
    for value in found:
        if not isinstance(value, str):
            raise TypeError(f"{name} must hold texts only; put {value!r} in quotes")
        if not value.strip():
            raise ValueError(f"{name} holds an empty text; remove it")
    if not found:
        raise ValueError(f"{name} is empty; name at least one")
    if len(set(found)) < len(found):
        raise ValueError(f"{name} names {next(v for v in found if found.count(v) > 1)!r} twice; remove one")
    return found


def flag(name: str, value: object) -> bool:
    """A parameter that is true or false. Raises TypeError."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be true or false, not {value!r}")
    return value


def one_of(name: str, value: object, allowed: Iterable[str]) -> str:
    """A parameter that is one of a few words. Raises ValueError."""
    names = tuple(allowed)
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"{name} must be one of {', '.join(names)}, not {value!r}")
    return value


def shown(text: str, limit: int = 200) -> str:
    """A text short enough for a score's detail."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
