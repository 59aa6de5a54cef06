// Marking what was missed: a box or a polygon, with pointer or keys, and its class.

import { el, words } from "./dom.js";
import { shapeOf } from "./stage.js";

// A box that is placed with keys begins with this share of the picture's height and moves by this share of it.
const BEGIN = 0.2;
const STEP = 0.01;
// Shapes smaller than this on the screen are slips of the hand, in CSS pixels.
const LEAST = 6;

export function makeMarking(stage, picture, last, hooks) {
  const { drawing } = stage;
  const state = { label: picture.classes.includes(last.label) ? last.label : picture.classes[0], shape: last.shape ?? "box", box: null, points: [], from: null, closed: false };
  const layer = el("g", { class: "new" });
  const hint = el("p", { class: "hint" });
  const save = el("button", { class: "primary", onclick: finish }, "Save mark");

  const choice = (name, values, value, pick) => el("fieldset", { class: "segments" },
    el("legend", {}, name),
    ...values.map(([key, text], index) => {
      const input = el("input", { type: "radio", name, value: key, onchange: () => pick(key) });
      input.checked = key === value;
      return el("label", {}, input, el("span", {}, text, name === "Class" ? el("kbd", {}, String(index + 1)) : el("kbd", {}, key === "box" ? "B" : "P")));
    }));

  const bar = el("div", { class: "marking", role: "group", "aria-label": "Mark what was missed" },
    choice("Class", picture.classes.map((name) => [name, words(name)]), state.label, (key) => { state.label = key; draw(); }),
    choice("Shape", [["box", "Box"], ["polygon", "Polygon"]], state.shape, (key) => { state.shape = key; clear(); }),
    hint, el("button", { onclick: hooks.cancel }, "Cancel"), save);

  function clear() {
    state.box = null; state.points = []; state.closed = false; state.from = null;
    draw();
  }

  function draw() {
    layer.setAttribute("class", `new ${state.label}`);
    const drawn = state.shape === "box" ? state.box && { bbox: state.box } : state.points.length > 1 && { segmentation: [state.points.flat()] };
    const parts = drawn ? [shapeOf(drawn, "halo"), shapeOf(drawn, "line")] : [];
    if (state.shape === "polygon") {
      parts.push(...state.points.map(([cx, cy]) => el("circle", { class: "point", cx, cy, r: 4 * stage.unit() })));
    }
    layer.replaceChildren(...parts);
    const ready = whole();
    save.disabled = !ready;
    hint.textContent = ready ? "Enter saves it."
      : state.shape === "box" ? "Draw a box, or move one with the arrow keys; Shift changes its size."
        : "Set the corners one by one; Backspace takes the last one back.";
  }

  function whole() {
    const least = LEAST * stage.unit();
    if (state.shape === "box") return state.box !== null && state.box[2] >= least && state.box[3] >= least;
    return state.points.length >= 3;
  }

  function at(event) {
    const frame = drawing.getBoundingClientRect();
    const { width, height } = stage.size();
    const x = ((event.clientX - frame.left) / frame.width) * width;
    const y = ((event.clientY - frame.top) / frame.height) * height;
    return [round(Math.min(Math.max(x, 0), width)), round(Math.min(Math.max(y, 0), height))];
  }

  const round = (value) => Math.round(value * 10) / 10;

  function down(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    if (state.shape === "polygon") { state.points.push(at(event)); draw(); return; }
    state.from = at(event);
    drawing.setPointerCapture(event.pointerId);
  }

  function move(event) {
    if (!state.from) return;
    const [x, y] = at(event);
    const [fx, fy] = state.from;
    state.box = [Math.min(x, fx), Math.min(y, fy), round(Math.abs(x - fx)), round(Math.abs(y - fy))];
    draw();
  }

  function up() { state.from = null; draw(); }

  function nudge(dx, dy, resize) {
    const { width, height } = stage.size();
    if (!state.box) {
      const high = height * BEGIN;
      state.box = [(width - high / 2) / 2, (height - high) / 2, high / 2, high];
    } else {
      let [x, y, w, h] = state.box;
      const step = height * STEP;
      if (resize) { w = Math.max(w + dx * step, step); h = Math.max(h + dy * step, step); }
      else { x += dx * step; y += dy * step; }
      w = Math.min(w, width); h = Math.min(h, height);
      state.box = [Math.min(Math.max(x, 0), width - w), Math.min(Math.max(y, 0), height - h), w, h];
    }
    state.box = state.box.map(round);
    draw();
  }

  function finish() {
    if (!whole()) return;
    const shape = state.shape === "box" ? { bbox: state.box } : { segmentation: [state.points.flat()] };
    hooks.save({ label: state.label, ...shape }, { label: state.label, shape: state.shape });
  }

  function pick(name, key) {
    const input = [...bar.querySelectorAll("input")].find((radio) => radio.name === name && radio.value === key);
    if (input) { input.checked = true; input.dispatchEvent(new Event("change")); }
  }

  drawing.addEventListener("pointerdown", down);
  drawing.addEventListener("pointermove", move);
  drawing.addEventListener("pointerup", up);
  stage.state.extra = layer;
  drawing.append(layer);
  stage.frame.classList.add("marked");
  draw();

  return {
    bar,
    // Corners keep their size on the screen when the picture is enlarged.
    draw,
    end() {
      drawing.removeEventListener("pointerdown", down);
      drawing.removeEventListener("pointermove", move);
      drawing.removeEventListener("pointerup", up);
      stage.state.extra = null;
      layer.remove(); bar.remove();
      stage.frame.classList.remove("marked");
    },
    key(event) {
      const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      const label = picture.classes[Number(event.key) - 1];
      if (event.key === "Escape") hooks.cancel();
      else if (event.key === "Enter" && !event.target.matches("button")) finish();
      else if (event.key === "Backspace" && state.points.length) { state.points.pop(); draw(); }
      else if (event.key in arrows && state.shape === "box") nudge(...arrows[event.key], event.shiftKey);
      else if (label) pick("Class", label);
      else if (event.key === "b" || event.key === "p") pick("Shape", event.key === "b" ? "box" : "polygon");
      else return ["a", "r", "m", "x", "d", "f", "c"].includes(event.key);
      return true;
    },
  };
}
