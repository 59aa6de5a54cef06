// All pictures, the most doubtful first. Only the cards near the window exist, so that ten thousand are as fast as ten.

import { STATES, address, el } from "./dom.js";

// Smallest width of a card, gap, and height of what stands below its picture, in CSS pixels.
const WIDTH = 300;
const GAP = 20;
const BELOW = 58;
// Rows that exist above and below the window.
const SPARE = 3;

export function showGrid(app, page) {
  const list = el("ul", { class: "grid", role: "list", "aria-label": "Pictures, the most doubtful first" });
  const chips = el("div", { class: "chips", role: "group", "aria-label": "Which pictures" });
  const empty = el("p", { class: "empty", hidden: true }, "No picture is like that.");
  const search = el("input", {
    type: "search", placeholder: "Name", "aria-label": "Search by name", spellcheck: "false",
    oninput: () => { app.search = search.value; filter(); },
  });
  search.value = app.search;
  const meter = el("div", { class: "meter", role: "img" }, el("span", { class: "signed" }), el("span", { class: "open" }));
  const title = el("p", { class: "count" });
  page.className = "overview";
  page.replaceChildren(
    el("header", {},
      el("div", { class: "title" }, el("h1", {}, app.overview.output), title),
      meter,
      el("div", { class: "tools" }, chips, search, el("button", { class: "quiet", onclick: app.help }, "Keys"))),
    list, empty,
  );

  let columns = 1;
  let height = 200;
  const cards = new Map();

  function filter() {
    const text = app.search.toLowerCase();
    app.shown = app.overview.pictures.filter(
      (picture) => (app.filter === "all" || picture.state === app.filter) && picture.name.toLowerCase().includes(text));
    empty.hidden = app.shown.length > 0;
    for (const card of cards.values()) card.remove();
    cards.clear();
    measure();
  }

  function head() {
    const { states, pictures } = app.overview;
    const signed = states.signed ?? 0;
    title.textContent = `${signed} of ${pictures.length} signed`;
    meter.setAttribute("aria-label", title.textContent);
    meter.children[0].style.inlineSize = `${(100 * signed) / Math.max(pictures.length, 1)}%`;
    meter.children[1].style.inlineSize = `${(100 * (states.open ?? 0)) / Math.max(pictures.length, 1)}%`;
    const names = { all: "All", ...STATES };
    chips.replaceChildren(...Object.entries(names).map(([key, text]) => {
      const count = key === "all" ? pictures.length : states[key] ?? 0;
      return el("button", {
        class: `chip ${key}`, "aria-pressed": String(app.filter === key),
        onclick: () => { app.filter = key; app.scroll = 0; head(); filter(); window.scrollTo(0, 0); },
      }, text, el("span", { class: "number" }, count.toLocaleString("en")));
    }));
  }

  function measure() {
    const width = list.clientWidth;
    columns = Math.max(Math.floor((width + GAP) / (WIDTH + GAP)), 1);
    height = Math.round(((width - GAP * (columns - 1)) / columns) * (2 / 3)) + BELOW + GAP;
    list.style.blockSize = `${Math.ceil(app.shown.length / columns) * height}px`;
    draw();
  }

  function card(picture, index) {
    const image = el("img", { alt: "", loading: "lazy", decoding: "async", src: address("thumbnail", picture.name, picture.seen) });
    image.addEventListener("error", () => image.classList.add("none"));
    return el("li", {},
      el("a", {
        class: `card ${picture.state}`, href: `#/picture/${encodeURIComponent(picture.name)}`,
        "aria-setsize": app.shown.length, "aria-posinset": index + 1, "data-index": index,
      },
      el("span", { class: "thumb" }, image),
      el("span", { class: "name" }, picture.name),
      el("span", { class: "why" },
        picture.state === "unsigned" ? null : el("span", { class: `state ${picture.state}` }, STATES[picture.state]),
        picture.why.filter((text) => picture.state !== "withheld" || text !== "quarantined").join(", "))));
  }

  function draw() {
    const top = window.scrollY - list.offsetTop;
    const first = Math.max(Math.floor(top / height) - SPARE, 0) * columns;
    const last = Math.min((Math.ceil((top + window.innerHeight) / height) + SPARE) * columns, app.shown.length);
    const focused = Number(document.activeElement?.dataset?.index ?? -1);
    for (const [index, item] of cards) {
      if ((index < first || index >= last) && index !== focused) { item.remove(); cards.delete(index); }
    }
    for (let index = first; index < last; index += 1) {
      if (!cards.has(index)) {
        const item = card(app.shown[index], index);
        cards.set(index, item);
        // In order, so that Tab follows what is seen.
        const next = [...list.children].find((other) => Number(other.firstChild.dataset.index) > index);
        list.insertBefore(item, next ?? null);
      }
      const item = cards.get(index);
      item.style.insetBlockStart = `${Math.floor(index / columns) * height}px`;
      item.style.insetInlineStart = `calc(${index % columns} * (100% + ${GAP}px) / ${columns})`;
      item.style.inlineSize = `calc((100% - ${GAP * (columns - 1)}px) / ${columns})`;
    }
    app.scroll = window.scrollY;
  }

  function focus(index) {
    if (index < 0 || index >= app.shown.length) return;
    const row = Math.floor(index / columns) * height + list.offsetTop;
    const bar = page.querySelector("header").offsetHeight;
    if (row < window.scrollY + bar) window.scrollTo(0, row - bar - GAP);
    else if (row + height > window.scrollY + window.innerHeight) window.scrollTo(0, row + height - window.innerHeight);
    draw();
    cards.get(index)?.firstChild.focus({ preventScroll: true });
  }

  const resized = new ResizeObserver(measure);
  window.addEventListener("scroll", draw, { passive: true });
  head();
  filter();
  resized.observe(list);
  window.scrollTo(0, app.scroll);
  draw();
  document.title = `Review ${app.overview.output}`;
  if (app.last) focus(app.shown.findIndex((picture) => picture.name === app.last));

  return {
    leave() { window.removeEventListener("scroll", draw); resized.disconnect(); },
    refresh() { head(); filter(); },
    key(event) {
      if (event.target === search) {
        if (event.key === "Escape") { search.value = app.search = ""; filter(); search.blur(); }
        return true;
      }
      const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
      const at = Number(document.activeElement?.dataset?.index ?? -1);
      if (event.key === "/") search.focus();
      else if (event.key in steps) focus(at < 0 ? 0 : at + steps[event.key]);
      else return false;
      return true;
    },
  };
}
