// What is in the library several times, set by set. Nothing here deletes anything.

import { Problem, get, newest, post, send } from "../api.js";
import { Compare } from "../compare.js";
import { h, icon } from "../dom.js";
import { any } from "../filters.js";
import { say, toast } from "../notes.js";
import { asJson, asText, copyText, everySet, save, toldPaths } from "../pathlist.js";
import { NOTHING, addressOf, back, go, state } from "../router.js";
import { KINDS, nameOf, reasonOf, sectionOf } from "../sets.js";
import { pictureOf } from "../source.js";
import { failed, nothingHere, nothingPasses } from "../states.js";
import { number } from "../words.js";

const SIZE = 20;
/** Milliseconds after which one is told that this takes long. */
const LONG = 400;

export function mount(root, first) {
  const one = newest();
  let now = first;
  let page = null;
  // The key of what is shown, or will be once it is there.
  let wanted = null;
  let slow = 0;
  let writable = false;
  let comparing = null;
  const compare = new Compare({ onend: () => back({ more: without("compare") }), onmove: moveCompare, onapart: apartCompared });

  const kindOf = (from) => (Object.hasOwn(KINDS, from.more.kind ?? "") ? from.more.kind : null);
  const startOf = (from) => Math.max(0, Number.parseInt(from.more.from ?? "0", 10) || 0);
  const keyOf = (from) => JSON.stringify([kindOf(from), startOf(from), from.filters]);
  const without = (name) => Object.fromEntries(Object.entries(state().more).filter(([other]) => other !== name));

  async function read(signal) {
    const ask = (kind) => get("/duplicates", { kind, ...now.filters, offset: startOf(now), limit: SIZE }, signal);
    const [status, given] = await Promise.all([get("/status", {}, signal), kindOf(now) ? ask(kindOf(now)) : ask("same-file")]);
    writable = !status.readonly;
    const kind = kindOf(now) ?? Object.keys(KINDS).find((name) => given.counts[name]) ?? "same-file";
    return { kind, ...(kindOf(now) || kind === "same-file" ? given : await ask(kind)) };
  }

  function begin() {
    document.title = "Duplicates";
    root.setAttribute("aria-busy", "true");
    clearTimeout(slow);
    slow = setTimeout(() => {
      root.replaceChildren(h("div", { class: "head" }, h("h1", {}, "Duplicates")), comparingAll());
      say("The pictures are being compared.");
    }, page ? LONG : 0);
    const key = (wanted = keyOf(now));
    one(read).then((found) => {
      clearTimeout(slow);
      page = { ...found, key, start: startOf(now), gone: 0 };
      draw();
      scrollTo(0, 0);
    }, (problem) => {
      if (!(problem instanceof Problem)) throw problem;
      clearTimeout(slow);
      root.removeAttribute("aria-busy");
      page = wanted = null;
      root.replaceChildren(problem.status === 409 ? nothingHere() : failed(problem, () => begin()));
      say(problem.message);
    });
  }

  const comparingAll = () => h("div", { class: "comparing" },
    h("p", {}, "All pictures are being compared with each other."),
    h("p", { class: "remark" }, "In a large library that takes some seconds the first time, and again after pictures came or went."),
    h("div", { class: "meter", "aria-hidden": "true" }, h("i")));

  function draw() {
    root.removeAttribute("aria-busy");
    const { kind, sets, total, counts } = page;
    const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
    const place = h("div", { class: "duplicates" }, heading(counts, kind));
    root.replaceChildren(place);
    if (!sets.length) {
      if (!all && any(now.filters)) place.append(nothingPasses(() => go({ filters: { tag: [] }, more: {} })));
      else place.append(nothing(kind, total));
      say(all ? "No sets here." : "No duplicates.");
      document.dispatchEvent(new CustomEvent("listed"));
      return;
    }
    place.append(h("p", { class: "remark" }, `${KINDS[kind].told} Nothing is deleted here: what to delete elsewhere can be listed.`),
      taking(), h("div", { class: "sets" }, sets.map((set, at) => sectionOf(set, { number: page.start + at + 1, acts: actsOf(set) }))), paging());
    place.append(h("p", { class: "hint keys" }, ...[["←", "→", "↑", "↓"], " move, ", ["Enter"], " opens, ", ["c"], " compares with the best, ",
      ...(writable ? [["n"], " says that a set is none, ", ["u"], " takes that back"] : [["Esc"], " goes back"])]
      .flatMap((part) => (typeof part === "string" ? part : part.map((key) => h("kbd", {}, key))))));
    say(`${KINDS[kind].label}: ${setsOf(total)}.`);
    document.dispatchEvent(new CustomEvent("listed"));
    showCompared();
  }

  function heading(counts, kind) {
    return h("div", { class: "head" }, h("h1", {}, "Duplicates"),
      h("nav", { class: "kinds", "aria-label": "Kinds of duplicates" }, Object.entries(KINDS).map(([name, { label }]) =>
        h("a", { href: addressOf({ more: { kind: name }, open: null }), "aria-current": name === kind ? "page" : null, "data-kind": name },
          label, h("span", {}, number(counts[name]), h("span", { class: "unseen" }, counts[name] === 1 ? " set" : " sets"))))));
  }

  function nothing(kind, total) {
    if (total) {
      return h("div", { class: "state" }, h("h2", {}, "There are no sets this far on"),
        h("div", { class: "buttons" }, h("a", { class: "button main-one", href: addressOf({ more: { kind } }) }, "To the first ones")));
    }
    return h("div", { class: "state" }, h("h2", {}, "Nothing is here twice"), h("p", {}, {
      "same-file": "No two files are equal to the byte.",
      "same-picture": "No picture is there re-encoded, resized or slightly edited.",
      "same-moment": "No two shots of one camera are within seconds and alike.",
    }[kind]));
  }

  function taking() {
    const list = async (act) => {
      const { kind } = page;
      try {
        await act(await everySet({ kind, ...now.filters }), kind);
      } catch (problem) {
        if (!(problem instanceof Problem)) throw problem;
        toast(problem.message);
      }
    };
    const button = (label, act) => h("button", { type: "button", class: "button", onclick: () => list(act) }, ...label);
    return h("div", { class: "taking", role: "group", "aria-label": "The paths of all but the best, of all sets of this kind" },
      h("span", {}, "List all but the best:"),
      button([icon("copy"), "Copy"], async (sets) => {
        const found = asText(sets);
        await copyText(found.text, `Copied ${toldPaths(found)}.`);
      }),
      button([icon("save"), "Text"], async (sets, kind) => {
        const found = asText(sets);
        save(found.text, `${kind}.txt`, "text/plain");
        toast(`Saved ${toldPaths(found)}.`);
      }),
      button([icon("save"), "JSON"], async (sets, kind) => {
        save(asJson(sets), `${kind}.json`, "application/json");
        toast(`Saved ${setsOf(sets.length)}, the best and the others of each.`);
      }));
  }

  /** What is told apart leaves the server's list: the next page begins that much earlier. */
  function paging() {
    const { start, total, sets, gone } = page;
    const link = (from, label) => h("a", { class: "button", href: addressOf({ more: { kind: page.kind, ...(from ? { from } : {}) }, open: null }) }, ...label);
    const more = start + sets.length < total;
    return h("nav", { class: "paging", "aria-label": "Pages" },
      start > 0 && link(Math.max(0, start - SIZE), [icon("left"), "Before"]),
      h("span", {}, `${number(start + 1)} to ${number(start + sets.length)} of ${setsOf(total)}`),
      more && link(start + sets.length - gone, ["Next", icon("right")]));
  }

  function actsOf(set) {
    return {
      compare: (picture) => go({ more: { ...state().more, compare: `${set.pictures[0].image_id}-${picture.image_id}` } }),
      copy: () => {
        const found = asText([set]);
        return copyText(found.text, found.count ? `Copied ${toldPaths(found)}.` : `Nothing to copy: ${toldPaths(found)}.`);
      },
      apart: writable ? () => tellApart(set, null) : null,
      alone: writable ? (picture) => tellApart(set, picture) : null,
    };
  }

  /** Say that a set is none, or that one picture does not belong to it; it stays in sight, to be undone. */
  async function tellApart(set, picture) {
    const mine = page;
    const ids = set.pictures.map((one) => one.image_id);
    const others = ids.filter((id) => id !== picture?.image_id);
    const groups = picture ? others.map((id) => [picture.image_id, id]) : [ids];
    const at = mine.sets.indexOf(set);
    const place = root.querySelector(".sets").children[at];
    place.setAttribute("aria-busy", "true");
    try {
      for (const group of groups) await post("/duplicates/not", { image_ids: group });
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      place.removeAttribute("aria-busy");
      toast(problem.message);
      return;
    }
    const rest = picture && others.length > 1 ? { ...set, pictures: set.pictures.filter((one) => one !== picture) } : null;
    let undone = false;
    const undo = async () => {
      if (undone) return;
      undone = true;
      try {
        for (const group of groups) await send("DELETE", "/duplicates/not", undefined, { image_id: group });
      } catch (problem) {
        if (!(problem instanceof Problem)) throw problem;
        undone = false;
        toast(problem.message);
        return;
      }
      replace(mine, at, set, rest ? 0 : -1);
      toast("Undone.");
    };
    const said = picture ? `${nameOf(picture)} is no duplicate any more.` : `These ${set.pictures.length} are no duplicates any more.`;
    replace(mine, at, rest ?? { told: said, undo, pictures: [] }, rest ? 0 : 1);
    toast(said, { action: "Undo", onaction: undo });
  }

  /** Another set, or what was said of one, in a place of the page; `gone` is how many fewer sets there are. */
  function replace(mine, at, set, gone) {
    if (mine !== page) return;
    mine.sets[at] = set;
    mine.gone += gone;
    mine.counts[mine.kind] -= gone;
    const places = root.querySelector(".sets").children;
    const fresh = set.told ? h("div", { class: "set told" }, h("p", {}, set.told), h("button", { type: "button", class: "small", onclick: set.undo }, "Undo"))
      : sectionOf(set, { number: mine.start + at + 1, acts: actsOf(set) });
    places[at].replaceWith(fresh);
    fresh.querySelector(set.told ? "button" : "a").focus({ preventScroll: true });
    root.querySelector(".head").replaceWith(heading(mine.counts, mine.kind));
    root.querySelector(".paging").replaceWith(paging());
    document.dispatchEvent(new CustomEvent("listed"));
  }

  /** The pair that the address names, where it is one of this page. */
  function compared() {
    const [best, other] = (now.more.compare ?? "").split("-").map(Number);
    const set = page?.sets.find(({ pictures }) => pictures[0]?.image_id === best && pictures.some((one) => one.image_id === other));
    return set ? { set, other: set.pictures.find((one) => one.image_id === other) } : null;
  }

  function showCompared() {
    const found = now.more.compare ? compared() : null;
    const before = comparing;
    comparing = found;
    if (found) {
      const word = reasonOf(found.set) ? "Best" : "One";
      compare.show(found.set.pictures[0], found.other, { several: found.set.pictures.length > 2, writable, word });
      return;
    }
    compare.hide();
    if (now.more.compare) go({ more: without("compare") }, { replace: true });
    if (before) focusOn(before.other.image_id);
  }

  function moveCompare(by) {
    if (!comparing) return;
    const { set, other } = comparing;
    const others = set.pictures.slice(1);
    const next = others[(others.indexOf(other) + by + others.length) % others.length];
    if (next !== other) go({ more: { ...state().more, compare: `${set.pictures[0].image_id}-${next.image_id}` } }, { replace: true });
  }

  async function apartCompared() {
    const { set, other } = comparing;
    comparing = null;
    go({ more: without("compare") }, { replace: true });
    await tellApart(set, set.pictures.length > 2 ? other : null);
  }

  const focusOn = (id) => root.querySelector(`[data-id="${id}"]`)?.focus();

  /** From picture to picture, and from set to set. */
  function move(event) {
    const links = [...root.querySelectorAll("a.shot")];
    const here = document.activeElement?.closest?.(".set");
    const at = links.indexOf(here?.contains(document.activeElement) ? document.activeElement.closest(".copy")?.querySelector("a.shot") ?? here.querySelector("a.shot") : null);
    const firsts = [...root.querySelectorAll(".copy.first a.shot")];
    const set = firsts.indexOf(here?.querySelector(".copy.first a.shot"));
    const target = {
      ArrowRight: links[at + 1], ArrowLeft: links[at - 1], ArrowDown: firsts[set + 1], ArrowUp: firsts[set - 1],
      Home: links[0], End: links.at(-1), PageDown: firsts[Math.min(firsts.length - 1, set + 3)], PageUp: firsts[Math.max(0, set - 3)],
    }[event.key];
    if (at < 0 && !["Home", "End", "ArrowRight", "ArrowDown"].includes(event.key)) return;
    event.preventDefault();
    (target ?? (at < 0 ? links[0] : null))?.focus();
  }

  const focusedSet = () => {
    const id = Number(document.activeElement?.closest?.(".copy")?.querySelector("a.shot").dataset.id);
    const set = page?.sets.find(({ pictures }) => pictures.some((one) => one.image_id === id));
    return set ? { set, picture: set.pictures.find((one) => one.image_id === id) } : null;
  };

  function key(event) {
    if (/^(Arrow|Home$|End$|Page)/.test(event.key)) {
      if (page?.sets.length) move(event);
      return;
    }
    const found = focusedSet();
    if (event.key === "c" && found) actsOf(found.set).compare(found.picture === found.set.pictures[0] ? found.set.pictures[1] : found.picture);
    else if (event.key === "n" && found && writable) tellApart(found.set, null);
    else if (event.key === "Escape" && (startOf(now) || any(now.filters))) back({ ...NOTHING, view: "duplicates", more: kindOf(now) ? { kind: kindOf(now) } : {} });
  }

  const list = () => (page ? page.sets.flatMap(({ pictures }) => pictures).map(pictureOf) : []);

  begin();
  return {
    update(next, before) {
      const opened = before?.open ?? null;
      now = next;
      if (!before || keyOf(next) !== wanted) begin();
      else {
        showCompared();
        if (opened && !next.open) focusOn(opened);
      }
    },
    key,
    around: () => page && { list: list(), more: () => Promise.resolve(null), good: list().length, total: list().length, done: true },
    end() {
      clearTimeout(slow);
      one(() => new Promise(() => {}));
      compare.end();
    },
  };
}

const setsOf = (count) => `${number(count)} ${count === 1 ? "set" : "sets"}`;
