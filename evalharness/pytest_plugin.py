"""A comparison as a test: `@pytest.mark.evalharness(base=…, candidate=…)` on a function, most often an empty one.

pytest finds this module by the entry point `pytest11: evalharness` and imports it at every start, so it imports nothing
of evalharness but when a marked test runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from evalharness.core.verdicts import Verdict

MARK: Final = "evalharness"
_POLICIES: Final = ("fail", "skip")
_INI: Final = "evalharness_on_inconclusive"
_STORE: Final = "evalharness_store"
_PARAMETERS: Final = ("base", "candidate", "suite", "anchor", "out", "store")
_SHOWN: Final = 10
_PROPERTY: Final = "evalharness_verdict"
_WARNING: Final = "evalharness_warning"

_found: pytest.StashKey[Verdict] = pytest.StashKey()
_asked: pytest.StashKey[dict[tuple[str | None, ...], Verdict | str]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The settings of pytest.ini and pyproject.toml."""
    parser.addini(_INI, "What an inconclusive comparison does to its test: fail or skip.", default="fail")
    parser.addini(_STORE, "Where runs and the response cache lie, from rootdir.", default=".evalharness")


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known, and refuse a setting that means nothing."""
    config.addinivalue_line(
        "markers",
        f"{MARK}(base, candidate, suite=None, anchor=None, out=None, store=None): compare two candidates and report "
        "the verdict as this test; paths are relative to rootdir.",
    )
    policy = config.getini(_INI)
    if policy not in _POLICIES:
        raise pytest.UsageError(f"{_INI} = {policy}: choose one of {', '.join(_POLICIES)}")
    config.stash[_asked] = {}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Compare before the test: what makes a comparison impossible is an error of the test, not its failure.

    Not `tryfirst`: marks that skip a test come first, and what is skipped asks no model.
    """
    mark = item.get_closest_marker(MARK)
    if mark is None:
        return
    nodes = [node for node, one in item.iter_markers_with_node(MARK)]
    if len(nodes) > len(set(nodes)):  # the nearest would count, and the others pass unheard
        pytest.fail(
            f"{item.name}: more than one @pytest.mark.{MARK}; write a test for each comparison", pytrace=False
        )
    verdict = _compared(item.config, _parameters(mark))
    if isinstance(verdict, str):
        pytest.fail(verdict, pytrace=False)
    item.stash[_found] = verdict
    item.user_properties.append((_PROPERTY, verdict.outcome))
    item.user_properties += [(_WARNING, text) for text in _warnings(verdict)]
    if verdict.outcome == "invalid":
        pytest.fail(_message(verdict), pytrace=False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """The verdict as the test's outcome. The body of a test runs where nothing speaks against the candidate."""
    verdict = item.stash.get(_found, None)
    if verdict is None or verdict.exit_code == 0:
        return
    text = _message(verdict)
    if verdict.outcome == "inconclusive" and item.config.getini(_INI) == "skip":
        pytest.skip(text)
    pytest.fail(text, pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What verdicts that pass warn of: of a test that passed pytest itself shows nothing."""
    told: dict[tuple[str, ...], list[str]] = {}
    for report in terminalreporter.getreports("passed"):
        texts = tuple(str(text) for name, text in report.user_properties if name == _WARNING)
        told.setdefault(texts, []).append(report.nodeid)
    told.pop((), None)
    if told:
        terminalreporter.section("evalharness warnings", sep="=", yellow=True)
    for texts, tests in told.items():
        for line in (", ".join(sorted(tests)), *(f"  {text}" for text in texts)):
            terminalreporter.line(line)


@pytest.fixture
def evalharness_verdict(request: pytest.FixtureRequest) -> Verdict:
    """The verdict of the comparison that this test is marked with."""
    verdict: Verdict | None = request.node.stash.get(_found, None)
    if verdict is None:
        pytest.fail(
            f'{request.node.name}: evalharness_verdict needs @pytest.mark.{MARK}(base="…", candidate="…")',
            pytrace=False,
        )
    return verdict


def _parameters(mark: pytest.Mark) -> dict[str, str | None]:
    """What the mark says, by name."""
    unknown = [name for name in mark.kwargs if name not in _PARAMETERS]
    missing = [name for name in ("base", "candidate") if name not in mark.kwargs]
    if mark.args or unknown or missing:
        told = [f"unknown {name}" for name in unknown] + [f"no {name}" for name in missing]
        told += ["parameters without a name"] if mark.args else []
        pytest.fail(
            f"@pytest.mark.{MARK}: {', '.join(told)}; it takes {', '.join(_PARAMETERS)} by name",
            pytrace=False,
        )
    return {name: None if (value := mark.kwargs.get(name)) is None else str(value) for name in _PARAMETERS}


def _compared(config: pytest.Config, asked: Mapping[str, str | None]) -> Verdict | str:
    """The verdict, or why there is none. A comparison that several tests ask for is made once."""
    made = config.stash[_asked]
    key = tuple(asked[name] for name in _PARAMETERS)
    if key not in made:
        made[key] = _compare(config, asked)
    return made[key]


def _compare(config: pytest.Config, asked: Mapping[str, str | None]) -> Verdict | str:
    from evalharness import api
    from evalharness.errors import EvalHarnessError

    root = config.rootpath
    use = api.Settings(
        cwd=root,
        store=root / (asked["store"] or config.getini(_STORE)),
        baselines=os.environ.get("EVALHARNESS_BASELINES") or None,
    )
    base, candidate = str(asked["base"]), str(asked["candidate"])
    how: dict[str, Any] = {"suite": asked["suite"], "anchor": asked["anchor"], "settings": use}
    try:
        if asked["out"] is None:
            return api.compare(base, candidate, **how)
        return api.compare_to(root / asked["out"], base, candidate, **how)[0]
    except EvalHarnessError as error:
        return api.plain(f"evalharness, exit {error.exit_code}: {error}")


def _warnings(verdict: Verdict) -> list[str]:
    from evalharness import api

    about = f"{verdict.comparison.candidate.name} against {verdict.comparison.baseline.name}"
    return [api.plain(f"{about}: {text}") for text in verdict.warnings]


def _message(verdict: Verdict) -> str:
    """Why, and which cases broke: what somebody reads in a log."""
    from evalharness import api
    from evalharness.report.movement import fallen

    compared = verdict.comparison
    lines = [
        f"{verdict.outcome}: {compared.candidate.name} against {compared.baseline.name} on {compared.suite_name} "
        f"(exit {verdict.exit_code})",
        *verdict.reasons,
        *compared.problems,
    ]
    lines += [f"critical case {failure.key} fails {failure.metric}" for failure in compared.critical]
    broken = [change.key for change in compared.changes if change.regressed]
    if broken:
        more = f" and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
        lines.append(f"{len(broken)} regressed cases: {', '.join(broken[:_SHOWN])}{more}")
    fell = fallen(verdict)
    if fell:
        more = f" and {len(fell) - _SHOWN} more" if len(fell) > _SHOWN else ""
        lines.append(f"{len(fell)} cases scored worse, largest falls first: {', '.join(fell[:_SHOWN])}{more}")
    return api.plain("\n".join(dict.fromkeys(lines)))
