"""The house of the design: who may import whom, and what start-up may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "evalharness"
FLOORS = {
    "errors": -1,  # the ground: errors imports nothing, everything may raise
    "_lazy": 0, "_canon": 0, "_waiting": 0,
    "core": 1, "content": 1,  # content knows files and errors only; embedding and what is above read it
    "stats": 2, "redaction": 2, "store": 2, "plugins": 2, "templates": 2, "sandbox": 2, "embedding": 2,
    "spec": 3, "scorers": 3, "judging": 3, "providers": 3, "benchmarks": 3, "readers": 3, "stages": 3, "sampling": 3,
    "contamination": 3, "baselines": 3,
    "engine": 4, "analysis": 4,
    "gate": 5, "report": 5, "github": 5, "exports": 5, "history": 5,
    "api": 6, "testing": 6,
    "inspect_side": 7, "pytest_plugin": 7,  # entry points, as the command line is one
    "cli": 7,
}  # fmt: skip
ALLOWED_ROOT = {"__init__": 6, "__main__": 7}
CLI_SEES = {"api", "errors", "cli"}


def modules() -> list[Path]:
    return sorted(
        p for p in PACKAGE.rglob("*.py") if "scaffold" not in p.parts[:-1] or p.parent.name == "spec"
    )


def room(path: Path) -> str:
    part = path.relative_to(PACKAGE).parts[0]
    return part.removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, room) of every import of the package's own modules, those inside functions and TYPE_CHECKING included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            if node.module == "evalharness":
                for alias in node.names:
                    yield node.lineno, alias.name
            elif node.module and node.module.startswith("evalharness."):
                yield node.lineno, node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("evalharness."):
                    yield node.lineno, alias.name.split(".")[1]


def test_every_room_has_a_floor() -> None:
    unknown = {room(p) for p in modules()} - set(FLOORS) - set(ALLOWED_ROOT)
    assert not unknown


def test_imports_go_down_only() -> None:
    wrong = []
    for path in modules():
        here = room(path)
        floor = FLOORS.get(here, ALLOWED_ROOT.get(here))
        assert floor is not None
        for line, there in imports(path):
            if there == here:
                continue
            if here in ALLOWED_ROOT:
                continue
            if FLOORS[there] >= floor:
                wrong.append(
                    f"{path.relative_to(PACKAGE)}:{line} ({here}, F{floor}) imports {there} (F{FLOORS[there]})"
                )
    assert not wrong, "\n".join(wrong)


def test_cli_sees_only_the_api_and_the_errors() -> None:
    wrong = [
        f"{p.relative_to(PACKAGE)}:{line} imports {there}"
        for p in modules()
        if room(p) == "cli"
        for line, there in imports(p)
        if there not in CLI_SEES
    ]
    assert not wrong, "\n".join(wrong)


def test_stats_never_sees_a_run_and_gate_and_report_never_a_provider() -> None:
    wrong = []
    for path in modules():
        text = path.read_text(encoding="utf-8")
        if room(path) == "stats" and ("core.runs" in text or "core.attempts" in text):
            wrong.append(f"{path}: statistics work on arrays")
        if room(path) in ("gate", "report") and "evalharness.providers" in text:
            wrong.append(f"{path}: the verdict does not know providers")
    assert not wrong


def test_no_import_cycles_between_modules() -> None:
    graph: dict[str, set[str]] = {}
    names = {
        ".".join(("evalharness", *p.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        for p in modules()
    }
    for path in modules():
        name = ".".join(("evalharness", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
            ".__init__"
        )
        edges = graph.setdefault(name, set())
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.module in names:
                edges.add(node.module or "")
                edges.update(
                    f"{node.module}.{a.name}" for a in node.names if f"{node.module}.{a.name}" in names
                )
    state: dict[str, int] = {}

    def visit(name: str, trail: list[str]) -> None:
        if state.get(name) == 2:
            return
        assert state.get(name) != 1, " → ".join([*trail, name])
        state[name] = 1
        for other in sorted(graph.get(name, ())):
            if other != name:
                visit(other, [*trail, name])
        state[name] = 2

    for name in sorted(graph):
        visit(name, [])


HEAVY = (
    "numpy",
    "scipy",
    "pydantic",
    "openai",
    "anthropic",
    "torch",
    "transformers",
    "jinja2",
    "rich",
    "yaml",
    "aiohttp",
)


def loaded(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('\\n'.join(sys.modules))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("code", "most"),
    [
        ("import evalharness", 100),
        (
            "import contextlib, io\nfrom evalharness.cli.main import run\n"
            "with contextlib.redirect_stdout(io.StringIO()): assert run(['--help']) == 0",
            200,
        ),
    ],
    ids=["import", "help"],
)
def test_start_up_loads_nothing_heavy(code: str, most: int) -> None:
    modules_loaded = loaded(code)
    assert not [name for name in HEAVY if name in modules_loaded]
    assert len(modules_loaded) <= most


@pytest.mark.parametrize(
    ("verb", "unused"),
    [
        ("validate base.yaml candidate.yaml", ("numpy", "scipy", "rich", "openai", "anthropic", "torch")),
        (
            "compare base.yaml candidate.yaml",
            ("scipy.stats", "openai", "anthropic", "aiohttp", "torch", "pandas"),
        ),
    ],
)
def test_a_verb_on_recordings_loads_only_what_it_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, unused: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    modules_loaded = loaded(
        "import contextlib, io\nfrom evalharness.cli.main import run\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        f"    assert run(['init', '.']) == 0 and run({verb.split()!r}) in (0, 1)"
    )
    assert "evalharness.api" in modules_loaded
    assert not [name for name in unused if name in modules_loaded]


def test_statistics_need_numpy_and_scipy_special_only() -> None:
    modules_loaded = loaded(
        "import evalharness.stats.paired, evalharness.stats.power, evalharness.stats.multiplicity"
    )
    assert not [
        n
        for n in ("scipy.stats", "scipy.optimize", "pandas", "statsmodels", "sklearn")
        if n in modules_loaded
    ]
