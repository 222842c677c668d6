"""Output and tables in the documents are what the code prints. `python tests/docs/refresh.py` writes them again."""

from __future__ import annotations

import refresh
import rules
import simulate
import support

REFRESH = "run: python tests/docs/refresh.py"


def shown(key: tuple[str, str, str]) -> str:
    name, kind, region = key
    return support.region(support.read(name), kind, region)


def test_the_simulation_tables() -> None:
    for key in (("docs/gate.md", "table", "simulation"), ("README.md", "table", "simulation")):
        assert shown(key) == refresh.REGIONS[key](), REFRESH


def test_the_simulation_keeps_the_promises_of_the_gate() -> None:
    for cases in simulate.CASES:
        assert simulate.simulate(cases, 0.0).regression <= 0.055
        assert simulate.simulate(cases, -simulate.MARGIN).proven <= 0.055


def test_claims_about_the_simulation() -> None:
    """The figures that README, gate.md and the decisions repeat in words."""
    unchanged, dropped = simulate.simulate(200, 0.0), simulate.simulate(200, -0.02)
    assert f"{unchanged.naive:.0%}" == "21%"
    assert f"{1 - dropped.regression:.0%}" == "80%"
    assert f"{dropped.proven:.0%}" == "5%"


def test_the_table_of_rules() -> None:
    key = ("docs/gate.md", "table", "rules")
    assert shown(key) == refresh.REGIONS[key](), REFRESH


def test_claims_about_the_rules() -> None:
    """What gate.md says below the table, for every row of it."""
    for cell in rules.CELLS:
        _, unpaired, apart, peeking, whole, looked = rules.simulate(*cell)
        assert max(whole.stopped[0], looked.stopped[0]) <= 0.055
        assert max(unpaired.stopped[0], apart.stopped[0]) <= 0.055
        assert 0.12 < peeking.stopped[0] < 0.25
        assert looked.stopped[1] >= whole.stopped[1] - 0.05
        assert looked.stopped[1] > unpaired.stopped[1] > apart.stopped[1]
        assert looked.cases[2] < 0.46 * cell[0]
    assert any(rules.simulate(*cell)[0].stopped[0] > 0.08 for cell in rules.CELLS), (
        "the naive rule cries wolf"
    )


def test_the_output_of_the_plan() -> None:
    key = ("docs/planning.md", "output", "plan")
    assert shown(key) == refresh.REGIONS[key](), REFRESH


def test_the_output_of_the_demo() -> None:
    key = ("README.md", "output", "demo")
    assert shown(key) == refresh.REGIONS[key](), REFRESH


def test_the_example_of_comparison_json() -> None:
    key = ("docs/comparison-json.md", "output", "comparison")
    assert shown(key) == refresh.REGIONS[key](), REFRESH


def test_the_sample_report_is_of_this_example() -> None:
    sample = (support.ROOT / "reports" / "sample" / "comparison.json").read_text(encoding="utf-8")
    assert sample == refresh.compare_example("--json"), REFRESH
