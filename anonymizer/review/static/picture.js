// One picture: what was done to it, and what the reviewer says.

import { STATES, done, el, get, post, say, words } from "./dom.js";
import { makeMarking } from "./marks.js";
import { makeStage } from "./stage.js";

const TOLD = {
  missed: (line) => `${words(line.label)} was missed`,
  false_find: (line) => `${words(line.label)} is a false find`,
  redraw: (line) => `${words(line.label)} to be drawn again`,
  fill: (line) => `${words(line.label)} to be filled`,
  reject: (line) => `Rejected${line.comment ? `: ${line.comment}` : ""}`,
  accept: () => "Accepted and signed",
};
const WISHES = [["false_find", "False find", "X"], ["redraw", "Draw again", "D"], ["fill", "Fill", "F"]];
const chosenMark = {};
const kept = { compare: false, outlines: true };

export function showPicture(app, page, picture) {
  const { name } = picture;
  let marking = null;
  let last = Promise.resolve();
  let left = false;
  app.last = name;
  if (!app.shown.some((other) => other.name === name)) app.shown = app.overview.pictures;
  const index = app.shown.findIndex((other) => other.name === name);
  const stage = makeStage({ choose });
  const side = el("aside", { "aria-label": "What was done, and what you decide" });
  const toggles = el("div", { class: "toggles" });
  const foot = el("div", { class: "foot" });
  page.className = "single";
  page.replaceChildren(
    el("header", {},
      el("a", { class: "back", href: "#/" }, "All pictures"),
      el("h1", { title: name, tabindex: -1 }, name),
      toggles,
      el("nav", { "aria-label": "Pictures" },
        el("button", { class: "quiet", onclick: () => go(-1), disabled: index <= 0, "aria-label": "Previous picture" }, "←"),
        el("span", { class: "place" }, `${(index + 1).toLocaleString("en")} of ${app.shown.length.toLocaleString("en")}`),
        el("button", { class: "quiet", onclick: () => go(1), disabled: index >= app.shown.length - 1, "aria-label": "Next picture" }, "→"))),
    el("div", { class: "middle" }, stage.node, foot), side,
  );

  function go(step) {
    const other = app.shown[index + step];
    if (other) app.route(`#/picture/${encodeURIComponent(other.name)}`);
  }

  function toggle(text, key, on, change, usable = true) {
    return el("button", { class: "quiet toggle", "aria-pressed": String(on), onclick: change, disabled: !usable }, text, el("kbd", {}, key));
  }

  function compare() {
    if (!picture.original || picture.status !== "released") {
      say("The original is not at hand; start the review with --input.");
      return;
    }
    kept.compare = !kept.compare;
    stage.compare(kept.compare);
    bar();
    if (kept.compare) stage.slider.focus();
  }

  function outlines() {
    if (kept.compare && picture.original && picture.status === "released") return;
    kept.outlines = !kept.outlines;
    stage.outlines(kept.outlines);
    bar();
  }

  function bar() {
    const comparable = picture.original && picture.status === "released";
    toggles.replaceChildren(
      toggle("Compare", "C", kept.compare && comparable, compare, comparable),
      // Beside the original, outlines of the result would stand on what is not there.
      toggle("Outlines", "O", kept.outlines && !(kept.compare && comparable), outlines, !(kept.compare && comparable)),
      el("button", { class: "quiet", onclick: () => enlarge(-1), "aria-label": "Smaller" }, "−"),
      el("button", { class: "quiet", onclick: () => enlarge(1), "aria-label": "Larger" }, "+"),
      el("button", { class: "quiet", onclick: app.help }, "Keys", el("kbd", {}, "?")));
  }

  function enlarge(by) {
    stage.zoom(by);
    marking?.draw();
  }

  function choose(id) {
    if (marking) return;
    stage.choose(id === stage.state.chosen ? null : id);
    panel();
    side.querySelector(`[data-id="${stage.state.chosen}"]`)?.scrollIntoView({ block: "nearest" });
  }

  function step(by) {
    const ids = picture.instances.map((instance) => instance.id);
    if (!ids.length) return;
    const at = ids.indexOf(stage.state.chosen);
    stage.choose(ids[at < 0 ? (by > 0 ? 0 : ids.length - 1) : (at + by + ids.length) % ids.length]);
    panel();
    side.querySelector(`[data-id="${stage.state.chosen}"]`)?.focus();
  }

  // One after the other: whoever is quick loses none, and each is about the picture as the one before left it.
  function decide(decision, fields = {}, told = "") {
    last = last.then(() => send(decision, fields, told));
    return last;
  }

  async function send(decision, fields, told) {
    if (decision === "accept" && picture.signed) return false;
    try {
      picture = await post("api/decisions", { name, decision, seen: picture.seen, ...fields });
      await app.reload();
      say(told);
      return true;
    } catch (error) {
      say(error.message, true);
      return false;
    } finally {
      draw();
      // What was pressed may be gone.
      if (document.activeElement === document.body) page.querySelector("h1").focus({ preventScroll: true });
    }
  }

  async function accept() {
    if (picture.state === "open") return say("Decisions wait for a run; it can be signed after that.", true);
    if (picture.status !== "released") return say("The run withheld it, so there is nothing to sign.", true);
    if (!stage.loaded()) return say("The picture is not here yet.", true);
    if (await decide("accept", {}, `${name} is signed.`) && !left) onward();
  }

  // The next one that is still to be reviewed, in the order of the overview; from its beginning after the last.
  function onward() {
    const states = new Map(app.overview.pictures.map((other) => [other.name, other.state]));
    const order = [...app.shown.slice(index + 1), ...app.shown.slice(0, index)];
    const next = order.find((other) => states.get(other.name) === "unsigned");
    if (next) app.route(`#/picture/${encodeURIComponent(next.name)}`);
  }

  function reject() {
    const reason = el("input", { type: "text", maxlength: 500, "aria-label": "Reason, if you like", placeholder: "Reason, if you like" });
    const dialog = el("dialog", { class: "ask", "aria-labelledby": "ask-title" },
      el("h2", { id: "ask-title" }, "Reject this picture?"),
      el("p", {}, "It leaves the released pictures at once. You can undo this."),
      el("form", { method: "dialog", onsubmit: () => decide("reject", { comment: reason.value }, "Rejected; it is no longer released.") },
        reason, el("div", { class: "row" }, el("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), el("button", { class: "danger" }, "Reject"))));
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
    reason.focus();
  }

  const visible = () => picture.status === "released" || picture.original;

  function mark() {
    if (marking || !visible()) return;
    stage.choose(null);
    marking = makeMarking(stage, picture, chosenMark, {
      cancel() { marking.end(); marking = null; draw(); },
      async save(shape, choice) {
        Object.assign(chosenMark, choice);
        if (await decide("missed", shape, "Marked. The picture is held back until a run has redone it.")) {
          marking?.end(); marking = null; draw();
        }
      },
    });
    actions();
  }

  function wish(decision) {
    const instance = picture.instances.find((other) => other.id === stage.state.chosen);
    if (!instance) return say("Choose an instance first, with ↓ or a click.");
    return decide(decision, { instance: instance.id }, "Noted. The picture is held back until a run has redone it.");
  }

  function summary() {
    const open = picture.decisions.filter((line) => !line.undone && line.decision !== "accept").length;
    const reasons = {
      open: open ? "Held back. Run the same command again to follow your decisions." : "Its decisions were undone. Run the same command again.",
      withheld: picture.reason || "The run did not release it.",
      signed: `Signed by ${picture.signed}.`,
      unsigned: picture.why.join(", ").replace(/^./, (letter) => letter.toUpperCase()) + ".",
    };
    return el("section", { class: `summary ${picture.state}` }, el("h2", {}, STATES[picture.state]), el("p", {}, reasons[picture.state]));
  }

  function row(instance) {
    const chosen = instance.id === stage.state.chosen;
    return el("li", { class: chosen ? "chosen" : "" },
      el("button", { class: `instance ${instance.label}`, "data-id": instance.id, "aria-expanded": String(chosen), onclick: () => { choose(instance.id); side.querySelector(`[data-id="${instance.id}"]`)?.focus(); } },
        el("span", { class: "swatch" }), el("span", {}, words(instance.label)),
        el("span", { class: "fact" }, done(instance) + (instance.second_pass ? ", second pass" : "")),
        el("span", { class: "score" }, instance.source.startsWith("given") ? "given" : instance.score.toFixed(2))),
      chosen ? el("div", { class: "wishes" }, ...WISHES.map(([key, text, letter]) =>
        el("button", { onclick: () => wish(key), disabled: picture.status !== "released" }, text, el("kbd", {}, letter)))) : null);
  }

  function line(decision) {
    const when = new Date(decision.time);
    return el("li", { class: decision.undone ? "undone" : "" },
      el("div", {},
        el("span", { class: "told" }, TOLD[decision.decision](decision)),
        el("span", { class: "by" }, `${decision.reviewer}, `, el("time", { datetime: decision.time }, when.toLocaleString([], { dateStyle: "medium", timeStyle: "short" })))),
      decision.undone ? null : el("button", { class: "quiet", onclick: () => decide("undo", { of: decision.number }, "Undone.") , "aria-label": `Undo: ${TOLD[decision.decision](decision)}` }, "Undo"));
  }

  function panel() {
    const back = document.activeElement?.dataset?.id;
    const failed = picture.failed.map((verdict) => el("li", {}, verdict.check.replaceAll("_", " ")));
    side.replaceChildren(
      summary(),
      failed.length ? el("section", {}, el("h2", {}, "Checks that failed"), el("ul", { class: "plain" }, ...failed)) : "",
      // What was decided stands before what was found, of which there may be dozens.
      picture.decisions.length ? el("section", {}, el("h2", {}, "Decisions"), el("ol", { class: "decisions" }, ...picture.decisions.map(line))) : "",
      picture.instances.length ? el("section", {}, el("h2", {}, "In this picture"), el("ul", { class: "instances" }, ...picture.instances.map(row))) : "");
    if (back) side.querySelector(`[data-id="${back}"]`)?.focus();
  }

  function actions() {
    if (marking) { foot.replaceChildren(marking.bar); return; }
    foot.replaceChildren(el("div", { class: "actions" },
      el("button", { class: "large", onclick: mark, disabled: !visible() }, "Mark what was missed", el("kbd", {}, "M")),
      el("span", { class: "space" }),
      el("button", { class: "large", onclick: reject }, "Reject", el("kbd", {}, "R")),
      el("button", { class: "large primary", onclick: accept, disabled: picture.state !== "unsigned" }, picture.state === "signed" ? "Signed" : "Accept and sign", el("kbd", {}, "A"))));
  }

  function draw() {
    stage.show(picture);
    marking?.draw();
    bar();
    panel();
    actions();
  }

  stage.state.compare = kept.compare;
  stage.state.outlines = kept.outlines;
  draw();
  document.title = `${name} – Review`;
  page.querySelector("h1").focus({ preventScroll: true });

  return {
    leave() { left = true; marking?.end(); },
    async refresh() {
      picture = await get("api/picture", { name });
      if (!picture.instances.some((instance) => instance.id === stage.state.chosen)) stage.state.chosen = null;
      draw();
    },
    key(event) {
      if (marking && marking.key(event)) return true;
      if (event.target === stage.slider && event.key.startsWith("Arrow")) return false;
      const keys = {
        ArrowRight: () => go(1), ArrowLeft: () => go(-1), ArrowDown: () => step(1), ArrowUp: () => step(-1),
        n: () => go(1), p: () => go(-1), a: accept, r: reject, m: mark, c: compare, o: outlines,
        x: () => wish("false_find"), d: () => wish("redraw"), f: () => wish("fill"),
        "+": () => enlarge(1), "=": () => enlarge(1), "-": () => enlarge(-1), 0: () => enlarge(0),
        Escape: () => app.route("#/"),
      };
      const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!act) return false;
      act();
      return true;
    },
  };
}
