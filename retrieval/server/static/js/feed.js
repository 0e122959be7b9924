// A source of pictures in a grid: read on as one scrolls, moved through with keys.

import { h } from "./dom.js";
import { judge } from "./feedback.js";
import { Grid } from "./grid.js";
import { reached } from "./gridkeys.js";
import { NOTHING, go } from "./router.js";
import { failed, waiting } from "./states.js";

/**
 * Shows `source`, which was begun: `parts()` makes the grid's parts of it, `list()` is what the
 * viewer moves through, and `changed()` is called when more came or one left.
 */
export function feed(root, source, { parts, label, list = () => source.items, changed = () => {} }) {
  const foot = h("div");
  let reading = false;
  let ended = false;
  const grid = new Grid(root, { near: next, label });
  root.append(foot);

  function show() {
    grid.show(parts());
    // Whoever hears it asks for `around`, which this gives back first.
    queueMicrotask(() => document.dispatchEvent(new CustomEvent("listed")));
  }

  function extend() {
    if (ended) return;
    changed();
    show();
  }

  function next() {
    if (reading || source.done || ended) return;
    reading = true;
    foot.replaceChildren(waiting({ few: true }));
    source.more().then(() => {
      reading = false;
      foot.replaceChildren();
      extend();
    }, (problem) => {
      if (!ended) foot.replaceChildren(failed(problem, () => { reading = false; next(); }));
    });
  }

  const keys = {
    s: (id) => go({ ...NOTHING, view: "pictures", like: id }),
    x: (id) => judge(id, false, { leave: () => left(id) }),
    m: (id) => judge(id, true),
    i: (id) => go({ open: id }),
  };

  function left(id) {
    const neighbour = grid.hasFocus() ? reached(grid, "ArrowRight", id) ?? reached(grid, "ArrowLeft", id) : null;
    const restore = source.drop(id);
    extend();
    if (neighbour !== null) grid.focusOn(neighbour);
    return () => {
      restore();
      extend();
    };
  }

  show();
  return {
    grid,
    left,
    /** Whether a key was one of the grid's. */
    key(event) {
      if (/^(Arrow|Home$|End$|Page)/.test(event.key)) {
        const from = grid.hasFocus() ? grid.current : null;
        const id = from === null ? grid.firstSeen() : reached(grid, event.key, from);
        if (id === null) return false;
        event.preventDefault();
        grid.focusOn(id);
        return true;
      }
      if (!grid.hasFocus() || !Object.hasOwn(keys, event.key)) return false;
      keys[event.key](grid.current);
      return true;
    },
    around: () => ({
      list: list(),
      more: () => (source.done ? Promise.resolve(null) : source.more().then(() => {
        extend();
        return list();
      })),
      // Of a library the size is known before it is read to its end.
      good: source.total ?? source.items.length,
      total: source.total ?? list().length,
      done: source.total !== null || source.done,
    }),
    end() {
      ended = true;
      grid.end();
      foot.remove();
    },
  };
}
