// How far a run of indexing is, and what came of it: in the header, and wherever it was begun.

import { h, svg } from "./dom.js";
import { cancelJob, job, lookForJobs, onJob, running } from "./jobs.js";
import { say, toast } from "./notes.js";
import { NOTHING, addressOf, go, onChange, state } from "./router.js";
import { number, pictures, remaining } from "./words.js";

const AT_WORK = { encode: "Reading the pictures", advance: "Reading the pictures", scan: "Looking through the folders" };
const ROUND = 2 * Math.PI * 8;

const saidOf = ({ step }) => AT_WORK[step] ?? (step?.startsWith("model") ? "Making the model ready" : "Beginning");
const shareOf = ({ done, total }) => (total && done ? Math.min(1, done / total) : null);

/** "120 of 300 · 32 a second · about 2 minutes left" */
function figuresOf({ done, total, images_per_second: rate, seconds_left: left }) {
  if (!total) return "";
  if (done === total) return `${number(total)} of ${number(total)} · nearly done`;
  return [
    `${number(done ?? 0)} of ${number(total)}`,
    rate && (rate < 10 ? `${number(Math.round(rate * 10) / 10)} a second` : `${number(Math.round(rate))} a second`),
    left !== null && left !== undefined && remaining(left),
  ].filter(Boolean).join(" · ");
}

/** What came of a run, in a sentence. */
function outcomeOf({ state: how, report, error }) {
  if (how === "failed") return error;
  if (!report) return "Stopped before anything was read.";
  const { added, updated, moved, missing, failed, unchanged } = report;
  const changed = [
    added && `${pictures(added)} added`, updated && `${number(updated)} updated`,
    moved && `${number(moved)} moved`, missing && `${number(missing)} missing`,
  ].filter(Boolean);
  const bad = failed ? ` ${failed === 1 ? "One file" : `${number(failed)} files`} could not be read.` : "";
  if (how === "cancelled") return `Stopped. ${changed.length ? `${changed.join(", ")}; that stays.` : "Nothing was changed."}${bad}`;
  if (changed.length) return `Done: ${changed.join(", ")}.${bad}`;
  return `${unchanged ? `Nothing new: ${unchanged === 1 ? "the one picture is" : `all ${pictures(unchanged)} are`} as before.` : "No pictures were found there."}${bad}`;
}

/** The path in two parts, so that where there is no room the name stays. */
export function pathOf(path) {
  const at = Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1;
  return [h("span", { class: "above" }, path.slice(0, at)), h("span", { class: "name" }, path.slice(at))];
}

/** A panel that follows the present run; `outcome` says whether it also tells of one that is over. */
export function progressPanel({ outcome = true } = {}) {
  const share = h("i");
  const bar = h("div", { class: "share", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": "Indexing" }, share);
  const title = h("h2");
  const figures = h("p", { class: "figures" });
  const reading = h("p", { class: "path" });
  const notes = h("ul", { class: "notes" });
  const stop = h("button", { type: "button", class: "button", onclick: () => {
    // It stays a button that can be pressed: what is taken away takes the focus with it.
    stop.textContent = "Stopping";
    cancelJob().catch((problem) => {
      stop.textContent = "Stop";
      toast(problem.message);
    });
  } }, "Stop");
  const head = h("div", { class: "head-line" }, title, stop);
  const element = h("section", { class: "progress", tabindex: "-1", "aria-label": "Indexing" }, head, bar, figures, reading, notes);
  let path = null;

  function show(now, before) {
    const over = now && now.state !== "running";
    element.hidden = !now || (over && !outcome);
    if (!now) return;
    const focused = element.contains(document.activeElement);
    element.classList.toggle("over", over);
    bar.hidden = stop.hidden = reading.hidden = over;
    // Which model was taken, and by which command another, is told where the library tells of its model.
    notes.replaceChildren(...now.notes.filter((note) => !note.startsWith("auto: ")).map((note) => h("li", {}, note)));
    if (over) {
      title.textContent = now.state === "failed" ? "That did not work" : "The last look";
      figures.textContent = outcomeOf(now);
      if (focused) element.focus({ preventScroll: true });
      if (before?.state === "running") say(outcomeOf(now));
      return;
    }
    if (before?.id !== now.id) stop.textContent = "Stop";
    const part = shareOf(now);
    title.textContent = saidOf(now);
    bar.classList.toggle("unsure", part === null);
    if (part === null) bar.removeAttribute("aria-valuenow");
    else bar.setAttribute("aria-valuenow", Math.round(part * 100));
    share.style.width = part === null ? "" : `${part * 100}%`;
    figures.textContent = now.lost ?? figuresOf(now);
    if (now.reading !== path) reading.replaceChildren(...(now.reading ? pathOf(now.reading) : []));
    path = now.reading;
    const quarter = (one) => Math.floor((shareOf(one ?? {}) ?? 0) * 4);
    if (before?.id === now.id && quarter(now) > quarter(before)) say(`${saidOf(now)}: ${figuresOf(now)}`);
  }

  // Whatever was pressed for it may be gone now, and what it began is here.
  const begun = () => element.focus({ preventScroll: true });
  document.addEventListener("begun", begun);
  const end = onJob(show);
  show(job(), job());
  return {
    element,
    end() {
      document.removeEventListener("begun", begun);
      end();
    },
  };
}

/** A sign in the header while something runs, wherever on the page one is. */
export function progressSign() {
  const ring = svg("circle", { class: "done", cx: 10, cy: 10, r: 8, "stroke-dasharray": ROUND, "stroke-dashoffset": ROUND });
  const words = h("span");
  const link = h("a", { class: "running", hidden: true },
    svg("svg", { viewBox: "0 0 20 20", width: 20, height: 20, "aria-hidden": "true" }, svg("circle", { cx: 10, cy: 10, r: 8 }), ring), words);
  const show = (now, before) => {
    link.hidden = !running() || state().view === "library";
    if (running()) {
      const part = shareOf(now);
      ring.setAttribute("stroke-dashoffset", ROUND * (1 - (part ?? 0.08)));
      words.textContent = part === null ? "" : `${Math.floor(part * 100)}%`;
      link.href = addressOf({ ...NOTHING, view: "library" });
      link.setAttribute("aria-label", `${saidOf(now)}${part === null ? "" : `, ${words.textContent}`}. Show the library`);
    } else if (now && before?.state === "running" && before.id === now.id && !document.querySelector(".progress")) {
      toast(outcomeOf(now), { action: "Library", onaction: () => go({ ...NOTHING, view: "library" }) });
    }
  };
  onJob(show);
  onChange(() => show(job(), job()));
  // Where the server does not answer, the view says so.
  lookForJobs().catch(() => {});
  return link;
}
