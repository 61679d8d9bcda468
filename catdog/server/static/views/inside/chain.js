// Chapter 5: the chain rule backwards along a path, drawn gate by gate: values above the wires, gradients below.

import { h } from "../../dom.js";
import { count, figure, formula, num, readout, signed } from "./kit.js";

export function chain(root, inside) {
  const { t, state } = inside;
  const told = readout(t("inside.chain.hint"));
  root.append(
    h("p", { class: "colours" }, h("span", { class: "forward" }, t("inside.above")), " ", h("span", { class: "backward" }, t("inside.below"))),
    h("ol", { class: "chain" }, lossRow(inside, told), [...state.chain].reverse().map((link) => row(link, inside, told))),
    told.line,
  );
}

/** A wire: what goes forward on it above, the gradient that comes back below. */
function wire(told, name, value, gradient, how) {
  const label = `${name} ${figure(value)}, dL/d${name} ${figure(gradient)}`;
  return told.explains(
    h("button", { class: "wire", "aria-label": label }, h("small", {}, name), num(value, "forward"), h("i", {}), num(gradient, "backward")),
    () => [`${name} = `, num(value, "forward"), " · ", `dL/d${name} = ${how} = `, num(gradient, "backward")],
  );
}

const gate = (text) => h("span", { class: "gate", "aria-hidden": true }, text);

function lossRow({ t, state }, told) {
  const { label } = state;
  const softmax = state.loss_kind === "softmax";
  const how = softmax ? `p − 1 = ${figure(state.probabilities[label])} − 1` : t("inside.chain.margins");
  return h("li", {},
    h("h3", {}, t("inside.loss.word")),
    h("div", { class: "wires" }, wire(told, "s", state.logits[label], state.logits_gradient[label], how), gate(softmax ? "−ln(softmax)" : "max(0, 1 + …)"), wire(told, "L", state.loss, 1, "1")));
}

function row(link, inside, told) {
  const { t, state, names } = inside;
  const i = link.layer;
  const top = i === state.layers.length - 1;
  const wires = [
    h("span", { class: "pair" },
      wire(told, "x", link.x, link.w * link.sum_gradient, `w · dL/dz = ${figure(link.w)} · ${signed(link.sum_gradient)}`),
      link.kind === "mean"
        ? h("small", {}, `w = ${figure(link.w)}`)
        : wire(told, "w", link.w, link.w_gradient_here, `x · dL/dz = ${figure(link.x)} · ${signed(link.sum_gradient)}`)),
    gate("×"),
    wire(told, "w·x", link.product, link.sum_gradient, "dL/dz"),
    gate("+"),
    wire(told, "z", link.sum, link.sum_gradient, link.norm ? `dL/dn · γ/σ = ${figure(link.normed_gradient)} · ${signed(link.norm.slope)}` : slope(link)),
  ];
  if (link.norm) wires.push(gate(t("inside.norm")), wire(told, "n", link.normed, link.normed_gradient, slope(link)));
  if (link.activation !== "none") wires.push(gate(link.activation), wire(told, "a", link.out, link.out_gradient, t("inside.chain.sum")));
  return h("li", {},
    h("h3", {}, `${names.layer(i)}, ${names.unit(i, link.unit)}`),
    h("div", { class: "wires" }, wires),
    link.places > 1 && formula(t("inside.chain.places", { places: count(link.places) }), " dL/dw = ", num(link.w_gradient, "backward")),
    h("label", { class: "controls soft" }, t("inside.chain.through"), through(link, inside)),
    i > 0 && h("p", { class: "soft" }, t(link.readers > 1 ? "inside.chain.readers" : "inside.chain.reader", { count: count(link.readers) }), " dL/da = ", num(link.x_gradient, "backward")),
    !top && "",
  );
}

const slope = (link) => (link.activation === "none" ? "dL/ds" : `dL/da · ${link.activation}′ = ${figure(link.out_gradient)} · ${signed(link.slope)}`);

/** Another way from here to the photo: the inputs of the largest |w * x|. */
function through(link, inside) {
  const { names } = inside;
  const options = link.choices.map((term) =>
    h("option", { value: term.input, selected: term.input === link.input }, `${names.input(link.layer, term.input)}  (w·x = ${figure(term.product)})`));
  return h("select", { onchange: (event) => inside.act("path", { layer: link.layer, input: Number(event.target.value) }, `#through-${link.layer}`), id: `through-${link.layer}` }, options);
}
