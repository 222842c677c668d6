"""What a count of rare events says of their rate: "0 of 300" is not "never"."""

from __future__ import annotations

from scipy import special

from evalharness.stats._inputs import checked_alpha


def exact_upper(events: int, trials: int, alpha: float) -> float:
    """One-sided upper Clopper-Pearson bound of a rate at confidence 1 − alpha, in (0, 1].

    The largest rate at which so few events still have probability alpha. Without an event it is 1 − alpha^(1/n): 2.95%
    at 100, 0.99% at 300, near the rule of three (3/n). Source: Clopper and Pearson 1934, Biometrika 26:404-413.

    Args:
        events: 0 to `trials`.
        trials: independent ones, at least 1.
        alpha: in (0, 0.5).

    Raises:
        ValueError: numbers out of range.
    """
    checked_alpha(alpha)
    if trials < 1 or not 0 <= events <= trials:
        raise ValueError(f"a rate needs 0 to n events in n >= 1 trials, got {events} in {trials}")
    if events == trials:
        return 1.0
    return float(special.betaincinv(events + 1, trials - events, 1 - alpha))
