// What every view uses: elements, requests, messages, words.

const SVG = new Set(["svg", "g", "rect", "polygon", "polyline", "circle", "text", "title", "line"]);

// Text is always set as text, so that no file name becomes markup.
export function el(tag, attributes = {}, ...children) {
  const node = SVG.has(tag) && tag !== "title"
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== undefined && child !== null && child !== false));
  return node;
}

async function answer(response) {
  const body = await response.json();
  if (!response.ok) throw new Error(body.error ?? response.statusText);
  return body;
}

export async function get(path, query = {}) {
  return answer(await fetch(`${path}?${new URLSearchParams(query)}`));
}

export async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return answer(await fetch(path, { method: "POST", headers, body: JSON.stringify(body) }));
}

// The version of the picture is part of the address, so that a picture made anew is asked for again.
export function address(kind, name, version, full = false) {
  return `${kind}?${new URLSearchParams({ name, of: version ?? "", ...(full ? { full: "" } : {}) })}`;
}

let timer = 0;

export function say(text, wrong = false) {
  const status = document.getElementById("status");
  clearTimeout(timer);
  status.textContent = text;
  status.className = wrong ? "wrong" : "";
  status.hidden = !text;
  // What went wrong stays until the next message.
  if (text && !wrong) timer = setTimeout(() => { status.hidden = true; }, 4000);
}

export const STATES = {
  unsigned: "To review",
  open: "Waits for a run",
  withheld: "Withheld",
  signed: "Signed",
};

export const CLASSES = {
  person: "Person",
  face: "Face",
  license_plate: "License plate",
  text: "Text",
  vehicle: "Vehicle",
};

export function words(label) {
  return CLASSES[label] ?? label;
}

export function done(instance) {
  return instance.action === "redrawn" ? "redrawn" : instance.method ?? "filled";
}
