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

/** Views of a layer's arrays; weights that many places share as `multiply` takes them. */
function prepare(layer, weights) {
  layer.rows = new Int8Array(weights, layer.weight, layer.rowCount * layer.window);
  layer.scales = new Float32Array(weights, layer.scale, layer.rowCount);
  layer.offsets = new Float32Array(weights, layer.offset, layer.rowCount);
  if (!layer.shared) return;
  layer.inBlocks = `${layer.field} ${layer.stride}` in BLOCKS;
  layer.rows = layer.inBlocks ? blockWeights(layer) : inFours(layer);
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
  const seen = new Float64Array(TOGETHER * window);
  const pairs = new Float64Array(TOGETHER * window);
  for (let start = 0; start < places; start += TOGETHER) {
    const count = Math.min(TOGETHER, places - start);
    gather(layer, x, start, count, seen);
    if (layer.shared) {
      for (let i = 0; i < count * window; i++) pairs[inPair(Math.floor(i / window), i % window, window)] = seen[i];
      multiply(pairs, count, layer.rows, channels, window, out.subarray(start * channels, (start + count) * channels));
    } else {
      for (let row = start * channels; row < (start + count) * channels; row++) {
        const place = Math.floor(row / channels) - start;
        out[row] = dot(layer.rows, row * window, seen, place * window, window);
      }
    }
  }
  return scaled(layer, out);
}

function scaled({ rowCount, scales, offsets }, out) {
  for (let i = 0; i < out.length; ) {
    for (let row = 0; row < rowCount; row++, i++) out[i] = scales[row] * out[i] + offsets[row];
  }
  return out;
}

// Blocks of places with 16 products a block and not 36 (Winograd; Lavin and Gray 2015, "Fast algorithms for
// convolutional neural networks", section 4.1): 2 x 2 places with windows of 3 x 3, or 3 x 3 places with windows of
// 2 x 2. Of the latter kind are windows of 4 x 4 at every second place, with a cell of 2 x 2 places taken for one of
// four times the channels. Either way a block sees d, 4 x 4 cells, and of the weights g comes
// Y = A^T ((G g G^T) * (B^T d B)) A. Each of the 16 is one product of matrices over a cell's numbers, its depth.

const BLOCKS = { "3 1": 2, "4 2": 3 }; // by field and stride: places across a block

function inBlocks(layer, x) {
  const { below, channels, columns, places, field, stride, edge } = layer;
  const across = BLOCKS[`${field} ${stride}`];
  const depth = stride * stride * below.channels;
  const blocks = { below, columns: Math.ceil(columns / across), field: 4 * stride, stride: across * stride, edge, window: 16 * depth };
  const total = blocks.columns * Math.ceil(places / columns / across);
  const out = new Float64Array(places * channels);
  const seen = new Float64Array(TOGETHER * blocks.window);
  const parts = layer.rows.map(() => new Float64Array(TOGETHER * depth));
  const products = layer.rows.map(() => new Float64Array(TOGETHER * channels));
  for (let start = 0; start < total; start += TOGETHER) {
    const count = Math.min(TOGETHER, total - start);
    gather(blocks, x, start, count, seen);
    spread(seen, count, stride, depth, parts);
    layer.rows.forEach((rows, k) => multiply(parts[k], count, rows, channels, depth, products[k]));
    collect(products, start, count, blocks.columns, across, layer, out);
  }
  return scaled(layer, out);
}

/** G g G^T of each number of a cell: 16 x channels x depth, in fours. */
function blockWeights({ rows, rowCount, window, field, stride, below }) {
  const taps = field / stride; // cells across a window
  const run = stride * below.channels; // numbers of a cell that lie together
  const depth = stride * run;
  const parts = Array.from({ length: 16 }, () => new Float32Array(4 * Math.ceil(rowCount / 4) * depth));
  const half = new Float64Array(4 * taps);
  const whole = new Float64Array(16);
  for (let row = 0; row < rowCount; row++) {
    const g = Float64Array.from(rows.subarray(row * window, (row + 1) * window));
    for (let k = 0, at = 0; k < depth; k++, at++) {
      if (k % run === 0) at = k * taps;
      for (let j = 0; j < taps; j++) fourOf(g, at + j * run, taps * depth, taps, half, j, taps);
      for (let i = 0; i < 4; i++) fourOf(half, i * taps, 1, taps, whole, 4 * i, 1);
      for (let part = 0, to = inFour(row, k, depth); part < 16; part++) parts[part][to] = whole[part];
    }
  }
  return parts;
}

/** G g of two or three numbers g, which lie `step` apart in `from`; into `to`, `jump` apart. */
function fourOf(from, at, step, taps, to, start, jump) {
  const a = from[at], b = from[at + step], c = taps === 3 ? from[at + 2 * step] : 0;
  to[start] = a;
  to[start + jump] = (a + b + c) / 2;
  to[start + 2 * jump] = (a - b + c) / 2;
  to[start + 3 * jump] = taps === 3 ? c : b;
}

/** B^T d B of each block and number of a cell. seen: blocks x 4 cells x 4 cells -> parts: 16 of blocks x depth, in pairs. */
function spread(seen, blocks, stride, depth, parts) {
  const run = depth / stride;
  const half = new Float64Array(16);
  for (let block = 0; block < blocks; block++) {
    for (let k = 0, from = 0; k < depth; k++, from++) {
      if (k % run === 0) from = 16 * block * depth + 4 * k;
      for (let j = 0, at = from; j < 4; j++, at += run) {
        const a = seen[at], b = seen[at + 4 * depth], c = seen[at + 8 * depth], d = seen[at + 12 * depth];
        half[j] = a - c;
        half[4 + j] = b + c;
        half[8 + j] = c - b;
        half[12 + j] = b - d;
      }
      const to = inPair(block, k, depth);
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

/** A^T m A of each block and channel: the places of a block, those within the grid, into `out`. */
function collect(products, start, count, blockColumns, across, { channels, columns, places }, out) {
  const half = new Float64Array(12);
  for (let block = 0; block < count; block++) {
    const row = across * Math.floor((start + block) / blockColumns);
    const column = across * ((start + block) % blockColumns);
    const [down, right] = [Math.min(across, places / columns - row), Math.min(across, columns - column)];
    for (let channel = 0; channel < channels; channel++) {
      const from = block * channels + channel;
      for (let j = 0; j < 4; j++) {
        const a = products[j][from], b = products[4 + j][from], c = products[8 + j][from], d = products[12 + j][from];
        half[j] = a + b + c;
        half[4 + j] = across === 2 ? b - c - d : b - c;
        half[8 + j] = b + c - d; // of three
      }
      for (let i = 0; i < down; i++) {
        const a = half[4 * i], b = half[4 * i + 1], c = half[4 * i + 2], d = half[4 * i + 3];
        const to = ((row + i) * columns + column) * channels + channel;
        out[to] = a + b + c;
        if (right > 1) out[to + channels] = across === 2 ? b - c - d : b - c;
        if (right > 2) out[to + 2 * channels] = b + c - d;
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

// `multiply` takes two places and four channels at a time, and finds the numbers of these beside each other. Weights are
// whole or quarters, which Float32Array holds exactly; JavaScript is fastest with doubles.

/** Where the k-th of `length` numbers of a place lies, or of a row of weights. */
const inPair = (place, k, length) => 2 * ((place >> 1) * length + k) + (place & 1);
const inFour = (row, k, length) => 4 * ((row >> 2) * length + k) + (row & 3);

function inFours({ rows, rowCount, window }) {
  const found = new Float32Array(4 * Math.ceil(rowCount / 4) * window);
  for (let i = 0; i < rows.length; i++) found[inFour(Math.floor(i / window), i % window, window)] = rows[i];
  return found;
}

/** seen: places x length, in pairs; rows: channels x length, in fours -> out: places x channels. */
function multiply(seen, places, rows, channels, length, out) {
  const four = new Float64Array(4 * length);
  for (let channel = 0; channel < channels; channel += 4) {
    four.set(rows.subarray(channel * length, (channel + 4) * length));
    for (let place = 0; place < places; place += 2) {
      let from = place * length, at = 0;
      let p0 = 0, p1 = 0, p2 = 0, p3 = 0, q0 = 0, q1 = 0, q2 = 0, q3 = 0;
      for (const end = 4 * length; at < end; from += 2, at += 4) {
        const p = seen[from], q = seen[from + 1], w0 = four[at], w1 = four[at + 1], w2 = four[at + 2], w3 = four[at + 3];
        p0 += p * w0; p1 += p * w1; p2 += p * w2; p3 += p * w3;
        q0 += q * w0; q1 += q * w1; q2 += q * w2; q3 += q * w3;
      }
      const [both, left] = [place + 1 < places, channels - channel];
      const to = place * channels + channel;
      out[to] = p0;
      if (left > 1) out[to + 1] = p1;
      if (left > 2) out[to + 2] = p2;
      if (left > 3) out[to + 3] = p3;
      if (both) out[to + channels] = q0;
      if (both && left > 1) out[to + channels + 1] = q1;
      if (both && left > 2) out[to + channels + 2] = q2;
      if (both && left > 3) out[to + channels + 3] = q3;
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
      for (let i = 0; i < parts[index].length; ) {
        for (let channel = 0; channel < channels; channel++, i++) sums[channel] += parts[index][i];
      }
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
