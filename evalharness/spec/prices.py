"""The price of a model: what its file states, else the vendor's list price of a stated month."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from evalharness.core.candidates import Price
from evalharness.spec.models import ProviderFields

_HOSTS: Final = {"openai": "api.openai.com", "anthropic": "api.anthropic.com"}
_DATA: Final = Path(__file__).with_name("prices.yaml")
_DATED: Final = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8})$")
"""What follows a model's name in the name of one of its versions."""


def price_of(model: ProviderFields) -> Price | None:
    """The stated price, else the list price where the vendor's own endpoint is asked. None: unknown, and said so.

    A version of a model has the model's price, unless the table has one of its own for it. Names are never guessed: a
    model that is not in the table has none, nor has one that is asked for another tier of service.
    """
    if model.price is not None:
        return Price(**model.price.model_dump())
    if model.provider is None or model.model is None or model.adapter is not None:
        return None
    if model.base_url is not None and urlsplit(model.base_url).hostname != _HOSTS.get(model.provider):
        return None
    if (model.extra_body or {}).get("service_tier") is not None:
        return None
    table = _table()
    of_vendor = table.get(model.provider, {})
    row = of_vendor.get(model.model, of_vendor.get(_DATED.sub("", model.model)))
    if not isinstance(row, list):
        return None
    return Price(input_per_million=float(row[0]), output_per_million=float(row[1]), listed=table["as_of"])


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(_DATA.read_text(encoding="utf-8"))
    return found
