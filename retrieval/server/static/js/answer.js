// An answer as it is shown: its text with small pictures for its marks, how sure it is, what it rests on.

import { thumbnail } from "./api.js";
import { h } from "./dom.js";
import { NOTHING, addressOf, write } from "./router.js";
import { pictureOf } from "./source.js";
import { nameOf, percent } from "./tile.js";
import { number, pictures } from "./words.js";

const MARK = /\[(\d{1,4}(?:\s*,\s*\d{1,4})*)\]/g;
const RULES = "rules";

/** The cited pictures, or what came closest: what the viewer moves through. */
export const itemsOf = ({ citations, closest = [] }) => (citations.length ? citations : closest).map(pictureOf);

/** The text as it is read aloud: without the marks. */
export const spoken = ({ text }) => text.replace(MARK, "").replace(/\s+([.,;:!?])/g, "$1").replace(/\s+/g, " ").trim();

/** `filters` are those that it was asked with. */
export function partsOf(answer, filters) {
  return [
    h("p", { class: "answer" }, withPictures(answer)),
    sure(answer),
    answer.citations.length > 0 && citationsOf(answer),
    !answer.citations.length && answer.closest?.length > 0 && closestOf(answer.closest),
    answer.confidence === 0 && instead(answer, filters),
    by(answer),
  ].filter(Boolean);
}

/** A link to a picture of the answer; where it leads is kept up with the address by `relink`. */
function opening(id, label, more, ...children) {
  return h("a", { ...more, href: addressOf({ open: id }), "data-open": id, "aria-label": label }, children);
}

/** The links to pictures lead to the present state with that picture open. */
export function relink(place) {
  for (const link of place.querySelectorAll("a[data-open]")) link.href = addressOf({ open: Number(link.dataset.open) });
}

function withPictures(answer) {
  const { citations } = answer;
  // What helps in a terminal has its own link here.
  const text = unread(answer) ? answer.text.replace(/ For words alone: .*$/s, "") : answer.text;
  const cited = new Map(citations.map((one) => [one.n, pictureOf(one)]));
  const parts = [];
  let at = 0;
  for (const mark of text.matchAll(MARK)) {
    const numbers = mark[1].split(",").map(Number);
    // What is no citation is told as it stands.
    if (!numbers.every((one) => cited.has(one))) continue;
    parts.push(text.slice(at, mark.index).replace(/ $/, "\u00a0"));
    for (const one of numbers) {
      const item = cited.get(one);
      parts.push(opening(item.id, `Picture ${one}: ${item.alt ?? item.name}`, { class: "cite" },
        small(item, 160), h("span", { "aria-hidden": "true" }, one)));
    }
    at = mark.index + mark[0].length;
  }
  return [...parts, text.slice(at)];
}

/** What is named by the link around it. */
function small(item, size) {
  const image = h("img", { src: thumbnail(item.id, size), alt: "", loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.remove());
  return image;
}

function bar(share) {
  const filled = h("i");
  filled.style.width = `${Math.round(Math.max(2, share * 100))}%`;
  return h("span", { class: "meter", "aria-hidden": "true" }, filled);
}

const planOf = ({ steps }) => steps.find(({ step }) => step === "plan")?.data ?? {};
const unread = (answer) => ["chat", "unclear"].includes(planOf(answer).task?.way);

/** Where nothing answers it, a search for the words that were understood shows what there is. */
function instead(answer, filters) {
  const words = planOf(answer).searches?.find((search) => search.words)?.words;
  if (!words) return null;
  return h("p", {}, h("a", { class: "button", href: write({ ...NOTHING, q: words, filters }) }, `Search for “${words}”`));
}

function sure(answer) {
  const { confidence } = answer;
  if (unread(answer)) return h("p", { class: "sure" }, "Not understood, so nothing is claimed.");
  if (!confidence) return h("p", { class: "sure" }, "No picture bears out an answer.");
  const word = confidence >= 0.9 ? "Well" : confidence >= 0.7 ? "Fairly" : "Weakly";
  return h("p", { class: "sure", title: "How well the cited pictures bear it out. Not a chance that all of it is right." },
    h("b", {}, `${word} borne out`), bar(confidence), h("span", { class: "figure" }, percent(confidence)));
}

function citationsOf({ citations, confidence }) {
  // Where the same is said of all of them, the text has said it.
  const differs = new Set(citations.map((one) => one.sentence ?? "")).size > 1;
  return h("ol", { class: "cited", "aria-label": "Pictures it rests on", role: "list" }, citations.map((one) => {
    // Where nothing is borne out, they match something else than the question.
    const item = { ...pictureOf(one), ...(confidence ? {} : { match: null }) };
    return h("li", {},
      opening(item.id, `Picture ${one.n}: ${nameOf(item)}`, {},
        small(item, 320), h("span", { class: "n", "aria-hidden": "true" }, one.n)),
      item.match !== null && bar(item.match),
      differs && one.sentence && h("p", {}, one.sentence),
      h("p", { class: "quiet" },
        item.match !== null && h("span", {}, `${percent(item.match)} match`),
        // Without a model that looks, most are borne out by their match alone.
        one.support !== undefined && percent(one.support) !== percent(item.match ?? 0)
          && h("span", {}, `${percent(one.support)} borne out`)));
  }));
}

function closestOf(closest) {
  return h("section", { class: "near" },
    h("h3", {}, "What comes closest"),
    h("ul", { class: "cited", role: "list" }, closest.map(pictureOf).map((item) => h("li", {},
      opening(item.id, nameOf(item), {}, small(item, 320)),
      item.match !== null && bar(item.match),
      h("p", { class: "quiet" }, item.match !== null && `${percent(item.match)} match`)))));
}

function by({ answerer, cost, notes = [] }) {
  const rules = answerer === RULES;
  const looked = cost.pictures ? `, which looked at ${pictures(cost.pictures)}` : "";
  // The first note says the same for a terminal.
  const rest = notes.filter((note) => !(rules && note.startsWith("Answered by rules")));
  return h("div", { class: "by" },
    h("p", {}, rules ? "No language model: answered from tags, texts and metadata" : `Answered by ${answerer}${looked}`,
      ` in ${seconds(cost.seconds)}.`),
    rest.map((note) => h("p", {}, note)));
}

const seconds = (value) => (value < 0.1 ? "under 0.1 s" : `${number(Number(value.toFixed(value < 10 ? 1 : 0)))} s`);

const STEPS = { plan: "Planned", search: "Searched", look: "Looked", draft: "Drafted", check: "Checked", answer: "Answered" };

/** A line of how the answer was found. */
export const stepOf = ({ step, text, seconds: spent }) => h("li", {},
  h("b", {}, STEPS[step] ?? step), h("span", {}, text), h("span", { class: "figure" }, spent >= 0.05 ? seconds(spent) : ""));
