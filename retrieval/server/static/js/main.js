// The page is put together here: box, chips, the present view, the viewer, keys.

import { Problem, get } from "./api.js";
import { startChips } from "./chips.js";
import { h } from "./dom.js";
import { helpButton, startKeys } from "./keys.js";
import { say, toast } from "./notes.js";
import { progressSign } from "./progress.js";
import { NOTHING, addressOf, go, onChange, read, state } from "./router.js";
import { startSearch } from "./search.js";
import { failed } from "./states.js";
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
  let view;
  let lost = null;
  try {
    view = await VIEWS[name].load();
  } catch {
    // Its module is not there, or another that it needs: what the server says to a question tells why.
    lost = await get("/status").then(() => new Problem("This part of the page could not be loaded."), (problem) => problem);
  }
  if (mine !== latest) return;
  mounted?.end();
  main.replaceChildren();
  if (lost) {
    mounted = shown = null;
    main.append(failed(lost, () => get("/status").then(() => location.reload(), (problem) => toast(problem.message))));
    say(lost.message);
    return;
  }
  shown = name;
  mounted = view.mount(main, state());
}

function showNavigation() {
  const place = document.querySelector("#views");
  const names = Object.keys(VIEWS);
  place.hidden = names.length < 2;
  const links = () => names.map((name) => h("a", {
    href: addressOf({ ...NOTHING, ...(VIEWS[name].asks ? { q: state().q, like: state().like } : {}), filters: state().filters, view: name }),
    "aria-current": viewOf(state().view) === name ? "page" : null,
    // Its width as the present one is kept free, so that no link moves when another becomes that.
    "data-label": VIEWS[name].label,
  }, VIEWS[name].label));
  const draw = () => {
    place.replaceChildren(...links());
    // Where letters are large, not all of them may fit.
    const { offsetLeft, offsetWidth } = place.querySelector("[aria-current]");
    place.scrollLeft = offsetLeft + offsetWidth / 2 - place.clientWidth / 2;
  };
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
// The other views are fetched once there is time, so that going there waits for nothing; one that
// does not come is asked for again, and told of, where somebody goes there.
const idle = window.requestIdleCallback ?? ((task) => setTimeout(task, 1000));
show(state(), null).then(() => idle(() => {
  for (const { load } of Object.values(VIEWS)) load().catch(() => {});
}));
