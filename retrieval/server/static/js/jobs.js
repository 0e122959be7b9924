// Runs of indexing, as the whole page knows of them: begun here, in another window, or before a reload.

import { get, post, send } from "./api.js";

const EVENTS = (id) => `/api/v1/jobs/${id}/events`;
/** Milliseconds until a lost server is asked again, at first and at most. */
const AGAIN = 2000;
const LONGEST = 60_000;

const listeners = new Set();
let now = null;
let stream = null;
let timer = 0;
let wait = AGAIN;

/** The newest run or null, as the API tells it; `lost` is a sentence while the server does not answer. */
export const job = () => now;
export const running = () => now?.state === "running";

/** Be told of each change: `listener(now, before)`. */
export function onJob(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function told(next) {
  const before = now;
  now = next;
  for (const listener of listeners) listener(now, before);
}

/** Ask whether something runs, and follow it if so. */
export async function lookForJobs() {
  clearTimeout(timer);
  try {
    const { jobs } = await get("/jobs");
    const newest = jobs.find(({ kind }) => kind === "index") ?? null;
    wait = AGAIN;
    if (newest || now) told(newest);
    if (running() && !document.hidden) follow(now.id);
  } catch (problem) {
    if (!running()) throw problem;
    told({ ...now, lost: problem.message });
    timer = setTimeout(lookForJobs, wait);
    wait = Math.min(2 * wait, LONGEST);
  }
}

function follow(id) {
  if (stream?.id === id) return;
  leave();
  const source = new EventSource(EVENTS(id));
  stream = { id, close: () => source.close() };
  source.addEventListener("progress", ({ data }) => told(JSON.parse(data)));
  source.addEventListener("end", ({ data }) => {
    leave();
    told(JSON.parse(data));
  });
  // A browser would connect again by itself, to a server that may know no such run any more.
  source.addEventListener("error", () => {
    leave();
    timer = setTimeout(lookForJobs, wait);
  });
}

function leave() {
  stream?.close();
  stream = null;
}

/**
 * Begin a run: `{ paths, retry }`, without paths over the folders of the library. The event "begun"
 * tells the document that it was begun here, and not elsewhere.
 */
export async function startJob(asked = {}) {
  try {
    told(await post("/jobs", asked));
  } catch (problem) {
    // Another window may have begun one.
    if (problem.status === 409) await lookForJobs();
    throw problem;
  }
  follow(now.id);
  document.dispatchEvent(new CustomEvent("begun"));
}

export const cancelJob = () => send("DELETE", `/jobs/${now.id}`);

// A browser opens only so many connections to one server: a page that nobody sees leaves its own to others.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) leave();
  // Where nothing ran, nothing is lost: whatever is asked for next says that the server is gone.
  else lookForJobs().catch(() => {});
});
