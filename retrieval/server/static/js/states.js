// What is there when there are no pictures to show: waiting, nothing, something wrong.

import { get } from "./api.js";
import { h, icon } from "./dom.js";
import { say } from "./notes.js";

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
  return h("div", { class: "state", role: "alert" },
    h("h2", {}, refused ? "This cannot be searched for" : "That did not work"),
    h("p", {}, problem.message), marked,
    h("div", { class: "buttons" }, h("button", {
      type: "button", class: "button main-one", onclick: refused ? () => document.querySelector("#q").focus() : retry,
    }, refused ? "Say it differently" : "Try again")));
}

export const nothingLike = (now) => h("p", { class: "remark" },
  `No good match${now.q && !now.pictures.length ? ` for “${now.q}”` : ""}. These come closest.`);

export function nothingPasses(clear) {
  return h("div", { class: "state" },
    h("h2", {}, "No picture passes these filters"),
    h("p", {}, "Take one of them away, or all of them."),
    h("div", { class: "buttons" }, h("button", { type: "button", class: "button main-one", onclick: clear }, "Without filters")));
}

/** An empty library says what to do, and when a folder of it is not there, that. */
export function emptyLibrary(again) {
  const command = "search index ~/Pictures";
  const sentence = h("p", {}, "Say where your pictures are. In a terminal:");
  const place = h("div", { class: "state" },
    h("h2", {}, "There are no pictures here yet"), sentence,
    h("pre", {}, h("code", {}, command),
      h("button", { type: "button", class: "icon", "aria-label": "Copy the command", title: "Copy", onclick: () => copy(command) }, icon("copy"))),
    h("p", {}, "It reads them where they are, and changes and sends nothing."),
    h("div", { class: "buttons" }, h("button", { type: "button", class: "button main-one", onclick: again }, "Look again")));
  get("/status").then(({ roots }) => {
    const gone = roots.filter((root) => !root.online);
    if (!gone.length) return;
    place.querySelector("h2").textContent = "The pictures are not within reach";
    sentence.textContent = `${gone.map((root) => root.path).join(", ")} is not there now. Connect its disk, then look again. Or index another folder:`;
  }, (problem) => { sentence.textContent = problem.message; });
  return place;
}

async function copy(text) {
  await navigator.clipboard.writeText(text).then(() => say("Copied."), () => say("This browser does not let pages copy."));
}
