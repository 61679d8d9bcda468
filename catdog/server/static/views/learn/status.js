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
  const where = h("h2", { class: "where", tabindex: "-1" });
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

  function draw(told) {
    const { phase, about, step, epochs } = told;
    const name = phase.phase;
    where.textContent = t(`learn.phase.${name}`);
    detail.textContent = describe(name, told);
    if (name === "starting" || name === "preparing") bar.removeAttribute("value");
    else bar.value = name === "done" ? 1 : share(about, step, epochs);
    bar.hidden = name === "failed";
    const last = epochs?.at(-1);
    const now = {
      loss: step?.loss ?? last?.train_loss,
      training: step?.accuracy ?? last?.train_accuracy,
      validation: last?.val_accuracy,
    };
    for (const { name: figure, value } of figures) {
      const number = now[figure];
      value.textContent = number === undefined ? "–" : figure === "loss" ? loss.format(number) : percent(number);
    }
    if (shown !== name + phase.saved) {
      if (shown) app.announce([where.textContent, detail.textContent].join(". "));
      shown = name + phase.saved;
      offer(name === "stopped" && !phase.saved ? ["again"] : (BUTTONS[name] ?? []));
    }
  }

  /** The buttons; whoever has pressed one with the keyboard stays among them. */
  function offer(names) {
    const hadFocus = buttons.contains(document.activeElement);
    const made = names.map((name, i) =>
      h("button", { type: "button", class: i === 0 && "main", onclick: () => press(name) }, t(`learn.${name}`)),
    );
    buttons.replaceChildren(...made);
    if (hadFocus) made[0]?.focus();
  }

  function describe(name, { phase, run, about, step, epochs }) {
    if (name === "failed") return sentence(phase.sentence);
    if (name === "stopped") {
      const key = phase.saved ? "learn.saved" : "learn.unsaved";
      return t(key, { run, epoch: epochs?.length ?? 0, epochs: about?.epochs });
    }
    if (name === "done" && epochs?.length) {
      const best = epochs.reduce((a, b) => (isBetter(b, a) ? b : a));
      const photos = about.photos.toLocaleString("en");
      return t("learn.done", { run, right: percent(best.val_accuracy), photos, epoch: best.epoch });
    }
    if (name === "starting" || name === "preparing") return t(`learn.${name}`);
    return step ? t("learn.place", { run, ...step, epochs: about.epochs, left: left(step.seconds_left) }) : (run ?? "");
  }

  function left(seconds) {
    if (seconds < 90) return t("learn.seconds", { count: Math.ceil(seconds) });
    return t("learn.minutes", { count: Math.round(seconds / 60) });
  }

  async function press(button) {
    problem.textContent = "";
    try {
      await act(button);
    } catch (error) {
      problem.textContent = t(error.message);
    }
  }

  return { element, draw, focus: () => where.focus() };
}

/** Whether the weights after epoch `a` are kept rather than those after `b`. */
function isBetter(a, b) {
  return a.val_accuracy > b.val_accuracy || (a.val_accuracy === b.val_accuracy && a.val_loss < b.val_loss);
}

/** How much of the training is done, from 0 to 1. */
function share(about, step, epochs) {
  if (!about) return 0;
  return (step ? step.epoch - 1 + step.step / step.steps : (epochs?.length ?? 0)) / about.epochs;
}
