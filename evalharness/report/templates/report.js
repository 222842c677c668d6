// Draws the cases of a page from its data, a screenful at a time: ten thousand cases cost no more than ten.
// Without it the page is whole but for the cases beyond the first ones, which the template writes.
(() => {
  "use strict";
  const byId = (id) => document.getElementById(id);
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  const count = (n) => n.toLocaleString("en-US");

  // --- a case as elements: the same as in case.html.j2, which a test holds ---

  const h = (tag, attributes, ...inside) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...inside.flat(Infinity).filter(Boolean));
    return node;
  };
  const icon = (name) => {
    const [svg, use] = ["svg", "use"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
    for (const [key, value] of [["class", "icon"], ["aria-hidden", "true"], ["focusable", "false"], ["viewBox", "0 0 16 16"]]) svg.setAttribute(key, value);
    use.setAttribute("href", `#i-${name}`);
    svg.append(use);
    return svg;
  };
  // A box that may scroll takes the focus, so that keys scroll it.
  const prose = (tag, name, text, ...inside) => {
    const tall = [...text].length / 30 + text.split("\n").length - 1 > 14;
    return h(tag, { ...(name && { class: name }), dir: "auto", ...(tall && { tabindex: "0" }) }, ...(inside.length ? inside : [text]));
  };
  const cut = (n, text) => n && h("span", { class: "cut" }, ` … ${count(n)} ${text}`);

  const answer = (side, failed, tag) => {
    if (failed) return h("p", { class: "failed" }, icon("invalid"), "No answer. ", h("bdi", {}, failed));
    const [before, after, ...parts] = side;
    return [
      before && h("p", { class: "cut" }, `${count(before)} characters before this are the same on both sides`),
      prose("pre", "", parts.join(""), parts.length ? parts.map((text, i) => (i % 2 && text ? h(tag, {}, text) : text)) : h("span", { class: "empty" }, "empty")),
      after && h("p", { class: "cut" }, `${count(after)} more characters are not shown`),
    ];
  };

  const vote = ([head, said, rationale, more, marks, raw, rawMore]) => h("li", {},
    h("p", { class: "soft" }, head && `${head}: `, h("b", {}, said)),
    rationale && prose("p", "rationale", rationale, rationale, cut(more, "more characters")),
    marks.length && h("p", { class: "marks" }, marks.map(([name, mark]) => [h("span", {}, h("bdi", {}, name), " ", h("b", {}, mark)), " "])),
    raw && h("details", { class: "more" }, h("summary", {}, "The reply as it came"), prose("pre", "", raw),
      rawMore && h("p", { class: "cut" }, `${count(rawMore)} more characters are in judgments.jsonl`)));

  const opinion = ([metric, said, flags, votes, more]) => h("div", { class: "opinion" },
    h("p", { class: "said" }, h("b", {}, h("bdi", {}, metric)), ` ${said}`,
      flags.map((flag) => [" ", h("span", { class: "tag flag" }, icon("invalid"), h("bdi", {}, flag))])),
    votes.length && [h("ul", {}, votes.map(vote)), more && h("p", { class: "cut" }, `${more} more votes are in judgments.jsonl.`)]);

  const draw = (data) => (c) => {
    const label = data.labels[c.c - 1];
    const detail = c.d && data.details[c.d - 1];
    const moves = (c.m || []).map(([metric, text, better]) => h("li", { class: better > 0 ? "better" : better < 0 ? "worse" : "same" },
      h("bdi", {}, data.metrics[metric]), " ", h("b", {}, text), h("span", { class: "unseen" }, ` (${better > 0 ? "better" : better < 0 ? "worse" : "moved"})`)));
    return h("article", { class: "case", id: c.a, tabindex: "-1" },
      h("header", {},
        h("h5", {}, h("a", { href: `#${c.a}` }, h("bdi", {}, c.k))),
        c.x && h("span", { class: "tag critical" }, "critical"),
        h("span", { class: "tag cause" }, label, detail && [": ", h("bdi", {}, detail)]),
        (c.t || []).map((tag) => h("span", { class: "tag" }, h("bdi", {}, data.tags[tag]))),
        h("ul", { class: "moves" }, moves)),
      c.q && prose("p", "question", c.q, c.q, cut(c.Q, "more characters")),
      c.y && h("p", { class: "targets" }, h("span", { class: "label" }, "Accepted"), " ", c.y.map((text) => h("bdi", { class: "target" }, text || "(empty)")),
        c.Y && h("span", { class: "cut" }, `and ${c.Y} more`)),
      h("div", { class: "sides" },
        h("div", {}, h("p", { class: "side" }, "Baseline"), answer(c.b, c.B, "del")),
        h("div", {}, h("p", { class: "side" }, "Candidate"), answer(c.e, c.E, "ins"))),
      c.n && h("p", { class: "cut" }, c.n),
      (c.h || []).map(([metrics, why]) => h("p", { class: "soft" }, h("b", {}, h("bdi", {}, metrics)), " ", h("bdi", {}, why))),
      (c.v || []).map(opinion),
      h("p", { class: "where" }, h("bdi", {}, c.w)));
  };

  // --- what works without the cases: copying the story, opening what a link leads to ---

  const copy = byId("copy");
  if (copy) {
    copy.hidden = false;
    const said = copy.textContent;
    const tell = (text) => { copy.textContent = text; setTimeout(() => { copy.textContent = said; }, 2000); };
    copy.addEventListener("click", () => {
      const story = byId("story");
      const select = () => { getSelection().selectAllChildren(story); tell("Selected: press Ctrl+C"); };
      if (!navigator.clipboard) select();
      else navigator.clipboard.writeText(story.textContent.trim()).then(() => tell("Copied"), select);
    });
  }
  const unfold = (node) => { for (; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true; };

  // --- the list: groups of chunks, a chunk being drawn where it is near the screen ---

  const CHUNK = 10;
  const FEW = 200; // so many are simply drawn
  const GUESS = 200;
  const PRINTED = 100;
  const source = byId("case-data");
  const data = source ? JSON.parse(source.textContent) : { cases: [] };
  const article = draw(data);
  const box = byId("cases");
  const form = byId("filters");
  const field = Object.fromEntries(["text", "group", "metric", "tag", "cause", "by"].map((name) => [name, byId(`f-${name}`)]));
  const total = byId("f-count");
  let chunks = [];
  let order = [];
  let current = null;

  const fill = (chunk) => {
    if (chunk.drawn) return;
    chunk.drawn = true;
    chunk.node.replaceChildren(...chunk.cases.map((c) => {
      const node = article(c);
      node.setAttribute("aria-posinset", c.place + 1);
      node.setAttribute("aria-setsize", order.length);
      node.classList.toggle("current", c === current);
      return node;
    }));
    chunk.node.style.height = "";
  };
  const empty = (chunk) => {
    if (!chunk.drawn || chunk.node.contains(document.activeElement) || !chunk.node.offsetHeight) return;
    chunk.drawn = false;
    chunk.node.style.height = `${chunk.node.offsetHeight}px`;
    chunk.node.replaceChildren();
  };
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) (entry.isIntersecting ? fill : empty)(entry.target.chunk);
  }, { rootMargin: "1000px" });

  const haystack = (c) => {
    c.words ??= [c.k, c.q, c.B, c.E, c.n, ...(c.y || []), ...[c.b, c.e].map((side) => (side || []).slice(2).join("")), ...(c.h || []).flat(),
      ...(c.v || []).flatMap((v) => [v[1], ...v[2], ...v[3].map((one) => one[2])])].join("\n").toLowerCase();
    return c.words;
  };
  const cause = (c) => data.labels[c.c - 1];
  const causeDetail = (c) => (c.d ? `${cause(c)}: ${data.details[c.d - 1]}` : cause(c));
  const tagsOf = (c) => (c.t || []).map((tag) => data.tags[tag]);

  const matching = () => {
    const wanted = field.text.value.trim().toLowerCase();
    const [group, metric, tag, why] = ["group", "metric", "tag", "cause"].map((name) => field[name].value);
    return data.cases.filter((c) => (!group || group.includes(c.g))
      && (!metric || (c.m || []).some((m) => data.metrics[m[0]] === metric))
      && (!tag || tagsOf(c).includes(tag))
      && (!why || cause(c) === why || causeDetail(c) === why)
      && (!wanted || haystack(c).includes(wanted)));
  };
  const groupOf = (by) => (c) => {
    if (by === "cause") return cause(c);
    if (by === "none") return "";
    const key = by.slice(4);
    return tagsOf(c).find((tag) => tag.startsWith(`${key}=`)) || `no ${key}`;
  };
  const counted = (items) => items.reduce((found, item) => found.set(item, (found.get(item) || 0) + 1), new Map());
  const bySize = (sizes, first = new Map()) => [...sizes].sort((a, b) => (first.get(b[0]) || 0) - (first.get(a[0]) || 0) || b[1] - a[1] || (a[0] < b[0] ? -1 : 1));

  const list = () => {
    const kept = matching();
    const by = field.by.value;
    const name = groupOf(by);
    const sizes = counted(kept.map(causeDetail));
    if (by === "cause") kept.sort((a, b) => (b.x || 0) - (a.x || 0) || a.g - b.g || sizes.get(causeDetail(b)) - sizes.get(causeDetail(a)));
    observer.disconnect();
    box.replaceChildren();
    chunks = [];
    order = [];
    const groups = new Map();
    for (const c of kept) groups.has(name(c)) ? groups.get(name(c)).push(c) : groups.set(name(c), [c]);
    for (const [title] of bySize(counted(kept.map(name)), counted(kept.filter((c) => !c.g).map(name)))) {
      const cases = groups.get(title);
      const body = h("div", { class: "list" });
      box.append(title ? h("details", { class: "cluster", open: "" }, h("summary", {}, h("h4", {}, h("bdi", {}, title), " ", h("span", { class: "count" }, count(cases.length)))), body) : body);
      for (let start = 0; start < cases.length; start += CHUNK) {
        const chunk = { cases: cases.slice(start, start + CHUNK), node: h("div", { class: "chunk" }), drawn: false };
        chunk.cases.forEach((c) => { c.chunk = chunk; c.place = order.push(c) - 1; });
        chunk.node.chunk = chunk;
        chunk.node.style.height = `${chunk.cases.length * GUESS}px`;
        body.append(chunk.node);
        chunks.push(chunk);
      }
    }
    chunks.slice(0, order.length > FEW ? 2 : chunks.length).forEach(fill);
    if (order.length > FEW) chunks.forEach((chunk) => observer.observe(chunk.node));
    const held = data.cases.length;
    total.textContent = kept.length === held ? `${count(held)} cases` : `${count(kept.length)} of ${count(held)} cases`;
    if (!kept.length) box.append(h("p", { class: "leftout" }, "No case is like that. ", h("button", { type: "button", class: "pick", "data-reset": "" }, "Show all cases")));
  };

  const go = (c, { focus = true } = {}) => {
    const near = chunks.indexOf(c.chunk);
    chunks.slice(Math.max(0, near - 1), near + 2).forEach(fill);
    const node = byId(c.a);
    all(".case.current").forEach((other) => other.classList.remove("current"));
    current = c;
    node.classList.add("current");
    unfold(node);
    if (focus) node.focus({ preventScroll: true });
    node.scrollIntoView();
  };
  const follow = () => {
    let id = "";
    try { id = decodeURIComponent(location.hash.slice(1)); } catch { return; }
    const key = id.startsWith("case=") && id.slice(5);
    const wanted = id && data.cases.find((c) => (key === false ? c.a === id : c.k === key));
    if (wanted) {
      if (order[wanted.place] !== wanted) {
        form.reset();
        field.group.value = "";
        list();
      }
      go(wanted);
      return;
    }
    const target = id && byId(id);
    if (!target && id.startsWith("case") && total) {
      total.textContent = "The case of this link is not on the page: it did not change, or the page had no room for it.";
      form.scrollIntoView();
    }
    if (!target) return;
    unfold(target);
    target.scrollIntoView();
  };
  const step = (by) => {
    if (!order.length) return;
    const at = current && order[current.place] === current ? current.place + by : by > 0 ? 0 : order.length - 1;
    const next = order[Math.min(Math.max(at, 0), order.length - 1)];
    go(next);
    history.replaceState(null, "", `#${next.a}`);
  };

  if (box && data.cases.length) {
    const option = (value, text = value) => h("option", { value }, text);
    const sizes = counted(data.cases.map((c) => String(c.g)));
    const groups = [...sizes].sort().map(([g, n]) => [g, data.groups[g], n]);
    if (sizes.has("0") && sizes.has("1")) groups.unshift(["01", "got worse", sizes.get("0") + sizes.get("1")]);
    if (groups.length > 1) groups.push(["", "all", data.cases.length]);
    field.group.append(...groups.map(([g, name, n]) => option(g, `${name} (${count(n)})`)));
    field.metric.append(option("", "every metric"), ...[...data.metrics].sort().map((name) => option(name)));
    field.tag.append(option("", "every slice"), ...[...data.tags].sort().map((name) => option(name)));
    field.cause.append(option("", "anything"));
    const details = bySize(counted(data.cases.filter((c) => c.d).map(causeDetail)));
    for (const [label, n] of bySize(counted(data.cases.map(cause)))) {
      field.cause.append(option(label, `${label} (${count(n)})`));
      const own = details.filter(([name]) => name.startsWith(`${label}: `)).slice(0, 40);
      field.cause.append(...own.map(([name, m]) => option(name, `\u00a0\u00a0${name.slice(label.length + 2)} (${count(m)})`)));
    }
    const keys = [...new Set(data.tags.map((tag) => tag.split("=")[0]))].sort();
    field.by.append(option("cause", "what changed"), ...keys.map((key) => option(`tag:${key}`, key)), option("none", "nothing"));
    for (const name of ["metric", "tag"]) field[name].parentElement.hidden = field[name].options.length < 2;
    form.hidden = false;

    let timer = 0;
    form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(list, 80); });
    form.addEventListener("reset", () => setTimeout(list, 0));
    form.addEventListener("submit", (event) => event.preventDefault());
    all("button.pick").forEach((button) => { button.disabled = false; });
    addEventListener("click", (event) => {
      const button = event.target instanceof Element && event.target.closest("button.pick");
      if (!button) return;
      form.reset();
      const { field: name, value } = button.dataset;
      if (name) field[name].value = value;
      if (!name || !matching().length) field.group.value = "";
      list();
      byId("cases-title").scrollIntoView();
      byId("cases-title").focus({ preventScroll: true });
    });
    list();
  }
  addEventListener("hashchange", follow);
  if (location.hash) {
    follow();
    addEventListener("load", () => setTimeout(follow)); // the browser's own step to the fragment takes the focus away
  }

  // --- keys and print ---

  const help = byId("keys");
  byId("f-keys")?.addEventListener("click", () => help.showModal());
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help?.open) return;
    const inField = event.target instanceof Element && event.target.closest("input, select, textarea");
    if (inField) {
      if (event.key === "Escape") event.target.blur();
      if (event.key === "Enter" && event.target === field.text && !event.isComposing) {
        list();
        current = null;
        step(1);
      }
      return;
    }
    const act = { j: () => step(1), k: () => step(-1), "/": () => field.text?.focus(), "?": () => help?.showModal() }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = all("details:not([open])");
    closed.forEach((node) => { node.open = true; });
    chunks.slice(0, PRINTED / CHUNK).forEach(fill);
    const more = order.length - chunks.slice(0, PRINTED / CHUNK).reduce((sum, chunk) => sum + chunk.cases.length, 0);
    if (more > 0) box.append(h("p", { class: "leftout", id: "unprinted" }, `${count(more)} more cases are in the file and not printed.`));
  });
  addEventListener("afterprint", () => {
    closed.forEach((node) => { node.open = false; });
    byId("unprinted")?.remove();
  });
})();
