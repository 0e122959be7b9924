// Server-sent events in answer to a POST, which an EventSource cannot ask for.

import { Problem, reach } from "./api.js";

const LOST = "The connection to the server was lost before the answer was there.";

/** Tells `hear` each event as (name, data) until the last; a `problem` among them is thrown. */
export async function listen(path, body, { signal, hear }) {
  const response = await reach(path, { method: "POST", body, signal, accept: "text/event-stream" });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      if (error.name === "AbortError") throw error;
      throw new Problem(LOST);
    });
    if (done) return;
    const blocks = (rest + value).split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) tell(block, hear);
  }
}

function tell(block, hear) {
  let name = "message";
  const data = [];
  for (const line of block.split(/\r?\n/)) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
  }
  if (!data.length) return;
  const said = JSON.parse(data.join("\n"));
  if (name === "problem") throw new Problem(said.detail, { status: said.status });
  hear(name, said);
}

/** What `listen` ends with where the last event never came. */
export const lost = () => new Problem(LOST);
