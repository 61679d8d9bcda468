// The textbooks' two examples: a 2-2-2 network and a circuit, forward, backward and step after step.

import { h } from "../../dom.js";
import { circuit, network } from "./graph.js";
import { colours, count, num, readout, scrolled, termTable } from "./kit.js";

export const textbook = (example) => (root, inside) => {
  const { t, app } = inside;
  const told = readout(t("inside.hover"));
  const past = []; // the states before each step
  let now = null;
  let rate = null;

  const picture = h("div", {
    class: "scroll picture",
    tabindex: 0,
    role: "region",
    "aria-label": t(`inside.${example}.picture`),
  });
  const done = h("p", { class: "done soft", "aria-live": "polite" });
  const table = scrolled(t("inside.weights"));
  const problem = h("p", { class: "problem", role: "alert" });
  const shown = h("output", {});
  const slider = h("input", {
    type: "range",
    min: -2,
    max: 2,
    step: 0.01,
    oninput: () => {
      rate = Number((10 ** slider.valueAsNumber).toPrecision(2));
      update();
    },
  });
  const button = (key, act, kind = "") => h("button", { class: kind, onclick: act }, t(key));
  const back = button("inside.step.back", () => show(past.pop()));
  const rewind = button("inside.step.rewind", () => show(past.splice(0)[0]));
  root.append(
    colours(t),
    picture,
    told.line,
    h("p", { class: "big formula" }, example === "network" ? "w′ = w − lr · dE/dw" : "w′ = w − lr · df/dw"),
    h("label", { class: "rate" }, "lr", slider, shown),
    h(
      "div",
      { class: "controls" },
      button("inside.step.one", () => step(1), "main"),
      button("inside.step.ten", () => step(10)),
      button("inside.step.thousand", () => step(1000)),
      back,
      rewind,
    ),
    done,
    problem,
    h("h3", {}, t("inside.weights")),
    table,
  );

  const ask = (body) => app.api.post(`/api/textbook/${example}`, body);

  async function step(times) {
    try {
      const found = await ask({ weights: now.weights, lr: rate, times });
      past.push(now);
      show({ ...found, steps: now.steps + times });
      problem.textContent = "";
    } catch (error) {
      problem.textContent = t(error.message);
    }
  }

  function show(found) {
    now = found;
    update();
  }

  function update() {
    shown.textContent = rate;
    for (const one of [back, rewind]) one.disabled = past.length === 0;
    const draw = example === "network" ? network : circuit;
    picture.replaceChildren(draw(now, told, inside));
    const result = now.numbers[now.result];
    done.replaceChildren(
      t("inside.step.done", { steps: count(now.steps) }),
      ` ${now.result} = `,
      num(result.value, "forward"),
    );
    table.replaceChildren(weights());
  }

  function weights() {
    const head = [
      "inside.step.weight",
      "inside.step.before",
      "inside.step.now",
      `d${now.result}/dw`,
      "inside.step.next",
    ];
    const rows = Object.entries(now.weights).map(([name, value]) => {
      const { gradient } = now.numbers[name];
      const next = value - rate * gradient;
      return told.explains(
        h(
          "tr",
          { tabindex: 0 },
          h("th", { scope: "row" }, name),
          h("td", {}, long(now.start[name])),
          h("td", {}, long(value, "forward")),
          h("td", {}, long(gradient, "backward")),
          h("td", {}, long(next)),
        ),
        () => [
          `${name}′ = ${value.toFixed(9)} − ${rate} · (${gradient.toFixed(9)}) = `.replaceAll("-", "−"),
          long(next),
        ],
      );
    });
    return termTable(
      head.map((name) => t(name)),
      rows,
    );
  }

  ask({}).then(
    (found) => {
      rate = found.rate;
      slider.value = Math.log10(rate);
      show({ ...found, steps: 0 });
    },
    (error) => (problem.textContent = t(error.message)),
  );
};

/** Nine decimals, as the textbook and `catdog explain --textbook` have them. */
const long = (value, kind = "") =>
  h("data", { value: String(value), title: String(value), class: `num ${kind}` }, value.toFixed(9).replace("-", "−"));
