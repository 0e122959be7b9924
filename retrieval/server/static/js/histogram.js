// How many pictures are from each stretch of time: a bar each, which is a link to that stretch.

import { h } from "./dom.js";
import { addressOf, go, state } from "./router.js";
import { between, firstDay, said, unitOf } from "./spans.js";
import { number, pictures } from "./words.js";

const SHORT = new Intl.DateTimeFormat(navigator.language || "en", { month: "short", timeZone: "UTC" });
const WEEKDAY = new Intl.DateTimeFormat(navigator.language || "en", { weekday: "short", timeZone: "UTC" });
const STEPS = { ArrowLeft: -1, ArrowRight: 1 };

/** What a bar says. */
function toldBar({ span, images, by_file }) {
  const files = by_file === 0 ? "" : by_file === images
    ? `, dated by ${images === 1 ? "its file" : "their files"} alone`
    : `, ${number(by_file)} of them dated by ${by_file === 1 ? "its file" : "their files"} alone`;
  return `${said(span)}, ${pictures(images)}${files}`;
}

/** The chart of `spans`, in order; `chosen` is what is shown below where that is less than all of them. */
export function histogram(spans, { chosen = null, label }) {
  const most = Math.max(1, ...spans.map((one) => one.images));
  const bars = [];
  const items = spans.map((one, place) => {
    const column = h("span", { class: "column", "aria-hidden": "true" });
    if (one.images) {
      column.style.height = `${(one.images / most) * 100}%`;
      const files = h("i");
      files.style.height = `${(one.by_file / one.images) * 100}%`;
      if (one.by_file) column.append(files);
    }
    const parts = [h("span", { class: "room", "aria-hidden": "true" }, column), h("span", { class: "tick", "aria-hidden": "true" }, ...tick(one.span, spans[place - 1]?.span))];
    if (!one.images) return h("li", { class: "none" }, parts);
    const here = chosen !== null && firstDay(one.span) >= chosen.from && firstDay(one.span) < chosen.to;
    const bar = h("a", {
      href: addressOf({ filters: between(state().filters, one.span), open: null }),
      class: chosen && !here ? "aside" : null, "aria-label": toldBar(one), "aria-current": here ? "true" : null,
      "data-span": one.span, tabindex: "-1", draggable: "false",
    }, h("b", { "aria-hidden": "true" }, number(one.images)), parts);
    bars.push(bar);
    return h("li", {}, bar);
  });
  const unit = spans.length ? unitOf(spans[0].span) : "year";
  const list = h("ol", { class: `bars by-${unit}`, role: "list" }, items);
  const chart = h("div", { class: "chart", role: "group", "aria-label": label }, list);
  (bars.find((bar) => bar.hasAttribute("aria-current")) ?? bars.at(-1))?.setAttribute("tabindex", "0");
  startTaking(list, bars);
  return chart;
}

/** What stands below a bar; where a larger unit begins, that as well. */
function tick(span, before) {
  const time = new Date(firstDay(span));
  const above = (length) => !before || before.slice(0, length) !== span.slice(0, length);
  if (span.length === 4) return [span];
  if (span.length === 7) return [SHORT.format(time), above(4) && h("small", {}, span.slice(0, 4))].filter(Boolean);
  return [String(Number(span.slice(8))), h("small", {}, above(7) ? SHORT.format(time) : WEEKDAY.format(time).slice(0, 2))];
}

/** Arrows move from bar to bar; with Shift, and by dragging, several are taken at once. */
function startTaking(list, bars) {
  let from = null;
  let over = null;
  let dragged = false;

  const show = () => {
    const [low, high] = [bars.indexOf(from), bars.indexOf(over)].sort((one, other) => one - other);
    bars.forEach((bar, place) => bar.classList.toggle("taken", low >= 0 && low !== high && place >= low && place <= high));
  };
  const leave = () => {
    from = over = null;
    show();
  };
  const take = () => {
    const [first, last] = [from, over].sort((one, other) => bars.indexOf(one) - bars.indexOf(other));
    const span = [first.dataset.span, last.dataset.span];
    leave();
    go({ filters: between(state().filters, ...span), open: null });
  };
  const move = (bar) => {
    for (const other of bars) other.tabIndex = other === bar ? 0 : -1;
    bar.focus({ preventScroll: true });
    bar.scrollIntoView({ block: "nearest", inline: "nearest" });
  };

  list.addEventListener("keydown", (event) => {
    const bar = event.target.closest("a");
    if (!bar || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" && from && from !== over) {
      event.preventDefault();
      take();
      return;
    }
    if (event.key === "Escape" && from) {
      event.preventDefault();
      leave();
      return;
    }
    const place = bars.indexOf(bar);
    const next = event.key === "Home" ? bars[0] : event.key === "End" ? bars.at(-1) : bars[place + STEPS[event.key]];
    if (!(event.key in STEPS) && event.key !== "Home" && event.key !== "End") return;
    event.preventDefault();
    if (!next) return;
    if (event.shiftKey) {
      from ??= bar;
      over = next;
    } else from = over = null;
    show();
    move(next);
  });

  list.addEventListener("pointerdown", (event) => {
    dragged = false;
    if (event.pointerType === "touch" || event.button || event.shiftKey) return;
    from = over = event.target.closest("a");
  });
  list.addEventListener("pointermove", (event) => {
    const bar = event.buttons & 1 ? event.target.closest("a") : null;
    if (!from || !bar || bar === over) return;
    over = bar;
    dragged ||= over !== from;
    show();
  });
  const end = () => {
    if (from && over && from !== over) take();
    else leave();
  };
  const stop = new AbortController();
  addEventListener("pointerup", () => {
    if (!list.isConnected) stop.abort();
    else if (from) end();
  }, { signal: stop.signal });
  // What ends a drag is no click on the bar where it ended.
  list.addEventListener("click", (event) => {
    if (dragged) event.preventDefault();
    dragged = false;
  });
}
