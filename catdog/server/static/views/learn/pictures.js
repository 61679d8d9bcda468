// What the weights look like, and what they answer: neurons of the first layer, and a fixed choice of photos.

import { h, percent } from "../../dom.js";

export function pictures(app) {
  const { t } = app;
  const templates = h("ul", { class: "templates" });
  const neurons = h("ul", { class: "neurons" });
  const photos = h("ul", { class: "watched" });
  const right = h("span", { class: "soft" });
  const looks = Object.entries({ templates, neurons }).map(([name, list]) =>
    h("div", {}, h("h3", {}, t(`learn.${name}`)), h("p", { class: "soft" }, t(`learn.${name}.about`)), list),
  );
  const head = h("h2", {}, t("learn.weights"));
  const ofWeights = h("section", { hidden: true }, head, h("div", { class: "looks" }, looks));
  const ofPhotos = h(
    "section",
    { hidden: true },
    h("h2", {}, t("learn.photos"), " ", right),
    h("p", { class: "soft" }, t("learn.photos.about")),
    photos,
  );
  let tiles = [];

  /** Once for each training: the photos themselves. */
  function show(list, classes) {
    tiles = list.map((photo) => {
      const meter = h("span", { class: "meter" }, classes.map((_, i) => h("i", { class: `class-${i % 8}` })));
      const answer = h("span", { class: "answer" }, "…");
      const truth = classes[photo.label];
      const image = h("img", { src: `data:image/jpeg;base64,${photo.jpeg}`, alt: t("learn.photo", { label: truth }) });
      return { photo, meter, answer, tile: h("li", {}, image, meter, answer) };
    });
    photos.replaceChildren(...tiles.map(({ tile }) => tile));
    ofPhotos.hidden = !tiles.length;
  }

  function draw({ width, height, templates: ofClasses, units, answers }, classes) {
    ofWeights.hidden = false;
    fit(templates, ofClasses.length);
    templates.classList.toggle("many", ofClasses.length > 4);
    ofClasses.forEach((pixels, i) => caption(templates.children[i], t("learn.more", { label: classes[i] }), i, pixels));
    fit(neurons, units.length);
    units.forEach(({ unit, speaks_for, pixels }, i) => {
      caption(neurons.children[i], t("learn.neuron", { unit, label: classes[speaks_for] }), speaks_for, pixels);
    });

    function caption(tile, said, label, pixels) {
      const [canvas, line, text] = tile.children;
      tile.title = said;
      canvas.setAttribute("aria-label", said);
      line.className = `class-${label % 8}`;
      text.textContent = said;
      paint(canvas, pixels, width, height);
    }

    let count = 0;
    answers.forEach((probabilities, i) => {
      if (!tiles[i]) return;
      const { photo, meter, answer, tile } = tiles[i];
      probabilities.forEach((p, c) => meter.children[c].style.setProperty("flex-grow", p));
      const label = probabilities.indexOf(Math.max(...probabilities));
      const isRight = label === photo.label;
      count += isRight;
      tile.title = probabilities.map((p, c) => `${classes[c]} ${percent(p, 2)}`).join(", ");
      answer.replaceChildren(
        h("span", { "aria-hidden": "true" }, isRight ? "✓ " : "✗ "),
        `${classes[label]} ${percent(probabilities[label], 0)}`,
        h("span", { class: "unseen" }, t(isRight ? "learn.is.right" : "learn.is.wrong")),
      );
      tile.classList.toggle("wrong", !isRight);
    });
    right.textContent = tiles.length ? t("learn.photos.right", { count, of: tiles.length }) : "";
  }

  return { elements: [ofPhotos, ofWeights], show, draw };
}

/** As many tiles as are wanted: a canvas, a line in the colour of a class, and what it is in words. */
function fit(list, count) {
  if (list.children.length === count) return;
  const tile = () => h("li", {}, h("canvas", { role: "img" }), h("i"), h("span", { "aria-hidden": "true" }));
  list.replaceChildren(...Array.from({ length: count }, tile));
}

/** Draws uint8 RGB, height x width x 3 in base64, on a canvas. */
function paint(canvas, base64, width, height) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const image = new ImageData(width, height);
  image.data.fill(255);
  for (let i = 0; i < width * height; i++) image.data.set(bytes.subarray(3 * i, 3 * i + 3), 4 * i);
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(image, 0, 0);
}
