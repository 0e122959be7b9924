// The library itself: its folders, looking for new pictures, what could not be read, its model.

import { writable } from "../about.js";
import { get, newest } from "../api.js";
import { chooser } from "../chooser.js";
import { commandLine } from "../command.js";
import { h } from "../dom.js";
import { failuresOf, openReason } from "../failures.js";
import { job, lookForJobs, onJob, running, startJob } from "../jobs.js";
import { say, toast } from "../notes.js";
import { pathOf, progressPanel } from "../progress.js";
import { NOTHING, write } from "../router.js";
import { failed, waiting } from "../states.js";
import { bytes, day, pictures } from "../words.js";

export function mount(root, first) {
  const one = newest();
  const panel = progressPanel();
  const look = h("button", { type: "button", class: "button main-one writes", onclick: begin }, "Look for new pictures");
  let now = first;
  let section = null;
  document.title = "Library · Pictures";
  root.replaceChildren(waiting({ few: true }));

  async function begin() {
    try {
      await startJob();
    } catch (problem) {
      toast(problem.message);
    }
  }

  function load() {
    one(() => Promise.all([get("/folders"), get("/status"), get("/models"), failuresOf(now.more.reason ?? null)])).then(draw, (problem) => {
      root.replaceChildren(failed(problem, load));
      say(problem.message);
    });
  }

  function draw([told, status, { models }, failures]) {
    const focused = document.activeElement;
    const inside = root.contains(focused);
    const { scrollY } = window;
    section = failures;
    const away = told.folders.filter((folder) => !folder.online);
    root.replaceChildren(h("div", { class: "library" },
      h("div", { class: "head" },
        h("h1", { tabindex: "-1" }, "Library ", h("span", { class: "count" }, pictures(status.images))),
        writable() && told.folders.length > away.length && look),
      panel.element,
      h("section", { "aria-labelledby": "folders-title" },
        h("h2", { id: "folders-title" }, "Folders"),
        told.folders.length
          ? h("ul", { role: "list", class: "folders" }, told.folders.map(folderOf))
          : h("p", { class: "quiet" }, "None yet."),
        status.missing > 0 && h("p", { class: "quiet" },
          `${pictures(status.missing)} ${status.missing === 1 ? "is" : "are"} missing: hidden until the file is back.`),
        h("div", { class: "adding" }, h("h3", {}, "Add a folder"), chooser({ folders: told }))),
      failures,
      modelOf(status, models)));
    if (inside) (panel.element.contains(focused) ? focused : root.querySelector("h1")).focus({ preventScroll: true });
    scrollTo(0, scrollY);
    follow();
  }

  function follow() {
    const busy = running();
    look.hidden = busy;
    for (const button of root.querySelectorAll(".chooser button, .failures .writes")) {
      if (!button.closest("[hidden]")) button.disabled = busy;
    }
  }

  const end = onJob((next, before) => {
    follow();
    if (before?.state === "running" && next?.state !== "running") load();
  });
  load();
  if (!job()) lookForJobs().catch(() => {}); // the loading above tells it
  return {
    update(next) {
      now = next;
      if (section) openReason(section, now.more.reason ?? null);
    },
    end() {
      end();
      panel.end();
      one(() => new Promise(() => {}));
    },
  };
}

function folderOf({ path, path_b64: raw, online, images, last_at: last }) {
  const name = h("span", { class: "path", title: path }, pathOf(path));
  return h("li", { class: online ? null : "away" },
    // A name that is no text cannot stand in an address.
    raw ? name : h("a", { href: write({ ...NOTHING, view: "pictures", filters: { tag: [], in: path } }) }, name),
    h("p", {}, pictures(images), last && `, ${images === 1 ? "" : "the last one "}added on ${day(last)}`,
      !online && [". ", h("b", {}, "Not within reach now: connect its disk.")]));
}

function modelOf(status, models) {
  const active = status.encoders.find((one) => one.active);
  const known = active && models.find((one) => one.spec === active.model);
  const facts = [
    ["Model", active ? active.model : "chosen when the first folder is read"],
    ["About it", known?.note ?? known?.purpose],
    ["Catalog", `${status.catalog} · ${bytes(status.db_bytes)}`],
    ["Version", status.version],
  ];
  return h("section", { "aria-labelledby": "model-title" }, h("h2", { id: "model-title" }, "How it sees"),
    h("dl", { class: "facts" }, facts.filter(([, value]) => value).map(([word, value]) => h("div", {}, h("dt", {}, word), h("dd", {}, value)))),
    active && h("details", { class: "terminal" }, h("summary", {}, "Other models, in a terminal"), commandLine("search models")));
}
