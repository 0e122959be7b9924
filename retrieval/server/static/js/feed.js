// A source of pictures in a grid: read on as one scrolls, moved through with keys.

import { h } from "./dom.js";
import { judge } from "./feedback.js";
import { Grid } from "./grid.js";
import { reached } from "./gridkeys.js";
import { NOTHING, go, state } from "./router.js";
import { failed, waiting } from "./states.js";

/** Shows `source`, which was begun; `parts(source)` makes the grid's parts of it. */
export function feed(root, source, { parts, label, changed }) {
  const foot = h("div");
  let reading = false;
  let ended = false;
  const grid = new Grid(root, { near: next, label });
  root.append(foot);

  function show() {
    grid.show(parts(source));
    changed();
    document.dispatchEvent(new CustomEvent("listed"));
  }

  function next() {
    if (reading || source.done || ended) return;
    reading = true;
    foot.replaceChildren(waiting({ few: true }));
    source.more().then(() => {
      if (ended) return;
      reading = false;
      foot.replaceChildren();
      show();
    }, (problem) => {
      if (!ended) foot.replaceChildren(failed(problem, () => { reading = false; next(); }));
    });
  }

  const keys = {
    s: (id) => go({ ...NOTHING, view: "pictures", like: id, filters: state().filters }),
    x: (id) => judge(id, false, { leave: () => left(id) }),
    m: (id) => judge(id, true),
    i: (id) => go({ open: id }),
  };

  function left(id) {
    const neighbour = grid.hasFocus() ? reached(grid, "ArrowRight", id) ?? reached(grid, "ArrowLeft", id) : null;
    const restore = source.drop(id);
    show();
    if (neighbour !== null) grid.focusOn(neighbour);
    return () => {
      restore();
      if (!ended) show();
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
      list: source.items,
      more: () => (source.done ? Promise.resolve(null) : source.more().then(() => {
        if (!ended) show();
        return source.items;
      })),
      good: source.total ?? source.items.length,
      total: source.total ?? source.items.length,
      done: source.total !== null || source.done,
    }),
    end() {
      ended = true;
      grid.end();
      foot.remove();
    },
  };
}
