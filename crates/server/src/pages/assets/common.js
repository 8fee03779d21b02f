// Shared by the pages: elements, requests with the API key, formatted figures.
// Strings become text nodes, never markup; the content security policy enforces it.

const SVG = "http://www.w3.org/2000/svg";

/** Creates an HTML element; strings among the children become text. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Creates an SVG element; strings among the children become text. */
export function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

export const find = (id) => document.getElementById(id);

// Marks this page in the navigation.
document.querySelector(`nav a[href="${location.pathname}"]`)?.setAttribute("aria-current", "page");

const KEY = "bigbatch-key";

/** Returns whether a key was entered in this tab. */
export const hasKey = () => sessionStorage.getItem(KEY) !== null;

/** Connects the key field at the top of the page; the key stays in this tab's session storage. */
export function keyField(changed) {
  const form = find("key-form");
  const input = find("key");
  input.value = sessionStorage.getItem(KEY) ?? "";
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const key = input.value.trim();
    if (key) sessionStorage.setItem(KEY, key);
    else sessionStorage.removeItem(KEY);
    changed();
  });
}

/** A refusal by the server, or no answer at all (status 0). */
export class Failure extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Calls the server: GET, or POST with a body. Returns the parsed body, the text, the headers and the status. */
export async function call(path, body) {
  const headers = { accept: "application/json" };
  const key = sessionStorage.getItem(KEY);
  if (key) headers.authorization = `Bearer ${key}`;
  const request = { headers, cache: "no-store" };
  if (body !== undefined) {
    request.method = "POST";
    request.body = typeof body === "string" ? body : JSON.stringify(body);
    headers["content-type"] = "application/json";
  }
  let response;
  let text;
  try {
    response = await fetch(path, request);
    text = await response.text();
  } catch {
    throw new Failure(0, "The server does not answer. Check that it is running.");
  }
  let json = null;
  try {
    json = JSON.parse(text);
  } catch {
    // Not every answer is JSON; callers still get the text.
  }
  if (response.status === 401) {
    throw new Failure(401, "This server needs an API key: enter it at the top of the page.");
  }
  if (!response.ok) throw new Failure(response.status, refusal(response, json));
  return { json, text, headers: response.headers, status: response.status };
}

function refusal(response, json) {
  const error = json?.error;
  const message = typeof error === "string" ? error : error?.message;
  return message ? `${response.status}: ${message}` : `The server answered with status ${response.status}.`;
}

/** Shows a failure in `place`, or clears it. */
export function showFailure(place, failure) {
  place.hidden = !failure;
  place.textContent = failure ? failure.message : "";
  if (failure?.status === 401) find("key").focus();
}

/** Returns the example of a request to `path` that a model answers, from the OpenAPI document; undefined without one. */
export function exampleOf(api, path, model) {
  const media = api.paths[path]?.post?.requestBody?.content["application/json"];
  return media?.examples?.[model]?.value;
}

/** Prints the time of day of milliseconds since 1970. */
export const clock = (ms) => new Date(ms).toLocaleTimeString();

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

export const count = (n) => (n >= 100000 ? short.format(n) : whole.format(n));

export function rate(n) {
  if (n === 0) return "0";
  return n < 10 ? n.toPrecision(2) : count(n);
}

export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) {
    n /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? n : n.toPrecision(n >= 1000 ? 4 : 3)} ${units[unit]}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1e-3) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 1) return `${(seconds * 1e3).toPrecision(3)} ms`;
  return `${seconds < 1000 ? seconds.toPrecision(3) : whole.format(seconds)} s`;
}

export function age(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

/** Fills a table body with rows of cells; a cell is text, an element, {number: text}, or {words: text} for sentences. */
export function rows(body, list, empty) {
  const width = body.parentElement.querySelectorAll("thead th").length;
  const cell = (value, index) => {
    const kind = ["number", "words"].find((name) => typeof value?.[name] === "string") ?? null;
    const tag = index === 0 ? "th" : "td";
    return el(tag, { class: kind, scope: index === 0 ? "row" : null }, kind ? value[kind] : value);
  };
  const filled = list.map((cells) => el("tr", {}, cells.map(cell)));
  const none = el("tr", {}, el("td", { colspan: width, class: "soft" }, empty));
  body.replaceChildren(...(filled.length ? filled : [none]));
}
