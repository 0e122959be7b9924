// A library without pictures: what to do, right there, and how far it is once it is done.

import { get } from "./api.js";
import { chooser } from "./chooser.js";
import { h } from "./dom.js";
import { job, onJob, running } from "./jobs.js";
import { progressPanel } from "./progress.js";
import { NOTHING, addressOf } from "./router.js";
import { commandLine } from "./command.js";

/** The element, with `end()`; `again` looks once more for pictures. */
export function emptyLibrary(again) {
  const title = h("h1", {}, "There are no pictures here yet");
  const sentence = h("p", {}, "Say where yours are. They are read where they lie. Nothing is changed, and nothing is sent anywhere.");
  const choice = h("div", {});
  const terminal = h("details", { class: "terminal" }, h("summary", {}, "In a terminal"),
    commandLine("search index ~/Pictures"));
  const buttons = h("div", { class: "buttons" });
  const failures = h("p", { hidden: true }, h("a", { href: addressOf({ ...NOTHING, view: "library" }) }, "See what could not be read"));
  const panel = progressPanel();
  const look = h("button", { type: "button", class: "button", onclick: again }, "Look again");
  const element = h("div", { class: "state empty" }, title, sentence, panel.element, failures, choice, buttons, terminal);

  terminal.append(look);
  get("/folders").then((told) => {
    const gone = told.folders.filter((root) => !root.online);
    if (gone.length) {
      title.textContent = "The pictures are not within reach";
      sentence.textContent = `${gone.map((root) => root.path).join(", ")} is not there now. Connect its disk, then look again. Or add another folder:`;
      buttons.append(look);
    }
    choice.replaceChildren(chooser({ folders: told, first: true }));
    show(job());
  }, (problem) => { sentence.textContent = problem.message; });

  function show(now) {
    const busy = running();
    choice.hidden = sentence.hidden = look.hidden = terminal.hidden = busy;
    if (busy) title.textContent = "Your pictures are on their way";
    else if (now) title.textContent = "There are no pictures here yet";
    failures.hidden = busy || !now?.report?.failed;
  }
  const end = onJob(show);
  show(job());
  return { element, end: () => { end(); panel.end(); } };
}
