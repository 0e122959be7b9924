// What lies under the mouse: the picture and its name, beside the pointer.

import { Problem, get, thumbnail } from "../api.js";
import { h } from "../dom.js";
import { pictureOf } from "../source.js";

/** Milliseconds: who passes over a picture is not asking for it. */
const STAYS = 90;
const KEPT = 300;

export class Tip {
  constructor(place) {
    this.place = place;
    this.known = new Map();
    this.image = h("img", { alt: "" });
    this.name = h("span");
    this.element = h("div", { class: "tip", "aria-hidden": "true", hidden: true }, this.image, this.name);
    place.append(this.element);
    this.image.addEventListener("error", () => { this.image.hidden = true; });
  }

  /** Show the picture of an id at a point, or with null none. */
  at(id, x = 0, y = 0) {
    this.point = [x, y];
    if (id === this.id) {
      this.put();
      return;
    }
    this.id = id;
    clearTimeout(this.timer);
    this.element.hidden = true;
    if (id !== null) this.timer = setTimeout(() => this.show(id), STAYS);
  }

  async show(id) {
    let item = this.known.get(id);
    if (!item) {
      item = await this.read(id);
      if (!item) return;
      this.known.set(id, item);
      for (const old of [...this.known.keys()].slice(0, Math.max(0, this.known.size - KEPT))) this.known.delete(old);
    }
    if (this.id !== id) return;
    const wide = Math.min(1, item.width / item.height);
    this.image.style.width = `${Math.round(200 * wide)}px`;
    this.image.style.aspectRatio = `${item.width} / ${item.height}`;
    this.image.hidden = false;
    this.image.src = thumbnail(id, 320);
    this.name.textContent = item.name;
    this.element.hidden = false;
    this.put();
  }

  /** The picture of an id; none where it left meanwhile, or nobody answers: a hint is worth no complaint. */
  async read(id) {
    try {
      const { pictures: [row] } = await get("/images", { id: [id] });
      return row ? pictureOf(row) : null;
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      return null;
    }
  }

  /** Beside the pointer, and within the map. */
  put() {
    if (this.element.hidden) return;
    const [x, y] = this.point;
    const { clientWidth: width, clientHeight: height } = this.place;
    const { offsetWidth: wide, offsetHeight: high } = this.element;
    const left = x + 18 + wide < width ? x + 18 : x - 18 - wide;
    this.element.style.left = `${Math.max(6, left)}px`;
    this.element.style.top = `${Math.max(6, Math.min(height - high - 6, y - high / 2))}px`;
  }

  end() {
    clearTimeout(this.timer);
    this.element.remove();
  }
}
