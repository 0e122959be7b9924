// Pictures that come while somebody looks: told in a line, and shown when they are asked for.

import { get } from "./api.js";
import { h } from "./dom.js";
import { job, onJob } from "./jobs.js";
import { number } from "./words.js";

/** Milliseconds from a step of a run to the question how many there are: by then they are committed. */
const SOON = 1200;
const AT_ONCE = 300;

/**
 * Watch a list grow. `count()` is how many it had, or null where more pictures do not change it;
 * `filters()` are those of the list, and `show()` reads it anew: at once where it was empty.
 */
export function startGrowth({ count, filters, show }) {
  const more = h("button", { type: "button", class: "button main-one", onclick: show });
  const line = h("div", { class: "growth", role: "status", hidden: true }, more);
  document.body.append(line);
  let timer = 0;
  let asked = 0;

  async function look() {
    clearTimeout(timer);
    timer = 0;
    const had = count();
    if (had === null) return;
    const mine = (asked += 1);
    let total;
    try {
      ({ total } = await get("/images", { ...filters(), limit: 1 }));
    } catch {
      return; // the run itself tells that the server is gone
    }
    if (mine !== asked || count() !== had || total <= had) return;
    if (had === 0) show();
    else {
      more.textContent = `${number(total - had)} new ${total - had === 1 ? "picture" : "pictures"}`;
      line.hidden = false;
    }
  }

  const end = onJob((now, before) => {
    if (now?.state === "running") timer ||= setTimeout(look, count() === 0 ? AT_ONCE : SOON);
    else if (before?.state === "running") look();
  });
  return {
    /** The list was read anew, or is another one. */
    clear() {
      asked += 1;
      line.hidden = true;
    },
    /** A list from before is shown again, and something has run since the page was opened. */
    again: () => job() && look(),
    end() {
      asked += 1;
      clearTimeout(timer);
      end();
      line.remove();
    },
  };
}
