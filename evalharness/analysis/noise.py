"""How much each metric moved in an earlier comparison: the noise that a plan reckons with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from evalharness.core.comparisons import Comparison
from evalharness.core.plans import NoiseSource
from evalharness.stats.mcnemar import MIDP_MCNEMAR
from evalharness.stats.student import normal_quantile

Place: TypeAlias = "tuple[str, str | None]"
"""(metric id, slice as "key=value" or None)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """How much one metric moved between two runs.

    `churn` is the share of cases that changed and `net` how far the mean moved by that, as a share of the cases.
    `churn` None: not 0/1 cases asked once. `sd` None: nothing varied, or it is not told.
    `cases_per_unit` is above 1 where cases are clustered; `baseline` is on the metric's own scale.
    """

    churn: float | None
    net: float
    sd: float | None
    changing: float
    cases_per_unit: float
    baseline: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Two runs that were laid side by side: `text` names them, `observed` says what moved."""

    source: NoiseSource
    text: str
    observed: Mapping[Place, Observed]


def observed_between(comparison: Comparison) -> dict[Place, Observed]:
    """What moved in a comparison, for every metric and slice that could be estimated."""
    found: dict[Place, Observed] = {}
    for metric in (*comparison.metrics, *comparison.slices):
        estimate = metric.estimate
        if estimate is None:
            continue
        found[metric.id, None if metric.slice is None else str(metric.slice)] = Observed(
            churn=estimate.discordance if estimate.test == MIDP_MCNEMAR else None,
            net=abs(estimate.delta),
            sd=estimate.sd or None,
            changing=estimate.discordance,
            cases_per_unit=estimate.n / estimate.n_units,
            baseline=abs(estimate.baseline),
        )
    return found


def observed_in(document: Mapping[str, Any]) -> dict[Place, Observed]:
    """What moved in the comparison that a comparison.json tells.

    The file does not hold the standard deviation; `mde` = (z_alpha + z_0.8) · sd / sqrt(n_units) gives it back. At one
    look of several the MDE is that of the look's own level, which the file does not hold either; there it comes from
    `n_for_power`, which is always at alpha.

    Raises:
        KeyError, TypeError, ValueError: it is not shaped like one.
    """
    found: dict[Place, Observed] = {}
    z = normal_quantile(1 - float(document["alpha"])) + normal_quantile(0.8)
    alone = document.get("looks") is None
    for row in (*document["metrics"], *document["slices"]):
        if row["n"] is None or row["discordance"] is None:
            continue
        n, units, changing = int(row["n"]), int(row["n_units"]), float(row["discordance"])
        # In looks the test is named with its look: "mid-p McNemar, look 2 of 5".
        counted = str(row["test"]).partition(", look ")[0] == MIDP_MCNEMAR
        sd: float | None = None
        if counted:
            sd = math.sqrt(max(changing - float(row["delta"]) ** 2, 0.0)) or None
        elif units > 1 and row["ci"]["low"] != row["ci"]["high"]:
            if alone and row["mde"] is not None:
                sd = float(row["mde"]) * math.sqrt(units) / z or None
            elif not alone and row["n_for_power"] is not None:
                sd = float(row["max_drop"]) * math.sqrt(int(row["n_for_power"]) * units / n) / z or None
        found[str(row["id"]), row.get("slice")] = Observed(
            churn=changing if counted else None,
            net=abs(float(row["delta"])),
            sd=sd,
            changing=changing,
            cases_per_unit=n / units,
            baseline=abs(float(row["baseline"])),
        )
    return found
