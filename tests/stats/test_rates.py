"""What few events say of their rate."""

from __future__ import annotations

import pytest

from evalharness.stats.rates import exact_upper


@pytest.mark.parametrize("trials, percent", [(100, 2.95), (300, 0.99), (1000, 0.299)])
def test_no_event_leaves_about_three_in_n(trials: int, percent: float) -> None:
    assert 100 * exact_upper(0, trials, 0.05) == pytest.approx(percent, abs=0.005)
    assert exact_upper(0, trials, 0.05) == pytest.approx(1 - 0.05 ** (1 / trials))


@pytest.mark.parametrize("events, trials", [(0, 1), (1, 50), (3, 300), (10, 1000), (299, 300), (300, 300)])
@pytest.mark.parametrize("alpha", [0.01, 0.05])
def test_the_bound_is_that_of_statsmodels(events: int, trials: int, alpha: float) -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    _, high = proportion.proportion_confint(events, trials, alpha=2 * alpha, method="beta")
    assert exact_upper(events, trials, alpha) == pytest.approx(high)


@pytest.mark.parametrize("events, trials", [(-1, 10), (11, 10), (0, 0)])
def test_impossible_counts_are_refused(events: int, trials: int) -> None:
    with pytest.raises(ValueError, match="0 to n events"):
        exact_upper(events, trials, 0.05)
