// What is drawn: points, pictures where there is room for them, names of areas, what is selected.

const STILL = matchMedia("(prefers-reduced-motion: reduce)");
const MOST = 170;
/** Points that are drawn round; of more, squares will do. */
const ROUND = 6000;
/** Milliseconds. */
const FADE = 220;
const LEVELS = [1.9, 4.2, 9];
const COLOURS = ["raised", "ink", "edge", "accent", "stage"];
const SERIF = "serif";
const ACROSS = 1e6;
/** How far apart pictures lie, in their own sides. */
const APART = 0.94;

/** The colours of the theme as the canvas wants them: a token that depends on the theme is none yet. */
function coloursOf(element) {
  const probe = element.appendChild(document.createElement("i"));
  const found = {};
  for (const name of COLOURS) {
    probe.style.color = `var(--${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.style.fontFamily = `var(--${SERIF})`;
  found.font = getComputedStyle(probe).fontFamily;
  probe.remove();
  return found;
}

export class Drawing {
  constructor(canvas, camera, thumbs) {
    Object.assign(this, { canvas, camera, thumbs, shown: [] });
    this.context = canvas.getContext("2d");
    this.themed();
  }

  themed() {
    this.colours = coloursOf(this.canvas.parentElement);
  }

  /** As many real pixels as the screen has. */
  size(width, height) {
    const dense = Math.min(3, devicePixelRatio || 1);
    this.canvas.width = Math.round(width * dense);
    this.canvas.height = Math.round(height * dense);
    this.dense = dense;
  }

  /** Which level of areas fits how near one is. */
  level(places) {
    const near = LEVELS.filter((zoom) => this.camera.zoom >= zoom).length;
    return Math.min(near, places.depth);
  }

  /** Draws all of it; whether something is still fading in. */
  draw({ places, marked, selected, part, hovered }) {
    const { context, camera } = this;
    context.setTransform(this.dense, 0, 0, this.dense, 0, 0);
    context.clearRect(0, 0, camera.width, camera.height);
    const [left, top] = camera.toMap(-40, -40);
    const [right, bottom] = camera.toMap(camera.width + 40, camera.height + 40);
    const rows = places.within([left, top, right, bottom]);
    const names = this.names(places);
    this.points(places, rows, marked, selected);
    const fading = this.pictures(places, rows, marked, selected, hovered, names);
    for (const name of names) this.name(name);
    if (part) this.frame(part);
    return fading;
  }

  points(places, rows, marked, selected) {
    const { context, camera, colours } = this;
    const size = Math.min(7, Math.max(places.count > 20000 ? 1.6 : 3.4, 2.4 * Math.sqrt(camera.zoom)));
    const [across, down] = camera.scales;
    const passes = [
      [colours.edge, marked ? 0.4 : 0.75, size, (row) => !(marked?.[row] || selected?.[row])],
      [colours.accent, 1, size * 1.35, (row) => marked?.[row] || selected?.[row]],
    ];
    for (const [colour, alpha, wide, passing] of passes) {
      context.fillStyle = colour;
      context.globalAlpha = alpha;
      context.beginPath();
      for (const row of rows) {
        if (!passing(row)) continue;
        const x = (places.x[row] - camera.x) * across + camera.width / 2;
        const y = (places.y[row] - camera.y) * down + camera.height / 2;
        if (rows.length < ROUND) {
          context.moveTo(x + wide / 2, y);
          context.arc(x, y, wide / 2, 0, 2 * Math.PI);
        } else context.rect(x - wide / 2, y - wide / 2, wide, wide);
      }
      context.fill();
    }
    context.globalAlpha = 1;
  }

  /** Pictures where no other one lies, and no name; the same ones stay while the map is moved. */
  pictures(places, rows, marked, selected, hovered, names) {
    const { camera } = this;
    const side = Math.min(120, Math.max(34, (camera.width < 560 ? 38 : 56) * camera.zoom ** 0.3));
    const [across, down] = camera.scales;
    const step = side * APART;
    const taken = new Map();
    const seen = rows.length < places.count ? new Set(rows) : null;
    const chosen = [];
    // In steps from the corner of the map and not of the canvas, so that moving it changes nothing.
    const take = (row) => {
      const [x, y] = [places.x[row] * across, places.y[row] * down];
      const [column, line] = [Math.floor(x / step), Math.floor(y / step)];
      for (let dy = -1; dy <= 1; dy += 1) {
        for (let dx = -1; dx <= 1; dx += 1) {
          const other = taken.get((column + dx) * ACROSS + line + dy);
          if (other && Math.max(Math.abs(other[0] - x), Math.abs(other[1] - y)) < step) return;
        }
      }
      const [left, top] = camera.toScreen(places.x[row], places.y[row]);
      const [wide, high] = [side * 0.42, side * 0.36];
      if (names.some(({ box }) => left + wide > box[0] && left - wide < box[2] && top + high > box[1] && top - high < box[3])) return;
      taken.set(column * ACROSS + line, [x, y]);
      chosen.push(row);
    };
    const wanted = (row) => marked?.[row] || selected?.[row];
    // Of a large library that is seen from afar, a first part is enough to fill the canvas.
    const candidates = seen && rows.length < 4000 ? places.order.filter((row) => seen.has(row)) : places.order;
    for (const first of marked || selected ? [true, false] : [null]) {
      let looked = 0;
      for (const row of candidates) {
        if (chosen.length >= MOST || looked > 30000) break;
        looked += 1;
        if ((seen && !seen.has(row)) || (first !== null && Boolean(wanted(row)) !== first)) continue;
        take(row);
      }
    }
    this.shown = chosen.map((row) => ({ row, id: places.ids[row] }));
    this.side = side;
    let fading = false;
    for (const { row, id } of this.shown.toReversed()) {
      fading = this.picture(places, row, id, { side, weak: Boolean(marked) && !wanted(row), lifted: row === hovered || selected?.[row] }) || fading;
    }
    return fading;
  }

  picture(places, row, id, { side, weak, lifted }) {
    const { context, camera, colours } = this;
    const found = this.thumbs.get(id);
    if (!found) return false;
    const age = STILL.matches ? FADE : performance.now() - found.since;
    const { naturalWidth: wide, naturalHeight: high } = found.image;
    const shape = Math.min(1.5, Math.max(0.67, wide / high));
    const [width, height] = shape > 1 ? [side, side / shape] : [side * shape, side];
    const [x, y] = camera.toScreen(places.x[row], places.y[row]);
    const cut = Math.min(wide / width, high / height);
    context.save();
    context.globalAlpha = Math.min(1, age / FADE);
    context.beginPath();
    context.roundRect(x - width / 2, y - height / 2, width, height, 4);
    if (lifted) {
      context.lineWidth = 5;
      context.strokeStyle = colours.accent;
      context.stroke();
    }
    context.clip();
    if (weak) {
      context.globalAlpha = Math.min(1, age / FADE);
      context.fillStyle = colours.stage;
      context.fill();
      context.globalAlpha *= 0.28;
    }
    context.drawImage(found.image, (wide - width * cut) / 2, (high - height * cut) / 2, width * cut, height * cut,
      x - width / 2, y - height / 2, width, height);
    context.restore();
    return age < FADE;
  }

  /** The names there is room for, the largest areas first, and where they stand. */
  names(places) {
    const { context, camera, colours } = this;
    const level = this.level(places);
    if (level < 0) return [];
    const size = camera.width < 560 ? 13 : 15;
    context.font = `500 ${size}px ${colours.font}`;
    const found = [];
    for (const area of places.levelOf(level).toSorted((one, other) => other.count - one.count)) {
      const width = context.measureText(area.name).width + 20;
      const [middle, y] = camera.toScreen(area.x, area.y);
      if (middle < 0 || middle > camera.width || y < 0 || y > camera.height) continue;
      // At the edge it stands within.
      const x = Math.min(camera.width - width / 2 - 4, Math.max(width / 2 + 4, middle));
      const box = [x - width / 2, y - size * 0.85, x + width / 2, y + size * 0.85];
      if (found.some(({ box: other }) => other[0] < box[2] && other[2] > box[0] && other[1] < box[3] && other[3] > box[1])) continue;
      found.push({ text: area.name, x, y, box, font: context.font });
    }
    return found;
  }

  name({ text, x, y, box, font }) {
    const { context, colours } = this;
    const height = box[3] - box[1];
    Object.assign(context, { font, textAlign: "center", textBaseline: "middle", globalAlpha: 0.94, fillStyle: colours.raised });
    context.beginPath();
    context.roundRect(box[0], box[1], box[2] - box[0], height, height / 2);
    context.fill();
    context.globalAlpha = 1;
    context.fillStyle = colours.ink;
    context.fillText(text, x, y + 0.5);
  }

  /** What is being selected. */
  frame([left, top, right, bottom]) {
    const { context, camera, colours } = this;
    const [x, y] = camera.toScreen(left, top);
    const [far, low] = camera.toScreen(right, bottom);
    context.globalAlpha = 0.12;
    context.fillStyle = colours.accent;
    context.fillRect(x, y, far - x, low - y);
    context.globalAlpha = 1;
    context.lineWidth = 1.5;
    context.strokeStyle = colours.accent;
    context.strokeRect(x, y, far - x, low - y);
  }
}
