// Rows of pictures that fill the width, each about as high as wanted. Numbers only, no elements.

const NARROWEST = 0.45;
const WIDEST = 3.2;

const aspect = ({ width, height }) => Math.min(WIDEST, Math.max(NARROWEST, width / height));

/** `[{y, height, tiles: [{item, x, width}]}]` and how high all of it is. */
export function justify(items, { width, target, gap, below = gap }) {
  const rows = [];
  let y = 0;
  let row = [];
  let sum = 0;

  const close = (height) => {
    let x = 0;
    const tiles = row.map((item, place) => {
      const last = place === row.length - 1 && height !== target;
      const wide = last ? width - x : Math.round(aspect(item) * height);
      const tile = { item, x, width: wide };
      x += wide + gap;
      return tile;
    });
    rows.push({ y, height: Math.round(height), tiles });
    y += Math.round(height) + below;
    row = [];
    sum = 0;
  };

  for (const item of items) {
    const own = aspect(item);
    const heightWith = (width - row.length * gap) / (sum + own);
    if (row.length && heightWith < target) {
      const heightWithout = (width - (row.length - 1) * gap) / sum;
      // Whichever comes nearer to the wanted height: with this one, or without.
      if (heightWithout - target < target - heightWith) {
        close(heightWithout);
        row.push(item);
        sum = own;
        continue;
      }
    }
    row.push(item);
    sum += own;
    if (heightWith <= target) close(heightWith);
  }
  // What is left over is not stretched.
  if (row.length) close(Math.min(target, (width - (row.length - 1) * gap) / sum));
  return { rows, height: Math.max(0, y) };
}

/** How high rows are at a width: a phone shows about three pictures beside each other. */
export const rowHeight = (width) => (width < 560 ? Math.max(104, width / 3.4) : Math.min(250, 132 + width / 12));
