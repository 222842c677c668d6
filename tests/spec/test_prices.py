"""List prices: used where nothing is stated and the vendor itself is asked, and never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from evalharness.core.candidates import Price
from evalharness.spec import prices
from evalharness.spec.models import CandidateFile
from evalharness.spec.prices import price_of

TABLE = yaml.safe_load(Path(prices.__file__).with_name("prices.yaml").read_text(encoding="utf-8"))


def model(**keys: object) -> CandidateFile:
    return CandidateFile.model_validate({"name": "c", "provider": "openai", **keys})


def test_a_version_has_the_price_of_its_model_and_the_tables_month() -> None:
    listed = Price(input_per_million=0.25, output_per_million=2.0, listed=TABLE["as_of"])
    assert price_of(model(model="gpt-5-mini")) == price_of(model(model="gpt-5-mini-2025-08-07")) == listed
    sonnet = price_of(model(provider="anthropic", model="claude-sonnet-4-5-20250929"))
    assert sonnet is not None and sonnet.listed


def test_a_version_with_a_price_of_its_own_and_the_vendor_s_address_written_out() -> None:
    older = price_of(model(model="gpt-4o-2024-05-13"))
    assert older is not None and older.input_per_million > price_of(model(model="gpt-4o")).input_per_million  # type: ignore[union-attr]
    assert price_of(model(model="gpt-4o", base_url="https://api.openai.com/v1", api_key_env="K"))


def test_what_the_file_states_wins() -> None:
    stated = price_of(model(model="gpt-5-mini", price={"input_per_million": 1.0, "output_per_million": 3.0}))
    assert stated == Price(input_per_million=1.0, output_per_million=3.0)


@pytest.mark.parametrize(
    "keys",
    [
        {"model": "gpt-5-mini", "base_url": "http://127.0.0.1:8000/v1", "api_key_env": "K"},
        {"model": "gpt-5-mini-tuned"},
        {"model": "gpt-5-mini", "adapter": "mine"},
        {"provider": "vllm", "model": "gpt-5-mini"},
        {"provider": "anthropic", "model": "gpt-5-mini"},
        {"model": "as_of"},
        {"model": "gpt-5-mini", "base_url": "https://api.openai.com.example.org/v1", "api_key_env": "K"},
        {"model": "gpt-5-mini", "extra_body": {"service_tier": "flex"}},
    ],
)
def test_another_server_or_model_has_no_known_price(keys: dict[str, object]) -> None:
    assert price_of(model(**keys)) is None


def test_the_table_is_whole() -> None:
    for vendor in ("openai", "anthropic"):
        for name, (given, taken) in TABLE[vendor].items():
            assert 0 < given < taken, name
