"""The page in a real browser: it loads nothing, runs nothing foreign, logs nothing, and its filters work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import build
import pytest
from browser import CHROMIUM, Browser
from test_html import sample

from evalharness.core.verdicts import Verdict
from evalharness.report.html import render_html

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]

SHOWN = "Array.from(document.querySelectorAll('article.case')).filter(c => c.checkVisibility()).length"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def page(browser: Browser, folder: Path, verdict: Verdict, **how: object) -> Path:
    path = folder / "report.html"
    path.write_text(render_html(verdict), encoding="utf-8")
    browser.logged.clear()
    browser.requested.clear()
    browser.open(path, **how)  # type: ignore[arg-type]
    return path


def quiet(browser: Browser, path: Path) -> None:
    assert browser.logged == []
    assert [url for url in browser.requested if not url.startswith("data:")] == [path.resolve().as_uri()]


def test_it_opens_without_a_word_in_the_console_and_without_a_request(
    browser: Browser, tmp_path: Path
) -> None:
    path = page(browser, tmp_path, sample())
    assert browser.js("document.querySelector('h1').textContent.trim()") == "Regression"
    assert browser.js("getComputedStyle(document.querySelector('h1')).color") == "rgb(179, 36, 26)"
    quiet(browser, path)


def test_hostile_strings_do_nothing(browser: Browser, tmp_path: Path) -> None:
    path = page(browser, tmp_path, build.nasty_verdict())
    browser.js("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    browser.js("new Promise(done => setTimeout(done, 200))")
    assert browser.js("window.pwned === undefined && document.images.length === 0 && frames.length === 0")
    assert browser.js("document.scripts.length") == 1
    quiet(browser, path)


def test_the_policy_stops_what_the_template_would_let_through(browser: Browser, tmp_path: Path) -> None:
    # The second lock: the page with an unescaped script in it, as a broken template would write it.
    path = tmp_path / "broken.html"
    broken = render_html(sample()).replace(
        "</main>", "<script>window.pwned=1</script><img src=x onerror=pwned=1></main>"
    )
    path.write_text(broken, encoding="utf-8")
    browser.logged.clear()
    browser.open(path)
    assert browser.js("window.pwned === undefined")
    assert any("Content Security Policy" in line for line in browser.logged)


def test_filters_narrow_the_cases_and_clear(browser: Browser, tmp_path: Path) -> None:
    page(browser, tmp_path, sample())
    assert browser.js(SHOWN) == 2  # fixed and other changes are folded
    change = "document.getElementById('filters').dispatchEvent(new Event('input'))"
    wait = "new Promise(done => setTimeout(done, 150))"
    browser.js(f"document.getElementById('f-text').value = 'SECOND charge'; {change}; {wait}")
    assert browser.js(SHOWN) == 1
    assert browser.js("document.getElementById('f-count').textContent") == "1 of 4 cases on this page"
    browser.js(
        "document.getElementById('f-text').value = '';"
        f"document.getElementById('f-metric').selectedIndex = 1; {change}; {wait}"
    )
    assert browser.js(SHOWN) == 1  # the folded group opens for its one match
    browser.js(f"document.querySelector('#filters button').click(); {wait}")
    assert browser.js(SHOWN) == 2


def test_the_mark_of_an_early_stop_leads_to_its_words_and_has_some_of_its_own(
    browser: Browser, tmp_path: Path
) -> None:
    path = page(browser, tmp_path, build.full_strength())
    mark = "document.querySelector('.forest a.early')"
    assert browser.js(f"{mark}.textContent") == "† at an early stop"
    assert "leaning" in browser.js(f"document.querySelector({mark}.getAttribute('href')).textContent")
    quiet(browser, path)


def test_a_link_to_a_folded_case_opens_it(browser: Browser, tmp_path: Path) -> None:
    page(browser, tmp_path, sample())
    anchor = browser.js("document.querySelector('#fixed article.case').id")
    assert not browser.js(f"document.getElementById('{anchor}').checkVisibility()")
    browser.js(f"location.hash = '{anchor}'; new Promise(done => setTimeout(done, 100))")
    assert browser.js(f"document.getElementById('{anchor}').checkVisibility()")


def test_without_script_it_is_a_plain_list(browser: Browser, tmp_path: Path) -> None:
    page(browser, tmp_path, sample(), script=False)
    # The protocol's own evaluation works where the page's scripts do not.
    assert browser.js("document.getElementById('filters').hidden")
    assert browser.js("document.querySelectorAll('article.case').length") == 4


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
@pytest.mark.parametrize("name", ["sample", "strong", "nasty"])
def test_nothing_hangs_over_the_edge_of_a_phone(
    browser: Browser, tmp_path: Path, width: int, name: str
) -> None:
    made = {"sample": sample, "strong": build.full_strength, "nasty": build.nasty_verdict}[name]
    page(browser, tmp_path, made(), width=width)
    assert browser.js("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["sample", "strong"])
def test_text_stands_out_from_its_ground(browser: Browser, tmp_path: Path, dark: bool, name: str) -> None:
    page(browser, tmp_path, sample() if name == "sample" else build.full_strength(), dark=dark)
    browser.js("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    weak = browser.js(CONTRAST)
    assert weak == []


# WCAG 2.2 §1.4.3: at least 4.5 to 1 for every element that holds text of its own (large text would need less).
CONTRAST = """
(() => {
  const parse = (c) => {
    const n = c.match(/[\\d.]+/g).map(Number);
    return c.startsWith('color(') ? [n[0] * 255, n[1] * 255, n[2] * 255, n[3] ?? 1] : [n[0], n[1], n[2], n[3] ?? 1];
  };
  const luminance = ([r, g, b]) => {
    const f = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
    return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b);
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c[3] > 0) return c;
    }
    return [255, 255, 255, 1];
  };
  const weak = new Set();
  for (const e of document.querySelectorAll('body *:not(script):not(svg):not(svg *)')) {
    const own = Array.from(e.childNodes).some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility()) continue;
    const [a, b] = [luminance(parse(getComputedStyle(e).color)), luminance(ground(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) weak.add(`${e.tagName}.${e.className} ${ratio.toFixed(2)}`);
  }
  return Array.from(weak);
})()
"""
