// One photo and what the network says of it: the answer, bars, the photo as it sees it, and which pixels spoke.

import { h, number, percent, token } from "../../dom.js";
import { once, settings, verdict } from "./kept.js";

const MOST_BARS = 8;
const BLOCKS = 6; // along each side, as explain sums them

/** store: of `once`. */
export function result(item, app, redraw, store) {
  const { name, photo, answer, problem } = item;
  const of = [name, photo, answer, problem, app.run, app.network, settings, app.theme];
  return once(store, of, () => draw(item, app, redraw));
}

function draw(item, app, redraw) {
  const { t } = app;
  if (item.problem) return h("section", { class: "result" }, h("p", { class: "problem", role: "alert" }, item.problem));
  if (!item.photo || !item.answer) return h("section", { class: "result", "aria-busy": "true" }, h("p", {}, t("answer.working")));
  if (item.answer.error) return h("section", { class: "result" }, h("p", { class: "problem" }, item.answer.error));
  return h(
    "section",
    { class: "result", "aria-label": item.name },
    h(
      "div",
      { class: "said" },
      headline(item.answer, t),
      bars(item.answer, app),
      familiar(item.answer, t),
      unsure(t, redraw),
      h("p", {}, h("a", { href: "#inside" }, t("answer.inside"))),
    ),
    h("div", { class: "pictures" }, asGiven(item, t), asSeen(item, app), spoke(item, app)),
  );
}

function headline(answer, t) {
  const said = verdict(answer);
  const plain = `${answer.label} ${percent(answer.probability)}`;
  if (said === answer.label) return h("h2", { class: "headline" }, answer.label, " ", h("span", {}, percent(answer.probability)));
  return h("h2", { class: "headline" }, t(`answer.${said}`), " ", h("small", {}, `(${plain})`));
}

/** A row a class, the likeliest first where there are many. */
function bars(answer, app) {
  const order = Object.keys(answer.probabilities);
  let rows = order.map((name, index) => [name, answer.probabilities[name], index]);
  if (rows.length > 2) rows = rows.sort((a, b) => b[1] - a[1]);
  const hidden = rows.length - MOST_BARS;
  return h(
    "table",
    { class: "bars" },
    h("caption", { class: "unseen" }, app.t("answer.probabilities")),
    h(
      "tbody",
      {},
      rows.slice(0, MOST_BARS).map(([name, share, index]) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, name),
          h("td", { class: "bar", vars: { "--share": share, "--colour": `var(--class-${index % 8})` } }, h("i", {})),
          h("td", { class: "share", title: share }, percent(share)),
        ),
      ),
      hidden > 0 && h("tr", {}, h("td", { colspan: 3, class: "soft" }, app.t("answer.more", { count: hidden }))),
    ),
  );
}

function familiar(answer, t) {
  if (answer.familiarity === null || answer.familiarity === undefined) return null;
  const key = answer.unfamiliar ? "answer.isunfamiliar" : "answer.familiarity";
  return h("p", { class: "soft" }, t(key, { share: percent(answer.familiarity, 0), rest: percent(1 - answer.familiarity, 0) }));
}

function unsure(t, redraw) {
  const output = h("output", {}, percent(settings.unsureBelow, 0));
  const range = h("input", {
    type: "range",
    min: 0,
    max: 1,
    step: 0.01,
    value: settings.unsureBelow,
    oninput: () => (output.textContent = percent(Number(range.value), 0)),
    onchange: () => {
      settings.unsureBelow = Number(range.value);
      redraw();
    },
  });
  return h("label", { class: "unsure soft" }, t("answer.unsurebelow"), range, output);
}

function figure(caption, ...content) {
  return h("figure", {}, ...content, h("figcaption", {}, caption));
}

function asGiven(item, t) {
  const { width, height, id } = item.photo;
  return figure(`${item.name}, ${width} × ${height}`, h("img", { src: `/api/photos/${id}`, alt: item.name, class: "given" }));
}

const seenAt = (item, run) => `/api/photos/${item.photo.id}/seen?run=${encodeURIComponent(run)}`;

function asSeen(item, app) {
  const [height, width] = app.network.image_size;
  const caption = app.t("answer.seen", { size: `${width} × ${height} × 3 = ${(3 * width * height).toLocaleString("en")}` });
  return figure(caption, h("img", { src: seenAt(item, app.run), alt: app.t("answer.seenalt"), class: "pixels" }));
}

/** Which pixels spoke for which class, once that is computed; each can be pointed at, or walked to with the arrow keys. */
function spoke(item, app) {
  const { t } = app;
  const place = h("div", { class: "map", "aria-busy": "true" });
  const caption = h("figcaption", {}, t("answer.computing"));
  const run = app.run;
  Promise.all([attribution(item, app), picture(seenAt(item, run))])
    .then(([found, image]) => {
      place.replaceWith(heatMap(found, image, t));
      caption.replaceWith();
    })
    .catch((error) => {
      place.removeAttribute("aria-busy");
      caption.textContent = t(error.message);
    });
  return h("figure", {}, place, caption);
}

/** Asked for once for each photo and network, and again where that failed. */
async function attribution(item, { api, run }) {
  item.pixels ??= {};
  item.pixels[run] ??= api.get(`/api/photos/${item.photo.id}/pixels?run=${encodeURIComponent(run)}`);
  try {
    return await item.pixels[run];
  } catch (error) {
    delete item.pixels[run];
    throw error;
  }
}

function picture(url) {
  const image = new Image();
  image.src = url;
  return image.decode().then(() => image);
}

/** The picture, its key, a switch between blocks and single pixels, what one points at, and the numbers as a table. */
function heatMap(found, image, t) {
  const { first, second } = found;
  const [rows, columns] = [found.pixels.length, found.pixels[0].length];
  const blocks = inBlocks(found.pixels);
  const canvas = h("canvas", {
    width: columns,
    height: rows,
    class: "pixels",
    tabindex: 0,
    role: "img",
    "aria-label": t("answer.mapalt", { first, second }),
  });
  const readout = h("p", { class: "readout", "aria-live": "polite" }, t("answer.point"));
  const toggle = h("button", { "aria-pressed": "true", onclick: () => draw(!coarse) }, t("answer.inblocks"));
  let coarse;
  const at = { row: rows >> 1, column: columns >> 1 };

  function draw(asBlocks) {
    coarse = asBlocks;
    toggle.setAttribute("aria-pressed", String(coarse));
    paint(canvas, coarse ? blocks.spread : found.pixels, image);
  }

  function tell() {
    const [row, column] = [blocks.rowOf(at.row), blocks.columnOf(at.column)];
    const value = coarse ? blocks.sums[row][column] : found.pixels[at.row][at.column];
    const values = { value: number(Math.abs(value)), label: value > 0 ? first : second };
    readout.textContent = coarse
      ? t("answer.block", { row: row + 1, column: column + 1, ...values })
      : t("answer.pixel", { ...at, ...values });
  }

  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    at.column = bounded(Math.floor(((event.clientX - box.left) / box.width) * columns), columns);
    at.row = bounded(Math.floor(((event.clientY - box.top) / box.height) * rows), rows);
    tell();
  });
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!move) return;
    event.preventDefault();
    const step = coarse ? [Math.ceil(rows / BLOCKS), Math.ceil(columns / BLOCKS)] : [1, 1];
    at.row = bounded(at.row + move[0] * step[0], rows);
    at.column = bounded(at.column + move[1] * step[1], columns);
    tell();
  });
  draw(true);
  const key = ["first", "second"].map((which) => h("span", { class: `key ${which}` }, t("answer.for", { label: found[which] })));
  return h("div", {}, canvas, h("figcaption", {}, key, toggle, readout, numbers(found, blocks, t)));
}

const bounded = (value, count) => Math.min(Math.max(value, 0), count - 1);

/** Shares summed over 6 x 6 blocks, as explain does: { sums, spread: each pixel's part of its block, rowOf, columnOf }. */
function inBlocks(pixels) {
  const cuts = (count) => Array.from({ length: Math.min(BLOCKS, count) + 1 }, (_, i) => Math.round((i * count) / Math.min(BLOCKS, count)));
  const [down, across] = [cuts(pixels.length), cuts(pixels[0].length)];
  const sums = down.slice(1).map(() => across.slice(1).map(() => 0));
  const rowOf = (row) => down.findLastIndex((cut) => cut <= row);
  const columnOf = (column) => across.findLastIndex((cut) => cut <= column);
  pixels.forEach((line, row) => line.forEach((share, column) => (sums[rowOf(row)][columnOf(column)] += share)));
  return { sums, rowOf, columnOf, spread: pixels.map((line, row) => line.map((_, column) => sums[rowOf(row)][columnOf(column)])) };
}

/** The photo, pale and grey, tinted by the sign and the size of each pixel's share, as explain draws it. */
function paint(canvas, shares, image) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const data = context.getImageData(0, 0, canvas.width, canvas.height);
  const flat = shares.flat();
  const largest = flat.reduce((most, share) => Math.max(most, Math.abs(share)), 0) || 1;
  const colours = ["class-0", "class-1"].map((name) => rgb(token(name)));
  flat.forEach((share, i) => {
    const grey = 102 + (0.6 * (data.data[4 * i] + data.data[4 * i + 1] + data.data[4 * i + 2])) / 3;
    const strength = (Math.abs(share) / largest) ** 0.6;
    const colour = colours[share > 0 ? 0 : 1];
    for (let c = 0; c < 3; c++) data.data[4 * i + c] = grey * (1 - strength) + colour[c] * strength;
  });
  context.putImageData(data, 0, 0);
}

const rgb = (hex) => [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));

/** The sums of the blocks, and how all shares and the biases make the difference of the two scores. */
function numbers({ first, second, biases, difference }, { sums }, t) {
  const total = { first, second, pixels: signed(difference - biases), biases: signed(biases), difference: signed(difference) };
  const rows = sums.map((line) => h("tr", {}, line.map((sum) => h("td", {}, signed(sum)))));
  return h(
    "details",
    {},
    h("summary", {}, t("answer.asnumbers")),
    h("p", {}, t("answer.blocks", total)),
    h("table", { class: "blocks" }, h("tbody", {}, rows)),
  );
}

const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
