// What spoke for a picture, in words and bars; where in it, the stage shows.

import { get } from "./api.js";
import { h } from "./dom.js";
import { percent } from "./tile.js";

const SAID = {
  picture: "What it shows", name: "Its name", folder: "Its folder", described: "Its description", told: "Texts about it",
  caption: "Its caption", seen: "Text in it", feedback: "Your “more like this”", "feedback against": "Your “not this”",
};

/** A section that fills itself; the sum of words asked for gives a bar for each of its terms. */
export function whyOf(id, q) {
  const list = h("dl", { class: "signals" });
  get(`/images/${id}/explain`, { q }).then(({ signals }) => {
    const strong = Object.entries(signals).filter(([, strength]) => strength >= 0.005).sort(([, one], [, other]) => other - one);
    list.replaceChildren(...strong.map(([name, strength]) => {
      const bar = h("i");
      bar.style.width = percent(strength).replace(" ", "");
      return h("div", {}, h("dt", {}, SAID[name] ?? name), h("dd", {}, percent(strength)),
        h("dd", { class: "meter", "aria-hidden": "true" }, bar));
    }));
    if (!strong.length) list.replaceWith(h("p", { class: "quiet" }, "Nothing speaks for it."));
  }, (problem) => list.replaceWith(h("p", { class: "trouble" }, problem.message)));
  return h("section", { class: "why" }, h("h3", {}, `Why, for “${q}”`), list);
}
