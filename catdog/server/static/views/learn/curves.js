// Loss and accuracy while they move, and a table of the same numbers.

import { h, number, percent } from "../../dom.js";
import { chart } from "./chart.js";

const FIGURES = ["train_loss", "val_loss", "train_accuracy", "val_accuracy"];

const DOTS = 80; // epochs, up to which each is a dot

export const loss = { format: (value) => (value < 10 ? value.toFixed(3) : number(value, 4)), tick: (value) => number(value, 3) };
export const share = {
  format: (value) => percent(value),
  tick: (value) => percent(value, Math.round(1000 * value) % 10 ? 1 : 0),
};

export function curves(app) {
  const { t } = app;
  const at = (x) => t("learn.epoch", { epoch: Number(x.toFixed(1)) });
  const charts = {
    loss: chart({ label: t("learn.loss"), ...loss, at }),
    accuracy: chart({ label: t("learn.accuracy"), ...share, at }),
  };
  const rows = h("tbody");
  const heads = ["epoch.head", ...FIGURES].map((key) => h("th", { scope: "col" }, t(`learn.${key}`)));
  const table = h(
    "details",
    { class: "numbers" },
    h("summary", {}, t("learn.numbers")),
    h(
      "div",
      { class: "scrolled", tabindex: "0", role: "region", "aria-label": t("learn.numbers") },
      h("table", {}, h("thead", {}, h("tr", {}, heads)), rows),
    ),
  );
  const element = h(
    "section",
    { class: "curves" },
    h("div", { class: "pair" }, charts.loss.element, charts.accuracy.element),
    h("p", { class: "soft" }, t("learn.harder")),
    table,
  );

  /** about: classes, epochs, guess; step: the points within epochs; epochs: the rows of metrics.csv. */
  function draw({ about, step, epochs }) {
    const points = step?.points ?? [];
    const dots = about.epochs <= DOTS;
    const column = (name) => epochs.map((row) => [row.epoch, row[name]]);
    const series = (of, index) => {
      const within = points.map((point) => [point[0], point[index]]);
      const training = [...before(column(`train_${of}`), within), ...within];
      return [
        { name: t("learn.training"), colour: "of-training", points: training },
        { name: t("learn.validation"), colour: "of-validation", points: column(`val_${of}`), dots },
      ];
    };
    const x = [0, Math.max(about.epochs, 1)];
    const losses = series("loss", 1);
    const highest = Math.max(about.guess, ...losses.flatMap((one) => one.points.map(([, y]) => y)));
    charts.loss.draw(losses, { x, y: [0, 1.05 * highest], marks: [{ y: about.guess, text: t("learn.guessing") }] });
    const rights = series("accuracy", 2);
    const chance = 1 / about.classes.length;
    const lowest = Math.min(chance, ...rights.flatMap((one) => one.points.map(([, y]) => y)));
    charts.accuracy.draw(rights, {
      x,
      y: [Math.floor(10 * lowest - 0.5) / 10, 1].map((y) => Math.max(0, y)),
      marks: [{ y: chance, text: t("learn.guessing") }],
    });
    while (rows.children.length > epochs.length) rows.lastChild.remove();
    for (const row of epochs.slice(rows.children.length)) {
      const shown = FIGURES.map((name) => h("td", {}, (name.endsWith("loss") ? loss : share).format(row[name])));
      rows.append(h("tr", {}, h("th", { scope: "row" }, row.epoch), shown));
    }
  }

  return { element, draw };
}

/** The epochs of a resumed training that its points say nothing of. */
function before(column, points) {
  return points.length ? column.filter(([epoch]) => epoch < points[0][0]) : column;
}
