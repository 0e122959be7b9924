// The server's API: what comes back is its JSON, and what goes wrong is one sentence.

const ROOT = "/api/v1";

/** A failure, told in a sentence; `status` is 0 where no answer came. */
export class Problem extends Error {
  constructor(sentence, { status = 0, query = null, at = null, after = null } = {}) {
    super(sentence);
    Object.assign(this, { status, query, at, after });
  }
}

/** `?…` of the parameters that say something; lists are repeated. */
function queryOf(parameters) {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters ?? {})) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "" && one !== false) given.append(name, one);
    }
  }
  const text = given.toString();
  return text ? `?${text}` : "";
}

async function failure(response) {
  let told = {};
  if ((response.headers.get("content-type") ?? "").includes("json")) told = await response.json();
  const after = Number(response.headers.get("retry-after")) || null;
  const sentence = told.detail ?? `The server answered with ${response.status} and said no more.`;
  return new Problem(sentence, { status: response.status, query: told.query, at: told.at, after });
}

/** The server's answer itself, once it is known to be one; for what comes bit by bit. */
export async function reach(path, { method = "GET", parameters, body, signal, accept = "application/json" } = {}) {
  const options = { method, signal, headers: { Accept: accept }, credentials: "same-origin" };
  if (body instanceof FormData) options.body = body;
  else if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(ROOT + path + queryOf(parameters), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server does not answer. It may have been ended: search serve starts it again.");
  }
  if (!response.ok) throw await failure(response);
  return response;
}

async function ask(path, options) {
  const response = await reach(path, options);
  return response.status === 204 ? null : response.json();
}

export const get = (path, parameters, signal) => ask(path, { parameters, signal });
export const send = (method, path, body, parameters) => ask(path, { method, body, parameters });
export const post = (path, body, parameters, signal) =>
  ask(path, { method: "POST", body, parameters, signal });

export const thumbnail = (id, size) => `${ROOT}/images/${id}/thumbnail?size=${size}`;
export const original = (id, { download = false } = {}) =>
  `${ROOT}/images/${id}/original${download ? "?download=true" : ""}`;
export const heat = (id, q) => `${ROOT}/images/${id}/explain.png${queryOf({ q })}`;

/** Runs one task at a time: a newer one ends the older, whose promise then never says anything. */
export function newest() {
  let running = null;
  return async (task) => {
    running?.abort();
    const mine = (running = new AbortController());
    try {
      const value = await task(mine.signal);
      if (mine === running) return value;
    } catch (error) {
      if (mine === running && error.name !== "AbortError") throw error;
    }
    return new Promise(() => {});
  };
}
