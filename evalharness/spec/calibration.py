"""calibration.json beside judge.yaml: how the judge agreed with people, as `evalharness judge calibrate` found it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

from evalharness.content import PathPolicy
from evalharness.core.judges import Calibration, Measured
from evalharness.errors import Problem, SpecError
from evalharness.spec.lines import BadLine, parse_json
from evalharness.spec.reader import MAX_BYTES, read_text
from evalharness.store.files import write_json

CALIBRATION: Final = "calibration.json"
SCHEMA_VERSION: Final = 1
DIGITS: Final = 12
"""Significant digits of every number: the same calibration is the same file."""

_SHARES: Final = ("agreement", "sensitivity", "specificity", "flip_rate", "first_slot")
_COEFFICIENTS: Final = ("kappa", "length_correlation")
_REQUIRED: Final = "agreement"


def write_calibration(path: Path, calibration: Calibration) -> Path:
    """Write a calibration into a judge's folder (or to the file that `path` is); returns the file.

    Raises:
        StoreError: it cannot be written.
        ValueError: a number is not finite.
    """
    file = path / CALIBRATION if path.is_dir() else path
    write_json(file, {"schema_version": SCHEMA_VERSION, **_rounded(asdict(calibration))})
    return file


def read_calibration(folder: Path, paths: PathPolicy) -> Calibration | None:
    """The calibration in a judge's folder, None where there is none.

    Raises:
        SpecError: it is damaged, of another schema version, or leads out of the allowed folders.
    """
    file = folder / CALIBRATION
    if not file.exists() and not file.is_symlink():
        return None
    found = paths.resolve(f"./{CALIBRATION}", folder / CALIBRATION) if file.is_symlink() else file
    shown = paths.show(file)
    try:
        return _calibration(parse_json(read_text(found, shown, limit=MAX_BYTES)))
    except BadLine as error:
        hint = f"delete it and run: evalharness judge calibrate {paths.show(folder)}"
        raise SpecError([Problem(f"is damaged: {error}", shown, hint=hint)]) from None


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"a calibration holds finite numbers, not {value}")
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, (list, tuple)) else value


def _calibration(data: Any) -> Calibration:
    if type(data) is not dict:
        raise BadLine("it holds no JSON object")
    version = data.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise BadLine(f"its schema_version is {version!r}, and this version reads {SCHEMA_VERSION}")
    names = [field.name for field in fields(Calibration)]
    for wrong in sorted(set(names) ^ set(data)):
        raise BadLine(f"{wrong} is missing" if wrong in names else f"{wrong!r} is unknown")
    values = dict(data)
    for name in (*_SHARES, *_COEFFICIENTS):
        lowest = -1.0 if name in _COEFFICIENTS else 0.0
        values[name] = _measured(name, data[name], lowest)
    if values[_REQUIRED] is None:
        raise BadLine("agreement is null")
    if data["correlation2"] is not None:
        values["correlation2"] = _number("correlation2", data["correlation2"], 0.0)
    for name in ("judge_digest", "labels_digest"):
        if type(data[name]) is not str or not data[name]:
            raise BadLine(f"{name} must be text")
    if data["problem"] is not None and type(data["problem"]) is not str:
        raise BadLine("problem must be text or null")
    models = data["models"]
    if type(models) is not list or not all(type(item) is str for item in models):
        raise BadLine("models must be a list of texts")
    values["models"] = tuple(models)
    for name in ("n_labels", "n_judged"):
        values[name] = _count(name, data[name])
    if values["n_judged"] > values["n_labels"]:
        raise BadLine("n_judged is above n_labels")
    return Calibration(**values)


def _measured(name: str, data: Any, lowest: float) -> Measured | None:
    if data is None:
        return None
    if type(data) is not dict or set(data) != {"value", "low", "high", "n"}:
        raise BadLine(f"{name} must hold value, low, high and n")
    value, low, high = (_number(f"{name}.{key}", data[key], lowest) for key in ("value", "low", "high"))
    if low > high:
        raise BadLine(f"{name}.low is above {name}.high")
    return Measured(value=value, low=low, high=high, n=_count(f"{name}.n", data["n"]))


def _number(name: str, value: Any, lowest: float) -> float:
    """A number from `lowest` to 1."""
    if type(value) not in (int, float) or not lowest <= value <= 1.0:
        raise BadLine(f"{name} must be a number from {lowest:g} to 1")
    return float(value)


def _count(name: str, value: Any) -> int:
    if type(value) is not int or value < 0:
        raise BadLine(f"{name} must be a whole number, 0 or more")
    return value
