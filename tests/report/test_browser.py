"""The page in a real browser: it loads nothing, runs nothing foreign, logs nothing, and its filters work."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import build
import pages
import pytest
import referees
from browser import CHROMIUM, Browser
from test_html import sample

from evalharness.core.judges import JudgedEval
from evalharness.core.verdicts import Verdict
from evalharness.report.cases import anchor
from evalharness.report.history_html import history_html
from evalharness.report.html import render_html
from evalharness.report.rank_html import rank_html

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]

_NPM = Path(__file__).parents[2] / "requirements" / "npm" / "node_modules"
AXE = Path(os.environ.get("EVALHARNESS_AXE") or _NPM / "axe-core" / "axe.min.js")
"""The npm package axe-core, which no test loads from anywhere."""
SHOWN = "Array.from(document.querySelectorAll('article.case')).filter(c => c.checkVisibility()).length"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def judged() -> tuple[JudgedEval, ...]:
    said = [referees.judgment("route-1"), referees.judgment("route-1", None, repeat=1, problem="no JSON")]
    return (referees.judged(said), referees.trusted())


def judged_verdict() -> Verdict:
    return build.verdict(judges=judged(), changes=(build.change("route-1"),))


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
    assert browser.js("Array.from(document.scripts, s => s.type)") == ["application/json", ""]
    choose(browser, "group", "")
    assert browser.js("document.querySelectorAll('article.case').length") == len(build.NASTY)
    assert browser.js("window.pwned === undefined && document.images.length === 0 && frames.length === 0")
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


MADE: dict[str, Callable[[], str]] = {
    "sample": lambda: render_html(sample(), history=pages.history().metrics),
    "strong": lambda: render_html(build.full_strength()),
    "judged": lambda: render_html(judged_verdict()),
    "pass": lambda: render_html(sample("pass")),
    "invalid": lambda: render_html(sample("invalid")),
    "nasty": lambda: render_html(build.nasty_verdict()),
    "ranking": lambda: rank_html(pages.ranking()),
    "nasty ranking": lambda: rank_html(pages.nasty_ranking()),
    "history": lambda: history_html(pages.history()),
    "nasty history": lambda: history_html(pages.nasty_history()),
}
"""Every kind of page, by name."""


@cache
def made(name: str) -> str:
    return MADE[name]()


def show(browser: Browser, folder: Path, name: str, **how: object) -> Path:
    path = folder / "page.html"
    path.write_text(made(name), encoding="utf-8")
    browser.logged.clear()
    browser.requested.clear()
    browser.open(path, **how)  # type: ignore[arg-type]
    return path


OPEN = "document.querySelectorAll('details').forEach(d => { d.open = true; })"


WAIT = "new Promise(done => setTimeout(done, 150))"
SOON = "new Promise(done => setTimeout(done, 20))"


def choose(browser: Browser, field: str, value: str) -> None:
    """Set a filter as a person does, and wait until the list follows."""
    browser.js(
        f"(() => {{ const f = document.getElementById('f-{field}'); f.value = {json.dumps(value)};"
        f"f.dispatchEvent(new Event('input', {{bubbles: true}})); return {WAIT}; }})()"
    )


def keys(browser: Browser) -> list[str]:
    found: list[str] = browser.js("Array.from(document.querySelectorAll('.case h5'), c => c.textContent)")
    return found


def press(browser: Browser, key: str) -> None:
    text = {"Enter": "\r", "Escape": ""}.get(key, key)
    browser.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text)
    browser.call("Input.dispatchKeyEvent", type="keyUp", key=key)


COUNT = "document.getElementById('f-count').textContent"


def test_filters_narrow_the_cases_and_clear(browser: Browser, tmp_path: Path) -> None:
    path = page(browser, tmp_path, sample())
    # All that got worse, with or without a flip; in a group what regressed comes first.
    assert keys(browser) == ["route-1", "answer-4", "route-2"]
    assert browser.js(COUNT) == "3 of 4 cases"
    choose(browser, "group", "0")
    assert sorted(keys(browser)) == ["route-1", "route-2"]
    choose(browser, "text", "SECOND charge")  # runs over two pieces of the diff
    assert keys(browser) == ["route-1"]
    choose(browser, "text", "complete answer after")
    assert keys(browser) == ["route-2"]
    choose(browser, "text", "")
    choose(browser, "group", "")
    assert len(keys(browser)) == 4 and browser.js(COUNT) == "4 cases"
    choose(browser, "metric", "answers/rouge_l")
    assert keys(browser) == ["answer-4"]
    choose(browser, "metric", "")
    choose(browser, "cause", "No answer: timeout")
    assert keys(browser) == ["route-2"]
    choose(browser, "text", "nothing is like this")
    assert keys(browser) == []
    browser.js(f"document.querySelector('#cases button').click(); {WAIT}")
    assert len(keys(browser)) == 4
    browser.js(f"document.querySelector('#filters button').click(); {WAIT}")
    assert len(keys(browser)) == 3
    quiet(browser, path)


def test_a_row_of_the_tables_leads_to_its_cases_and_the_list_is_grouped_as_asked(
    browser: Browser, tmp_path: Path
) -> None:
    tags = [{"channel": "chat" if i % 3 else "email"} for i in range(9)]
    changes = tuple(build.change(f"c{i}", "yes", "no" if i % 2 else "", tags=t) for i, t in enumerate(tags))
    page(browser, tmp_path, build.verdict(changes=changes))
    groups = "Array.from(document.querySelectorAll('.cluster summary'), g => g.textContent)"
    assert (
        browser.js(groups) == ["Empty answer 5", "Wrong label 4"] or browser.js(groups)[0] == "Empty answer 5"
    )
    choose(browser, "by", "tag:channel")
    assert browser.js(groups) == ["channel=chat 6", "channel=email 3"]
    browser.js(f"document.querySelector('button.pick[data-value=\"Empty answer\"]').click(); {WAIT}")
    assert keys(browser) == ["c0", "c2", "c4", "c6", "c8"]


WRITTEN = r"""
Object.fromEntries(Array.from(document.querySelectorAll('article.case'), (c) => [c.id, c.outerHTML
  .replace(/\s+/g, ' ').replace(/> | </g, (m) => m.trim()).replace(/ aria-(posinset|setsize)="\d+"/g, '')]))
"""


def test_the_script_draws_a_case_as_the_template_does(browser: Browser, tmp_path: Path) -> None:
    verdicts = (sample(), build.nasty_verdict(), judged_verdict())
    for number, verdict in enumerate(verdicts):
        (tmp_path / str(number)).mkdir()
        page(browser, tmp_path / str(number), verdict, script=False)
        written = browser.js(WRITTEN)
        page(browser, tmp_path / str(number), verdict)
        choose(browser, "group", "")
        drawn = browser.js(WRITTEN)
        assert written and drawn.keys() == written.keys()
        for target, html in written.items():
            assert drawn[target] == html


def test_ten_thousand_cases_are_drawn_a_screenful_at_a_time(browser: Browser, tmp_path: Path) -> None:
    changes = tuple(
        build.change(f"c{i}", f"answer {i}", "none", regressed=i % 2 == 0, fixed=i % 2 == 1)
        for i in range(10_000)
    )
    path = page(browser, tmp_path, build.verdict(changes=changes))
    drawn = "document.querySelectorAll('article.case').length"
    assert browser.js(COUNT) == "5,000 of 10,000 cases"
    assert 0 < browser.js(drawn) <= 60
    choose(browser, "group", "")
    for place in ("document.body.scrollHeight", "document.body.scrollHeight / 2", "0"):
        browser.js(f"scrollTo(0, {place}); new Promise(done => setTimeout(done, 250))")
        assert 0 < browser.js(drawn) <= 90
        assert browser.js("document.querySelectorAll('*').length") < 6_000
    choose(browser, "text", "answer 9999")
    assert keys(browser) == ["c9999"]
    # A link to a case in the middle, while the filter hides it.
    target = anchor("c5001")
    browser.js(f"location.hash = '{target}'; new Promise(done => setTimeout(done, 300))")
    top = f"document.getElementById('{target}').getBoundingClientRect().top"
    assert abs(browser.js(top)) < 100
    assert 0 < browser.js(drawn) <= 90
    quiet(browser, path)


def test_keys_go_from_case_to_case_search_and_help(browser: Browser, tmp_path: Path) -> None:
    page(browser, tmp_path, sample())
    current = "document.querySelector('.case.current h5').textContent"
    order = keys(browser)
    press(browser, "j")
    assert browser.js(current) == order[0]
    press(browser, "j")
    assert browser.js(current) == order[1]
    press(browser, "j")
    press(browser, "j")
    assert browser.js(current) == order[2]  # the last stays the last
    press(browser, "k")
    press(browser, "k")
    assert browser.js(current) == order[0]
    assert browser.js("location.hash") == "#" + browser.js("document.activeElement.id")
    press(browser, "?")
    assert browser.js("document.getElementById('keys').open")
    browser.js("document.querySelector('#keys button').click()")
    press(browser, "/")
    assert browser.js("document.activeElement.id") == "f-text"
    press(browser, "j")  # a letter, not a key
    assert browser.js("document.getElementById('f-text').value") == "j"


def test_print_holds_a_hundred_cases_and_counts_the_rest(browser: Browser, tmp_path: Path) -> None:
    page(browser, tmp_path, build.verdict(changes=tuple(build.change(f"c{i}") for i in range(450))))
    browser.js("dispatchEvent(new Event('beforeprint'))")
    assert browser.js("document.getElementById('unprinted').textContent") == (
        "350 more cases are in the file and not printed."
    )
    assert browser.js("document.querySelectorAll('details:not([open])').length") == 0
    browser.js("dispatchEvent(new Event('afterprint'))")
    assert browser.js("document.getElementById('unprinted')") is None
    assert len(browser.call("Page.printToPDF")["data"]) > 10_000


def test_the_story_is_copied_whole(browser: Browser, tmp_path: Path) -> None:
    page(browser, tmp_path, sample())
    browser.js("document.getElementById('copy').click()")
    browser.js(WAIT)
    assert browser.js("document.getElementById('copy').textContent") in ("Copied", "Selected: press Ctrl+C")


def test_the_mark_of_an_early_stop_leads_to_its_words_and_has_some_of_its_own(
    browser: Browser, tmp_path: Path
) -> None:
    path = page(browser, tmp_path, build.full_strength())
    mark = "document.querySelector('.forest a.early')"
    assert browser.js(f"{mark}.textContent") == "† at an early stop"
    assert "leaning" in browser.js(f"document.querySelector({mark}.getAttribute('href')).textContent")
    quiet(browser, path)


def test_a_link_to_a_case_that_is_filtered_out_opens_it(browser: Browser, tmp_path: Path) -> None:
    path = page(browser, tmp_path, sample())
    target = anchor("route-3")
    # It is fixed, and the list shows what got worse.
    assert browser.js(f"document.getElementById('{target}')") is None
    browser.js(f"location.hash = '{target}'; {WAIT}")
    assert browser.js(f"document.getElementById('{target}').classList.contains('current')")
    # The same as an address that is opened, by the case's id, too.
    for fragment in (target, "case=route-3"):
        browser.call("Page.navigate", url="about:blank")
        browser.open(path, fragment=fragment)
        assert browser.js("document.querySelector('.case.current h5').textContent") == "route-3"
    assert browser.js("document.activeElement.id") == target
    # One that is not here is said, where a screen reader hears it.
    browser.call("Page.navigate", url="about:blank")
    browser.open(path, fragment="case=route-99")
    assert "is not on the page" in browser.js(COUNT)
    assert browser.js("document.querySelector('.case.current')") is None


def test_ids_of_any_kind_are_linked_and_do_nothing(browser: Browser, tmp_path: Path) -> None:
    ids = [
        *(key.strip() for key in build.NASTY if key.isprintable()),
        "a b#c%2F?d=e&f+g",
        "100% / ü",
        "constructor",
    ]
    ids = list(dict.fromkeys(key for key in ids if key))
    path = page(browser, tmp_path, build.verdict(changes=tuple(build.change(key) for key in ids)))
    current = "document.querySelector('.case.current h5').textContent"
    for key in ids:
        browser.js(f"location.hash = 'case=' + encodeURIComponent({json.dumps(key)}); {SOON}")
        assert browser.js(current) == key
        browser.js(f"document.querySelector('.case.current h5 a').click(); {SOON}")
        assert browser.js("location.hash") == "#" + anchor(key)
    for fragment in ("case=%", "case=<img src=x onerror=pwned=1>", "__proto__"):
        browser.js(f"location.hash = {json.dumps(fragment)}; {SOON}")
    assert browser.js("window.pwned === undefined && document.images.length === 0")
    quiet(browser, path)


def test_enter_goes_to_the_first_case_found_and_focus_is_never_lost(browser: Browser, tmp_path: Path) -> None:
    page(browser, tmp_path, sample())
    press(browser, "/")
    browser.call("Input.insertText", text="complete answer after")
    press(browser, "Enter")
    assert browser.js("document.activeElement.querySelector('h5').textContent") == "route-2"
    assert browser.js("document.activeElement.matches(':focus-visible')")
    press(browser, "/")
    press(browser, "Escape")
    assert browser.js("document.activeElement === document.body")
    # A filter keeps the focus; a button that goes away hands it to the heading of the list.
    browser.js("document.getElementById('f-group').focus()")
    choose(browser, "group", "3")
    assert browser.js("document.activeElement.id") == "f-group"
    browser.js(f"document.querySelector('.crowds button.pick').click(); {SOON}")
    assert browser.js("document.activeElement.id") == "cases-title"
    choose(browser, "text", "nothing is like this")
    browser.js(f"document.querySelector('#cases button').click(); {SOON}")
    assert browser.js("document.activeElement.id") == "cases-title"


def test_print_is_light_has_the_whole_verdict_and_nothing_to_click(browser: Browser, tmp_path: Path) -> None:
    page(browser, tmp_path, build.full_strength(), dark=True)
    browser.call("Emulation.setEmulatedMedia", media="print")
    browser.call(
        "Emulation.setDeviceMetricsOverride", width=718, height=1000, deviceScaleFactor=1, mobile=False
    )
    seen = "Array.from(document.querySelectorAll('{}')).filter(e => e.checkVisibility()).length"
    for part in (
        "h1",
        ".lede",
        "#story",
        ".forest tbody tr",
        ".legend li",
        "article.case",
        "article.how",
        "#provenance code",
    ):
        assert browser.js(seen.format(part)) > 0, part
    for debris in ("form", "input", "nav a", "dialog", ".skip", ".story button"):
        assert browser.js(seen.format(debris)) == 0, debris
    assert browser.js("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.js("getComputedStyle(document.querySelector('.forest tr')).display") == "table-row"
    assert browser.js(CONTRAST) == []
    assert browser.js("document.documentElement.scrollWidth") <= 718
    browser.call("Emulation.setEmulatedMedia", media="")


def test_colours_of_the_system_keep_what_colour_says(browser: Browser, tmp_path: Path) -> None:
    page(browser, tmp_path, sample())
    features = [{"name": "forced-colors", "value": "active"}]
    browser.call("Emulation.setEmulatedMedia", features=features)
    style = "getComputedStyle(document.querySelector('{}')).{}"
    assert "line-through" in browser.js(style.format(".case del", "textDecorationLine"))
    assert "underline" in browser.js(style.format(".case ins", "textDecorationLine"))
    assert browser.js(style.format(".chip", "borderTopStyle")) == "solid"
    assert browser.js(style.format(".ci", "stroke")) == browser.js("getComputedStyle(document.body).color")
    browser.call("Emulation.setEmulatedMedia", features=[])


def test_without_script_it_is_a_plain_list(browser: Browser, tmp_path: Path) -> None:
    page(browser, tmp_path, sample(), script=False)
    # The protocol's own evaluation works where the page's scripts do not.
    assert browser.js("document.getElementById('filters').hidden")
    assert browser.js("document.getElementById('copy').hidden")
    assert browser.js(SHOWN) == 4
    target = anchor("route-3")
    assert browser.js(f"document.querySelector('a[href=\"#{target}\"]') !== null")


@pytest.mark.parametrize(("name", "width"), [*((name, 320) for name in MADE), ("sample", 768)])
def test_nothing_hangs_over_the_edge_of_a_phone(
    browser: Browser, tmp_path: Path, width: int, name: str
) -> None:
    # 320 pixels are also what 1,280 are at a zoom of 400% (WCAG 2.2 §1.4.10).
    show(browser, tmp_path, name, width=width)
    browser.js(OPEN)
    assert browser.js("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", ["ranking", "nasty ranking", "history", "nasty history"])
def test_pages_without_a_script_say_and_ask_nothing(browser: Browser, tmp_path: Path, name: str) -> None:
    path = show(browser, tmp_path, name)
    browser.js(f"{OPEN}; new Promise(done => setTimeout(done, 100))")
    assert browser.js("window.pwned === undefined && document.images.length === 0 && frames.length === 0")
    assert browser.js("document.scripts.length") == 0
    quiet(browser, path)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["sample", "strong", "pass", "invalid", "judged", "ranking", "history"])
def test_text_stands_out_from_its_ground(browser: Browser, tmp_path: Path, dark: bool, name: str) -> None:
    show(browser, tmp_path, name, dark=dark)
    browser.js(OPEN)
    assert browser.js(CONTRAST) == []


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: npm ci --prefix requirements/npm")
@pytest.mark.parametrize(
    ("name", "width"),
    [*((name, 390) for name in MADE if name != "nasty"), ("sample", 1280), ("ranking", 1280)],
)
def test_axe_finds_no_fault(browser: Browser, tmp_path: Path, name: str, width: int) -> None:
    show(browser, tmp_path, name, width=width, dark=width == 390)
    browser.js("document.getElementById('f-group') && (document.getElementById('f-group').value = '')")
    browser.js(
        f"document.getElementById('f-text')?.dispatchEvent(new Event('input', {{bubbles: true}})); {WAIT}"
    )
    browser.js(OPEN)
    browser.call("Runtime.evaluate", expression=AXE.read_text(encoding="utf-8"))
    # Hostile strings have the colours of others, and measuring the many of them takes longest.
    contrast = json.dumps("nasty" not in name)
    run = f"axe.run({{rules: {{'color-contrast': {{enabled: {contrast}}}}}}})"
    found = browser.js(f"{run}.then(r => r.violations.map(v => [v.id, v.impact, v.nodes[0].html]))")
    # Names that are blank, which no suite can give, leave links and headings without a word.
    blank = (
        {"empty-heading", "empty-table-header", "link-name", "landmark-unique"} if "nasty" in name else set()
    )
    assert [v for v in found if v[0] not in blank] == []


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
