// The paths of all but the best of each set, to take along: nothing here deletes anything.

import { get } from "./api.js";
import { h } from "./dom.js";
import { say, toast } from "./notes.js";
import { number } from "./words.js";

const PAGE = 500;

/** All sets of a kind. */
export async function everySet(parameters) {
  const found = [];
  let cursor = null;
  do {
    const page = await get("/duplicates", { ...parameters, cursor, limit: PAGE });
    found.push(...page.sets);
    cursor = page.next;
  } while (cursor);
  return found;
}

/** A path that a line of text cannot hold: such a name goes into the JSON list only. */
const unwritable = ({ path, path_b64: bytes }) => Boolean(bytes) || /[\n\r]/.test(path);

/** `{text, count, left}`: a path a line. */
export function asText(sets) {
  const others = sets.flatMap(({ pictures }) => pictures.slice(1));
  const written = others.filter((one) => !unwritable(one));
  return { text: written.map(({ path }) => `${path}\n`).join(""), count: written.length, left: others.length - written.length };
}

const row = ({ image_id, path, path_b64: bytes, width, height, bytes: size }) =>
  ({ image_id, path, ...(bytes ? { path_b64: bytes } : {}), width, height, bytes: size });

export const asJson = (sets) => JSON.stringify(sets.map(({ kind, reason, pictures: [best, ...others] }) =>
  ({ kind, reason, best: row(best), others: others.map(row) })), null, 1);

export async function copyText(text, done) {
  try {
    // Only there where the page came in safety: from this machine, or by https.
    await navigator.clipboard.writeText(text);
    toast(done);
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof DOMException)) throw error;
    toast("This browser does not let this page copy. Save the list as a file instead.");
  }
}

export function save(text, name, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = h("a", { href: address, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 0);
  say(`Saved as ${name}.`);
}

export const toldPaths = ({ count, left }) =>
  `${number(count)} ${count === 1 ? "path" : "paths"}${left ? `; ${number(left)} with a name that no line of text can hold ${left === 1 ? "is" : "are"} in the JSON list only` : ""}`;
