// Questions: how one is told from words to search for, how they stand in the address, and some to begin with.

import { get } from "./api.js";
import { NOTHING, write } from "./router.js";

const BEGINS = /^(what|when|where|which|who|whose|why|how|is|are|was|were|do|does|did|has|have|can)\s+\S/i;
/** Questions of a conversation that the address holds: the server goes on from no more either. */
export const MOST = 6;
const EXAMPLES = 5;

/** Whether words read like a question, and not like the name of what is looked for. */
export const isQuestion = (words) => /\?\s*$/.test(words) || BEGINS.test(words.trim());

const plain = (question) => question.replace(/\s+/g, " ").trim();

/** The questions of a conversation that a state holds, one a line. */
export const questionsOf = ({ more }) => (more.question ?? "").split(/[\r\n]+/).map(plain).filter(Boolean).slice(-MOST);

/** What of a state makes it that conversation. */
export const asking = (questions) => ({ question: questions.slice(-MOST).map(plain).join("\n") });

/** The address that asks a question of the pictures that pass the filters. */
export const addressOfQuestion = (question, filters) =>
  write({ ...NOTHING, view: "ask", filters, more: asking([question]) });

/** Questions that this library has an answer to, from its tags, months and places; null without pictures. */
export async function examples(filters) {
  const limited = Object.values(filters).some((value) => value.length);
  const [tags, months, shown] = await Promise.all([
    limited ? [] : get("/tags", { limit: 40 }).then((found) => found.tags.filter((one) => one.images)),
    get("/timeline", { ...filters, by: "month" }).then(byMonth),
    get("/images", { ...filters, limit: 200 }),
  ]);
  if (!limited && !shown.total) return null;
  const place = await placeAmong(shown);
  const years = new Set(months.map(({ when }) => when.slice(0, 4)));
  const has = (tag) => tags.some((one) => one.tag === tag);
  const other = tags.find(({ tag }) => /^[a-z]+$/.test(tag) && !["animal", "pet", "wildlife", "food"].includes(tag));
  return [
    has("animal") && "What animals are there?",
    place && `What did we see in ${place}?`,
    other && `How many pictures are tagged ${other.tag}?`,
    years.size > 1 && "In which year did I take the most photos?",
    months.length > 0 && `Which pictures are from ${english(months[0].when)}?`,
    has("food") && "What did we eat?",
  ].filter(Boolean).slice(0, EXAMPLES);
}

/** Questions are read in English, whatever language the page's dates are written in. */
const english = (when) =>
  new Intl.DateTimeFormat("en", { month: "long", year: "numeric", timeZone: "UTC" }).format(new Date(`${when}-01`));

/** The months with the most pictures first; what has only its file's date is of none. */
const byMonth = ({ spans }) => spans
  .map(({ span, images, by_file: unsure }) => ({ when: span, count: images - unsure }))
  .filter(({ when, count }) => count > 0 && /^\d{4}-\d\d$/.test(when))
  .sort((one, other) => other.count - one.count || other.when.localeCompare(one.when));

/** A town that the question's own names of places know: of the first picture that has one. */
async function placeAmong({ pictures }) {
  const row = pictures.find((one) => one.latitude !== undefined);
  if (!row) return null;
  const { place } = await get(`/images/${row.image_id}`);
  return place ? place.split(",")[0] : null;
}
