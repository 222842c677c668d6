"""Code scorers: what is read as code and as tests, what passes, and what an answer cannot make pass."""

from __future__ import annotations

import functools
import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalharness.core.attempts import Response
from evalharness.core.cases import Case
from evalharness.core.protocols import BatchScorer, PoolingScorer, Scorer
from evalharness.core.scores import Scored, Unscored
from evalharness.sandbox import SandboxUnavailableError, find_sandbox
from evalharness.scorers import code
from evalharness.scorers._code_cases import Streams, TestCode, read_tests
from evalharness.scorers._code_extract import extract
from evalharness.scorers.code import Pass, SyntaxValid, TestsPassed, pass_at_k


@pytest.fixture
def sandbox() -> None:
    try:
        find_sandbox()
    except SandboxUnavailableError as error:
        pytest.skip(f"{error} (CI runs: apt-get install bubblewrap)")


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    code._kept.clear()
    yield
    code._kept.clear()


def run(scorer: Any, answer: str, *targets: Any, question: str = "") -> Scored:
    found = scorer.score(Case(id="c", input=question, targets=targets), Response(text=answer))
    assert isinstance(found, Scored), found
    return found


def outcome(scorer: Any, answer: str, *targets: Any) -> str:
    found = run(scorer, answer, *targets)
    assert (found.value == 1.0) == (found.detail["outcome"] == "passed")
    return str(found.detail["outcome"])


# What is code


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f(): pass", "def f(): pass"),
        ("    return 1\n", "    return 1\n"),
        ("Here:\n```python\nx = 1\n```\nand\n```python\ny = 2\n```", "x = 1\n"),
        ("```\nx = 1\n```", "x = 1\n"),
        ("```bash\nls\n```\n```py\nx = 1\n```", "x = 1\n"),
        ("```\nan output\n```\n```Python\nx = 1\n```", "x = 1\n"),
        ("```json\n{}\n```", "```json\n{}\n```"),
        ("```python\nx = 1", "x = 1"),
        ("~~~python\nx = '''\n```\n'''\n~~~", "x = '''\n```\n'''\n"),
        ("````python\n```\n````", "```\n"),
        ('```python title="a.py"\nx = 1\n```', "x = 1\n"),
        ("", ""),
    ],
)
def test_the_code_of_an_answer(text: str, expected: str) -> None:
    assert extract(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("```python\ndef f(x):\n    return x\n```", 1),
        ("x = 1", 1),
        ("print('hi')", 1),
        ("def f(:", 0),
        ("```python\nprint('hi'\n```", 0),
        ("", 0),
        ("Sorry", 0),
        ("'a quotation'", 0),
        ("Yes, it is.", 0),
        ("\x00", 0),
        ("\ud800", 0),
        ("(" * 100_000, 0),
        ("-" * 100_000 + "1", 0),
        ("a" + ".b" * 60_000, 0),
        ("x = 1\n" * 100_000, 0),
        ("x = '\\d'", 1),
        ("import os; os.abort()", 1),
    ],
    ids=range(17),
)
def test_syntax_valid_runs_nothing_and_survives_anything(value: Any, text: str, expected: int) -> None:
    assert value(SyntaxValid(), text) == expected


def test_syntax_valid_says_where(score: Any) -> None:
    assert score(SyntaxValid(), "x = 1\ny = = 2").detail == {"error": "SyntaxError: invalid syntax (line 2)"}


# What is a test


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ((), "no tests"),
        (("x = 1",), "runs nothing"),
        (("def test_a():\n    pass",), "checks nothing"),
        (("print(add(1, 2))",), "checks nothing"),
        (("def my_check():\n    assert False",), "runs nothing"),
        (("def check(candidate):\n    assert candidate(1)",), "entry_point"),
        (("if __name__ == '__main__':\n    assert False",), "runs nothing"),
        (("assert add(1, 2) ==",), "not Python: SyntaxError"),
        (("assert True", "def f(:"), "test 2 is not Python"),
        (("def test_a(tmp_path):\n    assert tmp_path",), "takes arguments"),
        (("async def test_a():\n    assert False",), "async"),
        ((3,), "either test code"),
        (("assert 1", {"stdin": "", "stdout": ""}), "either test code"),
        (({"test": "assert 1", "entrypoint": "f"},), "no key 'entrypoint'"),
        (({"test": []},), "list of such texts"),
        (({"test": "assert 1", "entry_point": "f()"},), "name of a function"),
        (({"test": "assert 1", "setup": "def"},), "setup is not Python"),
        (({"stdin": "1"},), "a test of a program is"),
        (({"stdin": "1", "stdout": 2},), "a test of a program is"),
    ],
)
def test_tests_that_cannot_run_or_cannot_fail_are_refused(targets: tuple[Any, ...], expected: str) -> None:
    case = Case(id="c", input="q", targets=targets)
    problem = Pass().problem(case)
    assert problem is not None and expected in problem
    (found,) = Pass().score_many([(case, Response(text="x = 1"))])
    assert isinstance(found, Unscored) and expected in found.reason


def test_the_forms_of_tests() -> None:
    def read(*targets: Any) -> Any:
        return read_tests(Case(id="c", targets=targets))

    assert read("assert a()", "assert b()").names == ("test 1", "test 2")
    found = read(
        "import unittest\ndef helper(): pass\ndef test_a(x=1):\n    assert x\n"
        "class T(unittest.TestCase):\n    def setUp(self): pass\n    def test_b(self): self.assertTrue(1)\n"
        "class Other:\n    def test_c(self): pass"
    )
    assert found.names == ("test 1: test_a", "test 1: T.test_b")
    found = read(
        {"test": "def check(candidate):\n    assert candidate(1)", "entry_point": "f", "setup": "x = 1"}
    )
    assert isinstance(found, TestCode) and found.names == ("test 1: check",) and found.setup == "x = 1"
    found = read({"stdin": "1", "stdout": "2"}, {"stdin": "", "stdout": ""})
    assert isinstance(found, Streams) and found.names == ("test 1", "test 2")


# pass@k


def test_pass_at_k_is_the_share_of_draws_that_hold_a_right_answer() -> None:
    """1 − C(n−c, k) / C(n, k), against every draw of k from n."""
    for n in range(1, 9):
        for c in range(n + 1):
            right = [True] * c + [False] * (n - c)
            for k in range(1, n + 1):
                draws = list(itertools.combinations(right, k))
                assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws), abs=1e-15)


def test_pass_at_k_equals_the_published_product_and_values() -> None:
    """The numerically stable form in the appendix of Chen et al. 2021."""
    for n, c, k in [(10, 3, 5), (200, 7, 100), (1000, 1, 10), (1000, 999, 1), (50, 0, 5), (50, 50, 50)]:
        published = 1.0 if n - c < k else 1.0 - float(np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))
        assert pass_at_k(n, c, k) == pytest.approx(published, abs=1e-12)
    assert pass_at_k(10, 3, 5) == pytest.approx(0.91666667, abs=1e-8)
    assert pass_at_k(10, 3, 1) == 0.3


def test_the_estimate_is_unbiased_where_the_naive_one_is_not() -> None:
    n, k, p = 6, 3, 0.3
    weights = [math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
    truth = 1 - (1 - p) ** k
    assert sum(w * pass_at_k(n, c, k) for c, w in enumerate(weights)) == pytest.approx(truth, abs=1e-12)
    naive = sum(w * (1 - (1 - c / n) ** k) for c, w in enumerate(weights))
    assert abs(naive - truth) > 0.01


@pytest.mark.parametrize(("n", "c", "k"), [(4, 2, 5), (0, 0, 1), (5, 6, 1), (5, -1, 1), (5, 1, 0)])
def test_pass_at_k_refuses_what_it_cannot_tell(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match="needs"):
        pass_at_k(n, c, k)


def test_repeats_are_pooled() -> None:
    assert Pass(k=5).pool([1, 1, 1, 0, 0, 0, 0, 0, 0, 0]) == pass_at_k(10, 3, 5)
    assert Pass().pool([1.0, 0.0, 0.0]) == 1 / 3
    assert Pass(k=5).least_repeats == 5
    with pytest.raises(ValueError, match="needs 5 answers or more"):
        Pass(k=5).pool([1.0, 1.0])


def test_the_protocols_are_kept() -> None:
    for scorer in (Pass(), Pass(k=3), TestsPassed(), SyntaxValid()):
        assert isinstance(scorer, Scorer)
        assert isinstance(scorer, BatchScorer) == (not isinstance(scorer, SyntaxValid))
        assert isinstance(scorer, PoolingScorer) == isinstance(scorer, Pass)
    assert Pass().metric.kind == "binary" and Pass(k=2).metric.kind == TestsPassed().metric.kind == "bounded"


@pytest.mark.parametrize(
    "params",
    [{"k": 0}, {"k": True}, {"k": 1.5}, {"timeout_s": 0}, {"timeout_s": "5"}, {"memory_mb": 1}, {"prefix": "x"},
     {"process": "none"}, {"docker": "--privileged"}, {"docker": 3}],
)  # fmt: skip
def test_bad_parameters_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Pass(**params)


# What passes. Both ways of running tests, where they must agree.

Together = Callable[..., list[Scored]]


class Targets(tuple[Any, ...]):
    """Targets by what they are, so that objects among them need no hash."""

    def __hash__(self) -> int:
        return hash(repr(tuple(self)))


@pytest.fixture(scope="module")
def together() -> Together:
    """together(scorer, (answer, targets), ...) → their scores, all of them run at once the first time."""
    try:
        find_sandbox()
    except SandboxUnavailableError as error:
        pytest.skip(f"{error} (CI runs: apt-get install bubblewrap)")

    @functools.cache
    def go(scorer: Any, *rows: Any) -> list[Scored]:
        items = [(Case(id=f"c{i}", targets=row[1]), Response(text=row[0])) for i, row in enumerate(rows)]
        found = scorer.score_many(items)
        assert all(isinstance(score, Scored) for score in found), found
        return list(found)

    return lambda scorer, *rows: go(scorer, *((answer, Targets(targets)) for answer, targets in rows))


BOTH = pytest.mark.parametrize("process", ["separate", "shared"])
ADD = "def add(a, b):\n    return a + b\n"
STACK = """
class Empty(LookupError): pass
class Stack:
    def __init__(self, items=()): self.items = list(items)
    def push(self, item): self.items.append(item); return self
    def pop(self):
        if not self.items: raise Empty('nothing here')
        return self.items.pop()
    def __len__(self): return len(self.items)
    def __eq__(self, other): return self.items == other.items
    def __iter__(self): return iter(self.items)
    def __getitem__(self, i): return self.items[i]
    def __str__(self): return f'<{self.items}>'
"""
RIGHT: dict[str, tuple[str, tuple[Any, ...]]] = {
    "asserts": (ADD, ("assert add(1, 2) == 3", "assert add('a', 'b') == 'ab'")),
    "names": (ADD + "LIMIT = 3\n_hidden = 4", ("assert LIMIT == 3 and _hidden == 4",)),
    "import": (ADD, ("from answer import add as plus\nimport answer\nassert plus(1, 2) == answer.add(1, 2) == 3",)),
    "humaneval": (ADD, ({"test": "def check(candidate):\n    assert candidate(1, 2) == 3", "entry_point": "add"},)),
    "setup": (ADD, ({"test": ["assert add(N, N) == 8"], "setup": "import math\nN = math.isqrt(16)"},)),
    "functions": (ADD, ("def test_a():\n    assert add(1, 1) == 2\n\ndef test_b():\n    assert add(0, 0) == 0",)),
    "unittest": (
        ADD,
        (
            "import unittest\nclass T(unittest.TestCase):\n    @classmethod\n    def setUpClass(cls): cls.two = 2\n"
            "    def test_a(self): self.assertEqual(add(1, 1), self.two)\n"
            "    def test_b(self):\n        with self.assertRaises(TypeError): add(1, None)",
        ),
    ),
    "mutation": (
        "def sort(x): x.sort()\ndef put(d, s): d['k'] = [1]; s.add(2)",
        ("x = [3, 1]\nd, s = {}, {1}\nsort(x)\nput(d, s)\nassert x == [1, 3] and d == {'k': [1]} and s == {1, 2}",),
    ),
    "callbacks": (
        "def each(f, xs): return [f(x) for x in xs]\ndef twice(f): return lambda x: f(f(x))",
        ("assert each(lambda x: x * 2, [3, 1]) == [6, 2]\nassert twice(lambda x: x + 1)(5) == 7",
         "seen = []\neach(seen.append, 'ab')\nassert seen == ['a', 'b']"),
    ),
    "generators": (
        "def up(n):\n    for i in range(n): yield i\ndef total(xs): return sum(xs)",
        ("assert list(up(3)) == [0, 1, 2]", "assert total(x for x in (1, 2)) == 3", "assert next(up(1)) == 0"),
    ),
    "objects": (
        STACK,
        ("s = Stack([1])\ns.push(2).push(3)\nassert len(s) == 3 and s.pop() == 3 and s[0] == 1 and list(s) == [1, 2]",
         "assert Stack([1]) == Stack([1]) and Stack([1]) != Stack([2]) and not Stack() and str(Stack([1])) == '<[1]>'",
         "s = Stack()\ns.items = [9]\nassert s.items == [9]"),
    ),
    "errors": (
        STACK + "def f(): raise ValueError('no', 3)\ndef g(): return {}['k']",
        ("try: f()\nexcept ValueError as error: assert error.args == ('no', 3)\nelse: assert 0",
         "try: g()\nexcept KeyError as error: assert str(error) == \"'k'\"\nelse: assert 0",
         "try: Stack().pop()\nexcept Empty as error: assert str(error) == 'nothing here'\nelse: assert 0"),
    ),
    "data": (
        "import datetime, decimal, fractions, collections\n"
        "def same(x): return x\n"
        "def made():\n"
        "    P = collections.namedtuple('P', 'x y')\n"
        "    made = [P(1, 2), collections.Counter('aa'), collections.OrderedDict(a=1)]\n"
        "    return [*made, collections.defaultdict(int, b=2)]",
        ("import datetime, decimal, fractions, collections\n"
         "xs = [None, True, 2**200, -1.5, float('inf'), 'ü\\x00', b'\\xff', bytearray(b'x'), (1, (2,)), {1, 2},\n"
         "      frozenset({3}), {(1, 2): [{}], 3: None}, 3 + 4j, range(2, 9, 3), decimal.Decimal('1.10'),\n"
         "      fractions.Fraction(1, 3), datetime.date(2020, 2, 29), datetime.datetime(2020, 1, 1, 2, 3),\n"
         "      collections.deque([1, 2]), [], [[]]]\n"
         "for x in xs:\n    y = same(x)\n    assert y == x and type(y) is type(x), (x, y)\n"
         "assert same(float('nan')) != same(float('nan'))\n"
         "assert made() == [(1, 2), {'a': 2}, {'a': 1}, {'b': 2}]",),
    ),
    "keywords": ("def f(a, *, op=1, id=2, args=3): return (a, op, id, args)",
                 ("assert f(1, op='x', id=None, args=[4]) == (1, 'x', None, [4])",)),
    "a builtin's name": ("def sum(xs): return 'mine'",
                         ({"test": "assert sum([1]) == 'mine'", "entry_point": "sum"},)),
    "modules": ("import math\nimport os.path as p", ("assert math.sqrt(4) == 2.0 and p.join('a', 'b') == 'a/b'",)),
    "printing": ("print('loading')\ndef f(): print('x' * 10_000); return input", ("assert f() is not None",)),
}  # fmt: skip


@BOTH
@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_pass(together: Together, name: str, process: str) -> None:
    found = together(Pass(process=process), *RIGHT.values())[list(RIGHT).index(name)]
    assert found.value == 1.0, found.detail


HOG = "def f():\n    return bytearray(10**11)"
WRONG: list[tuple[str, str, tuple[Any, ...]]] = [
    ("failed", "def add(a, b): return a - b", ("assert add(1, 2) == 3",)),
    ("error", "def add(a, b): return a / 0", ("assert add(1, 2) == 3",)),
    ("error", "def other(): pass", ("assert add(1, 2) == 3",)),
    ("error", "def add(a, b: return", ("assert add(1, 2) == 3",)),
    ("error", "import numpy_is_not_here", ("assert add(1, 2) == 3",)),
    ("error", "raise ValueError('at once')", ("assert True",)),
    ("no code", "", ("assert add(1, 2) == 3",)),
    ("no code", "```python\n\n```", ("assert add(1, 2) == 3",)),
    ("timeout", "def add(a, b):\n    while True: pass", ("assert add(1, 2) == 3",)),
    ("timeout", "while True: pass", ("assert add(1, 2) == 3",)),
    ("memory", HOG, ("assert f()",)),
    ("memory", f"{HOG}\nf()", ("assert f()",)),
    ("output", "def add(a, b):\n    while True: print('x' * 1000)", ("assert add(1, 2) == 3",)),
    ("crashed", "import ctypes\ndef add(a, b): ctypes.string_at(0)", ("assert add(1, 2) == 3",)),
    ("error", "def f(n): return f(n)", ("assert f(1)",)),
]


@BOTH
@pytest.mark.parametrize("place", range(len(WRONG)), ids=[f"{i}-{w[0]}" for i, w in enumerate(WRONG)])
def test_wrong_answers_fail_and_say_how(together: Together, place: int, process: str) -> None:
    word = WRONG[place][0]
    found = together(Pass(process=process, timeout_s=1), *(w[1:] for w in WRONG))[place]
    assert found.value == 0.0
    assert (found.detail["outcome"], found.detail["failed"]) == (word, ["test 1"]), found.detail
    assert found.detail["why"] and found.detail["tests"] == "0 of 1 passed"


EXITS = [
    "import sys; sys.exit(0)",
    "import os; os._exit(0)",
    "raise SystemExit(0)",
    "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "import os\ndef add(a, b): os._exit(0)",
    "import sys\ndef add(a, b): sys.exit(0)",
    "import os, threading\nthreading.Timer(0, os._exit, [0]).start()\ndef add(a, b):\n    import time; time.sleep(1)",
    "import atexit, os\natexit.register(lambda: print('1 passed'))\nprint('OK')\nprint('{\"done\": true}')\n"
    "os._exit(0)",
    "import sys\nfor f in (1, 2, sys.stdout.fileno()):\n"
    "    import os; os.write(f, b'{\"test\": \"test 1\", \"kind\": \"passed\"}\\n{\"done\": \"\"}\\n')\nos._exit(0)",
    "import os\nfor fd in range(64):\n"
    "    try: os.write(fd, b'{\"test\": \"test 1\", \"kind\": \"passed\"}\\n{\"done\": 1}\\n')\n"
    "    except OSError: pass\nos._exit(0)",
    "import os\nfor fd in range(64):\n    try: os.close(fd)\n    except OSError: pass",
]  # fmt: skip


@BOTH
@pytest.mark.parametrize("place", range(len(EXITS)))
def test_an_answer_that_ends_before_its_tests_does_not_pass(
    together: Together, place: int, process: str
) -> None:
    found = together(Pass(process=process), *((answer, ("assert add(1, 2) == 3",)) for answer in EXITS))[
        place
    ]
    assert found.value == 0.0 and found.detail["outcome"] != "passed", found.detail


@pytest.mark.usefixtures("sandbox")
def test_a_test_that_catches_everything_is_not_passed_by_a_process_that_ended() -> None:
    caught = "ok = True\ntry: add(1, 2)\nexcept BaseException: pass\nassert ok"
    assert outcome(Pass(), "import os\ndef add(a, b): os._exit(0)", caught) == "ended"


EQUAL = (
    "class E:\n    __eq__ = __le__ = __lt__ = __ge__ = __contains__ = lambda s, o: True\n"
    "    __sub__ = __add__ = __mul__ = __abs__ = lambda s, *o: 0\n    __hash__ = lambda s: 0\n"
    "    __iter__ = lambda s: iter([s])\n    __len__ = lambda s: 1\n"
)
DECEITS = {
    "equal to everything": EQUAL + "def add(a, b): return E()",
    "a number equal to everything": "class E(int):\n    __eq__ = lambda s, o: True\ndef add(a, b): return E()",
    "in a list": EQUAL + "def add(a, b): return [E()]",
    "builtins": "import builtins\nbuiltins.abs = abs = lambda x: 0\nbuiltins.all = all = any = lambda x: True\n"
    "def add(a, b): return 9",
    "unittest": "import unittest\nunittest.TestCase.assertEqual = lambda *a: None\ndef add(a, b): return 9",
    "modules": "import math, sys\nmath.isclose = lambda *a, **k: True\nsys.modules['math'] = math\n"
    "def add(a, b): return 9",
    "trace": "import sys\nsys.settrace(lambda *a: None)\ndef add(a, b): return 9",
    "frames": "import sys\ndef add(a, b):\n    f = sys._getframe()\n    while f:\n"
    "        for v in list(f.f_locals.values()):\n"
    "            if isinstance(v, dict) and 'token' in v: return v['token']\n"
    "        f = f.f_back\n    return 9",
    "collector": "import gc\ndef add(a, b):\n"
    "    return [o for o in gc.get_objects() if isinstance(o, dict) and 'blocks' in o]",
    "files": "import glob\ndef add(a, b):\n"
    "    return [open(p).read() for p in glob.glob('/scratch/*') + glob.glob('/proc/*/cmdline')]",
    "garbage": "import os\nfor fd in range(16):\n    try: os.write(fd, b'garbage\\n')\n    except OSError: pass\n"
    "def add(a, b): return 9",
    "replies": 'import os\nfor fd in range(3, 16):\n    try: os.write(fd, b\'{"names": []}\\n{"gave": 3}\\n\')\n'
    "    except OSError: pass\ndef add(a, b): return 9",
    "requests": "import os\ndef add(a, b):\n    for fd in range(3, 16):\n"
    '        try: os.write(fd, b\'{"op": "get", "id": 0, "args": ["__globals__"]}\\n\')\n'
    "        except OSError: pass\n    return 9",
}
STRICT = (
    "import math, unittest\nassert add(1, 2) == 3",
    "assert abs(add(1, 2) - 3) < 1e-6",
    "assert all([add(1, 2) == 3])",
    "assert add(1, 2) == [3]",
    "assert math.isclose(add(1, 2), 3)",
    "assert 3 in add(1, 2)",
    "assert add(1, 2) <= 3 <= add(1, 2)",
    "unittest.TestCase().assertEqual(add(1, 2), 3)",
)


@pytest.mark.parametrize("name", DECEITS)
def test_an_answer_in_another_process_cannot_deceive_its_tests(together: Together, name: str) -> None:
    found = together(TestsPassed(), *((answer, STRICT) for answer in DECEITS.values()))
    assert found[list(DECEITS).index(name)].value == 0.0, found


def test_in_one_process_it_can_as_the_documents_say(together: Together) -> None:
    found = together(TestsPassed(process="shared"), *((answer, STRICT) for answer in DECEITS.values()))
    deceived = {name for name, score in zip(DECEITS, found, strict=True) if score.value > 0}
    assert {"equal to everything", "a number equal to everything", "builtins", "unittest"} <= deceived


@pytest.mark.usefixtures("sandbox")
def test_what_tests_hand_out_leads_nowhere() -> None:
    """A function of the tests can be called by the answer; its globals, where expected values lie, cannot be had."""
    tests = (
        "SECRET = 42\ndef helper(x): return x\ndef steps():\n    yield SECRET\n"
        "assert find(helper, steps()) == SECRET"
    )
    for reach in (
        "f.__globals__['SECRET']",
        "f.__code__",
        "g.gi_frame.f_globals['SECRET']",
        "f.func_globals",
        "f.__self__",
        "object.__getattribute__(f, '_remote_peer').ask(op='get', id=0, args=('__globals__',))",
        "object.__getattribute__(f, '_remote_peer').ask(op='str', id=0)",
    ):
        assert outcome(Pass(), f"def find(f, g): return {reach}", tests) == "error", reach
    assert outcome(Pass(), "def find(f, g): return f(next(g))", tests) == "passed"


@pytest.mark.usefixtures("sandbox")
def test_a_test_that_cannot_cross_says_what_to_do() -> None:
    test = "class Node:\n    value = 3\nassert value(Node()) == 3"
    found = run(Pass(), "def value(n): return n.value", test)
    assert found.value == 0.0 and "process: shared" in found.detail["why"]
    assert run(Pass(process="shared"), "def value(n): return n.value", test).value == 1.0


# Programs


@pytest.mark.usefixtures("sandbox")
def test_programs_are_judged_by_what_they_write() -> None:
    pairs = [{"stdin": "3\n", "stdout": "6\n"}, {"stdin": "4\n", "stdout": "8"}]
    double = "```python\nprint(int(input()) * 2)\n```"
    assert run(Pass(), double, *pairs).value == 1.0
    assert (
        run(Pass(), "if __name__ == '__main__':\n    print(int(input()) * 2, ' ')\n    print()", *pairs).value
        == 1.0
    )
    found = run(TestsPassed(), "print(int(input()) + 3)", *pairs)
    assert found.value == 0.5
    assert found.detail["failed"] == ["test 2"] and found.detail["why"] == "test 2: wrote '7\\n', not '8'"
    assert outcome(Pass(), "print(6); raise SystemExit(1)", *pairs) == "error"
    assert outcome(Pass(), "print(int(input()) / 0)", *pairs) == "error"
    assert outcome(Pass(), "import os; os._exit(0)", *pairs) == "failed"
    assert outcome(Pass(), "x = bytearray(10**11)", *pairs) == "memory"
    began = time.monotonic()
    found = run(TestsPassed(timeout_s=1), "while True: pass", *(pairs * 20))
    assert found.value == 0.0 and found.detail["outcome"] == "timeout"
    assert time.monotonic() - began < 20  # the others would run out of time, too, and are not run


@pytest.mark.usefixtures("sandbox")
def test_a_completion_continues_its_prompt() -> None:
    prompt = 'def add(a, b):\n    """The sum."""\n'
    target = {"test": "def check(candidate):\n    assert candidate(1, 2) == 3", "entry_point": "add"}
    scorer = Pass(prefix="input")
    assert run(scorer, "    return a + b\n", target, question=prompt).value == 1.0
    assert run(scorer, f"```python\n{prompt}    return a + b\n```", target, question=prompt).value == 1.0
    assert run(scorer, "    return a - b\n", target, question=prompt).value == 0.0
    assert run(scorer, "", target, question=prompt).detail["outcome"] == "no code"
    assert run(Pass(), "    return a + b\n", target, question=prompt).value == 0.0


# Many at once


@pytest.mark.usefixtures("sandbox")
def test_scores_stand_in_order_and_the_same_code_is_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []
    lock = threading.Lock()
    real = code.run_job

    def counted(backend: Any, job: Any, stop: Any) -> Any:
        with lock:
            runs.append(job.code)
        return real(backend, job, stop)

    monkeypatch.setattr(code, "run_job", counted)
    case = Case(id="c", input="q", targets=("assert f() == 1", "assert f() < 3"))
    broken = Case(id="d", input="q", targets=("x",))
    answers = [f"def f(): return {i % 4}" for i in range(12)]
    items = [(case, Response(text=answer)) for answer in answers] + [(broken, Response(text="x"))]
    found = Pass().score_many(items)
    assert [s.value for s in found[:-1] if isinstance(s, Scored)] == [0.0, 1.0, 0.0, 0.0] * 3
    assert isinstance(found[-1], Unscored)
    assert len(runs) == 4
    shares = TestsPassed().score_many(items[:4])
    assert [s.value for s in shares if isinstance(s, Scored)] == [0.5, 1.0, 0.5, 0.0]
    assert Pass(k=5).score_many(items[:4]) == list(found[:4])
    assert len(runs) == 4


@pytest.mark.usefixtures("sandbox")
def test_the_same_answer_has_the_same_score_twice() -> None:
    answer = "import time, os\ndef f(): return {'b', 'a', 'c'}, hash('x')\nprint(f(), time.tzname)\nassert 0"
    first = run(Pass(), answer, "assert f()")
    code._kept.clear()
    assert run(Pass(), answer, "assert f()") == first


@pytest.mark.usefixtures("sandbox")
def test_details_are_short_and_fit_to_be_shown() -> None:
    answer = (
        "import sys\nsys.stderr.write('\\x1b[31mred\\x07\\n' * 1000)\n"
        "def f(): raise ValueError('\\x1b[2J' + 'x' * 10**6)"
    )
    detail = run(Pass(), answer, *(f"assert f() == {i}" for i in range(100))).detail
    assert (
        "\x1b" not in str(dict(detail))
        and "\\x1b" not in str(dict(detail))
        and "\x07" not in str(dict(detail))
    )
    assert len(str(dict(detail))) < 3000 and "red" in detail["stderr"]
    assert len(detail["failed"]) == 20 and detail["tests"] == "0 of 100 passed"


# Without a sandbox


def test_without_a_sandbox_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    item = (Case(id="c", targets=("assert True",)), Response(text=f"open({str(tmp_path / 'ran')!r}, 'w')"))
    for scorer in (Pass(), TestsPassed(), Pass(process="shared"), Pass(docker="python:3.12-slim")):
        for ask in (scorer.ready, lambda scorer=scorer: scorer.score_many([item])):
            with pytest.raises(SandboxUnavailableError, match="there is none"):
                ask()
    assert not (tmp_path / "ran").exists()


@pytest.mark.usefixtures("sandbox")
def test_a_sandbox_that_fails_to_start_says_nothing_of_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = next(p for p in map(Path, ("/usr/bin/bwrap", "/bin/bwrap", "/usr/local/bin/bwrap")) if p.exists())
    broken = tmp_path / "broken"
    script = tmp_path / "bwrap"
    script.write_text(
        f"#!/bin/sh\n[ -e {broken} ] && {{ echo 'no space left' >&2; exit 1; }}\nexec {real} \"$@\"\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    item = (Case(id="c", targets=("assert f() == 1",)), Response(text="def f(): return 1"))
    Pass().ready()
    broken.touch()
    (found,) = Pass().score_many([item])
    assert isinstance(found, Unscored) and "no space left" in found.reason
    broken.unlink()
    (found,) = Pass().score_many([item])
    assert isinstance(found, Scored) and found.value == 1.0  # a failure is not remembered
