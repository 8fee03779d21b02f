// Differences between two snapshots of the server's counters, and statistics of their histograms.
// A histogram is {count, sum, buckets: [[lower, upper, count], ...]} without empty buckets.

/** The snapshots of the last `seconds`. */
export class Window {
  constructor(seconds) {
    this.seconds = seconds;
    this.answers = [];
  }

  get latest() {
    return this.answers.at(-1);
  }

  add(answer) {
    // The counters of a restarted process begin anew.
    if (this.latest && answer.started_unix_s !== this.latest.started_unix_s) this.answers = [];
    this.answers.push(answer);
    while (this.answers.length > 2 && answer.uptime_s - this.answers[1].uptime_s > this.seconds) {
      this.answers.shift();
    }
  }

  /** Returns the difference between the last two snapshots; null with one snapshot. */
  step() {
    return this.answers.length < 2 ? null : difference(this.latest, this.answers.at(-2));
  }

  /** Returns the difference over the last `seconds`; since the server's start for 0 or with one snapshot. */
  within(seconds) {
    if (seconds === 0 || this.answers.length < 2) return difference(this.latest, null);
    const from = this.latest.uptime_s - seconds;
    const start = this.answers.find((answer) => answer.uptime_s >= from - 0.5);
    return difference(this.latest, start === this.latest ? this.answers.at(-2) : start);
  }
}

/** Subtracts snapshots; what `then` lacks counts as zero. */
export function difference(now, then) {
  const before = (list, key, one) => then?.[list].find((other) => other[key] === one[key]);
  return {
    seconds: now.uptime_s - (then?.uptime_s ?? 0),
    models: now.models.map((model) => {
      const old = before("models", "name", model);
      const lengths = model.lengths.map((one, index) => ({
        tokens_max: one.tokens_max,
        seconds: old ? without(one.seconds, old.lengths[index].seconds) : one.seconds,
      }));
      return { name: model.name, stages: less(model.stages, old?.stages), lengths };
    }),
    routes: now.routes.map((route) => less(route, before("routes", "route", route))),
  };
}

/** Subtracts the numbers and histograms of two objects by name. */
function less(now, then) {
  if (!then) return now;
  const one = ([key, value]) => {
    if (typeof value === "number") return [key, Math.max(0, value - then[key])];
    if (value?.buckets) return [key, without(value, then[key])];
    return [key, value];
  };
  return Object.fromEntries(Object.entries(now).map(one));
}

function without(now, then) {
  const old = new Map(then.buckets.map(([, upper, n]) => [upper, n]));
  const left = now.buckets.map(([lower, upper, n]) => [lower, upper, n - (old.get(upper) ?? 0)]);
  const buckets = left.filter(([, , n]) => n > 0);
  return { count: now.count - then.count, sum: now.sum - then.sum, buckets };
}

/** Adds histograms. */
export function merge(histograms) {
  const all = new Map();
  for (const [lower, upper, n] of histograms.flatMap((one) => one.buckets)) {
    all.set(upper, [lower, upper, n + (all.get(upper)?.[2] ?? 0)]);
  }
  const add = (key) => histograms.reduce((total, one) => total + one[key], 0);
  const buckets = [...all.values()].sort((a, b) => a[1] - b[1]);
  return { count: add("count"), sum: add("sum"), buckets };
}

export const mean = (histogram) => (histogram.count > 0 ? histogram.sum / histogram.count : null);

/** Returns the quantile q, interpolated within its bucket; null for an empty histogram. */
export function quantile(histogram, q) {
  const total = histogram.buckets.reduce((sum, [, , n]) => sum + n, 0);
  const rank = Math.max(1, Math.ceil(q * total));
  let below = 0;
  for (const [lower, upper, n] of histogram.buckets) {
    if (below + n >= rank) return lower + ((upper - lower) * (rank - below)) / n;
    below += n;
  }
  return null;
}
