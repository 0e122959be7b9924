// "More like this" and "not this": what is said of a picture as an answer to the words asked for.

import { writable } from "./about.js";
import { post, send } from "./api.js";
import { toast } from "./notes.js";
import { state } from "./router.js";

/** Whether there is a question that an answer can be right or wrong to. */
export const judged = ({ q, pictures, like }) => Boolean(q) && !pictures.length && !like;

/**
 * Tell the server, and a person what came of it; true once it is kept. `leave` takes a wrong
 * answer out of sight and gives back what brings it back.
 */
export async function judge(id, good, { leave = () => () => {} } = {}) {
  const { q } = state();
  if (!writable()) {
    toast("This server only reads: nothing can be noted.");
    return false;
  }
  if (!judged(state())) {
    toast("Search with words first: right and wrong belong to what was asked.");
    return false;
  }
  try {
    const { feedback } = await post("/feedback", { q, good: good ? [id] : [], bad: good ? [] : [id] });
    const restore = good ? () => {} : leave();
    toast(good ? `Noted as right for “${q}”. The next search leans that way.` : `Noted as wrong for “${q}”, and left out.`, {
      action: "Undo", onaction: () => undo(feedback, id, restore),
    });
  } catch (problem) {
    toast(problem.message);
    return false;
  }
  return true;
}

async function undo(feedback, id, restore) {
  try {
    for (const said of feedback.filter((one) => one.image_id === id)) await send("DELETE", `/feedback/${said.id}`);
    restore();
    toast("Undone.");
  } catch (problem) {
    toast(problem.message);
  }
}
