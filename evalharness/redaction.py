"""Keys and personal data taken out of whatever is shown, at its source: before a report cuts, counts or escapes it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from evalharness.core.suites import Redaction
from evalharness.scorers._personal import without_personal_data

KEY_PATTERN: Final = (
    r"\b(?:sk-[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}"
    r"|glpat-[A-Za-z0-9_-]{16,}|AIza[A-Za-z0-9_-]{30,}|AKIA[A-Z0-9]{16}|ASIA[A-Z0-9]{16}|gsk_[A-Za-z0-9]{16,}"
    r"|xai-[A-Za-z0-9]{16,}|xox[abprs]-[A-Za-z0-9-]{10,}|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"
    r"|(?i:bearer)\s+[A-Za-z0-9._~+/-]{16,}=*)"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?"
)
"""Keys and tokens by the form their issuers give them, and private keys in PEM."""
_NAMES: Final = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
_SHORTEST: Final = 8
"""A shorter value of such a variable is a word (`none`, `true`), and taking it out would garble every text."""
_T = TypeVar("_T")


def secret_values(environ: Mapping[str, str], named: Iterable[str] = ()) -> tuple[str, ...]:
    """The values of environment variables that hold keys by their name, or that files name; longest first."""
    names = {name for name in environ if _NAMES.search(name)} | set(named)
    values = {environ[name].strip() for name in names if name in environ}
    return tuple(sorted((v for v in values if len(v) >= _SHORTEST), key=lambda v: (-len(v), v)))


class Redactor:
    """Replaces in texts: secret values, what looks like a key, personal data asked for, patterns of the user."""

    def __init__(self, rules: Redaction, secrets: Iterable[str] = ()) -> None:
        import re2  # type: ignore[import-untyped]

        self._secrets = tuple(secrets)
        self._keys = re2.compile(KEY_PATTERN)
        self._kinds = rules.kinds
        self._patterns = [re2.compile(pattern) for pattern in rules.patterns]

    def text(self, text: str) -> str:
        """The text without them. What was taken out is named in its place: `[key]`, `[email]`, `[redacted]`."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, "[key]")
        text = self._keys.sub("[key]", text)
        for pattern in self._patterns:
            text = pattern.sub("[redacted]", text)
        return without_personal_data(text, self._kinds) if self._kinds else text

    def all(self, value: _T) -> _T:
        """`value` with every text in it redacted: in data classes, mappings and sequences, to any depth."""
        found: _T = _mapped(value, self.text)
        return found


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """A copy where something changes, else the very same object."""
    if isinstance(value, str):
        changed = change(value)
        return value if changed == value else changed
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            f.name: new
            for f in dataclasses.fields(value)
            if f.init and (new := _mapped(old := getattr(value, f.name), change)) is not old
        }
        return dataclasses.replace(value, **fields) if fields else value
    if isinstance(value, Mapping):
        pairs = [(key, item, _mapped(key, change), _mapped(item, change)) for key, item in value.items()]
        if all(key is new_key and item is new_item for key, item, new_key, new_item in pairs):
            return value
        return {new_key: new_item for _, _, new_key, new_item in pairs}
    if isinstance(value, tuple | list):
        items = [_mapped(item, change) for item in value]
        if all(new is old for new, old in zip(items, value, strict=True)):
            return value
        return type(value)(items) if not hasattr(value, "_fields") else type(value)(*items)
    return value
