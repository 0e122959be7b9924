// A small map of the world that needs no network.

import { svg } from "./dom.js";

const WIDE = 100;
const HIGH = 62;
let outline = null;

/** The coasts as an SVG path over degrees, north up. */
async function coasts() {
  outline ??= fetch("/static/world.json").then((answer) => answer.json()).then(({ rings }) => rings.map(drawn).join(""));
  return outline;
}

function drawn(ring) {
  let path = "";
  for (let at = 0; at < ring.length; at += 2) path += `${at ? "L" : "M"}${ring[at] / 10} ${-ring[at + 1] / 10}`;
  return `${path}Z`;
}

/** The part of the world around a place, with a spot on it. */
export function worldWith(latitude, longitude, name) {
  const left = Math.min(180 - WIDE, Math.max(-180, longitude - WIDE / 2));
  const top = Math.min(90 - HIGH, Math.max(-90, -latitude - HIGH / 2));
  const land = svg("path", { class: "land" });
  const map = svg("svg", {
    class: "world", viewBox: `${left} ${top} ${WIDE} ${HIGH}`, role: "img", "aria-label": `Map: ${name}`,
    preserveAspectRatio: "xMidYMid slice",
  }, land,
  svg("circle", { class: "halo", cx: longitude, cy: -latitude, r: 3.4 }),
  svg("circle", { class: "spot", cx: longitude, cy: -latitude, r: 1.4 }));
  coasts().then((path) => land.setAttribute("d", path), () => map.classList.add("bare"));
  return map;
}
