// The dashboard: reads the counters every two seconds and shows what changed within a window.
// The server keeps no history: rates and percentiles are differences of two snapshots.

import { age, bytes, call, count, duration, el, find, keyField, rate, rows, showFailure } from "./common.js";
import { chart } from "./chart.js";
import { Window, mean, merge, quantile } from "./window.js";

const EVERY_MS = 2000;
const POINTS = 150;

const seen = new Window(300);
const history = { tokens: [], p50: [], p95: [], p99: [], queue: [], batchMean: [], batchP95: [] };
let paused = false;
let timer = 0;

async function poll() {
  clearTimeout(timer);
  try {
    const { json } = await call("/dashboard/data");
    seen.add(json);
    showFailure(find("failure"), null);
    remember();
    show(json);
  } catch (failure) {
    showFailure(find("failure"), failure);
    find("state").textContent = "no data";
  }
  if (!paused) timer = setTimeout(poll, EVERY_MS);
}

/** Adds a point to each chart: what happened since the previous snapshot. */
function remember() {
  const step = seen.step();
  if (!step) return;
  const latency = merge(step.models.map((model) => model.stages.total_seconds));
  const batches = merge(step.models.map((model) => model.stages.batch_tokens));
  const tokens = sum(step.models, (model) => model.stages.tokens);
  put(history.tokens, step.seconds > 0 ? tokens / step.seconds : 0);
  put(history.p50, quantile(latency, 0.5));
  put(history.p95, quantile(latency, 0.95));
  put(history.p99, quantile(latency, 0.99));
  put(history.queue, sum(seen.latest.models, (model) => model.in_flight));
  put(history.batchMean, mean(batches));
  put(history.batchP95, quantile(batches, 0.95));
}

function put(points, value) {
  points.push(value);
  if (points.length > POINTS) points.shift();
}

const sum = (list, of) => list.reduce((total, one) => total + of(one), 0);

function show(now) {
  const within = seen.within(Number(find("window").value));
  headline(now, within);
  const step = EVERY_MS / 1000;
  chart(find("throughput-chart"), [history.tokens], { name: "Tokens per second", format: rate, step });
  const latency = [history.p50, history.p95, history.p99];
  chart(find("latency-chart"), latency, { name: "Latency, p50, p95 and p99", format: duration, step });
  chart(find("queue-chart"), [history.queue], { name: "Inputs in the queue", format: rate, step });
  const batch = [history.batchMean, history.batchP95];
  chart(find("batch-chart"), batch, { name: "Tokens per batch, mean and p95", format: rate, step });
  stages(within);
  batches(now, within);
  find("memory").replaceChildren(...now.models.map(memory), ...device(now.device_memory));
  models(now);
  routes(now, within);
  refusals(now);
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

function memory(model) {
  const { arena, memory_plan: plan } = model;
  const share = (part) => (arena.capacity_bytes > 0 ? Math.min(1, part / arena.capacity_bytes) : 0);
  const high = share(arena.high_water_bytes);
  const planned = Math.max(0, share(arena.planned_bytes) - high);
  const meaning = `${(high * 100).toFixed(0)} % of the arena was used by the largest batch so far`;
  const bar = el("div", { class: "bar s0", role: "img", "aria-label": meaning });
  for (const [part, style] of [[high, ""], [planned, "rest"]]) {
    const piece = el("span", { class: style });
    piece.style.width = `${part * 100}%`;
    bar.append(piece);
  }
  const facts = [
    ["high water", bytes(arena.high_water_bytes)],
    ["largest batch allowed", bytes(arena.planned_bytes)],
    ["arena", bytes(arena.capacity_bytes)],
    ["outside the arena", `${bytes(plan.fixed_bytes)} (weights, tables, context)`],
  ];
  const list = facts.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]);
  return el("div", { class: "panel" }, el("h3", {}, model.name), bar, el("dl", { class: "facts" }, list));
}

function device(reading) {
  if (!reading) return [];
  const known = (value) => (value === null ? "unknown" : bytes(value));
  const list = [
    [el("dt", {}, "this process"), el("dd", {}, known(reading.process_bytes))],
    [el("dt", {}, "whole card"), el("dd", {}, known(reading.card_bytes))],
  ];
  const head = el("h3", {}, "Device memory, from its driver");
  return [el("div", { class: "panel" }, head, el("dl", { class: "facts" }, list))];
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
  const some = now.refusals.filter((refusal) => refusal.count > 0);
  const row = (refusal) => [refusal.reason, { number: count(refusal.count) }];
  rows(find("reasons"), some.map(row), "None.");
  const latest = (one) => [
    new Date(one.at_unix_ms).toLocaleTimeString(),
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
find("pause").addEventListener("click", () => {
  paused = !paused;
  find("pause").setAttribute("aria-pressed", String(paused));
  find("pause").textContent = paused ? "Resume" : "Pause";
  if (paused) clearTimeout(timer);
  else poll();
  redraw();
});
poll();
