// Chapter 2: the network as layers, and any neuron's Wx + b written out.

import { h, svg } from "../../dom.js";
import { cells, count, figure, formula, num, photoCanvas, readout, scrolled, signed } from "./kit.js";
import { layout, sheet } from "./sheet.js";

const EDGES = 32;
const WRITTEN = 8; // products in the table before it is opened

export function layers(root, inside) {
  const { t, state, names } = inside;
  const chosen = inside.chosen;
  const last = state.layers.length - 1;
  chosen.layer = Math.min(chosen.layer, last);
  chosen.unit ??= state.chain[chosen.layer].unit;

  const overview = h("div", { class: "overview", role: "group", "aria-label": t("inside.layers.overview") });
  const lens = h("div", { class: "lens" });
  const told = readout(t("inside.layers.hint"));
  const neuron = h("div", { class: "neuron" });
  root.append(overview, lens, told.line, neuron);

  let edges = () => {};
  const resized = new ResizeObserver(() => edges());
  resized.observe(lens);

  const values = (i) => inside.outputs(i);
  state.layers.forEach(async (layer, i) => {
    const picture = h("span", { class: "thumb" });
    const button = h(
      "button",
      { onclick: () => show(i, state.chain[i].unit), "aria-pressed": "false" },
      picture,
      h("span", {}, names.layer(i)),
      h("small", {}, count(layer.units)),
    );
    overview.append(
      i ? "" : h("span", { class: "first" }, photoCanvas(state, { class: "thumb" }), t("inside.photo.word")),
      h("i", { "aria-hidden": true }, "→"),
      button,
    );
    picture.append(sheet(layer, await values(i)));
  });

  async function show(layer, unit) {
    [chosen.layer, chosen.unit] = [layer, unit];
    overview
      .querySelectorAll("button")
      .forEach((button, i) => button.setAttribute("aria-pressed", String(i === layer)));
    const [found, above, below] = await Promise.all([
      inside.neuron(layer, unit),
      values(layer),
      layer ? values(layer - 1) : null,
    ]);
    if (!found || chosen.layer !== layer || chosen.unit !== unit || !root.isConnected) return; // another was chosen meanwhile
    drawLens(found, above, below);
    writeOut(found);
  }

  function drawLens(found, above, below) {
    const i = found.layer;
    const kept = lens.querySelector("canvas.above");
    const hadFocus = kept && kept === document.activeElement;
    const lower = i
      ? { canvas: sheet(state.layers[i - 1], below, { class: "below" }), ...layout(state.layers[i - 1]) }
      : {
          canvas: photoCanvas(state, { class: "below" }),
          size: [state.height, state.width],
          place: pixelPlace,
          maps: [[0, 0]],
        };
    const upper = layout(state.layers[i]);
    const canvas = sheet(state.layers[i], above, {
      class: `above ${upper.size[1] === 1 ? "few" : ""}`,
      tabindex: 0,
      role: "img",
    });
    canvas.setAttribute(
      "aria-label",
      t("inside.layers.sheet", { layer: names.layer(i), unit: names.unit(i, found.unit) }),
    );
    const overlay = svg("svg", { class: "edges", "aria-hidden": true });
    cells(
      canvas,
      () => upper.place(found.unit),
      (row, column, how) => {
        const unit = upper.unitAt(row, column);
        if (unit === null) return;
        if (how === "pointermove") told.say(`${names.layer(i)}, ${names.unit(i, unit)}: `, num(above[unit]));
        else if (unit !== found.unit) show(i, unit);
      },
    );
    lower.canvas.addEventListener("pointerleave", () => told.say(t("inside.layers.hint")));
    cellsBelow(lower, i, below);
    lens.replaceChildren(
      h(
        "figure",
        {},
        h("div", { class: "stack" }, lower.canvas),
        h("figcaption", {}, i ? names.layer(i - 1) : t("inside.photo.word")),
      ),
      h("figure", {}, h("div", { class: "stack" }, canvas), h("figcaption", {}, names.layer(i))),
      overlay,
    );
    if (hadFocus) canvas.focus();
    edges = () => drawEdges(overlay, found, lower, canvas, upper);
    edges();
  }

  function pixelPlace(j) {
    const place = j % (state.width * state.height);
    return [Math.floor(place / state.width), place % state.width];
  }

  function cellsBelow(lower, i, below) {
    if (!i) return;
    cells(
      lower.canvas,
      () => [0, 0],
      (row, column, how) => {
        const unit = lower.unitAt(row, column);
        if (unit === null) return;
        if (how === "click") show(i - 1, unit);
        else told.say(`${names.layer(i - 1)}, ${names.unit(i - 1, unit)}: `, num(below[unit]));
      },
    );
  }

  /** Lines from the inputs of the largest |w * x| to the neuron, and the window that it sees. */
  function drawEdges(overlay, found, lower, canvas, upper) {
    const frame = lens.getBoundingClientRect();
    const where = (element, [rows, columns], [row, column]) => {
      const box = element.getBoundingClientRect();
      return [
        box.left - frame.left + ((column + 0.5) / columns) * box.width,
        box.top - frame.top + ((row + 0.5) / rows) * box.height,
      ];
    };
    const to = where(canvas, upper.size, upper.place(found.unit));
    const top = Math.abs(found.terms[0]?.product ?? 1) || 1;
    const lines = found.terms.slice(0, EDGES).map((term) => {
      const from = where(lower.canvas, lower.size, lower.place(term.input));
      const share = Math.abs(term.product) / top;
      const down = to[1] - from[1] > 0.6 * frame.height; // one below the other on a narrow screen
      const [dx, dy] = down ? [0, (to[1] - from[1]) / 2] : [(to[0] - from[0]) / 2, 0];
      const line = svg("path", {
        d: `M${from} C${from[0] + dx},${from[1] + dy} ${to[0] - dx},${to[1] - dy} ${to}`,
        class: term.product < 0 ? "minus" : "plus",
        "stroke-width": 0.6 + 2.4 * share,
        opacity: 0.25 + 0.75 * share,
      });
      return told.explains(line, () => told_(found, term));
    });
    const window =
      found.window &&
      lower.maps.map(([row, column]) => {
        const [y0, x0, y1, x1] = found.window;
        const [left, up] = where(lower.canvas, lower.size, [row + y0 - 0.5, column + x0 - 0.5]);
        const [right, low] = where(lower.canvas, lower.size, [row + y1 + 0.5, column + x1 + 0.5]);
        return svg("rect", { class: "window", x: left, y: up, width: right - left, height: low - up });
      });
    overlay.replaceChildren(...(window ?? []), ...lines, svg("circle", { class: "here", cx: to[0], cy: to[1], r: 5 }));
  }

  const told_ = (found, term) => [
    `w · x = `,
    num(term.w, "forward"),
    " · ",
    signed(term.x),
    " = ",
    num(term.product, "forward"),
    `  (${names.input(found.layer, term.input)})`,
  ];

  function writeOut(found) {
    const layer = state.layers[found.layer];
    const row = (term) =>
      told.explains(
        h(
          "tr",
          {},
          h("th", { scope: "row" }, names.input(found.layer, term.input)),
          h("td", {}, num(term.w)),
          h("td", {}, num(term.x)),
          h("td", {}, num(term.product)),
        ),
        () => told_(found, term),
      );
    const head = () => ["inside.input", "w", "x", "w · x"].map((name) => h("th", { scope: "col" }, t(name)));
    /** Some of the products, and what all others are together. */
    const table = (from, to) => {
      const terms = found.terms.slice(from, to);
      const others = found.others + found.terms.length - terms.length;
      const rest = found.terms
        .filter((term) => !terms.includes(term))
        .reduce((sum, term) => sum + term.product, found.others_sum);
      const last =
        others > 0 &&
        h(
          "tr",
          {},
          h("th", { scope: "row", colspan: 3 }, t("inside.layers.others", { count: count(others) })),
          h("td", {}, num(rest)),
        );
      return h("table", { class: "terms" }, h("thead", {}, h("tr", {}, head())), h("tbody", {}, terms.map(row), last));
    };
    const choose = h("input", {
      type: "number",
      min: 0,
      max: layer.units - 1,
      value: found.unit,
      onchange: (event) => {
        const unit = Math.round(event.target.valueAsNumber);
        if (unit >= 0 && unit < layer.units) show(found.layer, unit);
      },
    });
    neuron.replaceChildren(
      h("h3", {}, `${names.layer(found.layer)}, ${names.unit(found.layer, found.unit)}`),
      h("p", { class: "soft" }, aboutLayer(layer, found)),
      h(
        "div",
        { class: "controls" },
        h("label", {}, t("inside.layers.number"), choose),
        h("span", { class: "soft" }, t("inside.layers.strongest")),
        layer.strongest.map((unit) =>
          h(
            "button",
            { class: "small", onclick: () => show(found.layer, unit), "aria-pressed": String(unit === found.unit) },
            names.unit(found.layer, unit),
          ),
        ),
      ),
      h(
        "div",
        { class: "beside" },
        scrolled(
          t("inside.layers.products"),
          table(0, WRITTEN),
          found.terms.length > WRITTEN &&
            h(
              "details",
              {},
              h("summary", {}, t("inside.layers.more", { count: count(found.terms.length - WRITTEN) })),
              table(WRITTEN),
            ),
        ),
        h(
          "div",
          {},
          outcome(found, layer),
          found.layer === 0 &&
            h(
              "figure",
              { class: "template" },
              h("img", { src: inside.template(found.unit, "now"), alt: t("inside.weights") }),
              h("figcaption", {}, t("inside.template")),
            ),
        ),
      ),
    );
  }

  function aboutLayer(layer, found) {
    const values = {
      units: count(layer.units),
      inputs: count(layer.inputs),
      seen: count(found.terms.length + found.others),
      weights: count(layer.weights),
    };
    if (layer.kind === "mean") return t("inside.layers.mean", values);
    if (layer.kind === "dense") return t("inside.layers.dense", values);
    return t(layer.shared ? "inside.layers.shared" : "inside.layers.local", values);
  }

  const outcome = (found, layer) => [
    formula("Wx = ", num(found.sum - found.bias, "forward")),
    layer.kind !== "mean" &&
      formula(
        "Wx + b = ",
        figure(found.sum - found.bias),
        found.bias < 0 ? " − " : " + ",
        figure(Math.abs(found.bias)),
        " = ",
        num(found.sum, "forward"),
      ),
    ...ofSum(found, t),
  ];

  show(chosen.layer, chosen.unit);
  return { end: () => resized.disconnect() };
}

/** From Wx + b to what a unit gives: batch normalisation, what a residual block adds, the activation. */
export function ofSum(found, t) {
  const { norm } = found;
  const normed = found.normed - (found.added ?? 0);
  return [
    norm &&
      formula(
        `${t("inside.norm")}: (${figure(found.sum)} − ${signed(norm.mean)}) / ${figure(norm.deviation)} · ${signed(norm.gamma)} + ${signed(norm.beta)} = `,
        num(normed, "forward"),
      ),
    found.added !== undefined &&
      formula(`${t("inside.added")}: ${figure(normed)} + ${signed(found.added)} = `, num(found.normed, "forward")),
    found.activation !== "none" &&
      formula(`${found.activation}(${figure(found.normed)}) = `, num(found.out, "forward")),
  ];
}
