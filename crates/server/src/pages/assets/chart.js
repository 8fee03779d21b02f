// Line charts over time, redrawn with each snapshot. A point without a value is a gap.

import { age, draw } from "./common.js";

const HEIGHT = 170;
const LEFT = 62;
const BOTTOM = 20;
const LEAST_POINTS = 30;

/** Draws series of equally spaced points, newest last; `step` is the distance in seconds. */
export function chart(svg, series, { name, format, step }) {
  // Drawn at its displayed size, so that its text has the size of other text.
  const width = Math.max(240, svg.clientWidth);
  const points = Math.max(LEAST_POINTS, ...series.map((one) => one.length));
  const known = series.flat().filter((value) => value !== null);
  const top = ceiling(Math.max(0, ...known));
  const x = (index, length) => LEFT + ((points - length + index) / (points - 1)) * (width - LEFT);
  const y = (value) => 8 + (1 - value / top) * (HEIGHT - BOTTOM - 8);
  const grid = [0, 0.5, 1].flatMap((share) => {
    const at = y(share * top);
    const words = share * top === 0 ? "0" : format(share * top);
    return [
      draw("line", { class: "grid", x1: LEFT, x2: width, y1: at, y2: at }),
      draw("text", { x: LEFT - 8, y: at + 4, "text-anchor": "end" }, words),
    ];
  });
  const lines = series.map((one, index) => {
    return draw("path", { class: `s${index}`, d: path(one, x, y) });
  });
  const times = [
    draw("text", { x: LEFT, y: HEIGHT - 4 }, `${age((points - 1) * step)} ago`),
    draw("text", { x: width, y: HEIGHT - 4, "text-anchor": "end" }, "now"),
  ];
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  svg.setAttribute("aria-label", describe(name, series, format));
  svg.replaceChildren(...grid, ...lines, ...times);
}

function path(points, x, y) {
  let drawn = "";
  let pen = "M";
  points.forEach((value, index) => {
    if (value === null) {
      pen = "M";
      return;
    }
    const at = `${x(index, points.length).toFixed(1)} ${y(value).toFixed(1)}`;
    // A single point between two gaps would be invisible, so it becomes a short stroke.
    const alone = pen === "M" && (points[index + 1] ?? null) === null;
    drawn += alone ? `M${at}h0.1` : `${pen}${at}`;
    pen = "L";
  });
  return drawn;
}

/** Rounds up to the next of 1, 2, 5, 10, 20, ... */
function ceiling(most) {
  if (most <= 0) return 1;
  const ten = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].find((step) => step * ten >= most) * ten;
}

function describe(name, series, format) {
  const now = series.map((one) => one.at(-1) ?? null);
  const words = now.map((value) => (value === null ? "none" : format(value)));
  return `${name}; now ${words.join(", ")}`;
}
