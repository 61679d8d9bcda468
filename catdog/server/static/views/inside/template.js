// The weights of a neuron of the first layer as pictures: before all steps, now, and what the steps added.

import { h } from "../../dom.js";
import { cells, COLOURS, num } from "./kit.js";

/** Figures of a neuron's weights. kinds: of "before", "change", "now". */
export async function templates(unit, kinds, inside, told) {
  const found = await inside.template(unit);
  if (!found) return [];
  const values = { ...found, change: found.now.map((w, i) => w - found.before[i]) };
  return kinds.map((kind) => {
    const name = inside.t(`inside.template.${kind}`);
    return h(
      "figure",
      { class: "template" },
      picture(found, values[kind], name, inside.t, told),
      h("figcaption", {}, name),
    );
  });
}

/** Grey where the weights are 0, brighter where they are positive; each cell tells its three. */
function picture({ top, left, height, width }, weights, label, t, told) {
  const canvas = h("canvas", { width, height, tabindex: 0, role: "img", "aria-label": label });
  const image = new ImageData(width, height);
  const most = weights.reduce((largest, w) => Math.max(largest, Math.abs(w)), 0) || 1;
  weights.forEach((w, i) => {
    const [channel, place] = [Math.floor(i / (height * width)), i % (height * width)];
    image.data[4 * place + channel] = 127.5 + (127.5 * w) / most;
    image.data[4 * place + 3] = 255;
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
  let at = [0, 0];
  cells(
    canvas,
    () => at,
    (row, column) => {
      at = [row, column];
      const three = COLOURS.map((colour, c) => [` ${t(colour)} `, num(weights[(c * height + row) * width + column])]);
      told.say(`${label}, ${t("inside.photo.pixel", { row: row + top, column: column + left })}:`, ...three.flat());
    },
  );
  return canvas;
}
