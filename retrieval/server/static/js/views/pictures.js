// The library by month, or what a search found.

import { Problem, get, newest } from "../api.js";
import { h } from "../dom.js";
import { emptyLibrary } from "../empty.js";
import { judge } from "../feedback.js";
import { any } from "../filters.js";
import { Grid } from "../grid.js";
import { reached } from "../gridkeys.js";
import { startGrowth } from "../growth.js";
import { say } from "../notes.js";
import { NOTHING, back, go } from "../router.js";
import { sourceOf } from "../source.js";
import { failed, nothingLike, nothingPasses, waiting } from "../states.js";
import { asked, headOf, partsOf } from "../sections.js";

/** Milliseconds. */
const PATIENCE = 250;

export function mount(root, first) {
  const one = newest();
  let now = first;
  let source = null;
  let grid = null;
  let head = null;
  let more = false;
  let slow = 0;
  let empty = null;
  const foot = h("div");
  const growth = startGrowth({
    count: () => {
      if (empty) return 0;
      return source?.started && !asked(now) ? source.total : null;
    },
    filters: () => (empty ? {} : now.filters),
    show: () => {
      source.forget();
      begin();
    },
  });

  function begin() {
    if (source && grid) source.scroll = scrollY;
    const old = grid;
    grid = null;
    more = false;
    source = sourceOf(now);
    clearTimeout(slow);
    document.title = asked(now) ? `${asked(now)} · Pictures` : "Pictures";
    growth.clear();
    const leave = () => {
      clearTimeout(slow);
      old?.end();
      empty?.end();
      empty = null;
    };
    if (source.started) {
      leave();
      draw();
      scrollTo(0, source.scroll);
      growth.again();
      return;
    }
    root.setAttribute("aria-busy", "true");
    // What was there stays for the moment that most searches take.
    slow = setTimeout(() => {
      leave();
      root.replaceChildren(headOf(now, null), waiting());
      scrollTo(0, 0);
    }, old ? PATIENCE : 0);
    const wanted = source;
    one(() => wanted.more()).then(() => {
      leave();
      draw({ tell: true });
      scrollTo(0, 0);
    }, (problem) => {
      leave();
      broken(problem);
    });
  }

  function broken(problem) {
    if (!(problem instanceof Problem)) throw problem;
    root.removeAttribute("aria-busy");
    const tell = () => {
      root.replaceChildren(headOf(now, null), failed(problem, () => begin()));
      say(problem.message);
    };
    if (problem.status === 409) unlessEmpty(tell);
    else tell();
  }

  /** In a library without pictures nothing can be found: then that is what is told. */
  function unlessEmpty(tell) {
    one(() => get("/images", { limit: 1 })).then(({ total }) => {
      if (total) tell();
      else root.replaceChildren(nothing());
    }, tell);
  }

  function draw({ tell = false } = {}) {
    root.removeAttribute("aria-busy");
    head = headOf(now, source);
    if (!source.all.length) {
      grid?.end();
      grid = null;
      say("No pictures.");
      if (any(now.filters)) root.replaceChildren(head, nothingPasses(() => go({ filters: { tag: [] } })));
      else if (asked(now)) unlessEmpty(() => root.replaceChildren(head, h("p", { class: "remark" }, "No picture comes close.")));
      else root.replaceChildren(nothing());
      return;
    }
    grid?.end();
    const weak = source.done && !source.items.length ? nothingLike(now) : "";
    root.replaceChildren(head, weak);
    grid = new Grid(root, { near: next, label: asked(now) || "All pictures" });
    root.append(foot);
    grid.show(partsOf(now, source));
    listed();
    if (tell) say(weak ? weak.textContent : head.textContent);
  }

  /** What lies over the view, the viewer, may want to know of it. */
  const listed = () => document.dispatchEvent(new CustomEvent("listed"));

  /** The source has changed: more came, or one left. */
  function extend() {
    const fresh = headOf(now, source);
    head.replaceWith(fresh);
    head = fresh;
    grid.show(partsOf(now, source));
    listed();
  }

  function nothing() {
    empty?.end();
    empty = emptyLibrary(() => {
      source.forget();
      begin();
    });
    return empty.element;
  }

  /** The end comes near: read on. */
  function next() {
    if (more || source.done || !grid) return;
    more = true;
    const mine = source;
    foot.replaceChildren(waiting({ few: true }));
    const settled = (then) => (value) => {
      if (mine !== source) return;
      foot.replaceChildren();
      then(value);
    };
    mine.more().then(settled(() => {
      more = false;
      extend();
    }), settled((problem) => {
      foot.replaceChildren(failed(problem, () => { more = false; next(); }));
    }));
  }

  function move(event) {
    const from = grid.hasFocus() ? grid.current : null;
    const id = from === null ? grid.firstSeen() : reached(grid, event.key, from);
    if (id === null) return;
    event.preventDefault();
    grid.focusOn(id);
  }

  const leaves = {
    s: (id) => go({ ...NOTHING, like: id, filters: now.filters }),
    x: (id) => judge(id, false, { leave: () => left(id) }),
    m: (id) => judge(id, true),
    i: (id) => go({ open: id }),
  };

  function key(event) {
    if (event.key === "Escape") {
      if (asked(now) || any(now.filters)) back(NOTHING);
      return;
    }
    if (!grid) return;
    if (/^(Arrow|Home$|End$|Page)/.test(event.key)) move(event);
    else if (grid.hasFocus() && Object.hasOwn(leaves, event.key)) leaves[event.key](grid.current);
  }

  /** A picture that is to be seen no more here; its neighbour takes its place. */
  function left(id) {
    const focused = grid?.hasFocus();
    const neighbour = reached(grid, "ArrowRight", id) ?? reached(grid, "ArrowLeft", id);
    const mine = source;
    const restore = mine.drop(id);
    const again = () => {
      if (mine !== source) return;
      if (source.items.length && grid) extend();
      else draw();
    };
    again();
    if (focused && neighbour !== null) grid.focusOn(neighbour);
    return () => {
      restore();
      again();
    };
  }

  begin();
  return {
    update(next, before) {
      const opened = before?.open ?? null;
      now = next;
      if (!before) source.forget();
      if (sourceOf(next) !== source) begin();
      else if (opened && !next.open) {
        grid?.fit();
        grid?.focusOn(opened);
      }
    },
    key,
    left,
    around: () => source && {
      list: source.all,
      more: () => (source.done ? Promise.resolve(null) : source.more().then(() => {
        if (grid) extend();
        return source.all;
      })),
      // Of a library the size is known before it is read to its end.
      good: source.total ?? source.items.length,
      total: source.total ?? source.all.length,
      done: source.total !== null || source.done,
    },
    end() {
      clearTimeout(slow);
      one(() => new Promise(() => {}));
      grid?.end();
      empty?.end();
      growth.end();
    },
  };
}
