// The search box: words, pictures that are dropped, pasted or chosen.

import { h, iconButton } from "./dom.js";
import { keep } from "./kept.js";
import { narrowing } from "./narrow.js";
import { toast } from "./notes.js";
import { NOTHING, addressOf, again, go, onChange, state } from "./router.js";
import { typed } from "./terms.js";
import { VIEWS, viewOf } from "./views.js";

const MOST = 4;
const LARGEST = 20e6;

export function startSearch() {
  const form = document.querySelector("#search");
  const input = form.querySelector("input");
  const chooser = h("input", { type: "file", accept: "image/*,.heic,.heif", multiple: true, hidden: true });
  chooser.addEventListener("change", () => {
    take([...chooser.files]);
    chooser.value = "";
  });
  const [filter, pane] = narrowing();
  form.append(h("span", { class: "buttons" }, filter, iconButton("picture", "Search with a picture", () => chooser.click())));
  form.after(chooser, pane);

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const q = typed(input.value);
    input.value = q;
    if (q || state().pictures.length || state().like) {
      const asked = { ...(q ? { like: null } : {}), q, view: VIEWS[viewOf(state().view)].asks ? state().view : "pictures", open: null, more: {} };
      if (addressOf(asked) === location.pathname + location.search) again();
      else go({ ...asked, sort: "" });
    } else go(NOTHING);
    document.querySelector("#main").focus({ preventScroll: true });
  });
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    if (input.value) input.value = "";
    else document.querySelector("#main").focus();
  });
  const show = ({ q }) => { input.value = q; };
  onChange((now, before) => { if (now.q !== before?.q || now.view !== before?.view) show(now); });
  show(state());
  startDropping();
  return { focus: () => { input.focus(); input.select(); } };
}

/** Search with these files. */
async function take(files) {
  const pictures = files.filter((file) => file.type.startsWith("image/") || /\.(hei[cf]|avif|jxl|dng|cr2|nef|arw)$/i.test(file.name));
  if (!pictures.length) {
    toast("That is no picture.");
    return;
  }
  const large = pictures.find((file) => file.size > LARGEST);
  if (large) {
    toast(`${large.name} is larger than 20 MB.`);
    return;
  }
  if (pictures.length > MOST) toast(`The first ${MOST} pictures are taken.`);
  const keys = [];
  for (const file of pictures.slice(0, MOST)) keys.push(await keep(file));
  go({ ...NOTHING, view: "pictures", filters: state().filters, pictures: keys });
}

function startDropping() {
  let veil = null;
  let depth = 0;
  const files = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const end = () => {
    depth = 0;
    veil?.remove();
    veil = null;
  };
  addEventListener("dragenter", (event) => {
    if (!files(event)) return;
    depth += 1;
    veil ??= (document.querySelector("dialog[open]") ?? document.body).appendChild(h("div", { class: "dropping" },
      h("p", {}, "Let go to find pictures like this one.")));
  });
  addEventListener("dragover", (event) => { if (files(event)) event.preventDefault(); });
  addEventListener("dragleave", (event) => {
    if (!files(event)) return;
    depth -= 1;
    if (depth <= 0) end();
  });
  addEventListener("drop", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    end();
    take([...event.dataTransfer.files]);
  });
  addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files ?? [])];
    if (!pasted.length) return;
    event.preventDefault();
    take(pasted);
  });
}

