// Small pictures for the canvas: a few at a time, only what is in sight, and not too many kept.

import { thumbnail } from "../api.js";

const AT_ONCE = 8;
const KEPT = 600;

export class Thumbs {
  constructor(came) {
    this.came = came;
    this.there = new Map();
    this.coming = new Map();
    this.broken = new Set();
    this.wanted = [];
  }

  /** The picture of an id with the moment it came, or null. */
  get(id) {
    return this.there.get(id) ?? null;
  }

  /** What is in sight now, the most wanted first: of all else nothing is fetched any more. */
  want(ids) {
    const seen = new Set(ids);
    for (const [id, image] of this.coming) {
      if (seen.has(id)) continue;
      image.removeAttribute("src");
      this.coming.delete(id);
    }
    for (const id of ids) {
      const found = this.there.get(id);
      if (!found) continue;
      this.there.delete(id);
      this.there.set(id, found);
    }
    this.wanted = ids.filter((id) => !this.there.has(id) && !this.broken.has(id));
    this.next();
  }

  next() {
    while (this.coming.size < AT_ONCE) {
      const id = this.wanted.find((one) => !this.coming.has(one));
      if (id === undefined) return;
      this.wanted.splice(this.wanted.indexOf(id), 1);
      this.fetch(id);
    }
  }

  fetch(id) {
    const image = new Image();
    this.coming.set(id, image);
    image.decoding = "async";
    image.addEventListener("load", () => this.ended(id, image, true));
    image.addEventListener("error", () => this.ended(id, image, false));
    image.src = thumbnail(id, 160);
  }

  ended(id, image, whole) {
    if (this.coming.get(id) !== image) return;
    this.coming.delete(id);
    if (whole) this.there.set(id, { image, since: performance.now() });
    else this.broken.add(id);
    for (const old of [...this.there.keys()].slice(0, Math.max(0, this.there.size - KEPT))) this.there.delete(old);
    this.next();
    this.came();
  }

  end() {
    this.want([]);
    this.came = () => {};
  }
}
