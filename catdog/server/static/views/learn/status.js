// How far the training is, its figures, and the buttons that belong to where it is.

import { h, percent } from "../../dom.js";
import { loss } from "./curves.js";
import { sentence } from "./notes.js";

const BUTTONS = {
  starting: ["stop"],
  preparing: ["stop"],
  training: ["pause", "stop"],
  paused: ["continue", "stop"],
  stopping: [],
  stopped: ["continue", "again"],
  failed: ["again"],
  done: ["answer", "inside", "again"],
};

export const RUNNING = ["starting", "preparing", "training", "paused", "stopping"];

/** act: called with the name of the button. */
export function status(app, act) {
  const { t } = app;
  const where = h("h2", { class: "where" });
  const detail = h("p", { class: "soft detail" });
  const bar = h("progress", { max: "1", value: 0, "aria-label": t("learn.progress") });
  const buttons = h("div", { class: "act" });
  const problem = h("p", { role: "alert", class: "problem" });
  const figures = ["loss", "training", "validation"].map((name) => {
    const value = h("dd", {}, "–");
    return { name, value, element: h("div", {}, h("dt", {}, t(`learn.figure.${name}`)), value) };
  });
  const element = h(
    "section",
    { class: "status" },
    h("div", { class: "head" }, h("div", {}, where, detail), buttons),
    bar,
    problem,
    h("dl", { class: "figures" }, figures.map((figure) => figure.element)),
  );
  let shown = "";

  function draw({ phase, run, about, step, epochs }) {
    const name = phase.phase;
    const done = step && about ? (step.epoch - 1 + step.step / step.steps) / about.epochs : (epochs?.length ?? 0) / (about?.epochs ?? 1);
    where.textContent = t(`learn.phase.${name}`);
    bar.value = name === "done" ? 1 : done;
    bar.hidden = name === "failed";
    const best = epochs?.length ? epochs.reduce((a, b) => (b.val_accuracy > a.val_accuracy ? b : a)) : null;
    detail.textContent = describe({ name, phase, run, about, step, best, epochs });
    const last = epochs?.at(-1);
    const now = { loss: step?.loss ?? last?.train_loss, training: step?.accuracy ?? last?.train_accuracy, validation: last?.val_accuracy };
    for (const { name: figure, value } of figures) {
      const number = now[figure];
      value.textContent = number === undefined ? "–" : figure === "loss" ? loss.format(number) : percent(number);
    }
    if (shown !== name + phase.saved) {
      if (shown) app.announce([where.textContent, detail.textContent].join(". "));
      shown = name + phase.saved;
      const hadFocus = buttons.contains(document.activeElement);
      const wanted = name === "stopped" && !phase.saved ? ["again"] : BUTTONS[name] ?? [];
      buttons.replaceChildren(
        ...wanted.map((one, i) => h("button", { type: "button", class: i === 0 && "main", onclick: () => press(one) }, t(`learn.${one}`))),
      );
      if (hadFocus) buttons.querySelector("button")?.focus();
    }
  }

  function describe({ name, phase, run, about, step, best, epochs }) {
    if (name === "failed") return sentence(phase.sentence);
    if (name === "stopped") return t(phase.saved ? "learn.saved" : "learn.unsaved", { run, epoch: epochs?.length ?? 0, epochs: about?.epochs });
    if (name === "done") return best ? t("learn.done", { run, right: percent(best.val_accuracy), photos: about.photos.toLocaleString("en"), epoch: best.epoch }) : run;
    if (name === "starting" || name === "preparing") return t(`learn.${name}`);
    if (!step) return run ?? "";
    return t("learn.place", { run, epoch: step.epoch, epochs: about.epochs, step: step.step, steps: step.steps, left: left(step.seconds_left) });
  }

  const left = (seconds) => (seconds < 90 ? t("learn.seconds", { count: Math.ceil(seconds) }) : t("learn.minutes", { count: Math.round(seconds / 60) }));

  async function press(button) {
    problem.textContent = "";
    try {
      await act(button);
    } catch (error) {
      problem.textContent = t(error.message);
    }
  }

  return { element, draw };
}
