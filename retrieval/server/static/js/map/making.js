// The map that is laid out by likeness is made by a job of the server: begun here, followed, stopped.

import { Problem, get, post, send } from "../api.js";

/** Follow a job to its end; `told(share)` while it goes on. Gives back `{job, stop()}`. */
function followed(id, told) {
  const events = new EventSource(`/api/v1/jobs/${id}/events`);
  const job = new Promise((resolve, reject) => {
    events.addEventListener("progress", (event) => {
      const { done, total } = JSON.parse(event.data);
      told(total ? done / total : 0);
    });
    events.addEventListener("end", (event) => {
      events.close();
      resolve(JSON.parse(event.data));
    });
    // A server that ends closes the stream; who asks again then is told so.
    events.addEventListener("error", () => {
      events.close();
      get(`/jobs/${id}`).then((now) => (now.state === "running" ? reject(new Problem("The server broke off.")) : resolve(now)), reject);
    });
  });
  return { job, stop: () => events.close() };
}

/** Has the map made, or waits for who makes it already. */
export class Making {
  constructor(told) {
    Object.assign(this, { told, id: null, following: null, ended: false });
  }

  /** The job as it ended; null where the view was left before. */
  async run(running) {
    this.id = running ?? (await post("/jobs", { kind: "map" })).id;
    if (this.ended) return null;
    this.told(0);
    this.following = followed(this.id, this.told);
    return this.following.job;
  }

  cancel() {
    return send("DELETE", `/jobs/${this.id}`);
  }

  end() {
    this.ended = true;
    this.following?.stop();
  }
}
