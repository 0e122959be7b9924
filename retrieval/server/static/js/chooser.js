// Saying where pictures are: a folder by its path, or one of those where people keep them.

import { writable } from "./about.js";
import { commandLine } from "./command.js";
import { h } from "./dom.js";
import { running, startJob } from "./jobs.js";
import { pathOf } from "./progress.js";
import { number } from "./words.js";

const COMMAND = "search index ~/Pictures";
let count = 0;

/** The form, once `/folders` has told what there is; `first` where it is what a page is for. */
export function chooser({ folders, first = false }) {
  const place = h("div", { class: "chooser" });
  if (!writable()) {
    place.append(h("p", {}, "This server only reads. Where it was started, in a terminal:"), commandLine(COMMAND));
    return place;
  }
  const { open, likely: found } = folders;
  if (!open) {
    place.append(h("p", {}, "A new folder is added where the server runs, in a terminal there:"), commandLine(COMMAND));
    return place;
  }
  count += 1;
  const id = `folder-${count}`;
  const wrong = h("p", { id: `${id}-wrong`, class: "trouble", role: "alert", hidden: true });
  const input = h("input", {
    id, type: "text", name: "folder", required: true, maxlength: 4096, placeholder: "~/Pictures",
    spellcheck: "false", autocomplete: "off", autocapitalize: "off", "aria-describedby": `${id}-wrong ${id}-hint`,
  });
  const button = h("button", { class: first && !found.length ? "button main-one" : "button" }, "Add");

  async function add(path) {
    wrong.hidden = true;
    input.removeAttribute("aria-invalid");
    button.disabled = true;
    try {
      await startJob({ paths: [path] });
      input.value = "";
    } catch (problem) {
      wrong.textContent = problem.message;
      wrong.hidden = false;
      if (problem.status === 422) {
        input.setAttribute("aria-invalid", "true");
        input.focus();
      }
    } finally {
      button.disabled = false;
    }
  }

  const form = h("form", { onsubmit: (event) => {
    event.preventDefault();
    const path = input.value.trim();
    if (path && !running()) add(path);
  } },
  h("label", { for: id }, found.length ? "Or another folder" : "The folder with your pictures"),
  h("div", { class: "line" }, input, button), wrong,
  h("p", { id: `${id}-hint`, class: "hint" }, "As your file manager shows it: the whole path, or one that begins with ~ for your own folder."));
  if (found.length) {
    place.append(h("ul", { class: "likely", role: "list", "aria-label": "Where pictures were found" }, found.map((folder) => h("li", {},
      h("button", { type: "button", class: "folder", onclick: () => add(folder.path), disabled: Boolean(folder.path_b64) },
        h("span", { class: "path" }, pathOf(folder.path)), h("small", {}, countOf(folder)), h("b", {}, "Add"))))));
  }
  place.append(form);
  return place;
}

function countOf({ pictures, more }) {
  if (more) return pictures ? `more than ${number(pictures - 1)} pictures` : "not looked through";
  return `${number(pictures)} ${pictures === 1 ? "picture" : "pictures"}`;
}
