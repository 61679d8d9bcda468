// Chapter 6: steps against the gradient, on a copy of the weights, forth and back.

import { h, percent, svg } from "../../dom.js";
import { count, figure, num, readout, scrolled, termTable } from "./kit.js";
import { gauge } from "./scores.js";
import { templates } from "./template.js";

export function step(root, inside) {
  const { t, names } = inside;
  const first = inside.state;
  const told = readout(t("inside.hover"));
  let running = false;
  let last = first; // the state that was shown before

  inside.rate ??= first.rate;
  const slider = h("input", {
    type: "range",
    min: Math.log10(first.rate) - 3,
    max: Math.log10(first.rate) + 3,
    step: 0.01,
    value: Math.log10(inside.rate),
    oninput: () => {
      inside.rate = Number((10 ** slider.valueAsNumber).toPrecision(2));
      update();
    },
  });
  const rate = h("output", {});
  const button = (key, act, kind = "") => h("button", { class: kind, onclick: act }, t(key));
  const go = (times) => inside.act("step", { lr: inside.rate, times });
  const one = button("inside.step.one", () => go(1), "main");
  const ten = button("inside.step.ten", () => go(10));
  const run = button("inside.step.run", () => (running ? halt() : start()));
  const back = button("inside.step.back", () => inside.act("back", {}));
  const rewind = button("inside.step.rewind", () => inside.act("rewind", {}));
  const done = h("p", { class: "done soft", "aria-live": "polite" });
  const bars = h("div", {});
  const curve = h("div", {});
  const pictures = h("div", {});
  const weights = scrolled(t("inside.step.weights"));

  root.append(
    h("p", { class: "big formula" }, "w′ = w − lr · dL/dw"),
    h("label", { class: "rate" }, "lr", slider, rate),
    h("div", { class: "controls" }, one, ten, run, back, rewind),
    done,
    h("div", { class: "beside" }, bars, curve),
    pictures,
    h("h3", {}, t("inside.step.weights")),
    weights,
    told.line,
  );

  async function start() {
    running = true;
    run.textContent = t("inside.step.halt");
    while (running && root.isConnected && (await go(1))) await new Promise((resolve) => setTimeout(resolve, 60));
    halt();
  }

  function halt() {
    running = false;
    run.textContent = t("inside.step.run");
  }

  function update() {
    const { state, initial } = inside;
    rate.textContent = inside.rate;
    for (const one of [back, rewind]) one.disabled = state.steps === 0;
    const { label, classes } = state;
    done.replaceChildren(
      t("inside.step.done", { steps: count(state.steps) }),
      " ",
      t("inside.loss.word"),
      " ",
      num(state.loss, "backward"),
      ...(state.steps ? [" ← ", num(initial.loss)] : []),
    );
    const svm = state.loss_kind !== "softmax";
    const rows = state.shown.map((c) => {
      const [before, now] = [initial, state].map((one) => (svm ? one.logits : one.probabilities)[c]);
      return told.explains(
        h(
          "tr",
          { tabindex: 0 },
          h("th", { scope: "row" }, classes[c], c === label && h("small", {}, t("inside.label"))),
          !svm && h("td", { class: "wide" }, gauge(now, c, before, last.probabilities[c])),
          h("td", {}, num(before), " → ", num(now, "forward")),
        ),
        () => [`${classes[c]}: `, num(before), " → ", num(now), svm ? "" : ` (${percent(now, 2)})`],
      );
    });
    last = state;
    bars.replaceChildren(
      h("h3", {}, t(svm ? "inside.step.scores" : "inside.step.probabilities")),
      h("table", { class: "scores" }, h("tbody", {}, rows)),
    );
    curve.replaceChildren(h("h3", {}, t("inside.step.curve")), lossCurve(state.curve, t));
    weights.replaceChildren(table(state));
    drawPictures(state);
  }

  /** The weights of the path's neuron in the first layer as pictures, before and now, and what the steps added. */
  async function drawPictures(state) {
    const { unit } = state.chain[0];
    const figures = await templates(unit, ["before", "change", "now"], inside, told);
    if (state !== inside.state || figures.length === 0) return;
    const about = state.layers[0].kind === "dense" ? "inside.template.photo" : "inside.template.places";
    pictures.replaceChildren(
      h("h3", {}, t("inside.template.title", { unit: names.unit(0, unit) })),
      h("div", { class: "templates" }, figures),
      h("p", { class: "soft" }, t(about)),
    );
  }

  /** The weights of the path: before all steps, now, and what the next step would make of them. */
  function table(state) {
    const head = ["inside.step.weight", "inside.step.before", "inside.step.now", "dL/dw", "inside.step.next"];
    const rows = state.chain
      .filter((link) => link.kind !== "mean")
      .reverse()
      .map((link) => {
        const next = link.w - inside.rate * link.w_gradient;
        return told.explains(
          h(
            "tr",
            { tabindex: 0 },
            h(
              "th",
              { scope: "row" },
              `${names.layer(link.layer)}: ${names.input(link.layer, link.input)} → ${names.unit(link.layer, link.unit)}`,
            ),
            h("td", {}, exact(link.w_start)),
            h("td", {}, exact(link.w, "forward")),
            h("td", {}, num(link.w_gradient, "backward")),
            h("td", {}, exact(next)),
          ),
          () => [`w′ = ${long(link.w)} − ${inside.rate} · `, num(link.w_gradient, "backward"), " = ", exact(next)],
        );
      });
    return termTable(
      head.map((name) => t(name)),
      rows,
    );
  }

  update();
  return { update, end: () => (running = false) };
}

/** Seven digits, as `catdog explain` prints the weights of a step. */
const long = (value) => String(Number(value.toPrecision(7))).replace("-", "−");
const exact = (value, kind = "") =>
  h("data", { value: String(value), title: String(value), class: `num ${kind}` }, long(value));

function lossCurve(points, t) {
  const [width, height] = [320, 150];
  const losses = points.map(([loss]) => loss);
  const top = Math.max(...losses) || 1;
  const x = (i) => 8 + (i / Math.max(points.length - 1, 1)) * (width - 16);
  const y = (loss) => 8 + (1 - loss / top) * (height - 24);
  return svg(
    "svg",
    {
      viewBox: `0 0 ${width} ${height}`,
      class: "curve",
      role: "img",
      "aria-label": t("inside.step.curvealt", {
        from: figure(losses[0]),
        to: figure(losses.at(-1)),
        steps: count(points.length - 1),
      }),
    },
    svg("path", { class: "axis", d: `M8,8 V${height - 16} H${width - 8}` }),
    svg("path", { class: "line", d: `M${losses.map((loss, i) => [x(i), y(loss)]).join(" L")}` }),
    losses.map(
      (loss, i) =>
        (losses.length <= 60 || i === losses.length - 1) &&
        svg(
          "circle",
          { class: "point", cx: x(i), cy: y(loss), r: i === losses.length - 1 ? 5 : 2.5 },
          svg("title", {}, `${i}: ${figure(loss)}`),
        ),
    ),
  );
}
