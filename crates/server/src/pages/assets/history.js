// The last hour, as the server keeps it: columns of figures, one value per step. The page asks for the points that it
// does not have yet.

export class History {
  constructor() {
    this.clear();
  }

  clear() {
    Object.assign(this, { started: null, taken: 0, step: 5, capacity: 0, at: 0, server: {}, models: [] });
  }

  /** Returns the path of the points that are missing. */
  get path() {
    return `/dashboard/history?after=${this.taken}`;
  }

  /** Adds an answer. Returns false if it is of a restarted server, whose points begin anew: they must be requested. */
  add(answer) {
    const restarted = this.started !== null && answer.started_unix_s !== this.started;
    if (restarted) this.clear();
    const taken = restarted ? 0 : answer.taken;
    Object.assign(this, { started: answer.started_unix_s, taken, step: answer.step_s, capacity: answer.capacity, at: answer.at_unix_ms });
    if (!restarted) {
      this.server = this.extended(this.server, answer.server);
      this.models = answer.models.map(({ name, ...figures }) => {
        const before = this.models.find((model) => model.name === name) ?? {};
        return { name, ...this.extended(before, figures) };
      });
    }
    return !restarted;
  }

  extended(before, more) {
    const column = ([key, values]) => [key, [...(before[key] ?? []), ...values].slice(-this.capacity)];
    return Object.fromEntries(Object.entries(more).map(column));
  }
}
