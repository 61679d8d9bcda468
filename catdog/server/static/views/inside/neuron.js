// A neuron written out: its products, their sum with the bias, and what follows from that.

import { h } from "../../dom.js";
import { count, figure, formula, num, scrolled, signed, termTable } from "./kit.js";
import { templates } from "./template.js";

const WRITTEN = 8; // products in the table before it is opened

/** found: the neuron as the server gives it. show(layer, unit) chooses another. */
export function neuron(found, inside, told, show) {
  const { t, state, names } = inside;
  const { layer: i, unit, terms } = found;
  const layer = state.layers[i];
  const choose = (event) => {
    const chosen = Math.round(event.target.valueAsNumber);
    if (chosen >= 0 && chosen < layer.units) show(i, chosen);
  };
  const strongest = layer.strongest.map((other) => {
    const props = { class: "small", onclick: () => show(i, other), "aria-pressed": String(other === unit) };
    return h("button", props, names.unit(i, other));
  });
  const picture = h("div", {});
  if (i === 0) {
    templates(unit, ["now"], inside, told).then((figures) => {
      if (figures.length > 0) picture.replaceChildren(...figures, h("p", { class: "soft" }, t("inside.template")));
    });
  }
  const more = terms.length > WRITTEN && [
    h("summary", {}, t("inside.layers.more", { count: count(terms.length - WRITTEN) })),
    products(found, inside, told, WRITTEN),
  ];
  return [
    h("h3", {}, `${names.layer(i)}, ${names.unit(i, unit)}`),
    h("p", { class: "soft" }, about(layer, found, t)),
    h(
      "div",
      { class: "controls" },
      h(
        "label",
        {},
        t("inside.layers.number"),
        h("input", { type: "number", min: 0, max: layer.units - 1, value: unit, onchange: choose }),
      ),
      h("span", { class: "soft" }, t("inside.layers.strongest")),
      strongest,
    ),
    h(
      "div",
      { class: "beside" },
      scrolled(t("inside.layers.products"), products(found, inside, told, 0, WRITTEN), more && h("details", {}, more)),
      h("div", {}, outcome(found, t), picture),
    ),
  ];
}

/** What the readout says of a product. */
export const inWords = ({ w, x, product, input }, layer, names) => [
  `w · x = ${figure(w)} · ${signed(x)} = `,
  num(product, "forward"),
  `  (${names.input(layer, input)})`,
];

function about(layer, found, t) {
  const seen = found.terms.length + found.others;
  const values = { units: layer.units, inputs: layer.inputs, weights: layer.weights, seen };
  const kind = layer.kind === "local" && layer.shared ? "shared" : layer.kind;
  const counts = Object.entries(values).map(([name, value]) => [name, count(value)]);
  return t(`inside.layers.${kind}`, Object.fromEntries(counts));
}

/** A table of some of the products w * x, and what all others are together. */
function products({ layer, terms, others, others_sum }, { t, names }, told, from, to) {
  const shown = terms.slice(from, to);
  const unseen = terms.filter((term) => !shown.includes(term));
  const rest = unseen.reduce((sum, term) => sum + term.product, others_sum);
  const head = ["inside.input", "w", "x", "w · x"].map((name) => t(name));
  const line = (name, cells, props = {}) =>
    h(
      "tr",
      {},
      h("th", { scope: "row", ...props }, name),
      cells.map((value) => h("td", {}, num(value))),
    );
  const rows = shown.map((term) =>
    told.explains(line(names.input(layer, term.input), [term.w, term.x, term.product]), () =>
      inWords(term, layer, names),
    ),
  );
  const left = others + unseen.length;
  const last = left > 0 && line(t("inside.layers.others", { count: count(left) }), [rest], { colspan: 3 });
  return termTable(head, rows, last);
}

/** From Wx to what the neuron gives: the bias, batch normalisation, what a residual block adds, the activation. */
function outcome({ kind, bias, sum, norm, added, normed, out, activation }, t) {
  const product = sum - bias;
  const normal = normed - (added ?? 0);
  const standard = norm && `(${figure(sum)} − ${signed(norm.mean)}) / ${figure(norm.deviation)}`;
  return [
    formula("Wx = ", num(product, "forward")),
    kind !== "mean" &&
      formula(`Wx + b = ${figure(product)} ${bias < 0 ? "−" : "+"} ${figure(Math.abs(bias))} = `, num(sum, "forward")),
    norm &&
      formula(
        `${t("inside.norm")}: ${standard} · ${signed(norm.gamma)} + ${signed(norm.beta)} = `,
        num(normal, "forward"),
      ),
    added !== undefined &&
      formula(`${t("inside.added")}: ${figure(normal)} + ${signed(added)} = `, num(normed, "forward")),
    activation !== "none" && formula(`${activation}(${figure(normed)}) = `, num(out, "forward")),
  ];
}
