// The forward pass, in a worker: catdog/numpy_net.py says the same in NumPy.
//
// A layer's numbers are those of catdog/architecture.py. Weights are 8-bit integers q, a row for each unit, or for each
// channel where all places share them: Wx + b, normalised, is scale * (q . x) + offset, both folded in by html.py.

const TOGETHER = 64; // places whose windows are laid out at a time
let model;

onmessage = ({ data }) => {
  if (data.model) {
    model = data.model;
    for (const layer of model.layers) prepare(layer, data.weights);
  } else {
    postMessage(forward(normalised(data.pixels, data.mirrored)));
  }
};

/** Views of a layer's arrays; weights that many places share as doubles, with which JavaScript is fastest. */
function prepare(layer, weights) {
  layer.rows = new Int8Array(weights, layer.weight, layer.rowCount * layer.window);
  layer.scales = new Float32Array(weights, layer.scale, layer.rowCount);
  layer.offsets = new Float32Array(weights, layer.offset, layer.rowCount);
  if (!layer.shared) return;
  layer.inBlocks = layer.field === 3 && layer.stride === 1 && layer.columns % 2 === 0 && layer.places % (2 * layer.columns) === 0;
  layer.rows = layer.inBlocks ? blockWeights(layer) : padded(layer.rows, layer.window);
}

/** Rows as doubles, and rows of 0 after them to a multiple of four, which `multiply` takes together. */
function padded(rows, length) {
  const found = new Float64Array(Math.ceil(rows.length / length / 4) * 4 * length);
  found.set(rows);
  return found;
}

/** pixels: H x W x 3 levels -> what the first layer sees: place by place for a local one, else channel by channel. */
function normalised(pixels, mirrored) {
  const [height, width] = model.imageSize;
  const x = new Float64Array(3 * height * width);
  const [perChannel, perPlace] = model.layers[0].local ? [1, 3] : [height * width, 1];
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const from = 3 * (row * width + (mirrored ? width - 1 - column : column));
      for (let channel = 0; channel < 3; channel++) {
        const to = channel * perChannel + (row * width + column) * perPlace;
        x[to] = (pixels[from + channel] - model.mean[channel]) / model.std[channel];
      }
    }
  }
  return x;
}

function forward(photo) {
  let x = photo;
  let before = photo;
  const branches = [];
  const features = [];
  for (const layer of model.layers) {
    if (layer.branches) branches.push(x);
    const below = layer.pooled.length ? means(layer.pooled, [x, ...branches]) : x;
    const sum = (layer.inBlocks ? inBlocks : layer.local ? local : dense)(layer, below);
    if (layer.adds) for (let i = 0; i < sum.length; i++) sum[i] += before[i];
    if (layer.activation) activate(layer.activation, sum);
    before = x;
    x = sum;
    if (layer.watched) features.push(...unit(means([layer.watched], [x])));
  }
  return { logits: [...x], features };
}

function dense(layer, x) {
  const out = new Float64Array(layer.rowCount);
  for (let row = 0; row < out.length; row++) {
    out[row] = layer.scales[row] * dot(layer.rows, row * layer.window, x, 0, layer.window) + layer.offsets[row];
  }
  return out;
}

function local(layer, x) {
  const { places, channels, window } = layer;
  const out = new Float64Array(places * channels);
  const seen = new Float64Array((TOGETHER + 1) * window);
  for (let start = 0; start < places; start += TOGETHER) {
    const count = Math.min(TOGETHER, places - start);
    gather(layer, x, start, count, seen);
    if (layer.shared) {
      multiply(seen, count, layer.rows, channels, window, out.subarray(start * channels, (start + count) * channels));
    } else {
      for (let row = start * channels; row < (start + count) * channels; row++) {
        const place = Math.floor(row / channels) - start;
        out[row] = dot(layer.rows, row * window, seen, place * window, window);
      }
    }
  }
  return scaled(layer, out);
}

function scaled(layer, out) {
  for (let i = 0; i < out.length; i++) {
    const row = layer.shared ? i % layer.channels : i;
    out[i] = layer.scales[row] * out[i] + layer.offsets[row];
  }
  return out;
}

// Windows of 3 x 3 in blocks of 2 x 2 places, with 16 products a block and not 36 (Winograd; Lavin and Gray 2015, "Fast
// algorithms for convolutional neural networks", section 4.1): from d, the 4 x 4 places that a block sees, and the
// weights g come Y = A^T ((G g G^T) * (B^T d B)) A. Each of the 16 is one product of matrices over the channels.

/** G g G^T of each channel: 16 x channels x channels below. */
function blockWeights({ rows, rowCount, window }) {
  const below = window / 9;
  const parts = Array.from({ length: 16 }, () => new Float64Array(rowCount * below));
  const third = (a, b, c) => [a, (a + b + c) / 2, (a - b + c) / 2, c];
  for (let row = 0; row < rowCount; row++) {
    for (let channel = 0; channel < below; channel++) {
      const g = (i, j) => rows[row * window + (3 * i + j) * below + channel];
      const down = [0, 1, 2].map((j) => third(g(0, j), g(1, j), g(2, j)));
      for (let i = 0; i < 4; i++) {
        const across = third(down[0][i], down[1][i], down[2][i]);
        across.forEach((value, j) => (parts[4 * i + j][row * below + channel] = value));
      }
    }
  }
  return parts.map((part) => padded(part, below));
}

function inBlocks(layer, x) {
  const { below, channels, columns, places } = layer;
  const blocks = { below, columns: columns / 2, field: 4, stride: 2, edge: 1, window: 16 * below.channels };
  const out = new Float64Array(places * channels);
  const seen = new Float64Array(TOGETHER * blocks.window);
  const parts = layer.rows.map(() => new Float64Array((TOGETHER + 1) * below.channels));
  const products = layer.rows.map(() => new Float64Array(TOGETHER * channels));
  for (let start = 0; start < places / 4; start += TOGETHER) {
    const count = Math.min(TOGETHER, places / 4 - start);
    gather(blocks, x, start, count, seen);
    spread(seen, count, below.channels, parts);
    layer.rows.forEach((rows, k) => multiply(parts[k], count, rows, channels, below.channels, products[k]));
    collect(products, start, count, layer, out);
  }
  return scaled(layer, out);
}

/** B^T d B of each block and channel. seen: blocks x 16 x channels -> parts: 16 of blocks x channels. */
function spread(seen, blocks, channels, parts) {
  const half = new Float64Array(16);
  for (let block = 0; block < blocks; block++) {
    for (let channel = 0; channel < channels; channel++) {
      for (let j = 0; j < 4; j++) {
        const at = (16 * block + j) * channels + channel;
        const a = seen[at], b = seen[at + 4 * channels], c = seen[at + 8 * channels], d = seen[at + 12 * channels];
        half[j] = a - c;
        half[4 + j] = b + c;
        half[8 + j] = c - b;
        half[12 + j] = b - d;
      }
      const to = block * channels + channel;
      for (let i = 0; i < 16; i += 4) {
        const a = half[i], b = half[i + 1], c = half[i + 2], d = half[i + 3];
        parts[i][to] = a - c;
        parts[i + 1][to] = b + c;
        parts[i + 2][to] = c - b;
        parts[i + 3][to] = b - d;
      }
    }
  }
}

/** A^T m A of each block and channel: the 2 x 2 places of a block, into `out`. */
function collect(products, start, blocks, { channels, columns }, out) {
  const half = new Float64Array(8);
  for (let block = 0; block < blocks; block++) {
    const row = 2 * Math.floor((start + block) / (columns / 2));
    const column = 2 * ((start + block) % (columns / 2));
    for (let channel = 0; channel < channels; channel++) {
      const from = block * channels + channel;
      for (let j = 0; j < 4; j++) {
        const b = products[4 + j][from], c = products[8 + j][from];
        half[j] = products[j][from] + b + c;
        half[4 + j] = b - c - products[12 + j][from];
      }
      for (let i = 0; i < 2; i++) {
        const to = ((row + i) * columns + column) * channels + channel;
        const b = half[4 * i + 1], c = half[4 * i + 2];
        out[to] = half[4 * i] + b + c;
        out[to + channels] = b - c - half[4 * i + 3];
      }
    }
  }
}

/** The windows of `count` places from `start` on, one after the other, into `seen`; 0 outside the grid. */
function gather(layer, x, start, count, seen) {
  const { below, columns, field, stride, edge, window } = layer;
  const run = field * below.channels;
  for (let n = 0; n < count; n++) {
    const top = Math.floor((start + n) / columns) * stride - edge;
    const left = ((start + n) % columns) * stride - edge;
    const [first, end] = [Math.max(left, 0), Math.min(left + field, below.width)];
    for (let i = 0; i < field; i++) {
      const [to, row] = [n * window + i * run, top + i];
      const inside = row >= 0 && row < below.height;
      if (!inside || end - first < field) seen.fill(0, to, to + run);
      if (!inside) continue;
      const from = (row * below.width + first) * below.channels;
      seen.set(x.subarray(from, from + (end - first) * below.channels), to + (first - left) * below.channels);
    }
  }
}

/** seen: places x window; rows: channels x window -> out: places x channels. Two places and four channels at a time. */
function multiply(seen, places, rows, channels, window, out) {
  for (let channel = 0; channel < channels; channel += 4) {
    for (let place = 0; place < places; place += 2) {
      let [a0, b0] = [place * window, channel * window];
      let [a1, b1] = [a0 + window, b0 + window];
      let [b2, b3] = [b1 + window, b1 + 2 * window];
      let p0 = 0, p1 = 0, p2 = 0, p3 = 0, q0 = 0, q1 = 0, q2 = 0, q3 = 0;
      for (const end = a0 + window; a0 < end; a0++, a1++, b0++, b1++, b2++, b3++) {
        const p = seen[a0], q = seen[a1], w0 = rows[b0], w1 = rows[b1], w2 = rows[b2], w3 = rows[b3];
        p0 += p * w0; p1 += p * w1; p2 += p * w2; p3 += p * w3;
        q0 += q * w0; q1 += q * w1; q2 += q * w2; q3 += q * w3;
      }
      const [both, left] = [place + 1 < places, channels - channel];
      const at = place * channels + channel;
      out[at] = p0;
      if (left > 1) out[at + 1] = p1;
      if (left > 2) out[at + 2] = p2;
      if (left > 3) out[at + 3] = p3;
      if (both) out[at + channels] = q0;
      if (both && left > 1) out[at + channels + 1] = q1;
      if (both && left > 2) out[at + channels + 2] = q2;
      if (both && left > 3) out[at + channels + 3] = q3;
    }
  }
}

function dot(rows, at, x, from, length) {
  let even = 0, odd = 0, i = 0;
  for (; i + 1 < length; i += 2) {
    even += rows[at + i] * x[from + i];
    odd += rows[at + i + 1] * x[from + i + 1];
  }
  return i < length ? even + odd + rows[at + i] * x[from + i] : even + odd;
}

/** The mean of each channel over all places of its grid, for one grid after the other. */
function means(grids, parts) {
  return Float64Array.from(
    grids.flatMap(({ channels, places }, index) => {
      const sums = new Array(channels).fill(0);
      parts[index].forEach((value, i) => (sums[i % channels] += value));
      return sums.map((sum) => sum / places);
    }),
  );
}

function unit(x) {
  const length = Math.sqrt(x.reduce((sum, value) => sum + value * value, 0)) + 1e-9;
  return x.map((value) => value / length);
}

const ACTIVATIONS = {
  relu: (z) => (z > 0 ? z : 0),
  gelu: (z) => 0.5 * z * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (z + 0.044715 * z ** 3))),
  tanh: Math.tanh,
  sigmoid: (z) => 0.5 * (1 + Math.tanh(0.5 * z)),
};

function activate(name, x) {
  const f = ACTIVATIONS[name];
  for (let i = 0; i < x.length; i++) x[i] = f(x[i]);
}
