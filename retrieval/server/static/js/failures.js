// Files that could not be read: by reason, in plain words, with what helps.

import { get } from "./api.js";
import { writable } from "./about.js";
import { commandLine } from "./command.js";
import { h } from "./dom.js";
import { running, startJob } from "./jobs.js";
import { say, toast } from "./notes.js";
import { pathOf } from "./progress.js";
import { go } from "./router.js";
import { number } from "./words.js";

const PAGE = 50;
/** What it is called, what it means, what helps. */
const REASONS = {
  empty: ["Empty", "There is nothing in the file.", "Often a copy or a download that was cut short: copy it again from where it came."],
  "not-an-image": ["Not a picture", "The name says picture, the content says otherwise.",
    "Mostly a web page or a text that was saved under a wrong name. A file named .searchignore keeps such files out."],
  damaged: ["Damaged", "The picture is cut off, or its data is broken.",
    "Copy it again from the camera, the card or a backup. Where another program still opens it, save it anew there."],
  "too-large": ["Too large", "To open it takes more memory than is allowed for that.", "With more memory allowed it can be read:",
    "search index --retry --memory 4G"],
  unreadable: ["Cannot be opened", "Its permissions forbid it, or its disk fails.",
    "Give yourself the right to read it, or see to the disk. The next look tries it again by itself."],
  changed: ["Still being written", "It changed while it was read, as a file does that is being copied.",
    "Wait until that is over. The next look tries it again by itself."],
  timeout: ["Took too long", "To decode it took so long that it was stopped.",
    "It may be malformed, or the machine was busy. Try it again while there is less to do."],
  crashed: ["Breaks the decoder", "The program that decodes such pictures broke down over it.",
    "The file is malformed. Where another program opens it, save it anew there."],
};

/** The section, or null where all could be read; `open` is the reason whose files are shown. */
export async function failuresOf(open) {
  const { reasons } = await get("/failures", { limit: 1 });
  if (!reasons.length) return null;
  const total = reasons.reduce((sum, { files }) => sum + files, 0);
  const retry = h("button", { type: "button", class: "button writes", disabled: running(), onclick: async () => {
    retry.disabled = true;
    try {
      await startJob({ retry: true });
    } catch (problem) {
      retry.disabled = false;
      toast(problem.message);
    }
  } }, "Try these again");
  return h("section", { class: "failures", "aria-labelledby": "failures-title" },
    h("div", { class: "head-line" },
      h("h2", { id: "failures-title" }, "Could not be read ", h("span", { class: "count" }, `${number(total)} ${total === 1 ? "file" : "files"}`)),
      writable() && retry),
    h("ul", { role: "list", class: "reasons" }, reasons.map((one) => groupOf(one, one.reason === open))));
}

function groupOf({ reason, means, files }, open) {
  const [title, what, helps, command] = REASONS[reason] ?? [reason, `${means}.`, ""];
  const list = h("div", { id: `files-${reason}`, class: "files", hidden: !open });
  const button = h("button", { type: "button", class: "reason", "aria-expanded": String(open), "aria-controls": list.id, "data-reason": reason, onclick: () => {
    const shut = button.getAttribute("aria-expanded") === "true";
    go({ more: shut ? {} : { reason } }, { replace: true });
  } }, h("b", {}, title), " ", h("span", { class: "count" }, number(files)));
  if (open) fill(list, reason);
  return h("li", {}, h("h3", {}, button), h("p", {}, what, " ", helps), command && commandLine(command), list);
}

/** Show the files of this reason and hide all others. */
export function openReason(section, reason) {
  for (const button of section.querySelectorAll(".reason")) {
    const mine = button.dataset.reason === reason;
    const list = section.querySelector(`#${CSS.escape(button.getAttribute("aria-controls"))}`);
    button.setAttribute("aria-expanded", String(mine));
    list.hidden = !mine;
    if (mine && !list.childElementCount) fill(list, reason);
  }
}

function fill(place, reason) {
  const list = h("ol", { role: "list" });
  const more = h("button", { type: "button", class: "button", hidden: true, onclick: () => read() }, "Show more");
  const wrong = h("p", { class: "trouble", role: "alert", hidden: true });
  place.replaceChildren(list, wrong, more);
  let next = null;

  async function read() {
    more.disabled = true;
    wrong.hidden = true;
    try {
      const page = await get("/failures", { reason, limit: PAGE, cursor: next });
      const rows = page.failures.map(({ path, detail }) => h("li", { tabindex: "-1" }, h("span", { class: "path", title: path }, pathOf(path)), h("small", {}, detail)));
      list.append(...rows);
      if (next) {
        rows[0]?.focus();
        say(`${number(list.childElementCount)} of ${number(page.total)} files.`);
      }
      next = page.next;
      more.hidden = next === null;
    } catch (problem) {
      wrong.textContent = problem.message;
      wrong.hidden = more.hidden = false;
    } finally {
      more.disabled = false;
    }
  }
  read();
}
