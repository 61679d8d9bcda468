// The answer to a photo: two workers compute it and its mirror image at once.

const model = JSON.parse(document.getElementById("model").textContent);

function decodedWeights() {
  const text = atob(document.getElementById("weights").textContent.trim());
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes.buffer;
}

const weights = decodedWeights();
const workers = (model.averageMirrored ? [false, true] : [false]).map((mirrored) => {
  const source = new Blob([document.getElementById("network").textContent], { type: "text/javascript" });
  const worker = new Worker(URL.createObjectURL(source));
  worker.postMessage({ model, weights });
  return (pixels) =>
    new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = reject;
      worker.postMessage({ pixels, mirrored });
    });
});

let turn = Promise.resolve(); // one photo after the other

/** pixels: H x W x 3, of the network's size -> {probabilities, familiarity, pixels}; familiarity may be null. */
function ask(pixels) {
  const answer = turn.then(async () => {
    const found = await Promise.all(workers.map((worker) => worker(pixels)));
    const mean = (name) => found[0][name].map((_, i) => found.reduce((sum, one) => sum + one[name][i], 0) / found.length);
    const logits = mean("logits").map((logit) => logit / model.temperature);
    const shares = logits.map((logit) => Math.exp(logit - Math.max(...logits)));
    const sum = shares.reduce((a, b) => a + b, 0);
    const features = model.watches ? mean("features") : photoStatistics(pixels, ...model.imageSize);
    return { pixels, probabilities: shares.map((share) => share / sum), familiarity: familiarity(features) };
  });
  turn = answer.catch(() => {});
  return answer;
}

/** A file -> its answer. */
async function askFile(file) {
  const head = new Uint8Array(await file.slice(0, 3).arrayBuffer());
  const isJpeg = head[0] === 0xff && head[1] === 0xd8 && head[2] === 0xff;
  const image = await createImageBitmap(file);
  const picture = pixelsOf(image, image.width, image.height);
  image.close();
  return ask(resize(picture, model, isJpeg));
}

/** catdog/familiarity.py's share of familiar photos that are farther off. */
function familiarity(features) {
  if (!model.familiarity) return null;
  const { mean, factor, directions, distances } = model.familiarity;
  const view = ([start, length]) => new Float32Array(weights, start, length);
  const [means, factors, rows, steps] = [mean, factor, directions, distances].map(view);
  const z = features.map((feature, i) => (feature - means[i]) * factors[i]);
  let distance = z.reduce((sum, value) => sum + value * value, 0);
  for (let row = 0; row < rows.length; row += z.length) {
    distance -= z.reduce((sum, value, i) => sum + value * rows[row + i], 0) ** 2;
  }
  let passed = 0; // each step between two quantiles counts by how far the distance has passed it
  for (let i = 0; i + 1 < steps.length; i++) {
    const share = (distance - steps[i]) / Math.max(steps[i + 1] - steps[i], 1e-12);
    passed += Math.min(1, Math.max(0, share));
  }
  return 1 - passed / (steps.length - 1);
}

/** catdog/familiarity.py's features of a photo itself, for networks without local layers. */
function photoStatistics(pixels, height, width) {
  if (!model.familiarity) return [];
  let planes = [0, 1, 2].map((which) =>
    Float64Array.from({ length: height * width }, (_, i) => {
      const [red, green, blue] = pixels.subarray(3 * i, 3 * i + 3);
      return [(red + green + blue) / 3, red - green, blue - green][which] / 255;
    }),
  );
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  const log = (value) => Math.log(value + 0.02);
  const middle = planes.map(mean);
  const found = [...middle, ...planes.map((plane, i) => log(Math.sqrt(mean(plane.map((v) => (v - middle[i]) ** 2)))))];
  const sizes = new Set(model.statisticsGrids.map(String));
  while (Math.min(height, width) >= 2) {
    if (sizes.has(String([height, width]))) {
      for (const step of [width, 1]) {
        for (const plane of planes) {
          const steps = [];
          plane.forEach((value, i) => {
            const isLast = step === 1 ? i % width === width - 1 : i + width >= plane.length;
            if (!isLast) steps.push(Math.abs(plane[i + step] - value));
          });
          found.push(log(mean(steps)));
        }
      }
    }
    const [rows, columns] = [height >> 1, width >> 1];
    planes = planes.map((plane) =>
      Float64Array.from({ length: rows * columns }, (_, i) => {
        const at = 2 * Math.floor(i / columns) * width + 2 * (i % columns);
        return (plane[at] + plane[at + 1] + plane[at + width] + plane[at + width + 1]) / 4;
      }),
    );
    [height, width] = [rows, columns];
  }
  return found;
}

/** "label", "unsure" or "unfamiliar". */
function verdict({ probabilities, familiarity }) {
  if (familiarity !== null && familiarity < model.unfamiliarBelow) return "unfamiliar";
  return Math.max(...probabilities) < model.unsureBelow ? "unsure" : "label";
}
