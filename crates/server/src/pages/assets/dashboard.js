// The dashboard. Charts show the last hour, which the server keeps; tables show what changed within a window, as the
// difference of two snapshots of its counters, which this page reads every two seconds.

import { age, bytes, call, clock, count, draw, duration, el, find } from "./common.js";
import { keyField, rate, rows, showFailure } from "./common.js";
import { Chart, binaryCeiling, decimalCeiling, seriesClass } from "./chart.js";
import { History } from "./history.js";
import { Window, mean, merge, quantile } from "./window.js";

const POLL_MS = 2000;
/** Seconds that the shortest axis of the charts has. */
const MIN_SPAN_S = 600;

const seen = new Window(300);
const history = new History();
let paused = false;
let timer = 0;

const column = (name, key) => (figures) => ({ name, values: figures[key] ?? [] });
const all = (...series) => () => series.map((of) => of(history.server));

/** The charts: title, format, and the series of the last hour. */
const CHARTS = [
  ["Throughput, tokens / s", rate, all(column("tokens / s", "tokens_per_second"))],
  ["Latency of all models", duration, all(column("p50", "p50"), column("p95", "p95"), column("p99", "p99"))],
  ["Latency p95 by model", duration, () => history.models.map((model) => column(model.name, "p95")(model))],
  ["Inputs admitted and not answered, by model", rate,
    () => history.models.map((model) => column(model.name, "inputs_in_flight")(model))],
  ["Refused requests / s", rate, all(column("refused / s", "refused_per_second"))],
  ["Tokens per batch, mean by model", rate,
    () => history.models.map((model) => column(model.name, "batch_tokens_mean")(model))],
  ["Memory of the process", bytes, () => {
    const lines = [column("resident", "resident_bytes"), column("held by requests", "request_bytes")];
    const device = column("device", "device_bytes");
    const known = (history.server.device_bytes ?? []).some((value) => value !== null);
    return (known ? [...lines, device] : lines).map((of) => of(history.server));
  }],
];

const charts = CHARTS.map(([title, format, series]) => {
  const legend = el("span", { class: "keys" });
  const figure = el("figure", {},
    el("figcaption", {}, el("span", {}, title), legend),
    draw("svg", { class: "chart", role: "slider", tabindex: "0" }),
    el("output", { class: "readout", "aria-live": "off" }));
  find("charts").append(figure);
  const ceiling = format === bytes ? binaryCeiling : decimalCeiling;
  return { chart: new Chart(figure, { name: title, format, ceiling }), legend, series };
});

async function poll() {
  clearTimeout(timer);
  try {
    const { json } = await call("/dashboard/data");
    seen.add(json);
    await readHistory();
    showFailure(find("failure"), null);
    show(json);
  } catch (failure) {
    showFailure(find("failure"), failure);
    find("state").textContent = "no data";
  }
  if (!paused) timer = setTimeout(poll, POLL_MS);
}

/** Reads the points of the last hour that are missing; all of them again if the server has restarted. */
async function readHistory() {
  const { json } = await call(history.path);
  if (!history.add(json)) await readHistory();
}

const sum = (list, of) => list.reduce((total, one) => total + of(one), 0);

function show(now) {
  const within = seen.within(Number(find("window").value));
  headline(now, within);
  drawCharts();
  latencies(now, within);
  lengths(within);
  stages(within);
  batches(now, within);
  find("memory").replaceChildren(process(now.memory), ...now.models.map(arena));
  models(now);
  routes(now, within);
  refusals(now);
}

function drawCharts() {
  const { step, taken, at } = history;
  // A young server has points at the right end only, so the axis is as long as its life, and ten minutes at least.
  const points = Math.min(Number(find("span").value) / step, Math.max(MIN_SPAN_S / step, taken));
  for (const { chart, legend, series } of charts) {
    const shown = series().map(({ name, values }) => ({ name, values: values.slice(-points) }));
    chart.show(shown, { points, step, taken, at });
    const names = shown.length > 1 ? shown.map(({ name }) => name) : [];
    // Replaced only if it has changed: a reader may have selected its text.
    if (legend.dataset.names === names.join("\n")) continue;
    legend.dataset.names = names.join("\n");
    legend.replaceChildren(...names.map((name, index) => el("span", { class: `key ${seriesClass(index)}` }, name)));
  }
}

function headline(now, within) {
  const per = (n) => (within.seconds > 0 ? rate(n / within.seconds) : "–");
  const latency = merge(within.models.map((model) => model.stages.total_seconds));
  const put = (id, text) => (find(id).textContent = text);
  put("inputs-rate", per(sum(within.models, (model) => model.stages.answered)));
  put("tokens-rate", per(sum(within.models, (model) => model.stages.tokens)));
  put("p50", duration(quantile(latency, 0.5)));
  put("p95", duration(quantile(latency, 0.95)));
  put("p99", duration(quantile(latency, 0.99)));
  put("in-flight", count(sum(now.models, (model) => model.in_flight)));
  put("refused-rate", per(sum(within.routes, (route) => route.refused)));
  put("state", `${paused ? "paused" : "live"} · up ${age(now.uptime_s)} · version ${now.version}`);
}

function latencies(now, within) {
  const row = (model, index) => {
    const of = within.models[index]?.stages ?? model.stages;
    const per = (n) => ({ number: within.seconds > 0 ? rate(n / within.seconds) : "–" });
    const times = [0.5, 0.95, 0.99].map((q) => ({ number: duration(quantile(of.total_seconds, q)) }));
    return [model.name, per(of.answered), per(of.tokens), ...times, { number: count(model.in_flight) }];
  };
  rows(find("latencies"), now.models.map(row), "No models.");
}

function lengths(within) {
  const classes = within.models[0]?.lengths ?? [];
  const row = ({ tokens_max: end }, index) => {
    const from = index > 0 ? classes[index - 1].tokens_max + 1 : 1;
    const seconds = merge(within.models.map((model) => model.lengths[index].seconds));
    const times = [0.5, 0.95, 0.99].map((q) => ({ number: duration(quantile(seconds, q)) }));
    const per = { number: within.seconds > 0 ? rate(seconds.count / within.seconds) : "–" };
    return [end === null ? `${count(from)} and more` : `${count(from)} to ${count(end)}`, per, ...times];
  };
  rows(find("lengths"), classes.map(row), "No models.");
}

function stages(within) {
  const names = [
    ["Tokenize, wait for a thread included", "tokenize_seconds"],
    ["Wait for a batch", "queue_seconds"],
    ["On the device, copies included", "inference_seconds"],
    ["Total", "total_seconds"],
  ];
  const row = ([name, key]) => {
    const times = merge(within.models.map((model) => model.stages[key]));
    const figures = [mean(times), ...[0.5, 0.95, 0.99].map((q) => quantile(times, q))];
    return [name, ...figures.map((figure) => ({ number: duration(figure) }))];
  };
  rows(find("stages"), names.map(row), "No stages yet.");
}

const orDash = (value, format) => (value === null ? "–" : format(value));

function batches(now, within) {
  const row = (model, index) => {
    const of = within.models[index]?.stages ?? model.stages;
    const each = of.batch_seconds;
    return [
      model.name,
      { number: within.seconds > 0 ? rate(each.count / within.seconds) : "–" },
      { number: orDash(mean(of.batch_sequences), rate) },
      { number: orDash(mean(of.batch_tokens), count) },
      { number: count(model.max_batch_tokens) },
      { number: duration(quantile(each, 0.5)) },
      { number: duration(quantile(each, 0.95)) },
      { number: count(model.stages.batches_failed) },
    ];
  };
  rows(find("batches"), now.models.map(row), "No models.");
}

/** Draws how much of a whole its parts take; the last part is paler. */
function bar(parts, whole, meaning, mark) {
  const share = (part) => `${whole > 0 ? Math.min(1, part / whole) * 100 : 0}%`;
  const pieces = parts.map((part, index) => {
    const piece = el("span", { class: index > 0 ? "rest" : null });
    piece.style.width = share(part);
    return piece;
  });
  if (mark !== undefined) {
    const line = el("i", { class: "mark" });
    line.style.left = share(mark);
    pieces.push(line);
  }
  return el("div", { class: "bar s0", role: "img", "aria-label": meaning }, pieces);
}

function panel(title, ...content) {
  return el("div", { class: "panel" }, el("h3", {}, title), content);
}

function facts(list) {
  const rows = list.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]);
  return el("dl", { class: "facts" }, rows);
}

const known = (value) => (value === null || value === undefined ? "unknown" : bytes(value));
const ofLimit = (part, limit) => (limit === null ? bytes(part) : `${bytes(part)} of ${bytes(limit)}`);

function process({ budget_bytes: budget, budget_used_bytes: used, resident_bytes: resident, device, ...requests }) {
  const { request_bytes: held, request_limit_bytes: limit } = requests;
  const budgetBar = budget === null ? [] : bar([used], budget, `models and arenas take ${ofLimit(used, budget)}`);
  return panel("Process", budgetBar, facts([
    ["memory budget", `${ofLimit(used, budget)} taken by models and arenas`],
    ["resident", known(resident)],
    ["requests hold", ofLimit(held, limit)],
    ["device, this process", device ? known(device.process_bytes) : "none: models compute in the host's memory"],
    ...(device ? [["device, whole card", known(device.card_bytes)]] : []),
  ]));
}

/** Draws the use of a model's arena now, with a mark at the largest batch so far. */
function arena(model) {
  const { capacity_bytes: capacity, planned_bytes: planned, high_water_bytes: high } = model.arena;
  const plan = model.memory_plan;
  const used = model.arena_used_bytes;
  const meaning = `${ofLimit(used, capacity)} of the arena in use now; the largest batch so far used ${bytes(high)}`;
  return panel(`Arena of ${model.name}`, bar([used], capacity, meaning, high), facts([
    ["in use now", ofLimit(used, capacity)],
    ["largest batch so far", bytes(high)],
    ["largest batch allowed", bytes(planned)],
    ["outside the arena", `${bytes(plan.fixed_bytes)} (weights, tables, context)`],
  ]));
}

function models(now) {
  const row = (model) => [
    model.name,
    model.kind.replaceAll("_", " "),
    model.source,
    model.device,
    model.dtype,
    { number: count(model.max_tokens) },
    { number: count(model.stages.answered) },
    { number: count(model.stages.tokens) },
    { number: count(model.stages.truncated) },
    { number: count(model.in_flight) },
  ];
  rows(find("models"), now.models.map(row), "No models.");
}

function routes(now, within) {
  const recent = new Map(within.routes.map((route) => [route.route, route.seconds]));
  const row = (route) => {
    const times = recent.get(route.route) ?? route.seconds;
    return [
      route.route,
      { number: count(route.ok) },
      { number: count(route.refused) },
      { number: count(route.abandoned) },
      { number: duration(quantile(times, 0.5)) },
      { number: duration(quantile(times, 0.95)) },
    ];
  };
  rows(find("routes"), now.routes.map(row), "No requests yet.");
}

function refusals(now) {
  const row = (refusal) => [
    refusal.reason,
    { number: count(refusal.count) },
    clock(refusal.last_at_unix_ms),
    { number: String(refusal.status) },
    refusal.route,
    { words: refusal.message || "–" },
  ];
  const byCount = [...now.refusals].sort((one, other) => other.count - one.count);
  rows(find("reasons"), byCount.map(row), "None.");
  const latest = (one) => [
    clock(one.at_unix_ms),
    { number: String(one.status) },
    one.route,
    one.reason,
    one.request_id || "–",
  ];
  rows(find("recent"), now.recent_refusals.map(latest), "None.");
}

function redraw() {
  if (seen.latest) show(seen.latest);
}

keyField(poll);
find("window").addEventListener("change", redraw);
find("span").addEventListener("change", redraw);
addEventListener("resize", drawCharts);
find("pause").addEventListener("click", () => {
  paused = !paused;
  find("pause").setAttribute("aria-pressed", String(paused));
  find("pause").textContent = paused ? "Resume" : "Pause";
  if (paused) clearTimeout(timer);
  else poll();
  redraw();
});
poll();
