// The library on a plane: what is alike lies together. One looks from afar or near, and selects.

import { Problem, get, newest } from "../api.js";
import { h } from "../dom.js";
import { any, told as said } from "../filters.js";
import { Grid } from "../grid.js";
import { reached } from "../gridkeys.js";
import { Making } from "../map/making.js";
import { Named, areaList, selectedList } from "../map/panel.js";
import { Places } from "../map/places.js";
import { Plane } from "../map/plane.js";
import { say } from "../notes.js";
import { NOTHING, addressOf, go, state } from "../router.js";
import { asked } from "../sections.js";
import { sourceOf } from "../source.js";
import { failed, nothingHere } from "../states.js";
import { number, pictures } from "../words.js";

/** Of what a search finds, so many are shown on the map. */
const MOST_FOUND = 500;
const NEAR = 200;

export function mount(root, first) {
  let now = first;
  let places = null;
  let plane = null;
  let making = null;
  let grid = null;
  let chosen = null;
  let near = null;
  let ended = false;
  const loading = newest();
  const marking = newest();
  const head = h("div", { class: "head" }, h("h1", {}, "Map"));
  const work = h("div", { class: "making", hidden: true });
  const beside = h("aside", { class: "beside", "aria-label": "Areas and selection" });

  const listed = () => document.dispatchEvent(new CustomEvent("listed"));

  function begin() {
    root.setAttribute("aria-busy", "true");
    loading((signal) => get("/map", {}, signal)).then(show, broken);
  }

  function broken(problem) {
    if (!(problem instanceof Problem)) throw problem;
    root.removeAttribute("aria-busy");
    root.replaceChildren(failed(problem, begin));
    say(problem.message);
  }

  function show(told) {
    root.removeAttribute("aria-busy");
    if (!told.ids.length) {
      root.replaceChildren(nothingHere());
      return;
    }
    places = new Places(told);
    plane = new Plane(places, {
      part: (part) => pick({ part: part.map((one) => one.toFixed(4)).join(",") }),
      open: (id) => go({ open: id }),
      rested: (level) => { if (!chosen && level !== beside.level) drawBeside(); },
    });
    root.replaceChildren(h("div", { class: "map" }, head, work, h("div", { class: "map-body" }, plane.element, beside)));
    plane.begin();
    mark();
    select();
    approach();
    if (told.job !== null || (told.outdated && told.can_make)) make(told.job);
  }

  // What is asked for, marked on the map.

  function mark() {
    const words = asked(now);
    document.title = words ? `${words} · Map` : "Map · Pictures";
    const name = words || said(now.filters).map((one) => one.said.join(" ")).join(", ") || "Map";
    const title = (count) => head.replaceChildren(h("h1", {}, now.q && words === now.q ? `“${name}”` : name, " ", h("span", { class: "count" }, count)));
    if (!words && !any(now.filters)) {
      marking(() => Promise.resolve());
      plane.mark(null);
      title(pictures(places.count));
      head.append(h("p", { class: "quiet" }, "What looks alike lies side by side."));
      return;
    }
    title("");
    marking((signal) => found(words, signal)).then(({ ids, more }) => {
      plane.mark(ids);
      const count = `${more ? "the best " : ""}${number(ids.length)} of ${pictures(places.count)}`;
      title(count);
      say(`${name}: ${count} marked on the map.`);
    }, (problem) => {
      if (!(problem instanceof Problem)) throw problem;
      plane.mark(null);
      head.append(h("p", { class: "trouble", role: "alert" }, problem.message));
    });
  }

  async function found(words, signal) {
    if (!words) {
      const { passing } = await get("/map", { ...now.filters, places: "false" }, signal);
      return { ids: passing, more: false };
    }
    const source = sourceOf(now);
    while (!source.done && source.items.length < MOST_FOUND) await source.more();
    const ids = source.items.slice(0, MOST_FOUND).map((item) => item.id);
    return { ids, more: !source.done || source.items.length > ids.length };
  }

  // What is selected: a part of the map, or an area.

  const pick = (what) => {
    const { part: _, area: __, grid: ___, ...rest } = state().more;
    go({ more: { ...rest, ...what } });
  };

  function selection() {
    const area = places.areas[Number(now.more.area ?? NaN)];
    if (area) return { title: area.name, rows: places.rowsOf(area), part: null };
    const part = (now.more.part ?? "").split(",").map(Number);
    if (part.length !== 4 || part.some((one) => !Number.isFinite(one))) return null;
    return { title: null, rows: places.within(part), part };
  }

  function select() {
    const found = selection();
    const ids = found?.rows.map((row) => places.ids[row]) ?? null;
    chosen = found && { ...found, key: `${now.more.part} ${now.more.area}`, source: new Named(plane.marked ? foremost(ids) : ids) };
    plane.select(ids, found?.part ?? null);
    drawBeside();
    showLarge();
    if (chosen) say(`${chosen.title ? `${chosen.title}: ` : ""}${pictures(ids.length)} selected.`);
  }

  /** What is marked comes first. */
  function foremost(ids) {
    const is = (id) => plane.marked[places.rowOf.get(id)];
    return [...ids.filter(is), ...ids.filter((id) => !is(id))];
  }

  function drawBeside() {
    const level = plane.drawing.level(places);
    beside.level = level;
    const focused = beside.contains(document.activeElement);
    beside.replaceChildren(...(chosen
      ? selectedList(chosen.source, { title: chosen.title, onclear: clear, onread: read, ontrouble: trouble })
      : areaList(places.levelOf(level), { onchoose: (area) => { plane.goTo(places.rowsOf(area)); pick({ area: String(area.number) }); } })));
    beside.scrollTop = 0;
    // Whoever came here with keys stays here.
    if (focused) beside.querySelector("button, a")?.focus();
  }

  function trouble(problem) {
    if (!(problem instanceof Problem)) throw problem;
    beside.append(h("p", { class: "trouble", role: "alert" }, problem.message));
  }

  function clear() {
    pick({});
  }

  function read() {
    listed();
    if (grid) grid.show([{ title: null, items: chosen.source.items }]);
  }

  /** The selected pictures in place of the map, as pictures. */
  function showLarge() {
    const wanted = Boolean(chosen && now.more.grid);
    root.querySelector(".map").classList.toggle("covered", wanted);
    if (!wanted) {
      grid?.end();
      grid = null;
      root.querySelector(".large")?.remove();
      return;
    }
    if (grid) return;
    const { grid: _, ...rest } = now.more;
    const place = h("div", { class: "large" }, h("div", { class: "head" },
      h("h1", {}, chosen.title ?? "Selected pictures", " ", h("span", { class: "count" }, pictures(chosen.source.ids.length))),
      h("a", { class: "button", href: addressOf({ more: rest }) }, "Back to the map")));
    root.append(place);
    grid = new Grid(place, { near: more, label: chosen.title ?? "Selected pictures" });
    grid.show([{ title: null, items: chosen.source.items }]);
    more();
  }

  function more() {
    if (chosen && !chosen.source.done && !chosen.source.pending) chosen.source.more().then(read, trouble);
  }

  // The viewer goes through what is selected, else outwards from the picture that was opened.

  function approach() {
    if (!now.open || inList(chosen?.source, now.open) || inList(near, now.open)) return;
    const row = places.rowOf.get(now.open);
    if (row === undefined) return;
    near = new Named(places.around(row, NEAR).map((other) => places.ids[other]));
    near.more().then(listed, (problem) => say(problem.message));
  }

  const inList = (source, id) => Boolean(source?.ids.includes(id));

  function around() {
    // The viewer may hear of a new state before this view does.
    const source = inList(chosen?.source, state().open) ? chosen.source : near;
    if (!source) return null;
    const { items, ids, done } = source;
    return { list: items, good: ids.length, total: done ? items.length : ids.length, done, more: () => source.more().then((list) => { read(); return list; }) };
  }

  // The map that is laid out by likeness.

  function make(running) {
    making?.end();
    const mine = (making = new Making(tell));
    const refused = (problem) => {
      if (problem.status !== 409) throw problem;
      // Somebody else has begun it in the meantime.
      return get("/map", { places: "false" }).then(({ job }) => (job === null ? { state: "done" } : mine.run(job)));
    };
    mine.run(running).catch(refused).then((job) => {
      if (!job || mine !== making || ended) return undefined;
      if (job.state === "failed") return stopped(job.error);
      if (job.state === "cancelled") return stopped("The pictures lie along their main differences only.");
      return loading((signal) => get("/map", {}, signal)).then(changed);
    }).catch((problem) => {
      if (!(problem instanceof Problem)) throw problem;
      if (mine === making && !ended) stopped(problem.message);
    });
  }

  function tell(share) {
    const percent = Math.round(100 * share);
    if (work.hidden || !work.querySelector("progress")) {
      work.hidden = false;
      work.replaceChildren(
        h("span", {}, "Laying the map out, so that what is alike lies together"),
        h("progress", { max: "100", "aria-label": "How far the map is" }),
        h("button", { type: "button", class: "button", onclick: () => making.cancel().catch((problem) => say(problem.message)) }, "Stop"));
    }
    work.querySelector("progress").value = percent;
  }

  function stopped(sentence) {
    work.hidden = false;
    work.replaceChildren(h("span", {}, sentence),
      h("button", { type: "button", class: "button", onclick: () => make(null) }, "Make the map"));
  }

  function changed(told) {
    work.hidden = true;
    plane.change(told);
    places = plane.places;
    near = null;
    if (now.more.part || now.more.area) pick({});
    mark();
    drawBeside();
  }

  begin();
  return {
    update(next, before) {
      const old = now;
      now = next;
      if (!places || !plane) return;
      const what = ({ q, like, pictures: dropped, filters }) => JSON.stringify([q, like, dropped, filters]);
      if (!before) sourceOf(next).forget();
      if (!before || what(old) !== what(next)) mark();
      if (next.more.at !== old.more.at) plane.follow(next.more.at);
      if (next.more.part !== old.more.part || next.more.area !== old.more.area) select();
      else if (next.more.grid !== old.more.grid) showLarge();
      if (next.open) approach();
      else if (before?.open) grid?.focusOn(before.open);
    },
    key(event) {
      if (!plane) return;
      if (grid && /^(Arrow|Home$|End$|Page)/.test(event.key)) {
        const id = grid.hasFocus() ? reached(grid, event.key, grid.current) : grid.firstSeen();
        if (id === null) return;
        event.preventDefault();
        grid.focusOn(id);
      } else if (event.key === "Escape") {
        if (now.more.grid) go({ more: { ...now.more, grid: undefined } });
        else if (chosen) clear();
        else if (asked(now) || any(now.filters)) go({ ...NOTHING, view: "map", more: now.more });
      } else if (!grid) plane.key(event);
    },
    around,
    left(id) {
      const source = inList(chosen?.source, id) ? chosen.source : near;
      if (!source) return () => {};
      const before = source.items;
      source.items = before.filter((item) => item.id !== id);
      listed();
      return () => {
        source.items = before;
        listed();
      };
    },
    end() {
      ended = true;
      loading(() => new Promise(() => {}));
      marking(() => new Promise(() => {}));
      making?.end();
      grid?.end();
      plane?.end();
    },
  };
}
