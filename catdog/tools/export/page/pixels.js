// From a picture to the pixels that the network sees, as catdog/images makes them.

const BITS = 2 ** 22; // Pillow's weights are whole numbers of this part
const CANVAS = 16e6; // pixels of a canvas, which phones bound

/** image: an ImageBitmap or a video -> {data, width, height}, RGBA, over white. */
function pixelsOf(image, width, height) {
  const shrink = Math.min(1, Math.sqrt(CANVAS / (width * height)));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.floor(width * shrink));
  canvas.height = Math.max(1, Math.floor(height * shrink));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

/** picture: RGBA -> H x W x 3. isJpeg: reduced first by 8, 4 or 2, as libjpeg does while it decodes. */
function resize(picture, { imageSize: [height, width], resize: how }, isJpeg) {
  const ratios = [picture.height / height, picture.width / width];
  const room = how === "pad" ? Math.max(...ratios) : Math.min(...ratios);
  const reduces = isJpeg && Math.min(picture.height, picture.width) >= 8;
  const divisor = !reduces ? 1 : room >= 8 ? 8 : room >= 4 ? 4 : room >= 2 ? 2 : 1;
  const small = reduce(picture, divisor);
  const [rows, columns] = [kept(picture.height, height, ratios, how), kept(picture.width, width, ratios, how)];
  const down = filters(small.height, rows, height, divisor);
  const across = filters(small.width, columns, width, divisor);
  const fewer = small.height - rows.there;
  const isDownFirst = fewer > 0 && fewer > 2 * (small.width - columns.there); // as Pillow 13 does it
  return isDownFirst ? goAcross(goDown(small, down), across).data : goDown(goAcross(small, across), down).data;
}

function goAcross({ data, width, height }, filters) {
  const found = { width: filters.length, height, data: new Uint8Array(height * filters.length * 3) };
  for (let row = 0; row < height; row++) apply(filters, data, row * width * 3, 3, found.data, row * found.width * 3, 3);
  return found;
}

function goDown({ data, width }, filters) {
  const found = { width, height: filters.length, data: new Uint8Array(filters.length * width * 3) };
  for (let column = 0; column < width; column++) apply(filters, data, column * 3, width * 3, found.data, column * 3, width * 3);
  return found;
}

/** What is kept of a side, from `start` to `end`, and how many of the `size` pixels it becomes (catdog/images/keep_shape.py). */
function kept(side, size, ratios, how) {
  const start = how === "crop" ? Math.max(0, side - size * Math.min(...ratios)) / 2 : 0;
  const there = how === "pad" ? Math.max(1, rounded(side / Math.max(...ratios))) : size;
  return { start, end: side - start, there };
}

/** As in Python, halves to the even neighbour. */
function rounded(x) {
  return x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x);
}

/** RGBA -> RGB, each pixel the mean of `divisor` pixels each way; beyond an edge lies its last pixel again. */
function reduce({ data, width, height }, divisor) {
  const small = { width: Math.ceil(width / divisor), height: Math.ceil(height / divisor) };
  small.data = new Uint8Array(small.width * small.height * 3);
  const count = divisor * divisor;
  for (let y = 0, to = 0; y < small.height; y++) {
    for (let x = 0; x < small.width; x++, to += 3) {
      let red = 0, green = 0, blue = 0;
      for (let i = 0; i < divisor; i++) {
        const row = Math.min(y * divisor + i, height - 1) * width;
        for (let j = 0; j < divisor; j++) {
          const from = 4 * (row + Math.min(x * divisor + j, width - 1));
          red += data[from];
          green += data[from + 1];
          blue += data[from + 2];
        }
      }
      small.data[to] = red / count + 0.5;
      small.data[to + 1] = green / count + 0.5;
      small.data[to + 2] = blue / count + 0.5;
    }
  }
  return small;
}

/** Pillow's triangle filter (libImaging/Resample.c): for each of `size` places the first of `pixels` and the weights. */
function filters(pixels, { start, end, there }, size, divisor) {
  const [from, to] = [start, end].map((edge) => Math.fround(edge / divisor));
  const scale = Math.fround(to - from) / there;
  const support = Math.max(scale, 1);
  const above = Math.floor((size - there) / 2); // places that repeat the first of the photo's own
  return Array.from({ length: size }, (_, place) => {
    const centre = from + (Math.min(Math.max(place - above, 0), there - 1) + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - support + 0.5));
    const count = Math.min(pixels, Math.floor(centre + support + 0.5)) - first;
    const weights = Array.from({ length: count }, (_, i) => Math.max(0, 1 - Math.abs((first + i - centre + 0.5) / support)));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((weight) => Math.floor((weight / sum) * BITS + 0.5)) };
  });
}

function apply(filters, from, at, step, to, start, jump) {
  filters.forEach(({ first, weights }, place) => {
    for (let channel = 0; channel < 3; channel++) {
      let sum = BITS / 2;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * from[at + (first + i) * step + channel];
      to[start + place * jump + channel] = Math.min(255, Math.floor(sum / BITS));
    }
  });
}
