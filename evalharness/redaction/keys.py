"""Keys and tokens: by the form their issuers give them, and by value, whole or cut short."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import quote, quote_plus

KEY_PATTERN: Final = (
    r"\b(?:sk-[A-Za-z0-9_-]{16,}|[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,}"
    r"|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{20,}"
    r"|GOCSPX-[A-Za-z0-9_-]{20,}|AKIA[A-Z0-9]{16}|ASIA[A-Z0-9]{16}|gsk_[A-Za-z0-9]{16,}|xai-[A-Za-z0-9]{16,}"
    r"|pplx-[A-Za-z0-9]{16,}|r8_[A-Za-z0-9]{30,}|dapi[0-9a-f]{32}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{16,}"
    r"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|hvs\.[A-Za-z0-9_-]{20,}|xox[abeprs]-[A-Za-z0-9-]{10,}"
    r"|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}|(?i:bearer)\s+[A-Za-z0-9._~+/-]{16,}=*"
    r"|(?i:authorization[\"']?\s*[:=]\s*[\"']?basic)\s+[A-Za-z0-9+/_-]{8,}=*)"
    r"|hooks\.slack\.com/services/[A-Za-z0-9/]{20,}"
    # the body has no quote in it: in a line of JSON the key ends where its string does
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(?:[A-Za-z0-9+/=\s\\:,]|-[A-Za-z0-9])*"
    r"(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?"
    r"|[A-Za-z][A-Za-z0-9+.-]{1,20}://([^\s/@:\"'<>]*:[^\s/@\"'<>]+)@"
)
"""Keys and tokens by the form their issuers give them, private keys in PEM, the login in an address (group 1)."""
_NAMES: Final = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
_SHORTEST: Final = 8
"""A shorter value of such a variable is a word (`none`, `true`), and taking it out would garble every text."""
_CUTS: Final = ("…", "...")


def secret_values(environ: Mapping[str, str], named: Iterable[str] = ()) -> tuple[str, ...]:
    """The values of environment variables that hold keys by their name, or that files name; longest first."""
    names = {name for name in environ if _NAMES.search(name)} | set(named)
    values = {environ[name].strip() for name in names if name in environ}
    return tuple(sorted((v for v in values if len(v) >= _SHORTEST), key=lambda v: (-len(v), v)))


class Secret:
    """A value that is known, as it stands in plain text, in addresses and in JSON."""

    def __init__(self, value: str) -> None:
        self._forms = tuple(
            dict.fromkeys((value, quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1]))
        )

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where it stands in a text: whole, or its beginning where the text was cut inside of it."""
        for form in self._forms:
            # a shorter piece tells little, and would be found in texts that only begin alike
            least = min(12, max(6, len(form) // 3))
            start = text.find(form[:least])
            while start >= 0:
                end = start + least
                while end - start < len(form) and text[end : end + 1] == form[end - start]:
                    end += 1
                if end - start == len(form) or end == len(text) or text.startswith(_CUTS, end):
                    yield start, end
                start = text.find(form[:least], start + 1)
