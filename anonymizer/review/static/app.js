// Which view is shown, and when what it shows is out of date.

import { el, get, say } from "./dom.js";
import { showGrid } from "./grid.js";
import { showPicture } from "./picture.js";

// Milliseconds between two looks at whether a run or another reviewer wrote anything.
const PATIENCE = 3000;

const app = { overview: null, shown: [], filter: "all", search: "", scroll: 0, view: null, route };
const page = document.getElementById("page");

async function load() {
  app.overview = await get("api/overview");
}

export function route(place) {
  if (location.hash === place) show();
  else location.hash = place;
}

let turn = 0;

async function show() {
  // Keys that are pressed while a picture is on its way are for neither picture.
  const mine = ++turn;
  app.view?.leave?.();
  app.view = null;
  if (document.getElementById("status").className === "wrong") say("");
  try {
    const name = location.hash.startsWith("#/picture/") ? decodeURIComponent(location.hash.slice(10)) : null;
    const picture = name === null ? null : await get("api/picture", { name });
    if (mine === turn) app.view = picture === null ? showGrid(app, page) : showPicture(app, page, picture);
  } catch (error) {
    say(error.message, true);
    if (location.hash.startsWith("#/picture/")) location.hash = "#/";
  }
}

async function watch() {
  if (document.visibilityState === "visible" && app.overview) {
    try {
      const { version } = await get("api/version");
      if (version !== app.overview.version) {
        await load();
        await app.view?.refresh?.();
      }
      if (document.body.dataset.lost) {
        delete document.body.dataset.lost;
        say("");
      }
    } catch (error) {
      document.body.dataset.lost = "yes";
      say(error instanceof TypeError ? "The review has ended; start it again." : error.message, true);
    }
  }
  setTimeout(watch, PATIENCE);
}

app.reload = load;

// Single keys can be turned off: speech input and some aids press them by accident.
export function shortcuts() {
  return localStorage.getItem("keys") !== "off";
}

const KEYS = [
  ["→  ←", "next, previous picture"],
  ["↓  ↑", "next, previous instance"],
  ["A", "accept and sign"],
  ["R", "reject"],
  ["M", "mark what was missed; B box, P polygon, 1 to 5 class"],
  ["X", "the chosen instance is a false find"],
  ["D", "draw the chosen instance again"],
  ["F", "fill the chosen instance"],
  ["C", "compare with the original"],
  ["O", "outlines on or off"],
  ["+  −  0", "larger, smaller, whole picture"],
  ["Esc", "back"],
  ["?", "this list"],
];

function help() {
  const dialog = document.getElementById("keys");
  const box = el("input", { type: "checkbox", onchange: () => localStorage.setItem("keys", box.checked ? "on" : "off") });
  box.checked = shortcuts();
  dialog.replaceChildren(
    el("h2", { id: "keys-title" }, "Keys"),
    el("dl", {}, ...KEYS.flatMap(([key, text]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, text)])),
    el("label", { class: "check" }, box, "Single letters are shortcuts"),
    el("form", { method: "dialog" }, el("button", { autofocus: true }, "Close")),
  );
  dialog.showModal();
}

app.help = help;

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const typing = event.target.matches("input:not([type=range]):not([type=radio]):not([type=checkbox]), textarea");
  if (typing && event.key !== "Escape") return;
  if (event.key.length === 1 && !shortcuts()) return;
  if (event.key === "?") help();
  else if (!app.view?.key?.(event)) return;
  event.preventDefault();
});

window.addEventListener("hashchange", show);
await load();
await show();
setTimeout(watch, PATIENCE);
