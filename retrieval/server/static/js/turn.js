// One question of a conversation, from the moment it is asked: steps, draft, answer, or what went wrong.

import { itemsOf, partsOf, spoken, stepOf } from "./answer.js";
import { h } from "./dom.js";
import { say } from "./notes.js";

const DOING = {
  plan: "Searching", search: "Looking at the pictures", look: "Putting it into words", draft: "Holding it against the pictures",
  check: "Finishing",
};

export class Turn {
  /** `stop()` ends the asking, `ask()` begins it again, `rephrase()` has it written anew: the view says how. */
  constructor(question, filters) {
    Object.assign(this, { question, filters, stop: () => {}, ask: () => {}, rephrase: () => {}, answer: null, steps: [], text: null });
    this.stopButton = h("button", { type: "button", class: "button", onclick: () => this.stop() }, "Stop");
    this.now = h("span", {}, "Reading the question");
    this.working = h("div", { class: "working" }, h("i", { class: "pulse", "aria-hidden": "true" }), this.now, this.stopButton);
    this.list = h("ol", { class: "steps" });
    this.how = h("details", { class: "how", hidden: true }, h("summary", {}, "How this was found"), this.list);
    this.body = h("div", { class: "said" });
    this.head = h("h2", { tabindex: "-1" }, question);
    this.element = h("article", { class: "turn" }, this.head, this.body, this.how);
  }

  begin() {
    Object.assign(this, { answer: null, text: null, steps: [] });
    this.now.textContent = "Reading the question";
    this.list.replaceChildren();
    this.how.hidden = true;
    this.put(this.working);
    this.element.setAttribute("aria-busy", "true");
    say(`Asking: ${this.question}`);
  }

  /** Whoever was on something that goes is on the question then. */
  put(...parts) {
    const had = this.body.contains(document.activeElement);
    this.body.replaceChildren(...parts);
    if (had) this.head.focus({ preventScroll: true });
  }

  hear(name, row) {
    if (name === "text") this.write(row.delta);
    else if (name === "step") this.step(row);
  }

  step(row) {
    this.steps.push(row);
    this.list.append(stepOf(row));
    this.how.hidden = false;
    this.now.textContent = DOING[row.step] ?? this.now.textContent;
  }

  /** What a model says before anything of it is checked. */
  write(more) {
    if (!this.text) {
      this.text = h("p", { class: "answer draft" });
      this.body.prepend(this.text);
      this.now.textContent = "A draft; each sentence is held against the pictures";
    }
    this.text.append(more);
  }

  end() {
    this.element.removeAttribute("aria-busy");
  }

  show(answer) {
    this.end();
    this.answer = answer;
    if (!this.steps.length) this.list.replaceChildren(...answer.steps.map(stepOf));
    this.how.hidden = false;
    this.put(...partsOf(answer, this.filters));
    say(spoken(answer));
  }

  stopped() {
    this.end();
    this.put(this.text ?? "", h("div", { class: "working" },
      h("span", {}, this.text ? "Stopped. This is a draft, and nothing of it was checked." : "Stopped."),
      h("button", { type: "button", class: "button", onclick: () => this.ask() }, "Ask again")));
    say("Stopped.");
  }

  failed(problem) {
    this.end();
    const refused = problem.status >= 400 && problem.status < 500;
    const wait = problem.after ? ` It may be free again in ${problem.after} seconds.` : "";
    this.put(h("div", { class: "trouble-line", role: "alert" },
      h("p", {}, h("b", {}, refused ? "This cannot be asked. " : "That did not work. "), problem.message, wait),
      h("button", { type: "button", class: "button main-one", onclick: () => (refused ? this.rephrase() : this.ask()) },
        refused ? "Say it differently" : "Try again")));
  }

  /** The pictures that it shows, in their order. */
  get items() {
    return this.answer ? itemsOf(this.answer) : [];
  }
}
