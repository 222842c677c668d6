"""Personal data in a text, by its form: e-mail addresses, phone, card and account numbers, US social security numbers.

Where a form has check digits they must be right, so that an order number is no card. A form is not a person: an
invented number with right check digits is found, a name or a street is not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

# Every pattern begins at the edge of a run, is bounded and reads a text in one way only: the time is linear.
_IBAN: Final = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}")
_CARD: Final = re.compile(r"(?<![\w.-])[3-6]\d(?:[ -]?\d){11,17}(?![\w-])")
_SSN: Final = re.compile(r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")
_PHONE: Final = re.compile(
    r"(?<![\w+.-])(?:\+[1-9](?:\)?[ .-]?\(?\d){7,14}\)?"
    r"|(?:1[-. ])?(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4})(?![\w-])"
)
_EMAIL: Final = re.compile(
    r"(?<![a-z0-9._%+-])[a-z0-9._%+-]{1,64}@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,8}[a-z]{2,24}(?![a-z0-9])",
    re.IGNORECASE,
)
_COUNTRIES: Final = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 "
    "FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 "
    "LI21 LT20 LU20 LV21 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 "
    "SC31 SE24 SI19 SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20"
)
_LENGTHS: Final[Mapping[str, int]] = {entry[:2]: int(entry[2:]) for entry in _COUNTRIES.split()}
"""Characters of an IBAN by country (ISO 13616 registry)."""


def personal_data(text: str, kinds: Sequence[str], allow: Sequence[str] = ()) -> dict[str, int]:
    """How many of each kind stand in a text, kinds without any left out.

    A number counts once, as the first kind that it fits. `allow` holds values that do not count, whatever their
    spaces, hyphens and letter case.
    """
    allowed = {_bare(value) for value in allow}
    found: dict[str, int] = {}

    for kind, (pattern, fits) in _FINDERS.items():
        if kind not in kinds:
            continue

        def take(match: re.Match[str], kind: str = kind, fits: Callable[[str], bool] = fits) -> str:
            bare = _bare(match[0])
            if not fits(bare):
                return match[0]
            if bare not in allowed:
                found[kind] = found.get(kind, 0) + 1
            return "\0" * len(match[0])

        text = pattern.sub(take, text)
    return dict(sorted(found.items()))


def _bare(value: str) -> str:
    """A value without what only groups it."""
    value = value.strip().upper()
    return value if "@" in value else re.sub(r"[ ().-]", "", value)


def _luhn(digits: str) -> bool:
    """The check digit of card numbers (ISO/IEC 7812-1): doubled from the right, the digits sum to a multiple of 10."""
    if len(set(digits)) == 1:
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit) * (1 + place % 2)
        total += number - 9 if number > 9 else number
    return total % 10 == 0


def _iban(bare: str) -> bool:
    """The check digits of an IBAN (ISO 13616): first four characters at the end, a number that is 1 mod 97."""
    length = _LENGTHS.get(bare[:2])
    if length is None or len(bare) < length:
        return False
    turned = bare[4:length] + bare[:4]
    return int("".join(str(int(character, 36)) for character in turned)) % 97 == 1


def _phone(bare: str) -> bool:
    return 8 <= len(bare.lstrip("+")) <= 15  # E.164 allows fifteen


_FINDERS: Final[Mapping[str, tuple[re.Pattern[str], Callable[[str], bool]]]] = {
    "iban": (_IBAN, _iban),
    "card": (_CARD, _luhn),
    "ssn": (_SSN, lambda bare: True),
    "phone": (_PHONE, _phone),
    "email": (_EMAIL, lambda bare: True),
}
KINDS: Final = ("email", "phone", "card", "iban", "ssn")


_HINTS: Final[Mapping[str, str]] = {
    "iban": "[A-Z]{2}[0-9]{2}",
    "card": r"(?:\pN[ -]?){13}",
    "ssn": r"\pN{3}-\pN{2}-\pN{4}",
    "phone": r"\+\pN|\pN{3}[). -]{1,2}\pN{3}[. -]\pN",
    "email": "@",
}
"""What stands wherever the kind does. RE2 finds that there is nothing in a tenth of the time."""


class PersonalData:
    """Finds some kinds of personal data in texts."""

    def __init__(self, kinds: Sequence[str]) -> None:
        import re2  # type: ignore[import-untyped]

        chosen = [kind for kind in _FINDERS if kind in kinds]
        self._finders = [(kind, re2.compile(_HINTS[kind]), *_FINDERS[kind]) for kind in chosen]
        self._any = re2.compile("|".join(_HINTS[kind] for kind in chosen)) if chosen else None

    def spans(self, text: str) -> Iterator[tuple[int, int, str]]:
        """(start, end, kind) of each find. What fits several kinds is given for each of them."""
        if self._any is None or self._any.search(text) is None:
            return
        for kind, hint, pattern, fits in self._finders:
            if hint.search(text) is not None:
                for match in pattern.finditer(text):
                    if fits(_bare(match[0])):
                        yield *match.span(), kind
