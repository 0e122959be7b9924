// Two pictures in one place, turned from one to the other, or what differs between them.

import { thumbnail } from "./api.js";
import { h, icon, iconButton } from "./dom.js";
import { bytes, number } from "./words.js";

/** `onend()` is called where it is closed, `onmove(by)` where another one of the set is to be compared. */
export class Compare {
  constructor({ onend, onmove, onapart }) {
    this.onend = onend;
    this.images = [h("img", { alt: "", draggable: "false" }), h("img", { alt: "", draggable: "false" })];
    this.tabs = ["Best", "Other"].map((word, side) => h("button", {
      type: "button", class: "side-name", "aria-pressed": "false", onclick: () => this.turn(side),
    }, h("b", {}, word), h("span")));
    this.differing = h("button", { type: "button", class: "button", "aria-pressed": "false", onclick: () => this.differ(!this.difference) }, "Difference ", h("kbd", {}, "d"));
    this.apart = h("button", { type: "button", class: "button", onclick: () => onapart() }, icon("not"), "Not duplicates");
    this.moving = h("span", { class: "moving" },
      iconButton("left", "Compare with the one before (↑)", () => onmove(-1)),
      iconButton("right", "Compare with the next one (↓)", () => onmove(1)));
    this.dialog = h("dialog", { class: "compare", "aria-label": "Compare two pictures", tabindex: "-1" },
      h("div", { class: "bar" }, iconButton("close", "Close (Esc)", () => this.onend()),
        h("div", { class: "sides", role: "group", "aria-label": "Shown now" }, this.tabs),
        h("div", { class: "actions" }, this.moving, this.differing, this.apart)),
      h("div", { class: "both" }, this.images),
      h("p", { class: "hint" }, h("kbd", {}, "Space"), " turns from one to the other, ", h("kbd", {}, "d"), " shows what differs"),
      h("p", { class: "unseen", role: "status", "aria-live": "polite", "data-live": true }));
    this.both = this.dialog.querySelector(".both");
    this.both.addEventListener("click", () => this.turn());
    this.dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.onend();
    });
    this.dialog.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const keys = {
        " ": () => this.turn(), ArrowLeft: () => this.turn(0), ArrowRight: () => this.turn(1), d: () => this.differ(!this.difference),
        ArrowUp: () => onmove(-1), ArrowDown: () => onmove(1),
      };
      // A button that has the focus is pressed by Space as everywhere.
      if (!Object.hasOwn(keys, event.key) || (event.key === " " && event.target.closest("button"))) return;
      event.preventDefault();
      keys[event.key]();
    });
    document.body.append(this.dialog);
  }

  /** Show the best one and another; `several` where there are more of them. */
  show(best, other, { several, writable, word }) {
    const pair = `${best.image_id}-${other.image_id}`;
    this.moving.hidden = !several;
    this.apart.hidden = !writable;
    if (this.pair !== pair || !this.dialog.open) {
      this.pair = pair;
      this.pictures = [best, other];
      for (const [side, picture] of this.pictures.entries()) {
        const name = picture.path.split(/[/\\]/).at(-1);
        this.images[side].src = thumbnail(picture.image_id, 1280);
        this.images[side].alt = `${side ? "Other" : word}: ${name}`;
        this.tabs[side].replaceChildren(h("b", {}, side ? "Other" : word), h("bdi", {}, name),
          h("small", {}, `${number(picture.width)} × ${number(picture.height)}, ${picture.format}, ${bytes(picture.bytes)}`));
      }
      this.both.style.setProperty("--aspect", String(best.width / best.height));
      this.differ(false);
      this.turn(0);
    }
    if (!this.dialog.open) {
      this.dialog.showModal();
      this.dialog.focus();
    }
  }

  hide() {
    if (this.dialog.open) this.dialog.close();
  }

  turn(side = this.side ? 0 : 1) {
    this.side = side;
    this.difference = false;
    this.draw();
    this.dialog.querySelector("[data-live]").textContent = this.images[side].alt;
  }

  differ(on) {
    this.difference = on;
    this.draw();
    if (on) this.dialog.querySelector("[data-live]").textContent = "What differs: black is equal.";
  }

  draw() {
    this.both.classList.toggle("difference", this.difference);
    this.differing.setAttribute("aria-pressed", String(this.difference));
    for (const side of [0, 1]) {
      const shown = this.difference || this.side === side;
      this.images[side].classList.toggle("shown", shown);
      this.images[side].setAttribute("aria-hidden", String(!shown));
      this.tabs[side].setAttribute("aria-pressed", String(!this.difference && this.side === side));
    }
  }

  end() {
    this.hide();
    this.dialog.remove();
  }
}
