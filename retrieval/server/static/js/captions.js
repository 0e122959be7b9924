// Captions for those who do not see the pictures: asked for where a person stays on one.

import { get } from "./api.js";
import { say } from "./notes.js";
import { nameOf } from "./tile.js";

/** Milliseconds: who only passes by is not told. */
const STAYS = 350;
let timer = 0;

/** Say what a picture shows, once it has been in focus for a moment, and keep it as its name. */
export function captionSoon(item, image) {
  clearTimeout(timer);
  if (!item || item.alt) return;
  timer = setTimeout(async () => {
    try {
      const { alt } = await get(`/images/${item.id}`);
      if (!alt || item.alt) return;
      item.alt = alt;
      if (image) image.alt = nameOf(item);
      if (image?.parentElement === document.activeElement) say(alt);
    } catch (problem) {
      say(problem.message);
    }
  }, STAYS);
}
