// What is said besides: to a screen reader, and in a line at the bottom.

import { h } from "./dom.js";

const inFront = () => [...document.querySelectorAll("dialog[open]")].at(-1) ?? null;
const SECONDS = 7;

/** Say it to whoever listens; a dialog has a place of its own for it, since all else is hushed behind it. */
export function say(text) {
  const place = inFront()?.querySelector("[data-live]") ?? document.querySelector("#live");
  place.textContent = "";
  // A change that comes at once with the clearing is not read out.
  requestAnimationFrame(() => { place.textContent = text; });
}

let shown = null;

/** Do what the line at the bottom offers, while it is there. */
export function undoShown() {
  if (shown?.isConnected) shown.querySelector("button")?.click();
}

/** A line at the bottom for a while, with one thing to do about it. */
export function toast(text, { action = null, onaction = null } = {}) {
  shown?.remove();
  const line = h("div", { class: "toasts" }, h("div", { class: "toast" }, h("span", {}, text),
    action && h("button", { type: "button", onclick: () => { line.remove(); onaction(); } }, action)));
  shown = line;
  (inFront() ?? document.body).append(line);
  say(text);
  let timer = 0;
  const wait = () => { timer = setTimeout(() => line.remove(), SECONDS * 1000); };
  for (const stop of ["pointerenter", "focusin"]) line.addEventListener(stop, () => clearTimeout(timer));
  for (const on of ["pointerleave", "focusout"]) line.addEventListener(on, wait);
  wait();
}
