// What each kind of model can be asked for: the request, and how to draw its answer. Texts to begin with are the
// examples of the OpenAPI document, which the server chooses by the model.

import { bars, highlighted, similarities } from "./answers.js";
import { el } from "./common.js";

const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

export const TASKS = {
  labels: {
    name: "labels",
    kinds: ["classifier"],
    label: "Text",
    path: "/predict",
    body: ({ text }) => ({ inputs: text }),
    draw: (answer) => bars(answer),
  },
  entities: {
    name: "entities",
    kinds: ["token_classifier"],
    label: "Text",
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
    path: "/embed",
    body: ({ text }) => ({ inputs: lines(text), normalize: true }),
    draw: (answer, { text }) => similarities(lines(text), answer),
  },
  masks: {
    name: "masked tokens",
    kinds: ["masked_lm"],
    label: "Text with [MASK]",
    path: "/fill_mask",
    body: ({ text }) => ({ inputs: text, top_k: 8 }),
    draw: ({ masks }) => masks.flatMap((mask, index) => [
      el("h3", {}, `Mask ${index + 1}`),
      ...bars(mask.map(({ token_str: label, score }) => ({ label, score }))),
    ]),
  },
  ranking: {
    name: "ranking",
    query: true,
    kinds: ["reranker"],
    label: "Texts, one per line",
    path: "/rerank",
    body: ({ text, query }) => ({ query, texts: lines(text) }),
    draw: (answer, { text }) => {
      const texts = lines(text);
      return bars(answer.map(({ index, score }) => ({ label: texts[index], score })));
    },
  },
};

/** Returns the tasks that a kind of model can do, as [key, task]. */
export const tasksOf = (kind) => Object.entries(TASKS).filter(([, task]) => task.kinds.includes(kind));
