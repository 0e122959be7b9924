// Elements without markup: nothing that a person or a file says is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element with its attributes, listeners (`onclick`) and children; null and false are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((one) => one !== null && one !== undefined && one !== false));
  return element;
}

const DRAWN = {
  close: "M6 6l12 12M18 6L6 18",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  picture: "M4 5h16v14H4zM4 16l5-4.5 3.5 3 4-4.5L20 14M8.5 9.2h.01",
  filter: "M4 7h10M18 7h2M4 17h2M10 17h10M14 7a2 2 0 104 0 2 2 0 00-4 0M6 17a2 2 0 104 0 2 2 0 00-4 0",
  sun: "M12 8a4 4 0 100 8 4 4 0 000-8M12 3v1.5M12 19.500v1.500M3 12h1.500M19.500 12H21M5.600 5.600l1.100 1.100M17.300 17.300l1.100 1.100M18.400 5.600l-1.100 1.100M6.700 17.300l-1.100 1.100",
  moon: "M19.500 14.500A8 8 0 019.500 4.500a8 8 0 1010 10z",
  system: "M4 5.500h16v11H4zM12 16.500v3M8.500 19.500h7",
  help: "M9.200 9.300a2.800 2.800 0 115 1.700c-.9 1-2.200 1.400-2.200 3M12 17.200h.01M12 3.500a8.500 8.500 0 100 17 8.500 8.500 0 000-17",
  similar: "M4 8h11v11H4zM8 8V4.500h11.500V16H15",
  not: "M12 4a8 8 0 100 16 8 8 0 000-16M6.500 6.500l11 11",
  good: "M5 12.500l4.500 4.500L19 7.500",
  why: "M12 4.500c-5 0-8.500 5.500-8.500 7.500s3.500 7.500 8.500 7.500 8.500-5.500 8.500-7.500-3.500-7.500-8.500-7.500M12 9a3 3 0 100 6 3 3 0 000-6",
  info: "M12 11v5.500M12 7.700h.01M12 3.500a8.500 8.500 0 100 17 8.500 8.500 0 000-17",
  save: "M12 4v11M7.500 11l4.500 4.500 4.500-4.500M5 19.500h14",
  copy: "M9 9h10v11H9zM5 15V4h10",
  plus: "M12 5.500v13M5.500 12h13",
  minus: "M5.500 12h13",
  whole: "M4.500 9V4.500H9M15 4.500h4.500V9M19.500 15v4.500H15M9 19.500H4.500V15",
  frame: "M5 5h2M10.500 5h3M17 5h2v2M19 10.500v3M19 17v2h-2M13.500 19h-3M7 19H5v-2M5 13.500v-3M5 7V5",
  zoom: "M10.500 4.500a6 6 0 100 12 6 6 0 000-12M15 15l5 5M10.500 8v5M8 10.500h5",
};

/** A drawn sign of 20 pixels; what it means is said by the control that it is in. */
export function icon(name) {
  const drawing = document.createElementNS(SVG, "svg");
  const line = document.createElementNS(SVG, "path");
  for (const [key, value] of Object.entries({
    viewBox: "0 0 24 24", width: 20, height: 20, fill: "none", stroke: "currentColor",
    "stroke-width": 1.7, "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true",
  })) drawing.setAttribute(key, value);
  line.setAttribute("d", DRAWN[name]);
  drawing.append(line);
  return drawing;
}

/** An SVG element with its attributes. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** A round button with a sign; `label` is read aloud and shown as its tooltip. */
export function iconButton(name, label, onclick, more = {}) {
  return h("button", { type: "button", class: "icon", "aria-label": label, title: label, onclick, ...more }, icon(name));
}
