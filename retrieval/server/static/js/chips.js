// What is asked for, in parts that can be turned and taken away.

import { thumbnail } from "./api.js";
import { h, icon } from "./dom.js";
import { told, without } from "./filters.js";
import { keptFile } from "./kept.js";
import { addressOfQuestion, isQuestion } from "./questions.js";
import { go, onChange, state } from "./router.js";
import { asks, joined, parse } from "./terms.js";

/** Keeps the line of chips as the state is. */
export function startChips() {
  const line = document.querySelector("#asked");
  const show = (now) => {
    line.replaceChildren(...pictureChips(now), ...termChips(now), ...askChip(now), ...filterChips(now));
  };
  onChange(show);
  show(state());
}

function chip(content, label, remove, { before = [], away = false } = {}) {
  return h("span", { class: away ? "chip away" : "chip" }, before, content,
    h("button", { type: "button", "aria-label": label, title: label, onclick: remove }, small("close")));
}

function small(name) {
  const sign = icon(name);
  sign.setAttribute("width", "14");
  sign.setAttribute("height", "14");
  return sign;
}

function pictureChips({ like, pictures }) {
  const found = [];
  if (like) {
    found.push(chip(h("span", { class: "said" }, "like this picture"), "Take this picture away",
      () => go({ like: null, open: null }), { before: [h("img", { src: thumbnail(like, 160), alt: "" })] }));
  }
  for (const key of pictures) {
    const image = h("img", { alt: "", hidden: true });
    const name = h("span", { class: "said" }, "a picture");
    keptFile(key).then((file) => {
      if (!file) return;
      name.textContent = file.name || "a picture";
      image.addEventListener("load", () => { image.hidden = false; URL.revokeObjectURL(image.src); });
      image.addEventListener("error", () => URL.revokeObjectURL(image.src));
      image.src = URL.createObjectURL(file);
    });
    found.push(chip(name, "Take this picture away",
      () => go({ pictures: pictures.filter((other) => other !== key), open: null }), { before: [image] }));
  }
  return found;
}

/** One term alone stands in the box already; several can be turned from + to − and taken away. */
function termChips({ q }) {
  const terms = parse(q);
  if (terms.length < 2 && !terms[0]?.away) return [];
  return terms.map(({ away, text }, place) => {
    const rest = terms.filter((_, other) => other !== place);
    const turned = terms.map((term, other) => (other === place ? { ...term, away: !away } : term));
    const label = away ? `${text} is pushed away. Look for it` : `${text} is looked for. Push it away`;
    const sign = h("button", {
      type: "button", class: "sign", "aria-label": label, title: away ? "Look for it instead" : "Push it away instead",
      disabled: !asks(turned), onclick: () => go({ q: joined(turned), open: null }),
    }, away ? "−" : "+");
    return chip(h("span", { class: "said" }, h("b", {}, text)), `Take ${text} away`,
      () => go({ q: asks(rest) ? joined(rest) : "", open: null }), { before: [sign], away });
  });
}

/** Words that read like a question can be asked as one. */
function askChip({ q, filters }) {
  if (!isQuestion(q)) return [];
  return [h("a", { class: "chip asks", href: addressOfQuestion(q, filters) }, "Ask this")];
}

function filterChips({ filters }) {
  return told(filters).map(({ name, value, said: [word, text] }) =>
    chip(h("span", { class: "said", title: value }, h("i", {}, `${word} `), h("b", {}, text)),
      `Take the filter ${word} ${text} away`,
      () => go({ filters: without(state().filters, name, value), open: null })));
}
