// A layer and the one below it, with lines from the largest inputs of a neuron: a closer look at the network.

import { h, svg } from "../../dom.js";
import { cells, COLOURS, num, photoCanvas, pixelsOf } from "./kit.js";
import { inWords } from "./neuron.js";
import { layout, sheet } from "./sheet.js";

const EDGES = 32;

/** draw(found, above, below): the neuron, and what its layer and the one below give. show(layer, unit) chooses another. */
export function lens(inside, told, show) {
  const { t, state, names } = inside;
  const element = h("div", { class: "lens" });
  let edges = () => {};
  const resized = new ResizeObserver(() => edges());
  resized.observe(element);

  function draw(found, above, below) {
    const i = found.layer;
    const hadFocus = element.querySelector("canvas.above") === document.activeElement;
    const upper = layout(state.layers[i]);
    const lower = i > 0 ? layout(state.layers[i - 1]) : photoLayout(state);
    const kind = upper.size[1] === 1 ? "above few" : "above";
    const label = t("inside.layers.sheet", { layer: names.layer(i), unit: names.unit(i, found.unit) });
    const canvases = [
      i > 0 ? sheet(state.layers[i - 1], below, { class: "below" }) : photoCanvas(state, { class: "below" }),
      sheet(state.layers[i], above, { class: kind, tabindex: 0, role: "img", "aria-label": label }),
    ];
    const titles = [i > 0 ? names.layer(i - 1) : t("inside.photo.word"), names.layer(i)];
    const overlay = svg("svg", { class: "edges", "aria-hidden": true });
    choosing(canvases[1], upper, i, above, () => upper.place(found.unit));
    if (i > 0) choosing(canvases[0], lower, i - 1, below, () => [0, 0]);
    else tellingPixels(canvases[0], inside, told);
    element.replaceChildren(
      ...canvases.map((canvas, k) => h("figure", {}, canvas, h("figcaption", {}, titles[k]))),
      overlay,
    );
    if (hadFocus) canvases[1].focus();
    edges = () => drawEdges(overlay, found, canvases, lower, upper);
    edges();
  }

  /** Pointing at a cell tells what that neuron gives; a click or an arrow key chooses it. */
  function choosing(canvas, where, layer, values, at) {
    cells(canvas, at, (row, column, how) => {
      const unit = where.unitAt(row, column);
      if (unit === null) return;
      if (how === "pointermove") told.say(`${names.layer(layer)}, ${names.unit(layer, unit)}: `, num(values[unit]));
      else show(layer, unit);
    });
    canvas.addEventListener("pointerleave", () => told.say(t("inside.layers.hint")));
  }

  /** Lines from the inputs of the largest |w * x| to the neuron, and the window that it sees. */
  function drawEdges(overlay, found, [below, above], lower, upper) {
    const frame = element.getBoundingClientRect();
    const where = (canvas, [rows, columns], [row, column]) => {
      const box = canvas.getBoundingClientRect();
      return [
        box.left - frame.left + ((column + 0.5) / columns) * box.width,
        box.top - frame.top + ((row + 0.5) / rows) * box.height,
      ];
    };
    const to = where(above, upper.size, upper.place(found.unit));
    const top = Math.abs(found.terms[0]?.product ?? 1) || 1;
    const lines = found.terms.slice(0, EDGES).map((term) => {
      const share = Math.abs(term.product) / top;
      const line = svg("path", {
        d: curve(where(below, lower.size, lower.place(term.input)), to, frame),
        class: term.product < 0 ? "minus" : "plus",
        "stroke-width": 0.6 + 2.4 * share,
        opacity: 0.25 + 0.75 * share,
      });
      return told.explains(line, () => inWords(term, found.layer, names));
    });
    const windows = lower.maps.map(([row, column]) => {
      if (!found.window) return "";
      const [y0, x0, y1, x1] = found.window;
      const [x, y] = where(below, lower.size, [row + y0 - 0.5, column + x0 - 0.5]);
      const [right, low] = where(below, lower.size, [row + y1 + 0.5, column + x1 + 0.5]);
      return svg("rect", { class: "window", x, y, width: right - x, height: low - y });
    });
    overlay.replaceChildren(...windows, ...lines, svg("circle", { class: "here", cx: to[0], cy: to[1], r: 5 }));
  }

  return { element, draw, end: () => resized.disconnect() };
}

/** Pointing at the photo tells the three numbers of a pixel. */
function tellingPixels(canvas, { t, state }, told) {
  const pixel = pixelsOf(state);
  canvas.addEventListener("pointerleave", () => told.say(t("inside.layers.hint")));
  cells(
    canvas,
    () => [0, 0],
    (row, column) => {
      const three = COLOURS.map((colour, c) => ` ${t(colour)} ${pixel(c, row, column)}`);
      told.say(`${t("inside.photo.pixel", { row, column })}:`, ...three);
    },
  );
}

/** The photo, whose inputs are all of red, then of green, of blue, as `layout` gives it of a layer. */
function photoLayout({ width, height }) {
  const place = (j) => [Math.floor((j % (width * height)) / width), j % width];
  return { size: [height, width], place, maps: [[0, 0]] };
}

/** A line that leaves to the right, or downwards where the layers stand one below the other on a narrow screen. */
function curve(from, to, frame) {
  const isDown = to[1] - from[1] > 0.6 * frame.height || frame.width < 500;
  const [dx, dy] = isDown ? [0, (to[1] - from[1]) / 2] : [(to[0] - from[0]) / 2, 0];
  return `M${from} C${from[0] + dx},${from[1] + dy} ${to[0] - dx},${to[1] - dy} ${to}`;
}
