// Beside the map: its areas as a list, or the pictures that are selected.

import { get, thumbnail } from "../api.js";
import { h, iconButton } from "../dom.js";
import { addressOf } from "../router.js";
import { pictureOf } from "../source.js";
import { nameOf } from "../tile.js";
import { number, pictures } from "../words.js";

/** What the server gives by name at once. */
const PAGE = 200;

/** The pictures of some ids, in their order, read a part at a time. */
export class Named {
  constructor(ids) {
    Object.assign(this, { ids, items: [], asked: 0, pending: null });
  }

  get done() {
    return this.asked >= this.ids.length;
  }

  more() {
    if (this.done) return Promise.resolve(null);
    this.pending ??= this.read().finally(() => { this.pending = null; });
    return this.pending;
  }

  async read() {
    const part = this.ids.slice(this.asked, this.asked + PAGE);
    const found = await get("/images", { id: part });
    this.asked += part.length;
    this.items = [...this.items, ...found.pictures.map(pictureOf)];
    return this.items;
  }
}

/** A list of the areas of a level, the largest first; each goes there and selects it. */
export function areaList(areas, { onchoose }) {
  const list = areas.toSorted((one, other) => other.count - one.count).map((area) => h("li", {},
    h("button", { type: "button", "data-area": area.number, onclick: () => onchoose(area) },
      h("span", {}, area.name), h("small", { "aria-label": pictures(area.count) }, number(area.count)))));
  return [
    h("header", {}, h("h2", {}, "Areas")),
    areas.length
      ? h("ul", { class: "areas", role: "list" }, list)
      : h("p", { class: "quiet" }, "Their names come once the map is laid out."),
  ];
}

/** The selected pictures; `source` is a `Named`. */
export function selectedList(source, { title, onclear, onread, ontrouble }) {
  const list = h("ul", { class: "picked", role: "list" });
  const more = h("button", { type: "button", class: "button", hidden: true, onclick: () => next() }, "More of them");
  const draw = () => {
    list.append(...source.items.slice(list.childElementCount).map((item) => {
      const image = h("img", { src: thumbnail(item.id, 160), alt: nameOf(item), loading: "lazy", decoding: "async" });
      image.addEventListener("error", () => image.replaceWith(h("span", { class: "broken" }, item.name)));
      return h("li", {}, h("a", { href: addressOf({ open: item.id }), "data-id": item.id }, image));
    }));
    more.hidden = source.done;
  };
  const next = () => source.more().then(() => {
    draw();
    onread();
  }, ontrouble);
  draw();
  if (!source.items.length) next();
  const count = pictures(source.ids.length);
  return [
    h("header", {},
      h("h2", {}, title ?? count, title && h("small", {}, count)),
      iconButton("close", "Clear the selection (Esc)", onclear)),
    source.ids.length
      ? h("p", {}, h("a", { class: "button", href: addressOf({ more: { ...asPictures(), grid: "yes" } }) }, "See them large"))
      : h("p", { class: "quiet" }, "No picture lies there."),
    list, more,
  ];
}

/** The parameters of the selection that the address has now. */
const asPictures = () => Object.fromEntries([...new URLSearchParams(location.search)].filter(([name]) => ["at", "part", "area"].includes(name)));
