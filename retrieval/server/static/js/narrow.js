// The small window in which filters are set.

import { get } from "./api.js";
import { h, iconButton } from "./dom.js";
import { FIELDS, any, ofForm } from "./filters.js";
import { go, state } from "./router.js";

/** The button that opens it, and itself. */
export function narrowing() {
  const pane = h("div", { class: "narrow", popover: "auto", id: "narrow", role: "dialog", "aria-label": "Filters" });
  const button = iconButton("filter", "Filters", null, { popovertarget: "narrow", "aria-haspopup": "dialog" });
  pane.addEventListener("beforetoggle", (event) => {
    if (event.newState !== "open") return;
    pane.replaceChildren(form(pane));
    const at = button.getBoundingClientRect();
    const width = Math.min(400, innerWidth - 24);
    pane.style.left = `${Math.max(12, Math.min(at.right - width / 2, innerWidth - width - 12))}px`;
    pane.style.top = `${at.bottom + 8}px`;
  });
  pane.addEventListener("toggle", (event) => {
    button.setAttribute("aria-expanded", String(event.newState === "open"));
    if (event.newState === "open") pane.querySelector("input, select")?.focus();
  });
  return [button, pane];
}

function form(pane) {
  const { filters } = state();
  const done = (event) => {
    event.preventDefault();
    pane.hidePopover();
    go({ filters: ofForm(event.target), open: null });
  };
  return h("form", { onsubmit: done, autocomplete: "off" },
    FIELDS.map((field) => control(field, filters)),
    h("div", { class: "buttons" },
      any(filters) && h("button", {
        type: "button", class: "button",
        onclick: () => { pane.hidePopover(); go({ filters: { tag: [] }, open: null }); },
      }, "Clear"),
      h("button", { type: "submit", class: "button main-one" }, "Show these")));
}

function control(field, filters) {
  const value = field.name === "tag" ? (filters.tag ?? []).join(", ") : filters[field.name] ?? "";
  const id = `narrow-${field.name}`;
  const kind = `field${field.whole ? " whole" : ""}`;
  if (field.choices) {
    return h("fieldset", { class: kind }, h("legend", {}, field.label), h("div", { class: "choices" },
      ["", ...field.choices].map((choice) => h("label", {},
        h("input", { type: "radio", name: field.name, value: choice, checked: choice === value }),
        choice || "any"))));
  }
  if (field.values) {
    return h("div", { class: kind }, h("label", { for: id }, field.label), h("select", { id, name: field.name },
      h("option", { value: "" }, "any"),
      [...new Set([...field.values, value].filter(Boolean))].map((one) =>
        h("option", { value: one, selected: one === value }, one.toUpperCase()))));
  }
  const suggested = ["in", "tag"].includes(field.name) ? h("datalist", { id: `${id}-known` }) : null;
  const input = h("input", {
    id, name: field.name, type: "text", maxlength: 1000, value, placeholder: field.example, spellcheck: "false",
    list: suggested && `${id}-known`,
    onfocus: suggested && (() => suggest(field.name, suggested)),
  });
  return h("div", { class: kind }, h("label", { for: id }, field.label), input, suggested);
}

/** Known folders and tags; without them the field is a plain one. */
async function suggest(name, list) {
  if (list.childElementCount) return;
  const known = name === "in"
    ? get("/status").then((found) => found.roots.map((root) => root.path))
    : get("/tags", { limit: 500 }).then(({ tags }) =>
      tags.sort((one, other) => other.images - one.images).map((one) => one.tag));
  const values = await known.catch(() => []);
  list.replaceChildren(...values.map((value) => h("option", { value })));
}
