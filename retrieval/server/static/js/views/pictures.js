// The library by month, or what a search found.

import { Problem, get, newest } from "../api.js";
import { h } from "../dom.js";
import { emptyLibrary } from "../empty.js";
import { feed } from "../feed.js";
import { any } from "../filters.js";
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
  let shown = null;
  // What is shown until that which is asked for is there; another question may overtake it.
  let old = null;
  let head = null;
  let slow = 0;
  let empty = null;
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
    if (source && shown) source.scroll = scrollY;
    old = shown ?? old;
    shown = null;
    source = sourceOf(now);
    clearTimeout(slow);
    document.title = asked(now) ? `${asked(now)} · Pictures` : "Pictures";
    growth.clear();
    const leave = () => {
      clearTimeout(slow);
      old?.end();
      old = null;
      empty?.end();
      empty = null;
    };
    if (source.started) {
      one(() => new Promise(() => {})); // what is still on its way is for nobody
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
    shown?.end();
    shown = null;
    if (!source.all.length) {
      say("No pictures.");
      if (any(now.filters)) root.replaceChildren(head, nothingPasses(() => go({ filters: { tag: [] } })));
      else if (asked(now)) unlessEmpty(() => root.replaceChildren(head, h("p", { class: "remark" }, "No picture comes close.")));
      else root.replaceChildren(nothing());
      return;
    }
    const weak = source.done && !source.items.length ? nothingLike(now) : "";
    root.replaceChildren(head, weak);
    const mine = source;
    shown = feed(root, mine, {
      parts: () => partsOf(now, mine),
      list: () => mine.all,
      label: asked(now) || "All pictures",
      changed: () => {
        if (mine !== source) return;
        const fresh = headOf(now, mine);
        head.replaceWith(fresh);
        head = fresh;
      },
    });
    if (tell) say(weak ? weak.textContent : head.textContent);
  }

  function nothing() {
    empty?.end();
    empty = emptyLibrary(() => {
      source.forget();
      begin();
    });
    return empty.element;
  }

  function key(event) {
    if (event.key !== "Escape") shown?.key(event);
    else if (asked(now) || any(now.filters)) back(NOTHING);
  }

  begin();
  return {
    update(next, before) {
      const opened = before?.open ?? null;
      now = next;
      if (!before) source.forget();
      if (sourceOf(next) !== source) begin();
      else if (opened && !next.open) {
        shown?.grid.fit();
        shown?.grid.focusOn(opened);
      }
    },
    key,
    left: (id) => shown?.left(id) ?? (() => {}),
    around: () => shown?.around() ?? null,
    end() {
      clearTimeout(slow);
      one(() => new Promise(() => {}));
      old?.end();
      shown?.end();
      empty?.end();
      growth.end();
    },
  };
}
