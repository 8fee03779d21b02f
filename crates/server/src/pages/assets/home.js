// What runs here: the models, and one command that sends a request to the first.

import { call, exampleOf, find, hasKey, keyField, rows, showFailure } from "./common.js";
import { curl } from "./snippets.js";
import { tasksOf } from "./tasks.js";

const LABELS_SHOWN = 4;

function labels({ labels: all }) {
  const shown = all.slice(0, LABELS_SHOWN).join(", ");
  return all.length > LABELS_SHOWN ? `${shown} and ${all.length - LABELS_SHOWN} more` : shown || "–";
}

async function load() {
  try {
    const [info, api] = await Promise.all([call("/info"), call("/openapi.json")]);
    show(info.json, api.json);
    showFailure(find("failure"), null);
  } catch (failure) {
    showFailure(find("failure"), failure);
  }
}

function show({ models, version }, api) {
  find("version").textContent = `Version ${version}.`;
  const row = (model) => [
    model.name,
    model.kind.replaceAll("_", " "),
    labels(model),
    { number: String(model.max_input_length) },
    model.device,
    model.dtype,
  ];
  rows(find("models"), models.map(row), "No models.");
  const [first] = models;
  const [, task] = tasksOf(first.kind)[0] ?? [];
  const body = task && exampleOf(api, task.path, first.name);
  find("try").hidden = !body;
  if (!body) return;
  find("model").textContent = first.name;
  find("curl").textContent = curl(new URL(task.path, location.origin).href, body, hasKey());
}

keyField(load);
load();
