// Draws answers: bars, highlighted text, a table of similarities.

import { el } from "./common.js";

/** Draws labels with bars as long as their scores. */
export function bars(labels) {
  return labels.map(({ label, score }) => row(label, score));
}

function row(label, score) {
  const bar = el("span", { class: "bar s0", "aria-hidden": "true" });
  const filled = el("span");
  filled.style.width = `${Math.max(0, Math.min(1, score)) * 100}%`;
  bar.append(filled);
  return el("div", { class: "label-row" }, el("span", {}, label), bar, el("span", {}, score.toFixed(4)));
}

/** Marks the entities in a text. Offsets count characters as the server does, not UTF-16 units. */
export function highlighted(text, entities) {
  const characters = Array.from(text);
  const labels = [...new Set(entities.map((entity) => entity.label))];
  const pieces = [];
  let at = 0;
  for (const { label, start, end, score } of [...entities].sort((a, b) => a.start - b.start)) {
    // Text under an earlier entity is not shown twice.
    if (start < at) continue;
    pieces.push(characters.slice(at, start).join(""));
    const colour = `e${labels.indexOf(label) % 6}`;
    const words = characters.slice(start, end).join("");
    const title = `${label}, ${score.toFixed(4)}`;
    pieces.push(el("mark", { class: colour, title }, words, el("small", {}, label)));
    at = end;
  }
  pieces.push(characters.slice(at).join(""));
  return el("div", { class: "text" }, pieces);
}

/** Draws the table of cosine similarities. */
export function similarities(texts, vectors) {
  const dot = (a, b) => a.reduce((sum, value, index) => sum + value * b[index], 0);
  const head = texts.map((_, index) => el("th", { scope: "col", class: "number" }, String(index + 1)));
  const line = (text, index) => {
    const cells = vectors.map((other) => {
      const similarity = dot(vectors[index], other);
      const cell = el("td", { class: "number" }, similarity.toFixed(4));
      // Rounding takes the similarity of equal texts above 1, which is no share of a colour.
      const share = Math.min(1, Math.max(0, similarity));
      cell.style.backgroundColor = `color-mix(in srgb, var(--e0) ${share * 100}%, transparent)`;
      return cell;
    });
    return el("tr", {}, el("th", { scope: "row" }, `${index + 1}. ${text}`), cells);
  };
  const region = { class: "scroll", tabindex: "0", role: "region", "aria-label": "Similarities" };
  return el("div", region, el("table", {},
    el("caption", { class: "unseen" }, "Cosine similarity of each pair of lines"),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Text"), head)),
    el("tbody", {}, texts.map(line))));
}

/** Draws tokens as chips, special ones paler. */
export function chips(tokens) {
  return tokens.map((token) => {
    const title = `id ${token.id}`;
    return el("span", { class: token.special ? "special" : null, title }, token.text);
  });
}
