// The playground: sends a text to a model through the public API, draws the answer, and shows how a program sends it.

import { chips } from "./answers.js";
import { call, el, exampleOf, find, hasKey, keyField, showFailure } from "./common.js";
import { snippets } from "./snippets.js";
import { TASKS, tasksOf } from "./tasks.js";

let models = [];
let api = { paths: {} };
// The example that the form was filled with: text that the user has not written.
let filled = { text: "", query: "" };

async function load() {
  try {
    const [info, document] = await Promise.all([call("/info"), call("/openapi.json")]);
    models = info.json.models;
    api = document.json;
    showFailure(find("failure"), null);
  } catch (failure) {
    showFailure(find("failure"), failure);
    return;
  }
  find("model").replaceChildren(...models.map(({ name }) => el("option", { value: name }, name)));
  choose();
}

const model = () => models[find("model").selectedIndex];
const task = () => TASKS[find("task").value];

function choose() {
  const { kind, device, dtype, max_input_length: longest } = model();
  const options = tasksOf(kind).map(([key, one]) => el("option", { value: key }, one.name));
  find("task").replaceChildren(...options);
  const kindInWords = kind.replaceAll("_", " ");
  find("about").textContent = `${kindInWords}, up to ${longest} tokens, on ${device} in ${dtype}`;
  prepare();
}

/** Prepares the form for the task; text that the user has written stays. */
function prepare() {
  const { path, label } = task();
  const body = exampleOf(api, path, model().name) ?? {};
  const example = { text: [body.inputs ?? body.texts ?? []].flat().join("\n"), query: body.query ?? "" };
  for (const [id, text] of Object.entries(example)) {
    const field = find(id);
    if (field.value === "" || field.value === filled[id]) field.value = text;
  }
  filled = example;
  find("text-label").textContent = label;
  find("query-box").hidden = !task().query;
}

async function ask(event) {
  event.preventDefault();
  const chosen = task();
  if (!chosen) return;
  const given = { text: find("text").value, query: find("query").value };
  const body = { ...chosen.body(given), model: model().name, truncate: find("truncate").checked };
  find("run").disabled = true;
  find("answer").setAttribute("aria-busy", "true");
  const started = performance.now();
  try {
    const answer = await call(chosen.path, body);
    const seen = performance.now() - started;
    find("result").replaceChildren(...[chosen.draw(answer.json, given)].flat());
    timings(answer.headers, seen);
    find("raw-request").textContent = `POST ${chosen.path}\n${JSON.stringify(body, null, 2)}`;
    find("raw-answer").textContent = shortened(answer.text);
    programs(chosen.path, body);
    find("answer").hidden = false;
    showFailure(find("failure"), null);
    await tokens(body);
  } catch (failure) {
    find("answer").hidden = true;
    showFailure(find("failure"), failure);
  }
  find("answer").removeAttribute("aria-busy");
  find("run").disabled = false;
}

/** Shows the request that was just sent as programs send it. */
function programs(path, body) {
  const shown = snippets(path, body, hasKey()).flatMap(([language, text]) => [
    el("h3", {}, language),
    el("pre", { tabindex: "0" }, text),
  ]);
  find("snippets").replaceChildren(...shown);
}

const HEADERS = [
  ["x-compute-tokens", "tokens", ""],
  ["x-compute-characters", "characters", ""],
  ["x-tokenization-time", "tokenizing", " ms"],
  ["x-queue-time", "waiting for a batch", " ms"],
  ["x-inference-time", "on the device", " ms"],
  ["x-total-time", "in the server", " ms"],
  ["x-batch-sequences", "sequences in its batch", ""],
  ["x-batch-tokens", "tokens in its batch", ""],
  ["x-truncated", "truncated", ""],
  ["x-compute-type", "computed on", ""],
];

function timings(headers, seenMs) {
  const present = HEADERS.filter(([header]) => headers.has(header));
  const facts = present.map(([header, name, unit]) => [name, headers.get(header) + unit]);
  facts.push(["round trip from this page", `${seenMs.toFixed(0)} ms`]);
  const list = facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]);
  find("timings").replaceChildren(...list);
}

/** Shortens an answer: vectors are long, and a reader needs only their shape. */
const shortened = (text) => (text.length > 4000 ? `${text.slice(0, 4000)} … ${text.length} characters` : text);

async function tokens(body) {
  const box = find("token-box");
  try {
    const inputs = body.inputs ?? body.texts;
    const { json } = await call("/tokenize", { inputs, model: body.model });
    find("tokens").replaceChildren(...json.flatMap(chips));
    box.hidden = false;
  } catch {
    box.hidden = true;
  }
}

keyField(load);
find("model").addEventListener("change", choose);
find("task").addEventListener("change", prepare);
find("ask").addEventListener("submit", ask);
find("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) find("ask").requestSubmit();
});
load();
