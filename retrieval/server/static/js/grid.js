// The grid: thousands of pictures, of which only those near the window are elements.

import { captionSoon } from "./captions.js";
import { h } from "./dom.js";
import { justify, rowHeight } from "./justify.js";
import { dropTile, placeTile, tileOf } from "./tile.js";

const AROUND = 900;
const TITLE = 48;
const LINE = 72;

/** Shows parts `[{title?, note?, line?, far?, items}]`; `near()` is called where the end comes near. */
export class Grid {
  constructor(root, { near, label }) {
    this.near = near;
    this.element = h("div", { class: "grid", role: "group", "aria-label": label });
    root.append(this.element);
    this.parts = [];
    this.boxes = [];
    this.rows = [];
    this.order = [];
    this.place = new Map();
    this.tiles = new Map();
    this.current = null;
    this.onscroll = () => { this.frame ??= requestAnimationFrame(() => { this.frame = null; this.paint(); }); };
    addEventListener("scroll", this.onscroll, { passive: true });
    this.watching = new ResizeObserver(() => this.fit());
    this.watching.observe(root);
    this.element.addEventListener("focusin", (event) => {
      const id = Number(event.target.closest("[data-id]")?.dataset.id);
      if (!id) return;
      this.mark(id);
      captionSoon(this.place.get(id)?.item, event.target.querySelector("img"));
    });
  }

  end() {
    removeEventListener("scroll", this.onscroll);
    cancelAnimationFrame(this.frame);
    this.watching.disconnect();
    this.element.remove();
  }

  /** Lay out anew where the width is another one. Behind a dialog nobody sees it, and it may be the old one again. */
  fit() {
    if (document.querySelector("dialog[open]")) return;
    if (this.element.clientWidth !== this.width) this.layout({ anchor: true });
    else this.onscroll();
  }

  /** Parts that are there already keep their elements, so that nothing flickers when more comes. */
  show(parts) {
    const before = this.parts;
    const boxes = this.boxes;
    const same = (one, other) => one && other && one.title === other.title && one.far === other.far;
    this.parts = parts.filter((part) => part.items.length);
    this.order = this.parts.flatMap((part) => part.items);
    this.boxes = this.parts.map((part, index) => (same(part, before[index]) ? boxes[index] : null));
    for (const box of boxes) if (box && !this.boxes.includes(box)) box.remove();
    const partOf = new Map(this.parts.flatMap((part, index) => part.items.map((item) => [item.id, index])));
    for (const [id, element] of this.tiles) {
      const box = this.boxes[partOf.get(id)];
      if (box?.contains(element)) {
        element.setAttribute("aria-setsize", this.order.length);
        continue;
      }
      dropTile(element);
      this.tiles.delete(id);
    }
    if (!partOf.has(this.current)) this.current = this.order[0]?.id ?? null;
    this.layout();
  }

  layout({ anchor = false } = {}) {
    const top = anchor ? this.rows.find((row) => row.y + row.height > scrollY - this.offset()) : null;
    const kept = top && { id: top.tiles[0].item.id, by: top.y - scrollY };
    this.width = this.element.clientWidth;
    const gap = this.width < 560 ? 5 : 8;
    const matched = this.order[0]?.match !== null && this.order.length > 0;
    const shape = { width: this.width, target: rowHeight(this.width), gap, below: matched ? gap + 8 : gap };
    this.rows = [];
    this.place.clear();
    let y = 0;
    let number = 0;
    this.bounds = this.parts.map((part, index) => {
      const head = part.line ? LINE : part.title ? TITLE : 0;
      const { rows, height } = justify(part.items, shape);
      for (const row of rows) {
        const at = this.rows.length;
        this.rows.push({ ...row, y: y + head + row.y, inner: row.y, part: index });
        for (const tile of row.tiles) this.place.set(tile.item.id, { ...tile, row: at, number: (number += 1) });
      }
      const bound = { y, height: head + height };
      y += bound.height + (part.title ? 8 : 0);
      return bound;
    });
    this.element.style.height = `${y}px`;
    for (const [id, element] of this.tiles) this.put(id, element);
    this.boxes.forEach((box, index) => box && this.putBox(box, index));
    if (kept && this.place.has(kept.id)) scrollTo(0, this.rows[this.place.get(kept.id).row].y - kept.by);
    this.paint();
  }

  offset() {
    return this.element.getBoundingClientRect().top + scrollY;
  }

  /** Have elements for what is near the window, and only for that. */
  paint() {
    const from = -this.element.getBoundingClientRect().top - AROUND;
    const to = from + innerHeight + 2 * AROUND;
    const wanted = new Set(this.current === null || !this.hasFocus() ? [] : [this.current]);
    for (let index = this.firstRow(from); index < this.rows.length && this.rows[index].y < to; index += 1) {
      for (const tile of this.rows[index].tiles) wanted.add(tile.item.id);
    }
    for (const [id, element] of this.tiles) {
      if (wanted.has(id)) continue;
      dropTile(element);
      this.tiles.delete(id);
    }
    for (const id of wanted) if (!this.tiles.has(id) && this.place.has(id)) this.make(id);
    this.boxes.forEach((box, index) => {
      if (!box || box.querySelector(".tile")) return;
      box.remove();
      this.boxes[index] = null;
    });
    this.reachable();
    if (this.order.length && this.element.getBoundingClientRect().bottom < innerHeight * 2.5) this.near();
  }

  hasFocus() {
    return this.element.contains(document.activeElement);
  }

  /** The picture that keys begin with: the one left last, or the first in the window. */
  firstSeen() {
    if (this.tiles.has(this.current) && this.current !== this.order[0]?.id) return this.current;
    const row = this.rows[this.firstRow(scrollY - this.offset() + 60)] ?? this.rows[0];
    return row?.tiles[0].item.id ?? null;
  }

  firstRow(y) {
    let low = 0;
    let high = this.rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.rows[middle].y + this.rows[middle].height < y) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  make(id) {
    const { item, row, number } = this.place.get(id);
    const part = this.rows[row].part;
    const tile = tileOf(item, { place: number, count: this.order.length });
    if (this.parts[part].far) tile.classList.add("far");
    this.tiles.set(id, tile);
    this.put(id, tile);
    const list = this.box(part).querySelector("ul");
    // In reading order, also where one scrolls upwards.
    const after = [...list.children].find((other) => Number(other.getAttribute("aria-posinset")) > number);
    list.insertBefore(tile, after ?? null);
  }

  box(index) {
    if (this.boxes[index]) return this.boxes[index];
    const { title, note, line } = this.parts[index];
    const head = title && h("h2", {}, h("span", {}, title), note && h("small", {}, note));
    const box = h("section", { class: line ? "part line" : "part" }, head, h("ul", { role: "list" }));
    const after = this.boxes.slice(index + 1).find(Boolean);
    this.element.insertBefore(box, after ?? null);
    this.boxes[index] = box;
    this.putBox(box, index);
    return box;
  }

  putBox(box, index) {
    box.style.top = `${this.bounds[index].y}px`;
    box.style.height = `${this.bounds[index].height}px`;
  }

  put(id, element) {
    const at = this.place.get(id);
    if (!at) return;
    const row = this.rows[at.row];
    placeTile(element, { x: at.x, y: row.inner, width: at.width, height: row.height }, at.item);
  }

  /** One picture is reached with Tab; the arrows move from there. */
  mark(id) {
    this.current = id;
    this.reachable();
  }

  reachable() {
    const id = this.tiles.has(this.current) ? this.current : this.tiles.keys().next().value;
    for (const [other, element] of this.tiles) element.firstElementChild.tabIndex = other === id ? 0 : -1;
  }

  focusOn(id, { scroll = true } = {}) {
    const at = this.place.get(id);
    if (!at) return;
    this.current = id;
    const row = this.rows[at.row];
    if (scroll) this.reveal(row);
    if (!this.tiles.has(id)) this.make(id);
    this.reachable();
    this.tiles.get(id).firstElementChild.focus({ preventScroll: true });
  }

  reveal({ y, height }) {
    const top = this.offset() + y - 150;
    const bottom = this.offset() + y + height + 40;
    if (top < scrollY) scrollTo(0, Math.max(0, top));
    else if (bottom > scrollY + innerHeight) scrollTo(0, bottom - innerHeight);
    this.paint();
  }
}
