// One set of pictures that are the same, beside each other, with what differs between them.

import { thumbnail } from "./api.js";
import { h, icon } from "./dom.js";
import { addressOf } from "./router.js";
import { bytes, day, number } from "./words.js";

export const KINDS = {
  "same-file": { label: "Same file", told: "Equal to the byte." },
  "same-picture": { label: "Same picture", told: "Re-encoded, resized or slightly edited." },
  "same-moment": { label: "Same moment", told: "Different shots of one camera, taken within seconds and alike." },
};

const pixels = ({ width, height }) => width * height;
export const nameOf = ({ path }) => path.split(/[/\\]/).at(-1);
const folderOf = ({ path }) => path.replace(/[/\\][^/\\]*$/, "");

/** Why the first one is marked, in words. */
export function reasonOf({ reason, pictures }) {
  const even = pictures.every((one) => pixels(one) === pixels(pictures[0]));
  return {
    pixels: "most pixels",
    bytes: even ? "largest file" : "most pixels, largest file",
    age: "oldest file",
    none: null,
  }[reason];
}

/** How long the folder is that all of them lie in. */
function shared(pictures) {
  const parts = pictures.map((one) => folderOf(one).split(/(?<=[/\\])/));
  let length = 0;
  while (length < parts[0].length && parts.every((one) => one[length] === parts[0][length])) length += 1;
  return parts[0].slice(0, length).join("").length;
}

/** To the second where shots of one moment are told apart. */
const dateOf = (kind) => ({ taken_at: taken, taken_source: source }) => {
  if (!taken) return "No date";
  if (source === "file-mtime") return `File of ${day(taken)}`;
  return `${day(taken)}, ${taken.slice(11, kind === "same-moment" ? 19 : 16)}`;
};

/** The section of a set; `acts` are what can be done: `{compare, apart, alone, copy}`, null where it cannot. */
export function sectionOf(set, { number: place, acts }) {
  const { pictures } = set;
  const [best] = pictures;
  const reason = reasonOf(set);
  const common = shared(pictures);
  const title = `${number(pictures.length)} ${set.kind === "same-moment" ? "shots" : "copies"}`;
  const differs = (of, picture) => (picture === best ? pictures : [picture]).some((one) => of(one) !== of(best));
  const told = (of, picture) => h("span", { class: differs(of, picture) ? "differs" : null }, of(picture));
  const equal = (one) => pixels(one) === pixels(best) && one.bytes === best.bytes && one.format === best.format;
  const cards = pictures.map((picture, at) => {
    const name = nameOf(picture);
    const mark = at === 0 && (reason ? h("span", { class: "best" }, icon("good"), h("b", {}, "Best"), reason)
      : h("span", { class: "best" }, h("b", {}, "All equal"), "first by name"));
    const folder = folderOf(picture);
    return h("li", { class: at === 0 ? "copy first" : "copy" },
      h("a", { class: "shot", href: addressOf({ open: picture.image_id }), "data-id": picture.image_id },
        h("img", { src: thumbnail(picture.image_id, 640), alt: `${name}${at === 0 && reason ? `, best: ${reason}` : ""}`, loading: "lazy", decoding: "async", draggable: "false" })),
      h("div", { class: "what" },
        mark || h("span", { class: "best" }, equal(picture) ? "As large" : "Other"),
        h("p", { class: "name" }, h("bdi", {}, name)),
        h("p", { class: "within", title: folder }, h("bdi", {}, h("span", {}, folder.slice(0, common)), h("b", {}, folder.slice(common)))),
        h("p", { class: "measures" },
          told((one) => `${number(one.width)} × ${number(one.height)}`, picture), told((one) => one.format, picture),
          told((one) => bytes(one.bytes), picture)),
        h("p", { class: "measures" }, told(dateOf(set.kind), picture)),
        h("div", { class: "acts" },
          at > 0 && acts.compare && h("button", { type: "button", class: "small", onclick: () => acts.compare(picture) }, "Compare", h("span", { class: "unseen" }, ` ${name} with the best`)),
          at > 0 && pictures.length > 2 && acts.alone && h("button", { type: "button", class: "small", onclick: () => acts.alone(picture) }, "Not this one", h("span", { class: "unseen" }, `: ${name} is no duplicate`)))));
  });
  return h("section", { class: "set", "aria-label": `Set ${number(place)}: ${title} of ${nameOf(best)}` },
    h("header", {}, h("h2", {}, h("span", {}, `${number(place)}`), title),
      h("div", { class: "acts" },
        h("button", { type: "button", class: "small", onclick: acts.copy }, pictures.length > 2 ? "Copy the other paths" : "Copy the other path"),
        acts.apart && h("button", { type: "button", class: "small", onclick: acts.apart }, "Not duplicates"))),
    h("ul", { role: "list", class: "copies" }, cards));
}
