// Moving through the grid with keys, by where the pictures lie.

/** The picture that a key leads to from another one, or null. */
export function reached(grid, key, from) {
  const at = grid.place.get(from);
  if (!at) return grid.order[0]?.id ?? null;
  const { order, rows } = grid;
  const step = (count) => order[at.number - 1 + count]?.id ?? null;
  switch (key) {
    case "ArrowLeft": return step(-1);
    case "ArrowRight": return step(1);
    case "ArrowUp": return nearest(rows[at.row - 1], at);
    case "ArrowDown": return nearest(rows[at.row + 1], at);
    case "Home": return order[0].id;
    case "End": return order.at(-1).id;
    case "PageUp": return nearest(farther(rows, at.row, -1), at);
    case "PageDown": return nearest(farther(rows, at.row, 1), at);
    default: return null;
  }
}

function nearest(row, { x, width }) {
  if (!row) return null;
  const middle = x + width / 2;
  const away = (tile) => Math.max(0, tile.x - middle, middle - tile.x - tile.width);
  return row.tiles.reduce((best, tile) => (away(tile) < away(best) ? tile : best)).item.id;
}

/** The row a window away, or the last one before that. */
function farther(rows, from, direction) {
  let at = from;
  while (rows[at + direction] && Math.abs(rows[at + direction].y - rows[from].y) < innerHeight * 0.8) at += direction;
  return at === from ? rows[from + direction] : rows[at];
}
