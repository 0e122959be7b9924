// The page is put together here: box, chips, the present view, the viewer, keys.

import { startChips } from "./chips.js";
import { h } from "./dom.js";
import { helpButton, startKeys } from "./keys.js";
import { progressSign } from "./progress.js";
import { NOTHING, addressOf, go, onChange, read, state } from "./router.js";
import { startSearch } from "./search.js";
import { themeButton } from "./theme.js";
import { VIEWS, viewOf } from "./views.js";
import { startViewer } from "./viewer.js";

const main = document.querySelector("#main");
let mounted = null;
let shown = null;
let latest = 0;

async function show(now, before) {
  const name = viewOf(now.view);
  if (name === shown) {
    mounted?.update(now, before);
    return;
  }
  const mine = (latest += 1);
  const view = await VIEWS[name].load();
  if (mine !== latest) return;
  mounted?.end();
  main.replaceChildren();
  shown = name;
  mounted = view.mount(main, state());
}

function showNavigation() {
  const place = document.querySelector("#views");
  const names = Object.keys(VIEWS);
  place.hidden = names.length < 2;
  const draw = () => place.replaceChildren(...names.map((name) => h("a", {
    href: addressOf({ ...NOTHING, ...(VIEWS[name].asks ? { q: state().q, like: state().like } : {}), filters: state().filters, view: name }),
    "aria-current": viewOf(state().view) === name ? "page" : null,
  }, VIEWS[name].label)));
  onChange(draw);
  draw();
}

const box = startSearch();
startChips();
showNavigation();
document.querySelector("#tools").append(progressSign(), themeButton(), helpButton());
// Every link to a state of the page is followed without loading the page anew.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  const plain = !event.defaultPrevented && !event.button && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!link || !plain || link.hasAttribute("download") || link.origin !== location.origin || link.pathname !== "/") return;
  event.preventDefault();
  go(read(link.search));
});
// The viewer takes the next and the one before from whatever the present view shows.
startViewer({ around: () => mounted?.around?.() ?? null, left: (id) => mounted?.left?.(id) ?? (() => {}) });
startKeys({ box, view: () => mounted });
onChange(show);
show(state(), null);
