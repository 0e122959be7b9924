// Light, dark, or as the system is; `early.js` applies what was chosen before the first paint.

import { icon, iconButton } from "./dom.js";
import { recall, remember } from "./kept.js";

const NEXT = { system: "light", light: "dark", dark: "system" };
const SIGN = { system: "system", light: "sun", dark: "moon" };
const SAID = { system: "as the system", light: "light", dark: "dark" };

export function themeButton() {
  let theme = recall("theme") ?? "system";
  if (!(theme in NEXT)) theme = "system";
  const button = iconButton(SIGN[theme], "", () => {
    theme = NEXT[theme];
    remember("theme", theme === "system" ? null : theme);
    show();
  });
  const show = () => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.replaceChildren(icon(SIGN[theme]));
    button.title = `Colours: ${SAID[theme]}`;
    button.setAttribute("aria-label", `Colours: ${SAID[theme]}. Change to ${SAID[NEXT[theme]]}`);
  };
  show();
  return button;
}
