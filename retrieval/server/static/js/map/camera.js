// Which part of the map is seen: a middle and a scale, and how it moves to another part.

const MOST = 160;
/** No part is so small that one goes nearer for it. */
const NEAR = 40;
const MARGIN = 0.88;
const DRAWN_OUT = 1.7;
const STILL = matchMedia("(prefers-reduced-motion: reduce)");
/** Milliseconds. */
const GLIDE = 420;

export class Camera {
  constructor(changed) {
    this.changed = changed;
    Object.assign(this, { x: 0.5, y: 0.5, zoom: 1, width: 1, height: 1, frame: null });
    this.box = { x: 0.5, y: 0.5, width: 1, height: 1 };
  }

  /** The size of the canvas, and the part of the square that has pictures in it. */
  fit(width, height, box = this.box) {
    Object.assign(this, { width: Math.max(1, width), height: Math.max(1, height), box });
  }

  /** Pixels that the sides of the whole square take: neither is drawn out much more than the other. */
  get scales() {
    const { box, width, height, zoom } = this;
    const [x, y] = [MARGIN * width / Math.max(box.width, 0.02), MARGIN * height / Math.max(box.height, 0.02)];
    return [Math.min(x, y * DRAWN_OUT) * zoom, Math.min(y, x * DRAWN_OUT) * zoom];
  }

  get whole() {
    return { x: this.box.x, y: this.box.y, zoom: 1 };
  }

  toScreen(x, y) {
    const [across, down] = this.scales;
    return [(x - this.x) * across + this.width / 2, (y - this.y) * down + this.height / 2];
  }

  toMap(left, top) {
    const [across, down] = this.scales;
    return [(left - this.width / 2) / across + this.x, (top - this.height / 2) / down + this.y];
  }

  set({ x, y, zoom }) {
    this.zoom = Math.min(MOST, Math.max(0.7, zoom));
    const { box } = this;
    const within = (value, middle, size) => Math.min(middle + size / 2, Math.max(middle - size / 2, value));
    this.x = within(x, box.x, box.width);
    this.y = within(y, box.y, box.height);
    this.changed();
  }

  stop() {
    cancelAnimationFrame(this.frame);
    this.frame = null;
  }

  moveBy(left, top) {
    this.stop();
    const [across, down] = this.scales;
    this.set({ x: this.x - left / across, y: this.y - top / down, zoom: this.zoom });
  }

  /** Closer or farther, while what lies under a point of the canvas stays there. */
  zoomBy(factor, left = this.width / 2, top = this.height / 2) {
    this.stop();
    const [x, y] = this.toMap(left, top);
    const zoom = Math.min(MOST, Math.max(0.7, this.zoom * factor));
    const kept = this.zoom / zoom;
    this.set({ x: x + (this.x - x) * kept, y: y + (this.y - y) * kept, zoom });
  }

  glide(to) {
    this.stop();
    if (STILL.matches) {
      this.set(to);
      return;
    }
    const from = { x: this.x, y: this.y, zoom: this.zoom };
    const begun = performance.now();
    const step = (now) => {
      const share = Math.min(1, (now - begun) / GLIDE);
      const eased = 1 - (1 - share) ** 3;
      this.frame = share < 1 ? requestAnimationFrame(step) : null;
      this.set({
        x: from.x + (to.x - from.x) * eased,
        y: from.y + (to.y - from.y) * eased,
        zoom: from.zoom * (to.zoom / from.zoom) ** eased,
      });
    };
    this.frame = requestAnimationFrame(step);
  }

  /** So that a part of the map fills the canvas. */
  glideTo([left, top, right, bottom]) {
    const [across, down] = this.scales;
    const fits = Math.min(this.width / Math.max((right - left) * across, 1), this.height / Math.max((bottom - top) * down, 1));
    const zoom = Math.min(NEAR, Math.max(1, 0.8 * fits * this.zoom));
    this.glide({ x: (left + right) / 2, y: (top + bottom) / 2, zoom });
  }
}
