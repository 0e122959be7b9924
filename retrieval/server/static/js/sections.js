// How a source is told: its heading, and the parts that the grid shows.

import { h } from "./dom.js";
import { any, told } from "./filters.js";
import { go } from "./router.js";
import { month, number, pictures } from "./words.js";

/** What was asked for, in words; nothing for the library itself. */
export function asked({ q, like, pictures: dropped }) {
  if (dropped.length) return `Like ${dropped.length > 1 ? "your pictures" : "your picture"}${q ? ` ${/^[+\u2212-]\s/.test(q) ? "" : "+ "}${q}` : ""}`;
  if (like) return "Similar pictures";
  return q;
}

const SORTS = {
  library: { newest: "newest first", oldest: "oldest first", name: "by name" },
  search: { relevance: "best first", date: "newest first" },
};

/** The heading with the count and the order; `source` is null while it is awaited. */
export function headOf(now, source) {
  const words = asked(now);
  const title = words || (any(now.filters) ? filtered(now.filters) : "All pictures");
  const search = Boolean(now.q) && !now.pictures.length && !now.like;
  const sorts = words ? (search ? SORTS.search : null) : SORTS.library;
  return h("div", {},
    h("div", { class: "head" },
      h("h1", {}, search ? `“${title}”` : title, " ", source && h("span", { class: "count" }, countOf(source, words))),
      sorts && sorting(sorts, now.sort)),
    source?.notes.map((note) => h("p", { class: "remark" }, note)));
}

/** "Near Japan, tag dog" */
function filtered(filters) {
  const words = told(filters).map(({ said }) => said.join(" ")).join(", ");
  return words[0].toUpperCase() + words.slice(1);
}

function countOf(source, words) {
  if (source.total !== null) return pictures(source.total);
  if (!source.items.length && source.done) return "";
  const count = source.items.length;
  return source.done ? pictures(count) : `more than ${number(count)} ${words ? "found" : ""}`;
}

export function sorting(sorts, chosen) {
  const names = Object.keys(sorts);
  return h("label", { class: "sorting" }, h("span", { class: "unseen" }, "Order"),
    h("select", { onchange: (event) => go({ sort: event.target.value === names[0] ? "" : event.target.value }) },
      names.map((name) => h("option", { value: name, selected: name === (chosen || names[0]) }, sorts[name]))));
}

/** The library by months where it is in the order of time; a search down to its cut-off, and what is below. */
export function partsOf(now, source) {
  if (asked(now)) {
    const below = source.done ? source.closest : [];
    if (!source.items.length) return [{ title: null, far: false, items: below }];
    const said = "Here the good matches end. What comes closest:";
    return [
      { title: null, far: false, items: source.items },
      { title: said, line: true, far: true, items: below },
    ];
  }
  if (now.sort === "name") return [{ title: null, items: source.items }];
  const parts = [];
  for (const item of source.items) {
    const title = item.taken ? month(item.taken) : "No date";
    if (parts.at(-1)?.title !== title) parts.push({ title, items: [] });
    parts.at(-1).items.push(item);
  }
  return parts;
}
