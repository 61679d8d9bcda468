// What the chapters of Look inside share: numbers as `catdog explain` prints them, names, and the line that explains.

import { h } from "../../dom.js";

/** Keys of the names of the photo's channels. */
export const COLOURS = ["inside.red", "inside.green", "inside.blue"];

/** Five significant digits, as `catdog explain` prints them, with a true minus sign. */
export function figure(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e-4 && size < 1e5 ? value.toPrecision(5) : value.toExponential(4);
  return text.replace(/e([+-])(\d)$/, "e$10$2").replaceAll("-", "−");
}

/** The same, a negative one in parentheses: for the right side of an operator. */
export const signed = (value) => (value < 0 ? `(${figure(value)})` : figure(value));

export const count = (value) => value.toLocaleString("en");

/** A number on the page, which holds its exact value too. */
export const num = (value, kind = "") =>
  h("data", { value: String(value), title: String(value), class: `num ${kind}` }, figure(value));

/** A line of a formula: texts, and numbers in the colour of the way forward or back. */
export const formula = (...parts) => h("p", { class: "formula" }, parts);

/** Names of layers, units and inputs in the reader's language. */
export class Names {
  constructor(state, t) {
    this.state = state;
    this.t = t;
  }

  layer(i) {
    const { name, kind } = this.state.layers[i];
    if (i === this.state.layers.length - 1) return this.t("inside.classifier");
    return kind === "mean" ? this.t("inside.mean") : this.t("inside.hidden", { number: name.replace(/\D/g, "") });
  }

  unit(i, unit) {
    if (i === this.state.layers.length - 1) return this.state.classes[unit];
    return this.t("inside.unit", { number: count(unit) });
  }

  input(i, j) {
    if (i > 0) return this.unit(i - 1, j);
    const { width, height } = this.state;
    const [channel, place] = [Math.floor(j / (width * height)), j % (width * height)];
    const colour = this.t(COLOURS[channel]);
    return `${colour} ${Math.floor(place / width)},${place % width}`;
  }
}

/** The line below a drawing that tells the exact value and formula of what the pointer or the focus is on. */
export function readout(hint) {
  const line = h("p", { class: "readout", role: "status" }, hint);
  return {
    line,
    say: (...parts) => line.replaceChildren(...parts.flat()),
    /** Explains `element` by `parts` whenever it is pointed at or focused. */
    explains(element, parts) {
      for (const event of ["pointerenter", "focus"])
        element.addEventListener(event, () => line.replaceChildren(...parts().flat()));
      return element;
    },
  };
}

/** The three bytes of each pixel: pixel(c, row, column) from 0 to 255. */
export function pixelsOf(state) {
  const { height, width } = state;
  const bytes = Uint8Array.from(atob(state.pixels), (letter) => letter.charCodeAt(0));
  return (channel, row, column) => bytes[(channel * height + row) * width + column];
}

/** A canvas of one cell a pixel of the photo. */
export function photoCanvas(state, props) {
  const { height, width } = state;
  const pixel = pixelsOf(state);
  const canvas = h("canvas", { width, height, ...props });
  const image = new ImageData(width, height);
  for (let place = 0; place < width * height; place++) {
    for (let c = 0; c < 3; c++) image.data[4 * place + c] = pixel(c, Math.floor(place / width), place % width);
    image.data[4 * place + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** Calls `choose(row, column)` for the cell that the pointer is over or that the arrow keys lead to. */
export function cells(canvas, at, choose) {
  const clamp = (value, most) => Math.min(Math.max(value, 0), most - 1);
  const moved = (event) => {
    const box = canvas.getBoundingClientRect();
    const row = clamp(Math.floor(((event.clientY - box.top) / box.height) * canvas.height), canvas.height);
    choose(row, clamp(Math.floor(((event.clientX - box.left) / box.width) * canvas.width), canvas.width), event.type);
  };
  canvas.addEventListener("pointermove", moved);
  canvas.addEventListener("click", moved);
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const [row, column] = at();
    choose(clamp(row + step[0], canvas.height), clamp(column + step[1], canvas.width), "key");
  });
}

/** What the two colours of numbers mean. */
export const colours = (t) =>
  h(
    "p",
    { class: "colours" },
    h("span", { class: "forward" }, t("inside.above")),
    " ",
    h("span", { class: "backward" }, t("inside.below")),
  );

/** A table of weights or products: the words of its head, and its rows. */
export const termTable = (head, ...rows) =>
  h(
    "table",
    { class: "terms" },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        head.map((words) => h("th", { scope: "col" }, words)),
      ),
    ),
    h("tbody", {}, rows),
  );

/** A table that scrolls sideways where the screen is narrow; with the keyboard too. */
export const scrolled = (label, ...children) =>
  h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, children);
