// Keys that work everywhere, and the sheet that names them all.

import { h, iconButton } from "./dom.js";
import { undoShown } from "./notes.js";
import { NOTHING, go, state } from "./router.js";

const KEYS = [
  [["/"], "search"],
  [["←", "→", "↑", "↓"], "move from picture to picture"],
  [["Enter"], "open the picture"],
  [["a"], "ask a question"],
  [["s"], "find similar ones"],
  [["m"], "more like this, for the present search"],
  [["x"], "not this, for the present search"],
  [["w"], "why it was found: where the match lies"],
  [["z"], "look closer"],
  [["i"], "what is known of it"],
  [["u"], "undo what was just noted"],
  [["Esc"], "close, go back"],
  [["?"], "this list"],
];

let sheet = null;

function showHelp() {
  sheet ??= document.body.appendChild(h("dialog", { class: "sheet", "aria-labelledby": "keys-title" },
    h("header", {}, h("h2", { id: "keys-title" }, "Keys"), iconButton("close", "Close", () => sheet.close())),
    h("dl", {}, KEYS.flatMap(([keys, what]) => [h("dt", {}, keys.map((key) => h("kbd", {}, key))), h("dd", {}, what)]))));
  if (!sheet.open) sheet.showModal();
}

export const helpButton = () => iconButton("help", "Keys", showHelp, { class: "icon wide" });

/** Whether a key belongs to a field that is being written in. */
export const writing = (event) =>
  event.target instanceof Element && event.target.closest("input:not([type=radio]), textarea, select, [contenteditable]");

/** `/` and `?` anywhere; the rest goes to the present view where nothing lies over it. */
export function startKeys({ box, view }) {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || writing(event)) return;
    const covered = document.querySelector("dialog[open], [popover]:popover-open");
    if (event.key === "u") {
      undoShown();
    } else if (event.key === "?" && !sheet?.open) {
      event.preventDefault();
      showHelp();
    } else if (covered) {
      return;
    } else if (event.key === "/") {
      event.preventDefault();
      box.focus();
    } else if (event.key === "a" && state().view !== "ask") {
      event.preventDefault();
      go({ ...NOTHING, view: "ask", filters: state().filters });
    } else view()?.key?.(event);
  });
}
