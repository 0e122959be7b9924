// One picture, large: moving through the results, looking closer, what is known of it, why it was found.

import { writable } from "./about.js";
import { original } from "./api.js";
import { detailsOf } from "./details.js";
import { h, icon, iconButton } from "./dom.js";
import { judge, judged } from "./feedback.js";
import { writing } from "./keys.js";
import { recall, remember } from "./kept.js";
import { say } from "./notes.js";
import { NOTHING, back, go, onChange, state } from "./router.js";
import { Stage } from "./stage.js";
import { similarStrip } from "./strip.js";
import { whyOf } from "./why.js";

/** A control whose sign alone would not tell what it does: with a word below the sign. */
function worded(word, control) {
  control.classList.add("worded");
  control.append(h("span", { "aria-hidden": "true" }, word));
  return control;
}

/** `around()` gives `{list, good, total, done, more()}` of the present view; `left(id)` takes a picture out of it. */
export function startViewer({ around, left }) {
  const stage = new Stage();
  const panel = h("aside", { class: "panel", "aria-label": "About this picture", tabindex: "-1" });
  const place = h("p", { class: "place" });
  const buttons = {
    previous: iconButton("left", "The one before (←)", () => step(-1), { class: "icon side before" }),
    next: iconButton("right", "The next one (→)", () => step(1), { class: "icon side next" }),
    good: worded("Like this", iconButton("good", "More like this (m)", () => keys.m())),
    not: worded("Not this", iconButton("not", "Not this (x)", () => keys.x())),
    why: worded("Why", iconButton("why", "Why it was found (w)", () => keys.w(), { "aria-pressed": "false" })),
    similar: worded("Similar", iconButton("similar", "Similar pictures (s)", () => keys.s())),
    zoom: worded("Closer", iconButton("zoom", "Look closer (z)", () => keys.z(), { "aria-pressed": "false" })),
    info: worded("About", iconButton("info", "About this picture (i)", () => keys.i(), { "aria-pressed": "false" })),
  };
  const save = worded("Save", h("a", { class: "icon", "aria-label": "Save the file", title: "Save the file", download: "" }, icon("save")));
  const dialog = h("dialog", { class: "viewer", "aria-label": "Picture", tabindex: "-1" },
    h("div", { class: "bar" },
      iconButton("close", "Close (Esc)", close), place),
    h("div", { class: "actions" }, buttons.good, buttons.not, buttons.why, buttons.similar, buttons.zoom, save, buttons.info),
    h("div", { class: "between" },
      h("div", { class: "stage-place" }, stage.element, buttons.previous, buttons.next),
      panel),
    h("p", { class: "unseen", role: "status", "aria-live": "polite", "data-live": true }));
  document.body.append(dialog);
  stage.onswipe = (by) => step(by);
  stage.onzoom = (on) => buttons.zoom.setAttribute("aria-pressed", String(on));

  let shown = null;
  let at = -1;

  function close() {
    back({ open: null });
  }

  async function step(by) {
    const here = around();
    if (!here) return;
    let { list } = here;
    let target = position(list) + by;
    if (target >= list.length && by > 0) {
      list = await here.more().catch((problem) => { say(problem.message); return null; }) ?? list;
      target = position(list) + by;
    }
    if (list[target]) go({ open: list[target].id }, { replace: true });
    else say(by > 0 ? "That was the last one." : "That was the first one.");
  }

  /** Where the open picture is in a list; one that came from elsewhere keeps the place of the last. */
  const position = (list) => {
    const found = list.findIndex((item) => item.id === shown);
    return found < 0 ? at : found;
  };

  const keys = {
    s: () => go({ ...NOTHING, like: shown }),
    m: () => judge(shown, true),
    x: async () => {
      const id = shown;
      const { list } = around() ?? { list: [] };
      const beside = list[position(list) + 1] ?? list[position(list) - 1];
      if (!(await judge(id, false, { leave: () => left(id) })) || shown !== id) return;
      go({ open: beside?.id ?? null }, { replace: true });
    },
    w: () => judged(state()) && why(!stage.why),
    z: () => stage.zoom(!stage.zoomed),
    i: () => info(recall("panel") === "no"),
    ArrowLeft: () => step(-1),
    ArrowRight: () => step(1),
  };

  function why(on) {
    stage.showWhy(on ? state().q : null).catch((problem) => {
      buttons.why.setAttribute("aria-pressed", "false");
      say(problem.message);
    });
    buttons.why.setAttribute("aria-pressed", String(on));
    panel.querySelector(".why")?.remove();
    if (!on) return;
    panel.prepend(whyOf(shown, state().q));
    panel.scrollTop = 0;
  }

  function info(on) {
    remember("panel", on ? "yes" : "no");
    dialog.classList.toggle("alone", !on);
    buttons.info.setAttribute("aria-pressed", String(on));
  }

  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    if (stage.zoomed) stage.zoom(false);
    else close();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || writing(event)) return;
    if (stage.zoomed && event.key.startsWith("Arrow")) return;
    if (!Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });

  function show(now) {
    if (!now.open) {
      shown = null;
      if (dialog.open) dialog.close();
      stage.clear();
      return;
    }
    for (const name of ["good", "not", "why"]) buttons[name].hidden = !judged(now) || (name !== "why" && !writable());
    if (!dialog.open) {
      dialog.showModal();
      dialog.focus();
      info(recall("panel") !== "no");
    }
    if (shown === now.open) return;
    shown = now.open;
    why(false);
    open();
  }

  /** Where the picture is among the others, which may be known only later. */
  function showPlace() {
    const { list, total, good, done } = around() ?? { list: [], total: 0, good: 0, done: true };
    at = position(list);
    buttons.previous.hidden = at <= 0;
    buttons.next.hidden = at < 0 || (at === list.length - 1 && done && list.length >= total);
    place.textContent = at < 0 ? "" : `${at + 1} of ${at < good ? good : total}${done ? "" : "+"}`;
  }

  async function open() {
    const id = shown;
    const list = around()?.list ?? [];
    const item = list.find((one) => one.id === id) ?? null;
    save.href = original(id, { download: true });
    showPlace();
    stage.show(id, item, [list[at + 1], list[at - 1]].filter(Boolean));
    panel.replaceChildren();
    panel.scrollTop = 0;
    try {
      const details = await detailsOf(id);
      if (shown !== id) return;
      stage.known(details);
      dialog.setAttribute("aria-label", details.title || details.name);
      say([place.textContent, details.alt || details.name].filter(Boolean).join(". "));
      const why = panel.querySelector(".why") ?? "";
      panel.replaceChildren(why, ...details.parts({ match: item?.match ?? null }), similarStrip(id));
    } catch (problem) {
      if (shown === id) panel.replaceChildren(h("p", { class: "trouble", role: "alert" }, problem.message));
    }
  }

  document.addEventListener("listed", () => { if (shown) showPlace(); });
  onChange(show);
  show(state());
}
