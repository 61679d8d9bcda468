// A layer as a picture: a cell a unit. A dense layer is a square of them, a local one has a map of its grid a channel.

import { h, token } from "../../dom.js";

const PLUS = [217, 95, 2];
const MINUS = [106, 81, 163];

const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

/** Where the units of a layer stand: `size` in cells, `place(unit)` -> [row, column], `unitAt(row, column)`. */
export function layout(layer) {
  if (!layer.grid) {
    const columns = layer.units <= 10 ? 1 : Math.ceil(Math.sqrt(layer.units));
    return {
      size: [Math.ceil(layer.units / columns), columns],
      place: (unit) => [Math.floor(unit / columns), unit % columns],
      unitAt: (row, column) => (row * columns + column < layer.units ? row * columns + column : null),
      maps: [[0, 0]],
    };
  }
  const [channels, height, width] = layer.grid;
  const across = Math.ceil(Math.sqrt((channels * height) / width));
  const [down, right] = [height + 1, width + 1]; // a line between the maps
  const map = (channel) => [Math.floor(channel / across) * down, (channel % across) * right];
  return {
    size: [Math.ceil(channels / across) * down - 1, across * right - 1],
    place(unit) {
      const [row, column] = map(unit % channels);
      const place = Math.floor(unit / channels);
      return [row + Math.floor(place / width), column + (place % width)];
    },
    unitAt(row, column) {
      const channel = Math.floor(row / down) * across + Math.floor(column / right);
      const [y, x] = [row % down, column % right];
      return channel < channels && y < height && x < width ? (y * width + x) * channels + channel : null;
    },
    maps: Array.from({ length: channels }, (_, channel) => map(channel)),
  };
}

/** A canvas of what the units give: white is 0, orange positive, purple negative. */
export function sheet(layer, values, props = {}) {
  const { size, place } = layout(layer);
  const [height, width] = size;
  const canvas = h("canvas", { width, height, ...props });
  const image = new ImageData(width, height);
  const zero = rgb(token("sheet"));
  const top = Math.max(Math.abs(layer.least), Math.abs(layer.largest)) || 1;
  values.forEach((value, unit) => {
    const [row, column] = place(unit);
    const share = (Math.abs(value) / top) ** 0.7;
    const colour = value < 0 ? MINUS : PLUS;
    const start = 4 * (row * width + column);
    for (let c = 0; c < 3; c++) image.data[start + c] = zero[c] + share * (colour[c] - zero[c]);
    image.data[start + 3] = 255;
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
