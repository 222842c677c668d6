(() => {
  "use strict";
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  const cases = all("article.case");

  const reveal = () => {
    const id = decodeURIComponent(location.hash.slice(1));
    const target = id && document.getElementById(id);
    if (!target) return;
    for (let node = target; node; node = node.parentElement) {
      if (node.tagName === "DETAILS") node.open = true;
      node.classList.remove("off");
    }
    target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  if (location.hash) reveal();

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = all("details:not([open])");
    closed.forEach((d) => { d.open = true; });
  });
  addEventListener("afterprint", () => { closed.forEach((d) => { d.open = false; }); });

  const form = document.getElementById("filters");
  if (!form || cases.length < 2) return;
  form.hidden = false;
  const [text, metric, tag, count] = ["f-text", "f-metric", "f-tag", "f-count"].map((id) => document.getElementById(id));
  const groups = all("details.group");
  const wasOpen = new Map();
  const words = new Map();

  const has = (list, value) => !value || list.split(" ").includes(value);
  const apply = () => {
    const wanted = text.value.trim().toLowerCase();
    const m = metric ? metric.value : "";
    const t = tag ? tag.value : "";
    const active = Boolean(wanted || m || t);
    let shown = 0;
    for (const item of cases) {
      let keep = has(item.dataset.m, m) && has(item.dataset.t, t);
      if (keep && wanted) {
        if (!words.has(item)) words.set(item, item.textContent.toLowerCase());
        keep = words.get(item).includes(wanted);
      }
      item.classList.toggle("off", !keep);
      shown += keep ? 1 : 0;
    }
    for (const group of groups) {
      if (active) {
        if (!wasOpen.has(group)) wasOpen.set(group, group.open);
        group.open = Boolean(group.querySelector("article.case:not(.off)"));
      } else if (wasOpen.has(group)) {
        group.open = wasOpen.get(group);
        wasOpen.delete(group);
      }
    }
    count.textContent = active ? `${shown} of ${cases.length} cases on this page` : "";
  };
  let timer = 0;
  form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(apply, 80); });
  form.addEventListener("reset", () => { setTimeout(apply, 0); });
  form.addEventListener("submit", (event) => event.preventDefault());
})();
