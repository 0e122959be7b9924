// The place where a picture is seen large, closer, or with what spoke for it.

import { heat, original, thumbnail } from "./api.js";
import { h } from "./dom.js";

const DRAWN = new Set(["JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP"]);
const STEP = 80;
const SWIPE = 50;

export class Stage {
  constructor() {
    this.image = h("img", { alt: "", draggable: "false" });
    this.element = h("div", { class: "stage" }, this.image);
    this.onzoom = () => {};
    this.onswipe = () => {};
    this.zoomed = false;
    this.why = false;
    this.gone = h("p", { hidden: true }, "This picture cannot be shown.");
    this.element.append(this.gone);
    this.image.addEventListener("load", () => {
      this.image.classList.add("here");
      this.shows(true);
    });
    this.image.addEventListener("error", () => this.shows(false));
    this.image.addEventListener("click", (event) => { if (!this.dragged) this.zoom(!this.zoomed, event); });
    this.startDragging();
  }

  shows(picture) {
    this.image.hidden = !picture;
    this.gone.hidden = picture;
  }

  clear() {
    this.zoom(false);
    this.image.removeAttribute("src");
  }

  /** The small version that is there already, then the large one; the neighbours are fetched ahead. */
  show(id, item, neighbours) {
    Object.assign(this, { id, item, details: null, why: false });
    this.zoom(false);
    this.image.classList.remove("here");
    this.shows(true);
    this.image.alt = item?.alt ?? item?.name ?? "";
    this.fit(item);
    this.image.src = thumbnail(id, 320);
    this.load(thumbnail(id, 1280), () => id === this.id && !this.why && !this.zoomed);
    for (const { id: other } of neighbours) new Image().src = thumbnail(other, 1280);
  }

  known(details) {
    this.details = details;
    this.image.alt = details.alt || details.name;
    this.fit(details);
  }

  /** The place that the picture takes is known before the picture is there. */
  fit(size) {
    if (!size?.width) return;
    this.image.width = size.width;
    this.image.height = size.height;
    this.image.style.aspectRatio = `${size.width} / ${size.height}`;
    this.image.style.setProperty("--aspect", String(size.width / size.height));
    this.image.style.setProperty("--wide", `${Math.max(size.width, 640)}px`);
  }

  async load(address, still) {
    const large = new Image();
    large.src = address;
    try {
      await large.decode();
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      return false;
    }
    if (still()) this.image.src = address;
    return true;
  }

  /** Over the picture, where the match with `q` lies; null shows the picture itself. */
  async showWhy(q) {
    if (!q && !this.why) return;
    const { id } = this;
    this.why = Boolean(q);
    this.element.classList.toggle("busy", this.why);
    const address = q ? heat(id, q) : thumbnail(id, 1280);
    const came = await this.load(address, () => id === this.id && this.why === Boolean(q));
    this.element.classList.remove("busy");
    if (!came && q) {
      this.why = false;
      throw new Error("The server could not say why.");
    }
  }

  /** At its own size, around the place that was pointed at. */
  zoom(on, event = null) {
    if (on === this.zoomed || (on && !this.id)) return;
    const box = this.image.getBoundingClientRect();
    const x = event ? (event.clientX - box.left) / box.width : 0.5;
    const y = event ? (event.clientY - box.top) / box.height : 0.5;
    this.zoomed = on;
    this.element.classList.toggle("zoomed", on);
    this.element.tabIndex = on ? 0 : -1;
    this.onzoom(on);
    if (!on) return;
    const { element, image, id } = this;
    element.scrollTo(x * image.offsetWidth - element.clientWidth / 2, y * image.offsetHeight - element.clientHeight / 2);
    element.focus();
    const format = this.details?.format ?? this.item?.format ?? null;
    if (DRAWN.has(format) && !this.why) this.load(original(id), () => id === this.id && this.zoomed && !this.why);
  }

  startDragging() {
    let from = null;
    let touched = null;
    const { element } = this;
    element.addEventListener("pointerdown", (event) => {
      this.dragged = false;
      touched = event.pointerType === "touch" && event.isPrimary && !this.zoomed ? { x: event.clientX, y: event.clientY } : null;
      if (!this.zoomed || event.pointerType !== "mouse" || event.button) return;
      from = { x: event.clientX + element.scrollLeft, y: event.clientY + element.scrollTop, left: event.clientX, top: event.clientY };
    });
    element.addEventListener("pointerup", (event) => {
      const [x, y] = touched ? [event.clientX - touched.x, event.clientY - touched.y] : [0, 0];
      touched = null;
      if (Math.abs(x) < SWIPE || Math.abs(x) < 2 * Math.abs(y)) return;
      this.dragged = true;
      this.onswipe(x < 0 ? 1 : -1);
    });
    element.addEventListener("pointermove", (event) => {
      if (!from) return;
      if (Math.hypot(event.clientX - from.left, event.clientY - from.top) > 4) this.dragged = true;
      element.scrollTo(from.x - event.clientX, from.y - event.clientY);
    });
    for (const end of ["pointerup", "pointerleave"]) element.addEventListener(end, () => { from = null; });
    element.addEventListener("keydown", (event) => {
      const moved = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
      if (!this.zoomed || !moved) return;
      event.preventDefault();
      element.scrollBy(...moved);
    });
  }
}
