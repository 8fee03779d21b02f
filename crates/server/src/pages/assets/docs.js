// Renders /openapi.json: each endpoint with its request and answer, and a form that calls it with an example that one
// of this server's models answers.

import { call, el, find, keyField, showFailure } from "./common.js";

const METHODS = ["get", "post", "put", "delete", "patch", "head"];
const MAX_DEPTH = 6;

let api = {};
let models = [];

/** Follows `$ref` within the document. */
function resolve(schema) {
  const reference = schema?.$ref;
  if (!reference?.startsWith("#/")) return schema ?? {};
  const parts = reference.slice(2).split("/");
  const unescape = (part) => part.replaceAll("~1", "/").replaceAll("~0", "~");
  return parts.reduce((at, part) => at?.[unescape(part)], api) ?? {};
}

const choices = (schema) => schema.oneOf ?? schema.anyOf ?? null;

/** Returns a sentence with what stands between backticks as code. */
const prose = (text) => text.split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));

/** Returns a type in a few words. */
function words(given, depth = 0) {
  const schema = resolve(given);
  if (depth > MAX_DEPTH) return "…";
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const several = choices(schema);
  if (several) return several.map((one) => words(one, depth + 1)).join(" | ");
  const types = [schema.type ?? (schema.allOf ? "object" : "any")].flat();
  const one = (type) => (type === "array" ? `[${words(schema.items, depth + 1)}]` : type);
  return types.map(one).join(" | ");
}

/** Returns the first schema with fields: the schema itself, the items of an array, or a choice. */
function fieldsOf(given, depth = 0) {
  const schema = resolve(given);
  if (depth > MAX_DEPTH) return null;
  if (schema.properties) return schema;
  if (schema.allOf) {
    const parts = schema.allOf.map((part) => fieldsOf(part, depth + 1)).filter(Boolean);
    return {
      properties: Object.assign({}, ...parts.map((part) => part.properties)),
      required: parts.flatMap((part) => part.required ?? []),
    };
  }
  if (schema.items) return fieldsOf(schema.items, depth + 1);
  const several = choices(schema) ?? [];
  return several.map((one) => fieldsOf(one, depth + 1)).find(Boolean) ?? null;
}

/** Draws fields as a list, nested fields inside. */
function shape(given, depth = 0) {
  const schema = fieldsOf(given);
  if (!schema || depth > MAX_DEPTH) return null;
  const field = ([name, value]) => {
    const resolved = resolve(value);
    const needed = schema.required?.includes(name) ? ", required" : "";
    const usual = resolved.default === undefined ? "" : `, default ${JSON.stringify(resolved.default)}`;
    const description = value.description ?? resolved.description;
    const kind = el("span", { class: "soft" }, ` ${words(value)}${needed}${usual}`);
    return el("li", {}, el("code", {}, name), kind, description ? [" – ", prose(description)] : null, shape(value, depth + 1));
  };
  return el("ul", { class: "shape" }, Object.entries(schema.properties).map(field));
}

/** Returns an example value of a schema. */
function example(given, depth = 0) {
  const schema = resolve(given);
  const preset = schema.example ?? schema.examples?.[0] ?? schema.default;
  if (preset !== undefined) return preset;
  if (depth > MAX_DEPTH) return null;
  if (schema.enum) return schema.enum[0];
  const first = choices(schema)?.[0] ?? schema.allOf?.[0];
  if (first) return example(first, depth + 1);
  if (schema.properties) {
    const needed = Object.entries(schema.properties).filter(([name]) => schema.required?.includes(name));
    return Object.fromEntries(needed.map(([name, value]) => [name, example(value, depth + 1)]));
  }
  const type = [schema.type].flat()[0];
  if (type === "array") return [example(schema.items, depth + 1)];
  return { string: "text", integer: 0, number: 0, boolean: false, object: {} }[type] ?? null;
}

const jsonOf = (holder) => Object.values(resolve(holder)?.content ?? {})[0];

/** Returns the schema of a request, and its examples by the model that answers them. */
function bodyOf(operation) {
  const media = jsonOf(operation.requestBody);
  if (!media) return null;
  const examples = Object.entries(media.examples ?? {}).map(([name, one]) => [name, resolve(one).value]);
  return { schema: media.schema, examples };
}

function answers(operation) {
  const responses = Object.entries(operation.responses ?? {});
  // All refusals share a schema: it is shown with the first.
  const refused = responses.findIndex(([status]) => !status.startsWith("2"));
  return responses.map(([status, given], index) => {
    const response = resolve(given);
    const schema = jsonOf(response)?.schema;
    const shown = schema && (status.startsWith("2") || index === refused);
    const kind = shown ? el("span", { class: "soft" }, ` ${words(schema)}`) : null;
    return el("li", {}, el("code", {}, status), " ", prose(response.description ?? ""), kind, shown ? shape(schema) : null);
  });
}

const pretty = (value) => JSON.stringify(value, null, 2);

/** Draws a form that sends a request and shows the answer. It starts with an example that is answered with 200. */
function tryIt(path, body) {
  const target = el("input", { value: withNames(path), class: "wide path", "aria-label": "Path" });
  const area = body ? el("textarea", { class: "code", spellcheck: "false", "aria-label": "Body" }) : null;
  const answer = el("pre", { tabindex: "0", hidden: true, "aria-live": "polite" });
  const form = el("form", {}, target, body ? chooser(body, area) : null, area,
    el("p", {}, el("button", { class: "main" }, "Send")), answer);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    answer.hidden = false;
    try {
      const got = await call(target.value, area?.value);
      const shown = got.json === null ? got.text : pretty(got.json);
      answer.textContent = `${got.status}\n${shown.slice(0, 20000)}`;
    } catch (failure) {
      answer.textContent = failure.message;
    }
  });
  return form;
}

/** Fills the body with the first example, and draws a choice among several. */
function chooser({ schema, examples }, area) {
  const put = (index) => (area.value = pretty(examples[index][1]));
  if (examples.length === 0) {
    area.value = pretty(example(schema));
    return el("p", { class: "soft" }, "No model of this server can answer this endpoint: start one with --model.");
  }
  put(0);
  if (examples.length === 1) return null;
  const select = el("select", {}, examples.map(([name]) => el("option", {}, name)));
  select.addEventListener("change", () => put(select.selectedIndex));
  return el("p", {}, el("label", {}, "Example for ", select));
}

/** Puts the first model into a path with `{name}`. */
const withNames = (path) => path.replace("{name}", encodeURIComponent(models[0] ?? ""));

const BY_PATH = "/models/{name}";

/** Draws the endpoints below /models/NAME as one group: they are those above, for a model that the path names. */
function byPath(paths) {
  const posts = paths.map((path) => ({ path, ...bodyOf(api.paths[path].post) }));
  const fitting = (name) => posts.filter(({ examples }) => examples.some(([of]) => of === name));
  const model = el("select", {}, models.map((name) => el("option", {}, name)));
  const path = el("select");
  const place = el("div");
  const show = () => {
    const { schema, examples, path: chosen } = posts.find((post) => post.path === path.value) ?? posts[0];
    const own = examples.filter(([name]) => name === model.value);
    const target = chosen.replace("{name}", encodeURIComponent(model.value));
    place.replaceChildren(tryIt(target, { schema, examples: own }));
  };
  const choose = () => {
    const kept = path.value;
    path.replaceChildren(...fitting(model.value).map((post) => {
      const attributes = { value: post.path, selected: post.path === kept };
      return el("option", attributes, post.path.slice(BY_PATH.length) || "/");
    }));
    show();
  };
  model.addEventListener("change", choose);
  path.addEventListener("change", show);
  const inside = el("div", { class: "inside" },
    el("p", {}, prose("Each POST that one model answers also exists below /models/NAME. The path chooses the model, "
      + "whatever the field `model` of the body says.")),
    el("h3", {}, "Try it"),
    el("p", {}, el("label", {}, "Model ", model), " ", el("label", {}, "Endpoint ", path)),
    place);
  choose();
  const summary = el("summary", {},
    el("span", { class: "method post" }, "POST"),
    el("span", { class: "path" }, `${BY_PATH}/…`),
    el("span", { class: "soft" }, "  Any of them, for the model in the path."));
  const box = el("details", { id: "by-path" }, summary, inside);
  box.dataset.words = `post ${paths.join(" ")}`;
  return box;
}

function endpoint(path, method, operation) {
  const body = bodyOf(operation);
  const verb = el("span", { class: `method ${method}` }, method.toUpperCase());
  const name = el("span", {}, verb, el("span", { class: "path" }, path));
  const summary = operation.summary ? el("span", { class: "soft" }, "  ", prose(operation.summary)) : null;
  const inside = el("div", { class: "inside" });
  const box = el("details", {}, el("summary", {}, name, summary), inside);
  box.dataset.words = `${method} ${path} ${operation.summary ?? ""}`.toLowerCase();
  // Filled when first opened: there are many endpoints, and a reader opens few.
  box.addEventListener("toggle", () => {
    if (inside.childElementCount) return;
    const parts = [
      operation.description ? el("p", {}, prose(operation.description)) : null,
      ...(body ? [el("h3", {}, "Request"), el("p", { class: "soft" }, words(body.schema)), shape(body.schema)] : []),
      el("h3", {}, "Answers"),
      el("ul", { class: "shape" }, answers(operation)),
      ...(["get", "post"].includes(method) ? [el("h3", {}, "Try it"), tryIt(path, body)] : []),
    ];
    inside.append(...parts.filter(Boolean));
  });
  return box;
}

function show() {
  find("version").textContent = `${api.info?.title ?? ""} ${api.info?.version ?? ""}`;
  const groups = new Map();
  const paths = Object.entries(api.paths ?? {});
  for (const [path, item] of paths.filter(([path]) => !path.startsWith(BY_PATH))) {
    for (const method of METHODS.filter((name) => item[name])) {
      const group = item[method].tags?.[0] ?? "";
      groups.set(group, [...(groups.get(group) ?? []), endpoint(path, method, item[method])]);
    }
  }
  const ofModels = paths.map(([path]) => path).filter((path) => path.startsWith(BY_PATH));
  groups.set("One model by its path", [byPath(ofModels)]);
  const section = ([group, boxes]) => el("section", {}, group ? el("h2", {}, group) : null, boxes);
  find("endpoints").replaceChildren(...[...groups].map(section));
  narrow();
}

function narrow() {
  const wanted = find("filter").value.toLowerCase();
  for (const section of find("endpoints").children) {
    const boxes = [...section.querySelectorAll("details")];
    for (const box of boxes) box.hidden = !box.dataset.words.includes(wanted);
    section.hidden = boxes.every((box) => box.hidden);
  }
}

async function load() {
  try {
    const [document, list] = await Promise.all([call("/openapi.json"), call("/v1/models")]);
    api = document.json ?? {};
    models = list.json.data.map(({ id }) => id);
    showFailure(find("failure"), null);
    show();
  } catch (failure) {
    showFailure(find("failure"), failure);
  }
}

keyField(load);
find("filter").addEventListener("input", narrow);
load();
