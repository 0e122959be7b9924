// What is known of a picture, told in its panel.

import { get } from "./api.js";
import { h } from "./dom.js";
import { NOTHING, write } from "./router.js";
import { percent } from "./tile.js";
import { bytes, moment, number } from "./words.js";
import { worldWith } from "./world.js";

const SOURCES = {
  caption: "Caption", alt: "Caption", sidecar: "Told beside it", title: "Title", description: "Description",
  ocr: "Read in the picture", user: "Said of it",
};

/** The picture's row with `name`, and `parts` that make the panel. */
export async function detailsOf(id) {
  const row = await get(`/images/${id}`);
  const name = row.path.split(/[/\\]/).at(-1);
  return { ...row, name, parts: (more) => panelOf(row, name, more) };
}

function panelOf(row, name, { match }) {
  return [
    h("header", {}, h("h2", {}, row.title || name), row.title && h("p", { class: "quiet" }, name)),
    row.missing && h("p", { class: "trouble" }, "Its file is gone. What is shown was kept."),
    row.description && h("p", { class: "caption" }, row.description),
    ...textsOf(row),
    row.alt && !row.texts.length && !row.description && h("p", { class: "caption" }, row.alt),
    row.tags.length > 0 && tagsOf(row.tags),
    facts(row, match),
    ...placeOf(row),
  ].filter(Boolean);
}

function textsOf(row) {
  return row.texts.filter(({ text }) => text !== row.description && text !== row.title).map(({ text, source }) =>
    h("figure", { class: "text" }, h("blockquote", { class: "caption" }, text),
      h("figcaption", { class: "quiet" }, SOURCES[source] ?? source)));
}

function tagsOf(tags) {
  return h("ul", { class: "tags", "aria-label": "Tags" }, tags.map(({ tag, confidence }) => h("li", {},
    h("a", {
      href: write({ ...NOTHING, filters: { tag: [tag] } }), title: `${percent(confidence)} sure`,
    }, tag))));
}

function facts(row, match) {
  const told = [
    ["Match", match === null ? null : percent(match)],
    ["Taken", row.taken_at && (row.taken_source === "file-mtime" ? null : moment(row.taken_at))],
    ["File date", row.taken_source === "file-mtime" ? moment(row.taken_at) : null],
    ["Camera", row.camera],
    ["Lens", row.lens],
    ["Size", `${number(row.width)} × ${number(row.height)} · ${row.format} · ${bytes(row.bytes)}`],
    ["Keywords", row.keywords?.join(", ")],
    ["Folder", folder(row.path)],
  ];
  return h("dl", { class: "facts" }, told.filter(([, value]) => value).map(([word, value]) =>
    h("div", {}, h("dt", {}, word), h("dd", {}, value))));
}

function folder(path) {
  const above = path.replace(/[/\\][^/\\]*$/, "");
  return h("a", { href: write({ ...NOTHING, filters: { tag: [], in: above } }), title: "All pictures in this folder" }, above);
}

function placeOf(row) {
  if (row.latitude === undefined || row.longitude === undefined) return [];
  const degrees = (value, [plus, minus]) => `${Math.abs(value).toFixed(3)}° ${value < 0 ? minus : plus}`;
  const exact = `${degrees(row.latitude, "NS")}, ${degrees(row.longitude, "EW")}`;
  return [h("figure", { class: "where" },
    worldWith(row.latitude, row.longitude, row.place ?? exact),
    h("figcaption", {}, row.place && h("b", {}, row.place), h("span", { class: "quiet" }, exact)))];
}
