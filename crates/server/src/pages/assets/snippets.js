// A request as a command and as programs that send it again. The API key is never among them: they read it from the
// environment.

const VARIABLE = "BIGBATCH_API_KEY";

/** Returns [language, text] for a POST of `body` to `path`; `keyed` if a key was entered in this tab. */
export function snippets(path, body, keyed) {
  const url = new URL(path, location.origin).href;
  return [
    ["curl", curl(url, body, keyed)],
    ["Python", python(url, body, keyed)],
    ["JavaScript", javascript(url, body, keyed)],
  ];
}

const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function curl(url, body, keyed) {
  const key = keyed ? ` \\\n    -H "authorization: Bearer $${VARIABLE}"` : "";
  return `curl -s ${shell(url)} -H 'content-type: application/json'${key} \\\n    -d ${shell(JSON.stringify(body))}`;
}

function python(url, body, keyed) {
  const key = keyed ? `    headers={"authorization": "Bearer " + os.environ["${VARIABLE}"]},\n` : "";
  const lines = literal(body, 1);
  const imports = keyed ? "import os\n\nimport requests" : "import requests";
  const call = `answer = requests.post(\n    ${JSON.stringify(url)},\n${key}    json=${lines},\n)`;
  return `${imports}\n\n${call}\nanswer.raise_for_status()\nprint(answer.json())`;
}

/** Writes a value as Python does. JSON's strings are Python's too. */
function literal(value, depth) {
  const inner = "    ".repeat(depth + 1);
  const end = "    ".repeat(depth);
  const list = (open, items, close) => {
    const inside = items.map((item) => `${inner}${item},\n`).join("");
    return items.length ? `${open}\n${inside}${end}${close}` : open + close;
  };
  if (Array.isArray(value)) return list("[", value.map((item) => literal(item, depth + 1)), "]");
  if (value !== null && typeof value === "object") {
    const fields = Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${literal(item, depth + 1)}`);
    return list("{", fields, "}");
  }
  const words = new Map([[true, "True"], [false, "False"], [null, "None"]]);
  return words.get(value) ?? JSON.stringify(value);
}

function javascript(url, body, keyed) {
  const key = keyed ? `, authorization: \`Bearer \${process.env.${VARIABLE}}\`` : "";
  const text = JSON.stringify(body, null, 2).replaceAll("\n", "\n  ");
  return [
    `const answer = await fetch(${JSON.stringify(url)}, {`,
    '  method: "POST",',
    `  headers: { "content-type": "application/json"${key} },`,
    `  body: JSON.stringify(${text}),`,
    "});",
    "if (!answer.ok) throw new Error(await answer.text());",
    "console.log(await answer.json());",
  ].join("\n");
}
