// The map itself: the canvas with what acts on it, in step with the address.

import { h, iconButton } from "../dom.js";
import { say } from "../notes.js";
import { go, state } from "../router.js";
import { pictures } from "../words.js";
import { Camera } from "./camera.js";
import { Drawing } from "./drawing.js";
import { startGestures } from "./gestures.js";
import { Places } from "./places.js";
import { Thumbs } from "./thumbs.js";
import { Tip } from "./tip.js";

const STILL = matchMedia("(prefers-reduced-motion: reduce)");
/** Milliseconds. */
const MOVES = 1100;
const RESTS = 300;
const SETTLES = 110;
const REACH = 16;
const PAN = 90;
const CLOSER = 1.5;
const HELP = "Drag to move, turn the wheel or pinch to come closer. Shift and drag to select. "
  + "With keys: arrows move, + and − zoom, 0 shows all, Enter opens the picture in the middle.";

/** `on.part([left, top, right, bottom])` is told what was framed, `on.open(id)` what was pressed. */
export class Plane {
  constructor(places, on) {
    this.places = places;
    this.on = on;
    Object.assign(this, { marked: null, selected: null, part: null, hovered: -1, written: null, frame: null });
    this.canvas = h("canvas", { tabindex: "0", role: "application", "aria-label": "Map of the pictures", "aria-describedby": "map-help" });
    this.tool = iconButton("frame", "Select: draw a frame around pictures", () => this.choose(!this.choosing), { "aria-pressed": "false" });
    this.element = h("div", { class: "plane" }, this.canvas,
      h("p", { id: "map-help", class: "unseen" }, HELP),
      h("div", { class: "on-map", role: "group", "aria-label": "The map" },
        iconButton("plus", "Closer (+)", () => this.zoom(CLOSER)),
        iconButton("minus", "Farther (−)", () => this.zoom(1 / CLOSER)),
        iconButton("whole", "Everything (0)", () => this.whole()),
        this.tool));
    this.choosing = false;
  }

  /** To be called once the element is in the page. */
  begin() {
    this.camera = new Camera(() => this.moved());
    this.thumbs = new Thumbs(() => this.redraw());
    this.drawing = new Drawing(this.canvas, this.camera, this.thumbs);
    this.tip = new Tip(this.element);
    this.watching = new ResizeObserver(() => this.resized());
    this.watching.observe(this.element);
    this.themes = new MutationObserver(() => this.themed());
    this.themes.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.onthemed = () => this.themed();
    this.dark.addEventListener("change", this.onthemed);
    this.resized();
    this.camera.set(this.seen(state().more.at) ?? this.camera.whole);
    startGestures(this.canvas, this.camera, {
      selecting: () => this.choosing,
      on: {
        hover: (x, y) => this.hover(x, y),
        press: (x, y) => this.press(x, y),
        frame: (part) => { this.part = part; this.redraw(); },
        framed: (part) => { this.choose(false); this.on.part(part); },
      },
    });
  }

  end() {
    this.ended = true;
    this.camera.stop();
    clearTimeout(this.resting);
    clearTimeout(this.settling);
    cancelAnimationFrame(this.frame);
    cancelAnimationFrame(this.moving);
    this.watching.disconnect();
    this.themes.disconnect();
    this.dark.removeEventListener("change", this.onthemed);
    this.thumbs.end();
    this.tip.end();
  }

  resized() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!width || !height) return;
    this.camera.fit(width, height, this.places.box);
    this.drawing.size(width, height);
    this.draw();
  }

  themed() {
    this.drawing.themed();
    this.redraw();
  }

  redraw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  draw() {
    if (this.ended) return;
    if (this.drawing.draw(this)) this.redraw();
    clearTimeout(this.settling);
    // While it moves nothing is fetched that would be out of sight when it came.
    this.settling = setTimeout(() => this.thumbs.want(this.drawing.shown.map((one) => one.id)), SETTLES);
    this.element.dataset.zoom = this.camera.zoom.toFixed(2);
    this.element.dataset.shown = this.drawing.shown.length;
  }

  moved() {
    this.redraw();
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.rest(), RESTS);
  }

  /** The address tells what is seen. */
  rest() {
    if (this.camera.frame || this.ended) return;
    const { x, y, zoom, whole } = this.camera;
    const all = Math.abs(zoom - 1) < 0.005 && Math.abs(x - whole.x) + Math.abs(y - whole.y) < 0.005;
    const at = all ? undefined : [x.toFixed(4), y.toFixed(4), zoom.toFixed(2)].join(",");
    this.on.rested(this.drawing.level(this.places));
    if (at === state().more.at || state().view !== "map") return;
    this.written = at;
    const { at: _, ...more } = state().more;
    go({ more: at ? { ...more, at } : more }, { replace: true });
  }

  seen(at) {
    const numbers = (at ?? "").split(",").map(Number);
    if (numbers.length !== 3 || numbers.some((one) => !Number.isFinite(one)) || numbers[2] <= 0) return null;
    return { x: numbers[0], y: numbers[1], zoom: numbers[2] };
  }

  /** The address says another part than the one that was left in it. */
  follow(at) {
    if (at === this.written) return;
    this.written = at;
    this.camera.glide(this.seen(at) ?? this.camera.whole);
  }

  goTo(rows) {
    this.camera.glideTo(this.places.bounds(rows));
  }

  zoom(factor) {
    const { x, y, zoom } = this.camera;
    this.camera.glide({ x, y, zoom: Math.max(0.7, zoom * factor) });
  }

  whole() {
    this.camera.glide(this.camera.whole);
  }

  choose(on) {
    this.choosing = on;
    this.tool.setAttribute("aria-pressed", String(on));
    this.canvas.classList.toggle("choosing", on);
    if (on) say("Draw a frame around pictures.");
  }

  /** The row at a point of the canvas: of a picture that is drawn there, else of the nearest point. */
  rowAt(x, y) {
    const { camera, drawing, places } = this;
    const half = drawing.side / 2;
    for (const { row, id } of drawing.shown) {
      if (!this.thumbs.get(id)) continue;
      const [left, top] = camera.toScreen(places.x[row], places.y[row]);
      if (Math.abs(left - x) <= half && Math.abs(top - y) <= half) return row;
    }
    const [mapX, mapY] = camera.toMap(x, y);
    return places.nearest(mapX, mapY, REACH / Math.min(...camera.scales));
  }

  hover(x, y) {
    const row = x === null ? -1 : this.rowAt(x, y);
    this.canvas.classList.toggle("over", row >= 0 && !this.choosing);
    this.tip.at(row < 0 ? null : this.places.ids[row], x ?? 0, y ?? 0);
    if (row === this.hovered) return;
    this.hovered = row;
    this.redraw();
  }

  press(x, y) {
    const row = this.rowAt(x, y);
    if (row >= 0) this.on.open(this.places.ids[row]);
  }

  key(event) {
    const { key } = event;
    const moves = { ArrowLeft: [PAN, 0], ArrowRight: [-PAN, 0], ArrowUp: [0, PAN], ArrowDown: [0, -PAN] };
    if (Object.hasOwn(moves, key)) this.camera.moveBy(...moves[key]);
    else if (key === "+" || key === "=") this.zoom(CLOSER);
    else if (key === "-" || key === "−") this.zoom(1 / CLOSER);
    else if (key === "0") this.whole();
    else if (key === "Enter" && document.activeElement === this.canvas) {
      const row = this.places.nearest(this.camera.x, this.camera.y, 2);
      if (row >= 0) this.on.open(this.places.ids[row]);
    } else return false;
    event.preventDefault();
    return true;
  }

  /** Flags of the rows that some ids are of; null for none at all. */
  flags(ids) {
    if (!ids) return null;
    const flags = new Uint8Array(this.places.count);
    for (const id of ids) {
      const row = this.places.rowOf.get(id);
      if (row !== undefined) flags[row] = 1;
    }
    return flags;
  }

  mark(ids) {
    this.marked = this.flags(ids);
    this.redraw();
  }

  select(ids, part) {
    this.selected = this.flags(ids);
    this.part = part;
    this.redraw();
  }

  /** The map was made anew: every picture goes from where it was to where it belongs. */
  change(told) {
    const old = this.places;
    const next = new Places(told);
    const goal = [next.x.slice(), next.y.slice()];
    const from = [goal[0].slice(), goal[1].slice()];
    next.ids.forEach((id, row) => {
      const before = old.rowOf.get(id);
      if (before !== undefined) [from[0][row], from[1][row]] = [old.x[before], old.y[before]];
    });
    Object.assign(this, { places: next, hovered: -1, marked: null, selected: null, part: null });
    const begun = performance.now();
    const step = (time) => {
      const share = STILL.matches ? 1 : Math.min(1, (time - begun) / MOVES);
      const eased = share * share * (3 - 2 * share);
      for (const [axis, name] of [[0, "x"], [1, "y"]]) {
        for (let row = 0; row < next.count; row += 1) next[name][row] = from[axis][row] + (goal[axis][row] - from[axis][row]) * eased;
      }
      next.sort();
      this.camera.fit(this.camera.width, this.camera.height, next.box);
      this.camera.set(this.camera.whole);
      if (share < 1) this.moving = requestAnimationFrame(step);
    };
    step(begun);
    say(`The map is laid out: ${pictures(next.count)}.`);
  }
}
