// Chapter 2: the network as layers, and any neuron's Wx + b written out.

import { h } from "../../dom.js";
import { count, photoCanvas, readout } from "./kit.js";
import { lens } from "./lens.js";
import { neuron } from "./neuron.js";
import { sheet } from "./sheet.js";

export function layers(root, inside) {
  const { t, state, names, chosen } = inside;
  const told = readout(t("inside.layers.hint"));
  const closer = lens(inside, told, show);
  const written = h("div", { class: "neuron" });
  const buttons = state.layers.map((layer, i) =>
    h(
      "button",
      { onclick: () => show(i, state.chain[i].unit) },
      h("span", { class: "thumb" }),
      h("span", {}, names.layer(i)),
      h("small", {}, count(layer.units)),
    ),
  );
  const arrow = () => h("i", { "aria-hidden": true }, "→");
  root.append(
    h(
      "div",
      { class: "overview", role: "group", "aria-label": t("inside.layers.overview") },
      h("span", { class: "first" }, photoCanvas(state, { class: "thumb" }), t("inside.photo.word")),
      buttons.map((button) => [arrow(), button]),
    ),
    closer.element,
    told.line,
    written,
  );
  buttons.forEach(async (button, i) => {
    button.firstChild.append(sheet(state.layers[i], await inside.outputs(i)));
  });

  async function show(layer, unit) {
    [chosen.layer, chosen.unit] = [layer, unit];
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === layer)));
    const below = layer > 0 && inside.outputs(layer - 1);
    const [found, ...given] = await Promise.all([inside.neuron(layer, unit), inside.outputs(layer), below]);
    const isLate = chosen.layer !== layer || chosen.unit !== unit || !root.isConnected;
    if (!found || isLate) return; // another was chosen meanwhile
    closer.draw(found, ...given);
    written.replaceChildren(...neuron(found, inside, told, show));
  }

  show(chosen.layer, chosen.unit ?? state.chain[chosen.layer].unit);
  return { end: closer.end };
}
