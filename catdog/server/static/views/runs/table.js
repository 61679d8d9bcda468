// The table of all runs, which on a narrow page is a list.

import { h, number, percent } from "../../dom.js";
import { loss } from "../learn/curves.js";

const HEADS = ["compare.head", "run", "right", "loss", "epochs", "photos", "network", "open"];
const UNKNOWN = "–";

/**
 * running: the id of the run in training, or null. toggle(id, isOn): a curve is to be drawn, or not.
 * act(name, id): "answer", "inside", "watch" or "continue". `mark(colour)` shows which are drawn, in which colour.
 */
export function table(app, runs, { running, isDrawable, toggle, act }) {
  const { t } = app;
  const boxes = new Map();

  function row(run) {
    const { settings } = run;
    const cell = (name, ...content) => h("td", { "data-label": t(`runs.${name}`) }, h("span", {}, content));
    return h(
      "tr",
      {},
      h("td", { class: "pick" }, isDrawable(run.id) && compare(run.id)),
      h("th", { scope: "row" }, run.id, state(run)),
      cell("right", right(run)),
      cell("loss", run.best ? loss.format(run.best.val_loss) : UNKNOWN),
      cell("epochs", settings ? `${run.epochs_done} / ${settings.epochs}` : UNKNOWN),
      cell("photos", settings ? settings.photos || t("learn.drawn") : run.trained_on || UNKNOWN),
      cell("network", settings ? network(settings) : (run.model ?? UNKNOWN)),
      h("td", { class: "open" }, actions(run)),
    );
  }

  function compare(id) {
    const box = h("input", { type: "checkbox", onchange: () => toggle(id, box.checked) });
    const swatch = h("i", { class: "swatch" });
    boxes.set(id, { box, swatch });
    const label = h("span", { class: "unseen" }, t("runs.compare", { run: id }));
    return h("label", { class: "compare" }, box, swatch, label);
  }

  function state(run) {
    if (run.error) return h("small", { title: run.error }, t("runs.damaged"));
    if (run.id === running) return h("small", {}, t("runs.running"));
    return run.can_continue && h("small", {}, t("runs.stopped"));
  }

  function right(run) {
    const share = run.best?.val_accuracy ?? run.accuracy;
    if (share === undefined || share === null) return UNKNOWN;
    const count = run.validation_photos?.toLocaleString("en");
    return [h("b", {}, percent(share, 2)), count && h("small", {}, t("runs.of", { count }))];
  }

  function network({ local, hidden, activation, loss, learning_rate }) {
    const layers = [local, hidden].map((widths) => widths.join(", ")).filter(Boolean).join(" · ");
    return [layers || t("runs.linear"), h("small", {}, `${activation} · ${loss} · ${number(learning_rate, 3)}`)];
  }

  function actions(run) {
    const isRunning = run.id === running;
    const offered = {
      answer: run.answers,
      inside: run.answers && run.model === "mlp",
      watch: isRunning,
      continue: run.can_continue && !isRunning,
    };
    return Object.keys(offered)
      .filter((name) => offered[name])
      .map((name) => {
        const text = t(`learn.${name}`);
        const onclick = () => act(name, run.id);
        return h("button", { type: "button", "aria-label": `${text}: ${run.id}`, onclick }, text);
      });
  }

  const element = h(
    "div",
    { class: "scrolled", tabindex: "0", role: "region", "aria-label": t("runs.title") },
    h(
      "table",
      { class: "runs" },
      h("thead", {}, h("tr", {}, HEADS.map((name) => h("th", { scope: "col" }, t(`runs.${name}`))))),
      h("tbody", {}, runs.map(row)),
    ),
  );

  function mark(colour) {
    for (const [id, { box, swatch }] of boxes) {
      box.checked = colour(id) !== "";
      swatch.className = `swatch ${colour(id)}`;
    }
  }

  return { element, mark };
}
