// The graphs of the textbooks' two examples: values in green above each edge, gradients in red below.

import { svg } from "../../dom.js";
import { figure, num, signed } from "./kit.js";

const NODES = {
  network: {
    i1: [0, 0],
    i2: [0, 3],
    h1: [4, 0],
    h2: [4, 3],
    o1: [8, 0],
    o2: [8, 3],
    E: [11, 1.5],
  },
  circuit: {
    w0: [0, 0],
    x0: [0, 1.5],
    w1: [0, 3],
    x1: [0, 4.5],
    w2: [0, 6],
    "w0*x0": [2, 0.75],
    "w1*x1": [2, 3.75],
    "first sum": [4, 2.25],
    sum: [6, 3.5],
    "-sum": [8, 3.5],
    exp: [10, 3.5],
    "1 + exp": [12, 3.5],
    f: [14, 3.5],
  },
};
const SIGNS = {
  "w0*x0": "×",
  "w1*x1": "×",
  "first sum": "+",
  sum: "+",
  "-sum": "× −1",
  exp: "exp",
  "1 + exp": "+ 1",
  f: "1 / x",
};
const UNITS = {
  h1: [
    ["i1", "w1"],
    ["i2", "w2"],
  ],
  h2: [
    ["i1", "w3"],
    ["i2", "w4"],
  ],
  o1: [
    ["h1", "w5"],
    ["h2", "w6"],
  ],
  o2: [
    ["h1", "w7"],
    ["h2", "w8"],
  ],
};
const SCALE = { network: [88, 78], circuit: [66, 54] };

function frame(example, name, ...children) {
  const [sx, sy] = SCALE[example];
  const places = Object.values(NODES[example]);
  const [width, height] = [0, 1].map((axis) => Math.max(...places.map((place) => place[axis])));
  const margin = [example === "network" ? 60 : 40, example === "network" ? 74 : 40];
  const right = example === "network" ? 60 : 90;
  const box = [-margin[0], -margin[1], width * sx + margin[0] + right, height * sy + 2 * margin[1]];
  return svg(
    "svg",
    { viewBox: box.join(" "), class: "graph", role: "group", "aria-label": name, vars: { "--width": `${box[2]}px` } },
    children,
  );
}

const at = (example, name) => NODES[example][name].map((value, axis) => value * SCALE[example][axis]);

/** An edge with a value above and a gradient below, which explains itself when it is pointed at or focused. */
function edge(told, [x1, y1], [x2, y2], where, above, below, label, parts) {
  const [x, y] = [x1 + where * (x2 - x1), y1 + where * (y2 - y1)];
  return told.explains(
    svg(
      "g",
      { class: "edge", tabindex: 0, role: "img", "aria-label": label },
      svg("line", { x1, y1, x2, y2 }),
      svg("line", { class: "wide", x1, y1, x2, y2 }),
      svg("text", { class: "forward", x, y: y - 5, "text-anchor": "middle" }, above),
      below !== "" && svg("text", { class: "backward", x, y: y + 15, "text-anchor": "middle" }, below),
    ),
    parts,
  );
}

function node(told, [x, y], text, notes, label, parts, radius = 20) {
  return told.explains(
    svg(
      "g",
      { class: "node", tabindex: 0, role: "img", "aria-label": label },
      svg("circle", { cx: x, cy: y, r: radius }),
      svg("text", { x, y: y + 4.5, "text-anchor": "middle" }, text),
      notes.map(([note, kind, dy]) => svg("text", { class: kind, x, y: y + dy, "text-anchor": "middle" }, note)),
    ),
    parts,
  );
}

/** Letters for what a number is computed from: d E / d name, as a product of the slopes above it. */
function howGradient(now, name) {
  const users = Object.entries(now.numbers).filter(([, number]) => name in number.by);
  if (users.length === 0) return "1";
  return users
    .map(
      ([user, number]) =>
        `d${now.result}/d(${user}) · d(${user})/d(${name}) = ${figure(number.gradient)} · ${signed(number.by[name])}`,
    )
    .join("  +  ");
}

const describe = (now, name) =>
  `${name} ${figure(now.numbers[name].value)}, d${now.result}/d${name} ${figure(now.numbers[name].gradient)}`;

const parts =
  (now, name, formulaOf = "") =>
  () => [
    `${name} = ${formulaOf}`,
    num(now.numbers[name].value, "forward"),
    `;  d${now.result}/d(${name}) = ${howGradient(now, name)} = `,
    num(now.numbers[name].gradient, "backward"),
  ];

export function network(now, told, { t }) {
  const n = now.numbers;
  const place = (name) => at("network", name);
  const out = (name) => (name[0] === "i" ? name : `out_${name}`);
  const edges = [];
  for (const [unit, inputs] of Object.entries(UNITS)) {
    inputs.forEach(([input, w]) => {
      const straight = input[1] === unit[1];
      edges.push(
        edge(
          told,
          place(input),
          place(unit),
          straight ? 0.5 : 0.25,
          `${w} = ${figure(n[w].value)}`,
          figure(n[w].gradient),
          describe(now, w),
          parts(now, w),
        ),
      );
    });
  }
  for (const o of ["o1", "o2"])
    edges.push(
      edge(
        told,
        place(o),
        place("E"),
        0.5,
        `E_${o} = ${figure(n[`E_${o}`].value)}`,
        "",
        describe(now, `E_${o}`),
        parts(now, `E_${o}`, `(${now.constants.targets[o[1] - 1]} − ${figure(n[`out_${o}`].value)})² / 2 = `),
      ),
    );
  const nodes = Object.keys(NODES.network).map((name) => {
    if (name[0] === "i")
      return node(
        told,
        place(name),
        name,
        [[String(n[name].value), "forward", name === "i1" ? -28 : 38]],
        describe(now, name),
        parts(now, name),
      );
    if (name === "E")
      return node(
        told,
        place(name),
        "E",
        [[figure(n.E.value), "forward", -28]],
        describe(now, "E"),
        parts(now, "E", "E_o1 + E_o2 = "),
      );
    const up = name.endsWith("1");
    const inputs = UNITS[name]
      .map(([input, w]) => `${figure(n[w].value)} · ${figure(n[out(input)].value)}`)
      .join(" + ");
    const bias = name[0] === "h" ? now.constants.biases[0] : now.constants.biases[1];
    return node(
      told,
      place(name),
      name,
      [
        [`net ${figure(n[`net_${name}`].value)}`, "forward", up ? -58 : 38],
        [`out ${figure(n[`out_${name}`].value)}`, "forward", up ? -43 : 53],
        [figure(n[`out_${name}`].gradient), "backward", up ? -28 : 68],
      ],
      describe(now, `out_${name}`),
      () => [
        `net_${name} = ${inputs} + ${bias} = `,
        num(n[`net_${name}`].value, "forward"),
        ";  ",
        ...parts(now, `out_${name}`, "sigmoid(net) = ")(),
      ],
    );
  });
  return frame("network", t("inside.network.picture"), edges, nodes);
}

export function circuit(now, told, { t }) {
  const n = now.numbers;
  const edges = [];
  for (const [name, number] of Object.entries(n)) {
    for (const input of Object.keys(number.by)) {
      edges.push(
        edge(
          told,
          at("circuit", input),
          at("circuit", name),
          SIGNS[input] ? 0.5 : 0.32,
          n[input].value.toFixed(2).replace("-", "−"),
          n[input].gradient.toFixed(2).replace("-", "−"),
          describe(now, input),
          parts(now, input),
        ),
      );
    }
  }
  const end = at("circuit", "f");
  edges.push(
    edge(told, end, [end[0] + 70, end[1]], 0.68, n.f.value.toFixed(2), "1.00", describe(now, "f"), parts(now, "f")),
  );
  const nodes = Object.keys(NODES.circuit).map((name) =>
    node(told, at("circuit", name), SIGNS[name] ?? name, [], describe(now, name), parts(now, name), 21),
  );
  return frame("circuit", t("inside.circuit.picture"), edges, nodes);
}
