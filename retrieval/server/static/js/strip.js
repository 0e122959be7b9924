// A strip of what resembles a picture.

import { get, thumbnail } from "./api.js";
import { h } from "./dom.js";
import { NOTHING, addressOf } from "./router.js";
import { pictureOf } from "./source.js";

const COUNT = 12;

export function similarStrip(id) {
  const list = h("ul", { class: "strip", role: "list" }, Array.from({ length: 6 }, () => h("li", { class: "empty", "aria-hidden": "true" })));
  const place = h("section", { class: "alike" },
    h("div", { class: "alike-head" }, h("h3", {}, "Similar"),
      h("a", { href: addressOf({ ...NOTHING, like: id }) }, "See all")),
    list);
  get(`/images/${id}/similar`, { limit: COUNT, all: true }).then(({ hits }) => {
    const found = hits.map(pictureOf).filter((item) => item.id !== id);
    if (!found.length) place.remove();
    list.replaceChildren(...found.map((item) => h("li", {},
      h("a", { href: addressOf({ open: item.id }) },
        h("img", { src: thumbnail(item.id, 160), alt: item.alt ?? item.name, loading: "lazy", decoding: "async" })))));
  }, (problem) => list.replaceChildren(h("li", { class: "quiet" }, problem.message)));
  return place;
}
