// A command of the terminal, to be copied.

import { h, icon } from "./dom.js";
import { say } from "./notes.js";

export const commandLine = (text) => h("pre", { class: "command" }, h("code", {}, text),
  h("button", { type: "button", class: "icon", "aria-label": "Copy the command", title: "Copy", onclick: () => copy(text) }, icon("copy")));

async function copy(text) {
  await navigator.clipboard.writeText(text).then(() => say("Copied."), () => say("This browser does not let pages copy."));
}
