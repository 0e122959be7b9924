// The pictures of the map and where they lie, as columns; and what lies near a point or within a part.

const CELLS = 128;
/** What an area is called by the server where no word fits it; with a number where that is taken. */
const UNNAMED = /^pictures(?: \d+)?$/;

const named = (name) => (UNNAMED.test(name) ? "of all kinds" : name);

export class Places {
  constructor({ ids, x, y, side, areas, ...about }) {
    Object.assign(this, about);
    this.ids = ids;
    this.count = ids.length;
    this.x = Float32Array.from(x, (value) => value / side);
    this.y = Float32Array.from(y, (value) => value / side);
    this.areas = areas.map((area, number) => ({ ...area, name: named(area.name), number, x: area.x / side, y: area.y / side }));
    this.depth = Math.max(-1, ...areas.map((area) => area.level));
    this.rowOf = new Map(ids.map((id, row) => [id, row]));
    this.order = shuffled(this.count);
    this.sort();
  }

  /** Rows by the cell they lie in. */
  sort() {
    const { count, x, y } = this;
    const cells = new Uint16Array(count);
    this.starts = new Uint32Array(CELLS * CELLS + 1);
    for (let row = 0; row < count; row += 1) {
      cells[row] = cellAt(x[row]) + CELLS * cellAt(y[row]);
      this.starts[cells[row] + 1] += 1;
    }
    for (let cell = 0; cell < CELLS * CELLS; cell += 1) this.starts[cell + 1] += this.starts[cell];
    const next = this.starts.slice();
    this.sorted = new Uint32Array(count);
    for (let row = 0; row < count; row += 1) this.sorted[next[cells[row]]++] = row;
  }

  /** The rows of a part of the map, `[left, top, right, bottom]`. */
  within([left, top, right, bottom]) {
    const found = [];
    const last = cellAt(bottom);
    for (let line = cellAt(top); line <= last; line += 1) {
      const from = this.starts[line * CELLS + cellAt(left)];
      const to = this.starts[line * CELLS + cellAt(right) + 1];
      for (let at = from; at < to; at += 1) {
        const row = this.sorted[at];
        if (this.x[row] >= left && this.x[row] <= right && this.y[row] >= top && this.y[row] <= bottom) found.push(row);
      }
    }
    return found;
  }

  /** The row nearest to a point, no farther than `reach`; -1 where there is none. */
  nearest(x, y, reach) {
    let best = -1;
    let least = reach * reach;
    for (const row of this.within([x - reach, y - reach, x + reach, y + reach])) {
      const away = (this.x[row] - x) ** 2 + (this.y[row] - y) ** 2;
      if (away <= least) [best, least] = [row, away];
    }
    return best;
  }

  /** Rows from one outwards, itself first. */
  around(row, most) {
    const away = (other) => (this.x[other] - this.x[row]) ** 2 + (this.y[other] - this.y[row]) ** 2;
    let found = [];
    for (let reach = 0.01; reach < 4 && (found.length < Math.min(most, this.count)); reach *= 2) {
      const [x, y] = [this.x[row], this.y[row]];
      found = this.within([x - reach, y - reach, x + reach, y + reach]);
    }
    return found.map((other) => [away(other), other === row ? -1 : other, other])
      .sort((one, other) => one[0] - other[0] || one[1] - other[1]).slice(0, most).map((one) => one[2]);
  }

  levelOf(level) {
    return this.areas.filter((area) => area.level === level);
  }

  /** The rows that are nearer to an area than to any other of its level. */
  rowsOf(area) {
    const others = this.levelOf(area.level);
    const found = [];
    for (let row = 0; row < this.count; row += 1) {
      let best = null;
      let least = Infinity;
      for (const other of others) {
        const away = (this.x[row] - other.x) ** 2 + (this.y[row] - other.y) ** 2;
        if (away < least) [best, least] = [other, away];
      }
      if (best === area) found.push(row);
    }
    return found;
  }

  /** The part of the map that some rows take. */
  bounds(rows = this.order) {
    let [left, top, right, bottom] = [1, 1, 0, 0];
    for (const row of rows) {
      left = Math.min(left, this.x[row]);
      right = Math.max(right, this.x[row]);
      top = Math.min(top, this.y[row]);
      bottom = Math.max(bottom, this.y[row]);
    }
    return left > right ? [0, 0, 1, 1] : [left, top, right, bottom];
  }

  get box() {
    const [left, top, right, bottom] = this.bounds();
    return { x: (left + right) / 2, y: (top + bottom) / 2, width: right - left, height: bottom - top };
  }
}

const cellAt = (value) => Math.min(CELLS - 1, Math.max(0, Math.floor(value * CELLS)));

/** The same order each time: which pictures are shown first where there is no room for all. */
function shuffled(count) {
  const order = Uint32Array.from({ length: count }, (_, row) => row);
  let state = 12345;
  for (let row = count - 1; row > 0; row -= 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const other = state % (row + 1);
    [order[row], order[other]] = [order[other], order[row]];
  }
  return order;
}
