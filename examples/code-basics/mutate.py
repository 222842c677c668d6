"""Breaks every fourth reference solution in one small place, and writes the result as a second set of answers.

python examples/code-basics/mutate.py

The change is the first of these that the code has: a comparison that is a little off (`<` for `<=`, …), an addition
that subtracts, a number that is one larger. It is made in the syntax tree, so the code still parses. Whether the tests
notice is for the comparison to say.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
EVERY = 4
_OFF = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}


def mutated(source: str) -> str:
    """The code with one change, or as it was where nothing of the kind is in it."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and type(node.ops[0]) in _OFF:
            node.ops[0] = _OFF[type(node.ops[0])]()
            return ast.unparse(tree) + "\n"
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Add):
            node.op = ast.Sub()
            return ast.unparse(tree) + "\n"
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and type(node.value) is int:
            node.value += 1
            return ast.unparse(tree) + "\n"
    return source


def main() -> None:
    """Write mutated.jsonl beside solutions.jsonl."""
    solutions = [json.loads(line) for line in (HERE / "solutions.jsonl").read_text("utf-8").splitlines()]
    rows = [
        {**row, "output": mutated(row["output"]) if place % EVERY == 0 else row["output"]}
        for place, row in enumerate(solutions)
    ]
    (HERE / "mutated.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
