// The page's state is its address: reloading, going back and sharing it need nothing else.

const FILTERS = ["in", "after", "before", "camera", "near", "orientation", "min_size", "type"];
const OWN = ["q", "view", "like", "picture", "sort", "open", "tag", ...FILTERS];

/** The state that an address says. `more` holds the parameters of other views. */
export function read(search = location.search) {
  const given = new URLSearchParams(search);
  const id = (name) => (/^[1-9]\d{0,17}$/.test(given.get(name) ?? "") ? Number(given.get(name)) : null);
  const filters = { tag: given.getAll("tag").filter(Boolean) };
  for (const name of FILTERS) if (given.get(name)) filters[name] = given.get(name);
  const more = {};
  for (const [name, value] of given) if (!OWN.includes(name)) more[name] = value;
  return {
    q: (given.get("q") ?? "").trim(),
    view: given.get("view") ?? "pictures",
    like: id("like"),
    pictures: given.getAll("picture").filter((key) => /^[\w-]{1,40}$/.test(key)).slice(0, 4),
    sort: given.get("sort") ?? "",
    open: id("open"),
    filters,
    more,
  };
}

/** The address of a state, the shortest there is. */
export function write(state) {
  const given = new URLSearchParams();
  if (state.view && state.view !== "pictures") given.set("view", state.view);
  if (state.q) given.set("q", state.q);
  if (state.like) given.set("like", state.like);
  for (const key of state.pictures ?? []) given.append("picture", key);
  for (const name of FILTERS) if (state.filters[name]) given.set(name, state.filters[name]);
  for (const tag of state.filters.tag ?? []) given.append("tag", tag);
  if (state.sort) given.set("sort", state.sort);
  for (const [name, value] of Object.entries(state.more ?? {})) given.set(name, value);
  if (state.open) given.set("open", state.open);
  const text = given.toString();
  return text ? `/?${text}` : "/";
}

const listeners = new Set();
let now = read();

export const state = () => now;

/** Be told of each new state, with the one before it. */
export function onChange(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** The address of the present state with some of it changed. */
export const addressOf = (patch) => write({ ...now, ...patch });

/** Change some of the state: a new step in the history, unless it is to replace the present one. */
export function go(patch, { replace = false } = {}) {
  const next = { ...now, ...patch };
  const address = write(next);
  // The same again leads nowhere.
  if (address === location.pathname + location.search) return;
  const steps = history.state?.steps ?? 0;
  if (replace) history.replaceState({ steps }, "", address);
  else history.pushState({ steps: steps + 1 }, "", address);
  told(next);
}

/** Ask the same anew: whoever listens is told of no state before. */
export const again = () => told(now, null);

/** One step back where that stays on this page, else to `patch`. */
export function back(patch) {
  if (history.state?.steps) history.back();
  else go(patch, { replace: true });
}

/** Nothing asked for, nothing filtered: the whole library. */
export const NOTHING = { q: "", like: null, pictures: [], sort: "", open: null, filters: { tag: [] }, more: {} };

function told(next, before = now) {
  now = next;
  for (const listener of listeners) listener(now, before);
}

addEventListener("popstate", () => told(read()));
history.scrollRestoration = "manual";
