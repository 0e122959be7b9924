// Questions about the library, answered from its pictures; one asks on, and the address holds it all.

import { relink } from "../answer.js";
import { h, iconButton } from "../dom.js";
import { MOST, asking, examples, questionsOf } from "../questions.js";
import { NOTHING, addressOf, again, back, go, state } from "../router.js";
import { nothingHere } from "../states.js";
import { listen, lost } from "../stream.js";
import { Turn } from "../turn.js";

/** Conversations that one may come back to, by their filters and questions: the turns up to each. */
const kept = new Map();
const KEPT = 40;

const keyOf = (filters, questions) => JSON.stringify([filters, questions]);

export function mount(root, first) {
  let now = first;
  let turns = [];
  let stopping = null;
  let current = null;
  let opened = null;

  const input = h("input", {
    id: "question", type: "text", maxlength: 2000, autocomplete: "off", enterkeyhint: "send", spellcheck: "true",
    placeholder: "Ask something about your pictures",
  });
  const label = h("label", { class: "unseen", for: "question" }, "Question");
  const form = h("form", { class: "question" }, label, input, iconButton("right", "Ask", () => {}, { type: "submit" }));
  const title = h("h1", {}, "Ask your pictures");
  const lead = h("p", { class: "lead" }, "Every answer shows the pictures it rests on.");
  const list = h("div", { class: "turns" });
  const below = h("div", { class: "below" });
  const place = h("div", { class: "ask" }, h("div", { class: "opening" }, title, lead), list, form, below);
  root.replaceChildren(place);

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const question = input.value.replace(/\s+/g, " ").trim();
    if (!question) return;
    input.value = "";
    if (!matchMedia("(hover: hover)").matches) input.blur();
    // What was stopped or failed is no part of the conversation.
    const before = turns.filter((turn) => turn.answer || stopping).slice(1 - MOST);
    const questions = [...before.map((turn) => turn.question), question];
    before.forEach((turn, at) => kept.set(keyOf(now.filters, questions.slice(0, at + 1)), turn));
    const wanted = { more: asking(questions), open: null, q: "" };
    if (addressOf(wanted) === location.pathname + location.search) again();
    else go(wanted);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    if (stopping) stopping.abort();
    else if (input.value) input.value = "";
    else document.querySelector("#main").focus();
  });
  place.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-open]");
    if (link) opened = turns.find((turn) => turn.element.contains(link)) ?? null;
  }, true);

  function rephrase(question) {
    input.value = question;
    input.focus();
    input.select();
  }

  /** Show the conversation of the state, and ask what of it has no answer yet. */
  function begin() {
    const questions = questionsOf(now);
    const { filters } = now;
    turns = questions.map((question, at) => {
      const key = keyOf(filters, questions.slice(0, at + 1));
      const turn = kept.get(key) ?? new Turn(question, filters);
      Object.assign(turn, { stop: () => stopping?.abort(), ask: answerAll, rephrase: () => rephrase(question) });
      kept.delete(key);
      kept.set(key, turn);
      return turn;
    });
    for (const old of [...kept.keys()].slice(0, -KEPT)) kept.delete(old);
    list.replaceChildren(...turns.map((turn) => turn.element));
    relink(place);
    place.classList.toggle("begun", turns.length > 0);
    document.title = questions.length ? `${questions.at(-1)} · Pictures` : "Ask · Pictures";
    label.textContent = turns.length ? "Ask on" : "Question";
    input.placeholder = turns.length ? "Ask on: and when was that?" : "Ask something about your pictures";
    showBelow();
    if (turns.length > 1) turns.at(-1).element.scrollIntoView({ block: "start" });
    else scrollTo(0, 0);
    // What is being answered goes on, and what was asked meanwhile comes after it.
    if (!stopping || !turns.includes(current)) answerAll();
  }

  function showBelow() {
    if (turns.length) {
      below.replaceChildren(h("a", { class: "button", href: addressOf({ ...NOTHING, view: "ask", filters: now.filters }) }, "Ask something else"));
      return;
    }
    below.replaceChildren();
    const { filters } = now;
    examples(filters).then((found) => {
      if (turns.length || filters !== now.filters) return;
      if (!found) place.replaceChildren(nothingHere());
      if (!found?.length) return;
      below.replaceChildren(h("p", { class: "quiet" }, "For example"), h("ul", { role: "list" }, found.map((question) => h("li", {},
        h("a", { class: "button", href: addressOf({ more: asking([question]) }) }, question)))));
    }, (problem) => below.replaceChildren(h("p", { class: "quiet" }, problem.message)));
  }

  async function answerAll() {
    stopping?.abort();
    const mine = (stopping = new AbortController());
    let begunAnew = false;
    for (;;) {
      const at = turns.findIndex((one) => !one.answer);
      if (at < 0) break;
      const turn = turns[at];
      current = turn;
      turn.begin();
      try {
        const answer = await answerTo(turn, turns[at - 1]?.answer?.turn ?? null, mine.signal);
        if (mine !== stopping) return;
        turn.show(answer);
      } catch (problem) {
        if (mine !== stopping) return;
        if (problem.name === "AbortError") {
          turn.stopped();
          break;
        }
        if (problem.status === 404 && at > 0 && !begunAnew) {
          // The server has forgotten what was said before, so it is said again.
          begunAnew = true;
          turn.end();
          for (const earlier of turns.slice(0, at)) earlier.answer = null;
          continue;
        }
        turn.failed(problem);
        break;
      }
    }
    stopping = null;
    relink(place);
    document.dispatchEvent(new CustomEvent("listed"));
  }

  async function answerTo(turn, before, signal) {
    let answer = null;
    await listen("/ask", { ...turn.filters, question: turn.question, ...(before ? { turn: before } : {}) }, {
      signal,
      hear: (name, row) => {
        if (name === "answer") answer = row;
        else turn.hear(name, row);
      },
    });
    if (!answer) throw lost();
    return answer;
  }

  function key(event) {
    if (event.key === "a" || event.key === "Enter") {
      if (event.key === "Enter" && document.activeElement !== document.body && document.activeElement.id !== "main") return;
      event.preventDefault();
      input.focus();
    } else if (event.key === "Escape") {
      if (stopping) stopping.abort();
      else back({ ...NOTHING, view: "pictures" });
    }
  }

  /** The pictures of the answer that the open one was opened from. */
  function around() {
    const { open } = state();
    const shows = (turn) => turn?.items.some((item) => item.id === open);
    const turn = turns.includes(opened) && shows(opened) ? opened : turns.findLast(shows);
    const items = turn?.items ?? [];
    return { list: items, good: items.length, total: items.length, done: true, more: () => Promise.resolve(null) };
  }

  begin();
  if (!turns.length && matchMedia("(hover: hover)").matches) input.focus({ preventScroll: true });
  return {
    update(next, before) {
      const left = before?.open ?? null;
      const same = before && keyOf(before.filters, questionsOf(before)) === keyOf(next.filters, questionsOf(next));
      now = next;
      if (!before && turns.length) turns.at(-1).answer = null;
      if (!same) begin();
      else relink(place);
      if (same && left && !next.open) {
        const link = `a[data-open="${left}"]`;
        (opened?.element.querySelector(`.cited ${link}`) ?? place.querySelector(link))?.focus();
      }
    },
    key,
    around,
    end() {
      const going = stopping;
      stopping = null;
      going?.abort();
    },
  };
}
