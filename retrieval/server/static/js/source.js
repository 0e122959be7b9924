// Where pictures come from: the library, a search, or what resembles something. A source is read
// page by page, and kept while one may come back to it.

import { Problem, get, post } from "./api.js";
import { keptFile } from "./kept.js";

const PAGE = 200;
const MORE = 500;
const FIRST = 60;
const ALIKE = 100;
const WEAK = 24;
const KEPT = 10;
const sources = new Map();

/** A row of the server as the page uses it. */
export function pictureOf(row) {
  return {
    id: row.image_id,
    path: row.path,
    name: row.path.split(/[/\\]/).at(-1),
    width: row.width || 4,
    height: row.height || 3,
    taken: row.taken_at ?? null,
    fileTime: row.taken_source === "file-mtime",
    match: row.match ?? null,
    format: row.format ?? null,
    alt: row.alt ?? row.description ?? row.title ?? null,
  };
}

/** What decides which pictures are shown; an open picture does not. */
function keyOf({ q, like, pictures, sort, filters }) {
  return JSON.stringify([q, like, pictures, sort, filters]);
}

/** The source of a state: the same one again while it is remembered. */
export function sourceOf(state) {
  const key = keyOf(state);
  const source = sources.get(key) ?? new Source(key, reader(state));
  sources.delete(key);
  sources.set(key, source);
  for (const old of [...sources.keys()].slice(0, -KEPT)) sources.delete(old);
  return source;
}

class Source {
  constructor(key, read) {
    Object.assign(this, { key, read, items: [], closest: [], notes: [], total: null, next: null });
    Object.assign(this, { started: false, done: false, scroll: 0, pending: null });
  }

  /** Read the next page; calls that come meanwhile wait for the same one. */
  more() {
    if (this.done) return Promise.resolve(this);
    this.pending ??= this.readOne().finally(() => { this.pending = null; });
    return this.pending;
  }

  async readOne() {
    const page = await this.read(this.next);
    const known = new Set(this.items.map((item) => item.id));
    // The library may have changed between two pages.
    this.items = [...this.items, ...page.items.filter((item) => !known.has(item.id))];
    if (!this.started) {
      Object.assign(this, { closest: page.closest, notes: page.notes, total: page.total });
    }
    Object.assign(this, { started: true, next: page.next, done: page.next === null });
    return this;
  }

  /** In the order in which they are shown. */
  get all() {
    return this.done ? [...this.items, ...this.closest] : this.items;
  }

  /** Take a picture out; what is given back puts it where it was. */
  drop(id) {
    const name = this.items.some((item) => item.id === id) ? "items" : "closest";
    const place = this[name].findIndex((item) => item.id === id);
    if (place < 0) return () => {};
    const item = this[name][place];
    this[name] = this[name].toSpliced(place, 1);
    return () => { this[name] = this[name].toSpliced(place, 0, item); };
  }

  /** Read all anew at the next `more`. */
  forget() {
    sources.delete(this.key);
  }
}

function reader(state) {
  if (state.pictures.length) return (cursor) => byPictures(state, cursor);
  if (state.like) {
    return (cursor) => get(`/images/${state.like}/similar`, { ...state.filters, cursor, limit: ALIKE }).then(alike);
  }
  const { q, filters, sort } = state;
  if (q) {
    return (cursor) => get("/search", { q, ...filters, sort, cursor, limit: cursor ? PAGE : FIRST }).then(found);
  }
  return async (cursor) => {
    const page = await get("/images", { ...filters, order: sort, cursor, limit: cursor ? MORE : PAGE });
    return { items: page.pictures.map(pictureOf), closest: [], notes: place(page), total: page.total, next: page.next };
  };
}

async function byPictures({ pictures, q, filters }, cursor) {
  const form = new FormData();
  for (const key of pictures) {
    const file = await keptFile(key);
    if (!file) throw new Problem("This picture was dropped in another browser, or long ago. Drop it here again.");
    form.append("image", file, file.name || "picture");
  }
  if (q) form.append("q", q);
  return alike(await post("/search", form, { ...filters, cursor, limit: ALIKE }));
}

/** Which of the places of that name it was taken for. */
const place = ({ near }) => (near ? [`Near ${near}.`] : []);

function found(page) {
  return {
    items: page.hits.map(pictureOf),
    closest: page.closest.map(pictureOf),
    notes: [...place(page), ...page.notes],
    total: null,
    next: page.next,
  };
}

/** Everything resembles a picture a little: of what is below the cut-off, the first few say enough. */
function alike(page) {
  const all = found(page);
  return { ...all, closest: all.closest.slice(0, WEAK) };
}
