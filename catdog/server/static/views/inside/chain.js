// Chapter 5: the chain rule backwards along a path, drawn gate by gate: values above the wires, gradients below.

import { h } from "../../dom.js";
import { colours, count, figure, formula, num, readout, signed } from "./kit.js";

export function chain(root, inside) {
  const { t, state } = inside;
  const told = readout(t("inside.chain.hint"));
  root.append(
    colours(t),
    h(
      "ol",
      { class: "chain" },
      lossRow(inside, told),
      [...state.chain].reverse().map((link) => row(link, inside, told)),
    ),
    told.line,
  );
}

/** A wire: what goes forward on it above, the gradient that comes back below. */
function wire(told, name, value, gradient, how) {
  const label = `${name} ${figure(value)}, dL/d${name} ${figure(gradient)}`;
  return told.explains(
    h(
      "button",
      { class: "wire", "aria-label": label },
      h("small", {}, name),
      num(value, "forward"),
      h("i", {}),
      num(gradient, "backward"),
    ),
    () => [`${name} = `, num(value, "forward"), `;  dL/d${name} = ${how} = `, num(gradient, "backward")],
  );
}

/** A gate, which tells what it makes of the values before it. */
const gate = (told, text, ...parts) =>
  told.explains(h("span", { class: "gate", tabindex: 0, role: "img", "aria-label": text }, text), () => parts);

function lossRow({ t, state }, told) {
  const { label } = state;
  const softmax = state.loss_kind === "softmax";
  const how = softmax ? `p − 1 = ${figure(state.probabilities[label])} − 1` : t("inside.chain.margins");
  return h(
    "li",
    {},
    h("h3", {}, t("inside.loss.word")),
    h(
      "div",
      { class: "wires" },
      wire(told, "s", state.logits[label], state.logits_gradient[label], how),
      softmax
        ? gate(
            told,
            "−ln(softmax)",
            `L = −ln(p) = −ln(${figure(state.probabilities[label])}) = `,
            num(state.loss, "forward"),
          )
        : gate(told, "max(0, 1 + …)", "L = Σ max(0, 1 + sⱼ − s) = ", num(state.loss, "forward")),
      wire(told, "L", state.loss, 1, "1"),
    ),
  );
}

function row(link, inside, told) {
  const { t, names } = inside;
  const i = link.layer;
  const readers = t(link.readers > 1 ? "inside.chain.readers" : "inside.chain.reader", { count: count(link.readers) });
  const past = (words, gradient) => gradient !== undefined && [t(words), " ", num(gradient, "backward"), "; "];
  const skip = past("inside.chain.skip", link.skip_gradient);
  const branch = past("inside.chain.branch", link.branch_gradient);
  return h(
    "li",
    {},
    h("h3", {}, `${names.layer(i)}, ${names.unit(i, link.unit)}`),
    h("div", { class: "wires" }, products(link, told, t), afterSum(link, told, t)),
    link.places > 1 &&
      formula(t("inside.chain.places", { places: count(link.places) }), " dL/dw = ", num(link.w_gradient, "backward")),
    h("label", { class: "controls soft" }, t("inside.chain.through"), through(link, inside)),
    i > 0 && h("p", { class: "soft" }, readers, " ", skip, branch, "dL/da = ", num(link.x_gradient, "backward")),
  );
}

/** From the input and its weight to Wx + b. */
function products(link, told, t) {
  const { w, x, product, bias, sum, sum_gradient: back } = link;
  const others = sum - bias - product;
  const weight =
    link.kind === "mean"
      ? h("small", {}, `w = ${figure(w)}`)
      : wire(told, "w", w, link.w_gradient_here, `x · dL/dz = ${figure(x)} · ${signed(back)}`);
  const added = `${figure(product)} + ${signed(others)} + ${signed(bias)}`;
  const how = isChanged(link)
    ? `dL/dn · γ/σ = ${figure(link.normed_gradient)} · ${signed(link.norm?.slope ?? 1)}`
    : slope(link);
  return [
    h("span", { class: "pair" }, wire(told, "x", x, w * back, `w · dL/dz = ${figure(w)} · ${signed(back)}`), weight),
    gate(told, "×", `w · x = ${figure(w)} · ${signed(x)} = `, num(product, "forward")),
    wire(told, "w·x", product, back, "dL/dz"),
    gate(told, "+", `w·x + ${t("inside.chain.others")} + b = ${added} = `, num(sum, "forward")),
    wire(told, "z", sum, back, how),
  ];
}

/** From Wx + b to what the neuron gives. */
function afterSum(link, told, t) {
  const { norm, added, normed, out, activation } = link;
  const found = [];
  if (isChanged(link)) {
    const normal =
      norm &&
      `(${figure(link.sum)} − ${signed(norm.mean)}) / ${figure(norm.deviation)} · ${signed(norm.gamma)} + ${signed(norm.beta)}`;
    const block = added !== undefined ? ` + ${signed(added)} (${t("inside.added")})` : "";
    const name = added === undefined ? t("inside.norm") : norm ? `${t("inside.norm")}, +` : "+";
    found.push(gate(told, name, `n = ${normal ?? figure(link.sum)}${block} = `, num(normed, "forward")));
    found.push(wire(told, "n", normed, link.normed_gradient, slope(link)));
  }
  if (activation !== "none") {
    found.push(gate(told, activation, `a = ${activation}(${figure(normed)}) = `, num(out, "forward")));
    found.push(wire(told, "a", out, link.out_gradient, t("inside.chain.sum")));
  }
  return found;
}

/** Whether something stands between Wx + b and the activation: batch normalisation, or the end of a residual block. */
const isChanged = (link) => link.norm !== undefined || link.added !== undefined;

const slope = (link) =>
  link.activation === "none"
    ? "dL/ds"
    : `dL/da · ${link.activation}′ = ${figure(link.out_gradient)} · ${signed(link.slope)}`;

/** Another way from here to the photo: the inputs of the largest |w * x|. */
function through(link, inside) {
  const { names } = inside;
  const options = link.choices.map((term) =>
    h(
      "option",
      { value: term.input, selected: term.input === link.input },
      `${names.input(link.layer, term.input)}  (w·x = ${figure(term.product)})`,
    ),
  );
  return h(
    "select",
    {
      onchange: (event) =>
        inside.act("path", { layer: link.layer, input: Number(event.target.value) }, `#through-${link.layer}`),
      id: `through-${link.layer}`,
    },
    options,
  );
}
