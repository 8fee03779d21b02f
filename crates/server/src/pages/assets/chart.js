// Line charts over time. A point without a value is a gap. A pointer, or the arrow keys while a chart has the focus,
// read the values of one moment out.

import { clock, draw } from "./common.js";

const HEIGHT = 170;
const LEFT = 62;
const RIGHT = 8;
const BOTTOM = 20;
const MIN_WIDTH = 240;
const COLOURS = 6;
/** The number of points by which each key moves the readout. */
const KEYS = { ArrowLeft: -1, ArrowRight: 1, PageUp: -12, PageDown: 12, Home: -Infinity, End: Infinity };

/** Returns the class of a series: its colour, dashed from the seventh on. */
export const seriesClass = (index) => `s${index % COLOURS}${index < COLOURS ? "" : " dashed"}`;

/** A chart in a figure that has an svg and an output for the readout. */
export class Chart {
  constructor(figure, { name, format, ceiling }) {
    this.svg = figure.querySelector("svg");
    this.output = figure.querySelector("output");
    this.name = name;
    this.format = format;
    this.ceiling = ceiling;
    this.series = [];
    // The moment that is read out, as the number of its point since the server's start.
    this.moment = null;
    this.svg.setAttribute("aria-label", name);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.select(null));
    this.svg.addEventListener("blur", () => this.select(null));
    this.svg.addEventListener("keydown", (event) => this.key(event));
  }

  /**
   * Shows series of equally spaced points, newest last. `points` is the length of the axis, `step` the seconds between
   * two points, `taken` the number of points since the server's start, `at` the time of the newest.
   */
  show(series, { points, step, taken, at }) {
    const changed = series.length !== this.series.length;
    Object.assign(this, { series, points, step, taken, at });
    if (changed) this.moment = null;
    this.redraw();
  }

  get count() {
    return Math.max(0, ...this.series.map(({ values }) => values.length));
  }

  /** Returns the least and the greatest moment that can be read out. */
  get range() {
    return [this.taken - this.count, this.taken - 1];
  }

  point(event) {
    if (this.count === 0) return;
    const box = this.svg.getBoundingClientRect();
    const share = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
    const fromEnd = Math.round((1 - share) * (this.points - 1));
    this.select(this.taken - 1 - fromEnd);
  }

  key(event) {
    if (event.key === "Escape") return this.select(null);
    const by = KEYS[event.key];
    if (by === undefined || this.count === 0) return;
    event.preventDefault();
    this.select((this.moment ?? this.taken - 1) + by);
  }

  select(moment) {
    const [least, most] = this.range;
    this.moment = moment === null || this.count === 0 ? null : Math.min(most, Math.max(least, moment));
    this.redraw();
  }

  redraw() {
    if (this.points === undefined) return;
    const [least, most] = this.range;
    if (this.moment !== null && (this.moment < least || this.moment > most)) this.moment = null;
    // Drawn at its displayed size, so that its text has the size of other text.
    const width = Math.max(MIN_WIDTH, this.svg.clientWidth);
    const known = this.series.flatMap(({ values }) => values).filter((value) => value !== null);
    const top = this.ceiling(Math.max(0, ...known));
    const x = (fromEnd) => LEFT + (1 - fromEnd / (this.points - 1)) * (width - LEFT - RIGHT);
    const y = (value) => 8 + (1 - value / top) * (HEIGHT - BOTTOM - 8);
    const lines = this.series.map(({ values }, index) => {
      return draw("path", { class: seriesClass(index), d: path(values, x, y) });
    });
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.svg.replaceChildren(...this.axes(top, width, y), ...lines, ...this.cursor(x, y));
    this.describe();
  }

  axes(top, width, y) {
    const right = width - RIGHT;
    const grid = [0, 0.5, 1].flatMap((share) => {
      const at = y(share * top);
      const words = share === 0 ? "0" : this.format(share * top);
      return [
        draw("line", { class: "grid", x1: LEFT, x2: right, y1: at, y2: at }),
        draw("text", { x: LEFT - 8, y: at + 4, "text-anchor": "end" }, words),
      ];
    });
    const minutes = Math.round(((this.points - 1) * this.step) / 60);
    return [
      ...grid,
      draw("text", { x: LEFT, y: HEIGHT - 4 }, `${minutes} min ago`),
      draw("text", { x: (LEFT + right) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, `${Math.round(minutes / 2)}`),
      draw("text", { x: right, y: HEIGHT - 4, "text-anchor": "end" }, "now"),
    ];
  }

  /** Returns the value of each series at a moment; null where it has none. */
  values(moment) {
    const fromEnd = this.taken - 1 - moment;
    return this.series.map(({ name, values }) => ({ name, value: values.at(-1 - fromEnd) ?? null }));
  }

  cursor(x, y) {
    if (this.moment === null) return [];
    const at = x(this.taken - 1 - this.moment);
    const dots = this.values(this.moment).flatMap(({ value }, index) => {
      return value === null ? [] : [draw("circle", { class: seriesClass(index), cx: at, cy: y(value), r: 3.5 })];
    });
    return [draw("line", { class: "cursor", x1: at, x2: at, y1: 8, y2: HEIGHT - BOTTOM }), ...dots];
  }

  describe() {
    const moment = this.moment ?? this.taken - 1;
    const words = ({ name, value }) => `${name} ${value === null ? "none" : this.format(value)}`;
    const when = clock(this.at - (this.taken - 1 - moment) * this.step * 1000);
    const text = this.count === 0 ? "" : `${when}: ${this.values(moment).map(words).join(", ")}`;
    this.output.textContent = this.moment === null ? "" : text;
    const [least, most] = this.range;
    const max = Math.max(least, most);
    const value = { min: least, max, now: Math.max(least, moment), text: text || "no points yet" };
    for (const [name, given] of Object.entries(value)) {
      this.svg.setAttribute(`aria-value${name}`, String(given));
    }
  }
}

function path(values, x, y) {
  let drawn = "";
  let pen = "M";
  values.forEach((value, index) => {
    if (value === null) {
      pen = "M";
      return;
    }
    const at = `${x(values.length - 1 - index).toFixed(1)} ${y(value).toFixed(1)}`;
    // A single point between two gaps would be invisible, so it becomes a stroke of 3 pixels.
    const alone = pen === "M" && (values[index + 1] ?? null) === null;
    drawn += alone ? `M${at}m-1.5 0h3` : `${pen}${at}`;
    pen = "L";
  });
  return drawn;
}

/** Rounds up to a power of two, for bytes. */
export const binaryCeiling = (most) => 2 ** Math.ceil(Math.log2(Math.max(1, most)));

/** Rounds up to the next of 1, 2, 5, 10, 20, ... */
export function decimalCeiling(most) {
  if (most <= 0) return 1;
  const ten = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].find((step) => step * ten >= most) * ten;
}
