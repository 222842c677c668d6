"""The report of 10,000 changed cases in a real browser (Debian's chromium): its size, and how long a reader waits.

python benchmarks/report_page.py
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from measure import EVALHARNESS, report

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "report"))
from browser import Browser

CASES = 10_000
TIMED = """
new Promise((done) => {{
  const [f, count] = [document.getElementById('f-{field}'), document.getElementById('f-count')];
  const started = performance.now();
  new MutationObserver((_, seen) => {{
    seen.disconnect();
    requestAnimationFrame(() => setTimeout(() => done(performance.now() - started)));
  }}).observe(count, {{ childList: true, characterData: true, subtree: true }});
  f.value = {value};
  f.dispatchEvent(new Event('input', {{ bubbles: true }}));
}})
"""
"""From a key in a filter to the list as it is painted; the page waits 80 ms for the next key before it begins."""
JUMPS = """
(async () => {
  let longest = 0;
  for (let i = 1; i <= 20; i++) {
    const started = performance.now();
    scrollTo(0, (i * 7 % 20) / 20 * document.body.scrollHeight);
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))));
    longest = Math.max(longest, performance.now() - started);
  }
  return longest;
})()
"""
"""The longest of twenty jumps through the list, until what is there is drawn."""


def write_inputs(folder: Path) -> None:
    """10,000 requests of 200 characters with answers of 300: half of them were right, and now the other half is."""
    rng = np.random.default_rng(1)
    words = [
        "refund",
        "order",
        "invoice",
        "parcel",
        "shelf",
        "lamp",
        "kettle",
        "address",
        "voucher",
        "repair",
    ]
    golden = folder / "desk"
    golden.mkdir()
    (golden / "card.yaml").write_text("name: desk\nversion: 1.0.0\ntask: answers\n", encoding="utf-8")
    rows: dict[str, list[str]] = {"cases": [], "base": [], "candidate": []}
    for i in range(CASES):
        said = " ".join(words[k] for k in rng.integers(0, len(words), 48))
        answers = f"Case {i}: {said}", f"Case {i}: {said[:150]} something else {said[180:]}"
        before, after = answers if i % 2 else answers[::-1]
        tags = {"channel": ("chat", "email", "phone")[i % 3], "topic": words[i % 10]}
        case = {
            "id": f"desk-{i:05}",
            "input": f"Number {i}, {said[:190]}?",
            "target": answers[0],
            "tags": tags,
        }
        rows["cases"].append(json.dumps(case))
        rows["base"].append(json.dumps({"id": case["id"], "output": before}))
        rows["candidate"].append(json.dumps({"id": case["id"], "output": after}))
    (golden / "cases.jsonl").write_text("\n".join(rows["cases"]) + "\n", encoding="utf-8")
    for name in ("base", "candidate"):
        (folder / f"{name}.jsonl").write_text("\n".join(rows[name]) + "\n", encoding="utf-8")
        (folder / f"{name}.yaml").write_text(
            f"name: {name}\nsuite: ./suite.yaml\nprovider: replay\noutputs: ./{name}.jsonl\n",
            encoding="utf-8",
        )
    (folder / "suite.yaml").write_text(
        "name: desk\nevals:\n  - {id: desk, golden_set: ./desk, scorers: [exact_match]}\n", encoding="utf-8"
    )


def main() -> int:
    """Print the figures; 1 when one is over its limit."""
    if shutil.which("chromium") is None:
        print("skipped: chromium is not installed")
        return 0
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as profile:
        folder = Path(name)
        write_inputs(folder)
        compare = [*EVALHARNESS, "compare", "base.yaml", "candidate.yaml", "--out", "out", "--quiet"]
        subprocess.run(compare, cwd=folder, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        page = folder / "out" / "report.html"
        with Browser(Path(profile)) as browser:
            browser.open(page)
            held = browser.js("JSON.parse(document.getElementById('case-data').textContent).cases.length")
            if held != CASES:
                raise SystemExit(f"the page holds {held} cases, not {CASES}")
            ready = browser.js("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")

            def wait(field: str, value: str) -> float:
                waited: float = browser.js(TIMED.format(field=field, value=json.dumps(value)))
                return waited

            first, again = wait("text", "something else"), wait("text", "voucher lamp")
            cleared = wait("text", "")
            grouped, jump = wait("group", ""), browser.js(JUMPS)
            nodes = browser.js("document.querySelectorAll('*').length")
        good = report("10,000 changed cases: report.html", page.stat().st_size / 1e6, 20, "MB")
    good &= report("opened: until the page answers", ready / 1000, 3, "s")
    good &= report("first search, every answer read", first / 1000, 1, "s")
    good &= report("next search", again / 1000, 0.5, "s")
    good &= report("search cleared: half of the cases listed again", cleared / 1000, 0.5, "s")
    good &= report("all 10,000 listed", grouped / 1000, 0.5, "s")
    good &= report("the longest of twenty jumps through the list", jump / 1000, 0.3, "s")
    good &= report("elements on the page", nodes, 6000, "")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
