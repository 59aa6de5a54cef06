// The picture, as large as there is room, with what was found drawn on it; before and after beside a line one moves.

import { address, done, el, words } from "./dom.js";

const ZOOMS = [1, 1.5, 2, 3, 4, 6, 8];

export function makeStage(hooks) {
  const after = el("img", { class: "after", alt: "" });
  const before = el("img", { class: "before", alt: "" });
  const drawing = el("svg", { class: "drawing", preserveAspectRatio: "none", "aria-hidden": "true" });
  const slider = el("input", { type: "range", class: "slider", min: 0, max: 100, step: 0.5, value: 50, "aria-label": "Original left of the line, result right of it" });
  const tags = el("div", { class: "tags", "aria-hidden": "true" }, el("span", {}, "Original"), el("span", {}, "Result"));
  const frame = el("div", { class: "frame" }, after, before, drawing, slider, tags);
  const node = el("div", { class: "stage" }, frame);
  const state = { picture: null, chosen: null, compare: false, outlines: true, zoom: 0, extra: null };

  function wipe() {
    before.style.clipPath = `inset(0 ${100 - slider.value}% 0 0)`;
  }
  slider.addEventListener("input", wipe);

  function load() {
    const { name, seen, status, original } = state.picture;
    const full = ZOOMS[state.zoom] > 1;
    const released = status === "released";
    const sources = [
      [after, released ? address("result", name, seen, full) : original ? address("original", name, seen, full) : null],
      [before, state.compare && released && original ? address("original", name, seen, full) : null],
    ];
    for (const [image, source] of sources) {
      if (source === null) image.removeAttribute("src");
      else if (image.getAttribute("src") !== source) image.src = source;
    }
    after.alt = released ? `Result of ${name}` : original ? `Original of ${name}, which was not released` : "";
    before.alt = before.hasAttribute("src") ? `Original of ${name}` : "";
    frame.classList.toggle("comparing", state.compare && released && original);
    frame.classList.toggle("bare", !released && !original);
  }

  function size() {
    const [height, width] = state.picture.size ?? [2, 3];
    return { height, width };
  }

  function place() {
    if (!state.picture || !node.clientWidth) return;
    const { height, width } = size();
    const room = getComputedStyle(node);
    const wide = node.clientWidth - parseFloat(room.paddingLeft) - parseFloat(room.paddingRight);
    const high = node.clientHeight - parseFloat(room.paddingTop) - parseFloat(room.paddingBottom);
    const scale = Math.min(wide / width, high / height) * ZOOMS[state.zoom];
    frame.style.inlineSize = `${Math.floor(width * scale)}px`;
    frame.style.blockSize = `${Math.floor(height * scale)}px`;
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    state.scale = scale;
  }

  function draw() {
    const shown = [];
    const { width } = size();
    const unit = 1 / (state.scale ?? 1);
    if (state.outlines) {
      for (const instance of state.picture.instances) {
        const [x1, y1, x2, y2] = instance.box;
        const chosen = instance.id === state.chosen;
        const group = el("g", { class: `instance ${instance.label} ${done(instance)}${chosen ? " chosen" : ""}`, onclick: () => hooks.choose(instance.id) });
        const shape = { x: x1, y: y1, width: x2 - x1, height: y2 - y1, rx: 2 * unit };
        group.append(el("rect", { class: "halo", ...shape }), el("rect", { class: "line", ...shape }));
        if (chosen) {
          const text = `${words(instance.label)}, ${done(instance)}, ${instance.score.toFixed(2)}`;
          const long = (text.length * 6.9 + 14) * unit;
          const x = Math.max(Math.min(x1, width - long), 0);
          const y = y1 > 26 * unit ? y1 - 24 * unit : Math.min(y2 + 4 * unit, y1 + 4 * unit);
          group.append(
            el("rect", { class: "plate", x, y, width: long, height: 20 * unit, rx: 3 * unit }),
            el("text", { x: x + 7 * unit, y: y + 14 * unit, "font-size": 12 * unit }, text));
        }
        shown.push(group);
      }
    }
    for (const mark of state.picture.decisions.filter((line) => line.decision === "missed" && !line.undone)) {
      shown.push(el("g", { class: `mark ${mark.label}` }, ...["halo", "line"].map((kind) => shapeOf(mark, kind))));
    }
    drawing.replaceChildren(...shown, ...(state.extra ? [state.extra] : []));
  }

  new ResizeObserver(() => { place(); if (state.picture) draw(); }).observe(node);

  return {
    node, frame, drawing, state,
    show(picture) { state.picture = picture; load(); place(); draw(); wipe(); },
    choose(id) { state.chosen = id; draw(); },
    compare(on) { state.compare = on; load(); wipe(); },
    outlines(on) { state.outlines = on; draw(); },
    slider,
    // Nobody signs what was not shown.
    loaded: () => after.complete && after.naturalWidth > 0,
    zoom(step) {
      const at = [(node.scrollLeft + node.clientWidth / 2) / node.scrollWidth, (node.scrollTop + node.clientHeight / 2) / node.scrollHeight];
      state.zoom = step === 0 ? 0 : Math.max(0, Math.min(state.zoom + step, ZOOMS.length - 1));
      load(); place(); draw();
      node.scrollTo(at[0] * node.scrollWidth - node.clientWidth / 2, at[1] * node.scrollHeight - node.clientHeight / 2);
    },
    unit: () => 1 / state.scale,
    size,
  };
}

export function shapeOf(mark, kind) {
  if (mark.segmentation) return el("polygon", { class: kind, points: mark.segmentation[0].join(" ") });
  const [x, y, width, height] = mark.bbox;
  return el("rect", { class: kind, x, y, width, height });
}
