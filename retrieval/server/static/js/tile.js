// One picture in the grid.

import { thumbnail } from "./api.js";
import { h } from "./dom.js";
import { addressOf } from "./router.js";
import { day } from "./words.js";

const SIZES = [160, 320, 640];

/** What a picture is called where it cannot be seen. */
export function nameOf(item) {
  const parts = [item.alt ? item.alt.replace(/\.$/, "") : item.name];
  if (item.taken && !item.fileTime) parts.push(day(item.taken));
  if (item.match !== null) parts.push(`${percent(item.match)} match`);
  return parts.join(", ");
}

export const percent = (match) => `${Math.round(match * 100)}%`;

export function tileOf(item, { place, count }) {
  const label = nameOf(item);
  const image = h("img", { alt: label, decoding: "async", draggable: "false" });
  const link = h("a", { href: addressOf({ open: item.id }), tabindex: "-1", "data-id": item.id },
    image,
    h("span", { class: "told", "aria-hidden": "true" },
      item.match !== null && h("b", {}, percent(item.match)), item.name));
  image.addEventListener("load", () => image.classList.add("here"));
  image.addEventListener("error", () => {
    image.remove();
    link.setAttribute("aria-label", `${label}, cannot be shown`);
    link.prepend(h("span", { class: "broken" }, item.name));
  });
  const parts = [link];
  if (item.match !== null) {
    const share = h("i");
    share.style.width = `${Math.max(2, item.match * 100)}%`;
    parts.push(h("span", { class: "bar", "aria-hidden": "true" }, share));
  }
  return h("li", { class: item.fileTime ? "tile by-file" : "tile", "aria-posinset": place, "aria-setsize": count }, parts);
}

/** Take a tile away; a picture of it that is still on its way is not waited for. */
export function dropTile(element) {
  const image = element.querySelector("img");
  if (image && !image.complete) image.removeAttribute("srcset");
  element.remove();
}

/** Put a tile where the layout wants it, and have its picture in a fitting size. */
export function placeTile(element, { x, y, width, height }, item) {
  Object.assign(element.style, { left: `${x}px`, top: `${y}px`, width: `${width}px`, height: `${height}px` });
  const image = element.querySelector("img");
  if (!image) return;
  image.sizes = `${width}px`;
  if (image.srcset) return;
  const wide = Math.min(1, item.width / item.height);
  image.srcset = SIZES.map((size) => `${thumbnail(item.id, size)} ${Math.max(1, Math.round(size * wide))}w`).join(", ");
}
