// The playground: sends a text to a model through the public API and draws the answer.

import { bars, chips, highlighted, similarities } from "./answers.js";
import { call, el, find, keyField, showFailure } from "./common.js";

const EXAMPLE = "My parcel from Berlin has not arrived. Please call Ada Lovelace at +44 20 7946 0000.";

const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

/** The tasks: the request of each, and how to draw its answer. */
const TASKS = {
  labels: {
    name: "labels",
    kinds: ["classifier"],
    label: "Text",
    example: EXAMPLE,
    path: "/predict",
    body: ({ text }) => ({ inputs: text }),
    draw: (answer) => bars(answer),
  },
  entities: {
    name: "entities",
    kinds: ["token_classifier"],
    label: "Text",
    example: EXAMPLE,
    path: "/tag",
    body: ({ text }) => ({ inputs: text }),
    draw: ({ entities }, { text }) => {
      const none = entities.length ? [] : el("p", { class: "soft" }, "No entities.");
      return [highlighted(text, entities), none].flat();
    },
  },
  similarity: {
    name: "similarities",
    kinds: ["embedding", "masked_lm"],
    label: "Texts, one per line",
    example: "Where is my parcel?\nMy package has not arrived.\nThe cat sat on the mat.",
    path: "/embed",
    body: ({ text }) => ({ inputs: lines(text), normalize: true }),
    draw: (answer, { text }) => similarities(lines(text), answer),
  },
  masks: {
    name: "masked tokens",
    kinds: ["masked_lm"],
    label: "Text with [MASK]",
    example: "The [MASK] sat on the mat.",
    path: "/fill_mask",
    body: ({ text }) => ({ inputs: text, top_k: 8 }),
    draw: ({ masks }) => masks.flatMap((mask, index) => [
      el("h3", {}, `Mask ${index + 1}`),
      ...bars(mask.map(({ token_str: label, score }) => ({ label, score }))),
    ]),
  },
  ranking: {
    name: "ranking",
    kinds: ["reranker"],
    label: "Texts, one per line",
    example: "Wool keeps feet warm.\nIce is frozen water.",
    query: "warm socks",
    path: "/rerank",
    body: ({ text, query }) => ({ query, texts: lines(text) }),
    draw: (answer, { text }) => {
      const texts = lines(text);
      return bars(answer.map(({ index, score }) => ({ label: texts[index], score })));
    },
  },
};

let models = [];

async function load() {
  try {
    const { json } = await call("/info");
    models = json.models;
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
  const fitting = Object.entries(TASKS).filter(([, one]) => one.kinds.includes(kind));
  find("task").replaceChildren(...fitting.map(([key, one]) => el("option", { value: key }, one.name)));
  const kindInWords = kind.replaceAll("_", " ");
  find("about").textContent = `${kindInWords}, up to ${longest} tokens, on ${device} in ${dtype}`;
  prepare();
}

/** Prepares the form for the task; text that the user has written stays. */
function prepare() {
  const chosen = task();
  const text = find("text");
  const untouched = Object.values(TASKS).some((one) => one.example === text.value);
  if (text.value === "" || untouched) text.value = chosen.example;
  find("text-label").textContent = chosen.label;
  find("query-box").hidden = !chosen.query;
  if (chosen.query && !find("query").value) find("query").value = chosen.query;
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
    find("answer").hidden = false;
    showFailure(find("failure"), null);
    tokens(body);
  } catch (failure) {
    find("answer").hidden = true;
    showFailure(find("failure"), failure);
  }
  find("answer").removeAttribute("aria-busy");
  find("run").disabled = false;
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
