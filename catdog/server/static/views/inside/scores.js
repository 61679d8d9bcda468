// Chapters 3 and 4: from scores to probabilities, and the loss for the label that one chooses.

import { h, percent, svg } from "../../dom.js";
import { figure, formula, num, readout, scrolled, signed } from "./kit.js";

/** A bar of a class: its share of the width, a mark where it stood before, and from where it moves now. */
export function gauge(share, index, before = null, from = share) {
  const length = h("i", {});
  if (from !== share && !matchMedia("(prefers-reduced-motion: reduce)").matches) {
    length.animate([{ width: `${100 * from}%` }, { width: `${100 * share}%` }], { duration: 250, easing: "ease-out" });
  }
  const vars = { "--share": share, "--before": before ?? share, "--colour": `var(--class-${index % 8})` };
  return h("span", { class: "gauge", vars }, length, before !== null && h("b", {}));
}

export function scores(root, inside) {
  const { t, state } = inside;
  const svm = state.loss_kind !== "softmax";
  const told = readout(t("inside.hover"));
  const sum = state.logits.reduce((total, s) => total + Math.exp(s), 0);
  const head = [
    "inside.class",
    svm ? "inside.score" : "inside.logit",
    ...(svm ? [] : ["exp(s)", "p = exp(s) / Σ", ""]),
  ];
  const row = (c) =>
    told.explains(
      h(
        "tr",
        { tabindex: 0 },
        h("th", { scope: "row" }, state.classes[c]),
        h("td", {}, num(state.logits[c], "forward")),
        !svm && [
          h("td", {}, num(Math.exp(state.logits[c]))),
          h("td", {}, num(state.probabilities[c], "forward")),
          h("td", { class: "wide" }, gauge(state.probabilities[c], c)),
        ],
      ),
      () =>
        svm
          ? [state.classes[c], ": ", num(state.logits[c])]
          : [
              `p(${state.classes[c]}) = exp(${figure(state.logits[c])}) / ${figure(sum)} = `,
              num(state.probabilities[c]),
            ],
    );
  root.append(
    h("p", {}, t(svm ? "inside.scores.svm" : "inside.scores.softmax")),
    scrolled(
      t("inside.scores.title"),
      h(
        "table",
        { class: "scores" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            head.map((name) => (name ? h("th", { scope: "col" }, t(name)) : h("td", {}))),
          ),
        ),
        h("tbody", {}, state.shown.map(row)),
      ),
    ),
    !svm ? formula(`Σ = `, num(sum)) : "",
    told.line,
    h("h3", {}, t("inside.scores.answer")),
    h(
      "p",
      { class: "soft" },
      t(state.mirrored_logits ? "inside.scores.mirrored" : "inside.scores.temperature", {
        temperature: figure(state.temperature),
      }),
    ),
    scrolled(t("inside.scores.answer"), answer(inside)),
  );
}

function answer({ t, state }) {
  const columns = [
    [state.loss_kind === "softmax" ? "inside.logit" : "inside.score", state.logits],
    ...(state.mirrored_logits
      ? [
          ["inside.scores.ofmirror", state.mirrored_logits],
          ["inside.scores.mean", state.mean_logits],
        ]
      : []),
    ["inside.scores.over", state.mean_logits.map((s) => s / state.temperature)],
    ["inside.probability", state.final],
  ];
  return h(
    "table",
    {},
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", { scope: "col" }, t("inside.class")),
        columns.map(([name]) => h("th", { scope: "col" }, t(name))),
        h("td", {}),
      ),
    ),
    h(
      "tbody",
      {},
      state.shown.map((c) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, state.classes[c]),
          columns.map(([, values]) => h("td", {}, num(values[c]))),
          h("td", { class: "wide" }, gauge(state.final[c], c), percent(state.final[c])),
        ),
      ),
    ),
  );
}

export function loss(root, inside) {
  const { t, state } = inside;
  const svm = state.loss_kind !== "softmax";
  const label = state.classes[state.label];
  const told = readout(t("inside.hover"));
  const options = state.classes.map((name, c) => h("option", { value: name, selected: c === state.label }, name));
  root.append(
    h(
      "label",
      { class: "controls" },
      t("inside.loss.label"),
      h("select", { onchange: (event) => inside.begin(event.target.value) }, options),
    ),
    svm
      ? hinges(inside)
      : h(
          "div",
          { class: "beside" },
          curve(inside, told),
          h(
            "div",
            {},
            formula(
              `L = −ln(p(${label})) = −ln(`,
              num(state.probabilities[state.label], "forward"),
              ") = ",
              num(state.loss, "backward"),
            ),
          ),
        ),
    told.line,
    h("h3", {}, t("inside.loss.gradient")),
    h("p", { class: "soft" }, t(svm ? "inside.loss.pulls" : "inside.loss.minus")),
    h(
      "table",
      {},
      h(
        "tbody",
        {},
        state.shown.map((c) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, `dL/ds(${state.classes[c]})`),
            !svm && h("td", {}, `${figure(state.probabilities[c])} − ${c === state.label ? 1 : 0} =`),
            h("td", {}, num(state.logits_gradient[c], "backward")),
          ),
        ),
      ),
    ),
  );
}

function hinges({ state }) {
  const { label, logits } = state;
  const squared = state.loss_kind === "squared svm";
  const others = state.shown.filter((c) => c !== label);
  return h(
    "div",
    {},
    others.map((c) => {
      const hinge = Math.max(0, 1 + logits[c] - logits[label]);
      return formula(
        `${state.classes[c]}: max(0, 1 + ${signed(logits[c])} − ${signed(logits[label])})${squared ? "²" : ""} = `,
        num(squared ? hinge ** 2 : hinge),
      );
    }),
    formula("L = ", num(state.loss, "backward")),
  );
}

/** -ln(p) over p, and where this photo stands. */
function curve({ t, state }, told) {
  const [width, height, most] = [320, 180, 5];
  const x = (p) => 30 + p * (width - 40);
  const y = (value) => 10 + (1 - Math.min(value, most) / most) * (height - 35);
  const points = Array.from({ length: 100 }, (_, i) => (i + 1) / 100).filter((p) => -Math.log(p) <= most);
  const p = state.probabilities[state.label];
  const picture = svg(
    "svg",
    {
      viewBox: `0 0 ${width} ${height}`,
      class: "curve",
      role: "img",
      "aria-label": t("inside.loss.curve", { p: figure(p), loss: figure(state.loss) }),
    },
    svg("path", { class: "axis", d: `M30,10 V${height - 25} H${width - 10}` }),
    svg("path", { class: "line", d: `M${points.map((q) => [x(q), y(-Math.log(q))]).join(" L")}` }),
    svg("path", { class: "guide", d: `M30,${y(state.loss)} H${x(p)} V${height - 25}` }),
    svg("circle", { class: "point", cx: x(p), cy: y(state.loss), r: 6 }),
    svg("text", { x: 30, y: height - 8 }, "0"),
    svg("text", { x: width - 10, y: height - 8, "text-anchor": "end" }, "p = 1"),
    svg("text", { x: 36, y: 18 }, "−ln(p)"),
  );
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const at = (((event.clientX - box.left) / box.width) * width - 30) / (width - 40);
    const q = Math.min(Math.max(at, 0.0001), 1);
    told.say(`−ln(${figure(q)}) = `, num(-Math.log(q)));
  });
  return picture;
}
