// What is there when there are no pictures to show: waiting, nothing, something wrong.

import { h } from "./dom.js";
import { any } from "./filters.js";
import { go, state } from "./router.js";

/** Where pictures will be. */
export function waiting({ few = false } = {}) {
  return h("div", { class: few ? "waiting few" : "waiting", "aria-hidden": "true" },
    Array.from({ length: few ? 6 : 24 }, () => h("span")));
}

/** What went wrong, with the place in the query where that is known. */
export function failed(problem, retry) {
  const { query, at } = problem;
  const marked = typeof query === "string" && Number.isInteger(at)
    ? h("p", {}, query.slice(0, at), h("mark", {}, query.slice(at, at + 1) || "…"), query.slice(at + 1))
    : null;
  const refused = problem.status >= 400 && problem.status < 500;
  const filtered = refused && any(state().filters);
  // Without words it was a filter that was refused, and that is where to put it right.
  const [mend, place] = filtered && !state().q ? ["Change the filters", "[popovertarget='narrow']"] : ["Say it differently", "#q"];
  return h("div", { class: "state", role: "alert" },
    h("h2", {}, refused ? "This cannot be searched for" : "That did not work"),
    h("p", {}, problem.message), marked,
    h("div", { class: "buttons" }, filtered && h("button", {
      type: "button", class: "button", onclick: () => go({ filters: { tag: [] }, open: null }),
    }, "Without filters"), h("button", {
      type: "button", class: "button main-one", onclick: refused ? () => toThe(place) : retry,
    }, refused ? mend : "Try again")));
}

function toThe(place) {
  const control = document.querySelector(place);
  control.focus();
  if (control.popoverTargetElement) control.click();
}

export const nothingLike = (now) => h("p", { class: "remark" },
  `No good match${now.q && !now.pictures.length ? ` for “${now.q}”` : ""}. These come closest.`);

export function nothingPasses(clear) {
  return h("div", { class: "state" },
    h("h2", {}, "No picture passes these filters"),
    h("p", {}, "Take one of them away, or all of them."),
    h("div", { class: "buttons" }, h("button", { type: "button", class: "button main-one", onclick: clear }, "Without filters")));
}

/** A library without pictures, where the pictures themselves are not what is shown. */
export const nothingHere = () => h("div", { class: "state" },
  h("h2", {}, "There are no pictures here yet"),
  h("div", { class: "buttons" }, h("a", { class: "button main-one", href: "/" }, "See how to add some")));
