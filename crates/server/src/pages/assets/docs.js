// Renders /openapi.json: each endpoint with its request and answer, and a form that calls it.

import { call, el, find, keyField, showFailure } from "./common.js";

const METHODS = ["get", "post", "put", "delete", "patch", "head"];
const DEEPEST = 6;

let api = {};

/** Follows `$ref` within the document. */
function resolve(schema) {
  const reference = schema?.$ref;
  if (!reference?.startsWith("#/")) return schema ?? {};
  const parts = reference.slice(2).split("/");
  const unescape = (part) => part.replaceAll("~1", "/").replaceAll("~0", "~");
  return parts.reduce((at, part) => at?.[unescape(part)], api) ?? {};
}

const choices = (schema) => schema.oneOf ?? schema.anyOf ?? null;

/** Returns a type in a few words. */
function words(given, depth = 0) {
  const schema = resolve(given);
  if (depth > DEEPEST) return "…";
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
  if (depth > DEEPEST) return null;
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
  if (!schema || depth > DEEPEST) return null;
  const field = ([name, value]) => {
    const resolved = resolve(value);
    const needed = schema.required?.includes(name) ? ", required" : "";
    const usual = resolved.default === undefined ? "" : `, default ${JSON.stringify(resolved.default)}`;
    const description = value.description ?? resolved.description;
    const kind = el("span", { class: "soft" }, ` ${words(value)}${needed}${usual}`);
    return el("li", {}, el("code", {}, name), kind, description ? ` – ${description}` : null, shape(value, depth + 1));
  };
  return el("ul", { class: "shape" }, Object.entries(schema.properties).map(field));
}

/** Returns an example value of a schema. */
function example(given, depth = 0) {
  const schema = resolve(given);
  const preset = schema.example ?? schema.examples?.[0] ?? schema.default;
  if (preset !== undefined) return preset;
  if (depth > DEEPEST) return null;
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

function bodyOf(operation) {
  const media = jsonOf(operation.requestBody);
  if (!media) return null;
  const named = Object.values(media.examples ?? {})[0];
  return { schema: media.schema, example: media.example ?? resolve(named)?.value ?? example(media.schema) };
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
    return el("li", {}, el("code", {}, status), ` ${response.description ?? ""}`, kind, shown ? shape(schema) : null);
  });
}

/** Draws a form that sends a request and shows the answer. */
function tryIt(path, body) {
  const target = el("input", { value: path, class: "wide path", "aria-label": "Path" });
  const text = body ? JSON.stringify(body.example, null, 2) : "";
  const area = body ? el("textarea", { class: "code", spellcheck: "false", "aria-label": "Body" }, text) : null;
  const answer = el("pre", { tabindex: "0", hidden: true, "aria-live": "polite" });
  const form = el("form", {}, target, area, el("p", {}, el("button", { class: "main" }, "Send")), answer);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    answer.hidden = false;
    try {
      const got = await call(target.value, area?.value);
      const shown = got.json === null ? got.text : JSON.stringify(got.json, null, 2);
      answer.textContent = `${got.status}\n${shown.slice(0, 20000)}`;
    } catch (failure) {
      answer.textContent = failure.message;
    }
  });
  return form;
}

function endpoint(path, method, operation) {
  const body = bodyOf(operation);
  const name = el("span", {}, el("span", { class: `method ${method}` }, method.toUpperCase()), el("span", { class: "path" }, path));
  const summary = operation.summary ? el("span", { class: "soft" }, `  ${operation.summary}`) : null;
  const inside = el("div", { class: "inside" });
  const box = el("details", {}, el("summary", {}, name, summary), inside);
  box.dataset.words = `${method} ${path} ${operation.summary ?? ""}`.toLowerCase();
  // Filled when first opened: there are many endpoints, and a reader opens few.
  box.addEventListener("toggle", () => {
    if (inside.childElementCount) return;
    const parts = [
      operation.description ? el("p", {}, operation.description) : null,
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
  for (const [path, item] of Object.entries(api.paths ?? {})) {
    for (const method of METHODS.filter((name) => item[name])) {
      const group = item[method].tags?.[0] ?? "";
      groups.set(group, [...(groups.get(group) ?? []), endpoint(path, method, item[method])]);
    }
  }
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
    api = (await call("/openapi.json")).json ?? {};
    showFailure(find("failure"), null);
    show();
  } catch (failure) {
    showFailure(find("failure"), failure);
  }
}

keyField(load);
find("filter").addEventListener("input", narrow);
load();
