"""Any metric of the Hugging Face library `evaluate`, for a case at a time. Its metrics are code: the user allows each.

A metric is a Python script, from a folder or from the hub, and loading it runs it. A suite is data and may come with a
pull request; so a metric is loaded only where the environment, which is the user's, names it.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from evalharness._lazy import refuse_missing, require
from evalharness.content import model_digest
from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.scores import Metric, Score, Scored, Unscored
from evalharness.errors import UsageError
from evalharness.scorers.exact import NO_TARGETS
from evalharness.scorers.normalise import one_of, shown, written
from evalharness.scorers.recorded import Recorded

TRUST: Final = "EVALHARNESS_TRUST_METRICS"
_WHY: Final = "use a metric of evaluate"


class HfEvaluate:
    """A metric of `evaluate` on pairs of answer and target.

    `metric` is a folder or a script by path, or a name on the hub (which needs the network); `key` names the value in
    what it returns (its own name when left out). Of several targets the best value counts, or with `references`
    "together" the metric gets them as a list. `values` says what it reads: "text" (default), "number" or "integer"; an
    answer that is none is Unscored. `options` go to its `compute`. `direction`, `unit`, `kind`, `low` and `high` say
    how its values are read, as for `recorded`; one that is not finite or lies outside is Unscored.

    Raises:
        UsageError: the environment variable EVALHARNESS_TRUST_METRICS does not name the metric.
    """

    name: ClassVar[str] = "evaluate"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("targets",)
    files: ClassVar[Mapping[str, str]] = {"metric": "model"}

    def __init__(
        self,
        metric: str,
        key: str | None = None,
        direction: str = "higher",
        unit: str = "fraction",
        kind: str = "bounded",
        low: float = 0.0,
        high: float = 1.0,
        references: str = "each",
        values: str = "text",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        # Parameters come from YAML, so their types are not to be trusted.
        given: dict[str, object] = {"metric": metric, "options": options or {}}
        if not isinstance(given["metric"], str) or not metric.strip():
            raise ValueError(f"metric must be a name or a path, not {metric!r}")
        if not isinstance(given["options"], Mapping) or {"predictions", "references"} & set(given["options"]):
            raise ValueError(
                "options must be named values for the metric, without predictions and references"
            )
        one_of("references", references, ("each", "together"))
        one_of("values", values, ("text", "number", "integer"))
        self._key = key if key is not None else Path(metric).stem
        self._reader = Recorded(self._key, direction, unit, kind, low, high)
        self._metric_name = metric
        self._together = references == "together"
        self._values = values
        self._options = dict(options or {})
        self._loaded: Any = None
        _refuse_unless_trusted(metric)

    @property
    def metric(self) -> Metric:
        return self._reader.metric

    @property
    def identity(self) -> Mapping[str, Any]:
        place = Path(self._metric_name)
        about = self._reader.metric
        return {
            "metric": {"content": model_digest(place)} if place.exists() else {"name": self._metric_name},
            "key": self._key,
            "read": [about.direction, about.unit, about.kind, about.low, about.high],
            "together": self._together,
            "values": self._values,
            "options": self._options,
        }

    def ready(self) -> None:
        """Raises MissingExtraError before any call is paid for."""
        refuse_missing("evaluate", extra="text", why=_WHY)

    def score(self, case: Case, response: Response) -> Score:
        return self.score_many([(case, response)])[0]

    def score_many(self, items: Sequence[tuple[Case, Response]]) -> Sequence[Score]:
        """One score an item; where the metric raises, why.

        Raises:
            UsageError: the metric cannot be loaded.
            MissingExtraError: evaluate is not installed.
        """
        if self._loaded is None:
            self._loaded = self._load()
        with contextlib.redirect_stdout(sys.stderr):  # what a script prints is not the product
            return [self._one(case, response) for case, response in items]

    def _load(self) -> Any:
        library = require("evaluate", extra="text", why=_WHY)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                return library.load(self._metric_name, keep_in_memory=True)
        except Exception as error:  # the script may raise anything
            said = " ".join(str(error).split())[:300]
            hint = "" if Path(self._metric_name).exists() else "; a name needs the network, a folder does not"
            name = Path(self._metric_name).name
            raise UsageError(
                f"evaluate: metric {name!r} cannot be loaded: {type(error).__name__}: {said}{hint}"
            ) from error

    def _one(self, case: Case, response: Response) -> Score:
        if not case.targets:
            return NO_TARGETS
        try:
            output = self._read(response.text)
        except ValueError:
            return Unscored(f"the answer is no {self._values}: {shown(response.text, 80)!r}")
        try:
            references = [self._read(written(target)) for target in case.targets]
            groups: Iterable[Any] = [references] if self._together else references
            found = [self._reader.score(case, self._response(output, group)) for group in groups]
        except Exception as error:  # noqa: BLE001 - the script may raise anything; the reason is kept and shown
            return Unscored(f"the metric raised {type(error).__name__}: {' '.join(str(error).split())[:200]}")
        scored = [score for score in found if isinstance(score, Scored)]
        if not scored:
            return found[0]
        best = max if self._reader.metric.direction == "higher" else min
        return best(scored, key=lambda score: score.value)

    def _response(self, output: Any, reference: Any) -> Response:
        """What the metric says of one pair, as if it were recorded."""
        result = self._loaded.compute(predictions=[output], references=[reference], **self._options)
        value = result.get(self._key) if isinstance(result, Mapping) else None
        if value is None:
            names = ", ".join(map(str, result)) if isinstance(result, Mapping) else type(result).__name__
            raise KeyError(f"no {self._key!r} in what it returned ({names}); name one by `key`")
        if isinstance(value, list | tuple) and len(value) == 1:
            value = value[0]
        return Response(text="", scores={self._key: float(value)})

    def _read(self, text: str) -> Any:
        if self._values == "text":
            return text
        number = float(text.strip())
        if not math.isfinite(number) or (self._values == "integer" and not number.is_integer()):
            raise ValueError(text)
        return int(number) if self._values == "integer" else number


def _refuse_unless_trusted(metric: str) -> None:
    """A name must be listed as it is; a path must be listed as one (with a slash), or lie below a folder that is.

    A bare name allows the hub's metric and no folder of that name: a change under test could bring one.

    Raises:
        UsageError: it is not.
    """
    listed = [entry.strip() for entry in os.environ.get(TRUST, "").split(",") if entry.strip()]
    place = Path(metric)
    if place.exists():
        real = place.resolve()
        folders = [Path(entry).resolve() for entry in listed if "/" in entry or os.sep in entry]
        if any(real == folder or folder in real.parents for folder in folders):
            return
        with contextlib.suppress(ValueError):
            metric = f"./{real.relative_to(Path.cwd().resolve())}"
    elif metric in listed:
        return
    raise UsageError(
        f"the metric {metric!r} is Python code that would run on this machine, and a suite may not decide that; if you "
        f"trust it, set {TRUST}={metric} (several: with commas)"
    )
