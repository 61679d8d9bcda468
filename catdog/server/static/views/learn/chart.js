// A line chart in SVG. Its cursor follows the pointer, or the arrow keys; the legend shows the values there.

import { h, svg } from "../../dom.js";

const HEIGHT = 220;
const MARGIN = { top: 10, right: 14, bottom: 26, left: 44 };

/**
 * label: what is drawn. format: of a value; tick: of one at the axis. at: the text of a place on the x axis.
 * `draw(series, domain)`: each series has a name, a class for its colour, points [[x, y], ...] and may have dots;
 * domain: { x: [low, high], y: [low, high], marks: [{ y, text }] }.
 */
export function chart({ label, format, tick = format, at }) {
  const plot = svg("svg", { class: "plot", role: "slider", tabindex: "0", "aria-label": label });
  const legend = h("ul", { class: "legend" });
  const place = h("span", { class: "soft" });
  const element = h("figure", { class: "chart" }, h("figcaption", {}, h("h2", {}, label), place), legend, plot);
  let drawn = { series: [], domain: { x: [0, 1], y: [0, 1], marks: [] } };
  let cursor = null; // x, null: the last point
  let width = 0;

  const scale = () => {
    const { x, y } = drawn.domain;
    const across = width - MARGIN.left - MARGIN.right;
    const down = HEIGHT - MARGIN.top - MARGIN.bottom;
    return {
      left: (value) => MARGIN.left + ((value - x[0]) / (x[1] - x[0] || 1)) * across,
      top: (value) => MARGIN.top + (1 - (Math.min(value, y[1]) - y[0]) / (y[1] - y[0] || 1)) * down,
      x: (left) => x[0] + ((left - MARGIN.left) / across) * (x[1] - x[0]),
    };
  };

  function show() {
    if (!width) return;
    const { series, domain } = drawn;
    const { left, top } = scale();
    const edges = { x1: MARGIN.left, x2: width - MARGIN.right };
    const grid = ticks(...domain.y, 4).map((y) => [
      svg("line", { ...edges, y1: top(y), y2: top(y), class: "grid" }),
      svg("text", { x: MARGIN.left - 8, y: top(y) + 4, class: "tick y" }, tick(y)),
    ]);
    const steps = ticks(...domain.x, Math.min(8, width / 60)).filter(Number.isInteger);
    const below = steps.map((x) => svg("text", { x: left(x), y: HEIGHT - 6, class: "tick x" }, x));
    const marks = (domain.marks ?? []).map(({ y, text }) => [
      svg("line", { ...edges, y1: top(y), y2: top(y), class: "mark" }),
      svg("text", { x: width - MARGIN.right, y: top(y) - 5, class: "tick mark-text" }, text),
    ]);
    const lines = series.map(({ points, colour, dots }) => [
      svg("polyline", { class: `line ${colour}`, points: points.map(([x, y]) => `${left(x)},${top(y)}`).join(" ") }),
      (dots || points.length === 1) &&
        points.map(([x, y]) => svg("circle", { class: `dot ${colour}`, cx: left(x), cy: top(y), r: 2.5 })),
    ]);
    plot.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    plot.replaceChildren(...[grid, below, marks, lines, cursorLines(left, top)].flat(3).filter(Boolean));
    describe();
  }

  function cursorLines(left, top) {
    if (cursor === null) return [];
    const x = left(cursor);
    const dots = drawn.series.map(({ points, colour }) => {
      const point = nearest(points, cursor);
      return point && svg("circle", { class: `dot ${colour}`, cx: left(point[0]), cy: top(point[1]), r: 4 });
    });
    return [svg("line", { x1: x, x2: x, y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, class: "cursor" }), ...dots];
  }

  /** The legend, and for screen readers the same as the value of a slider. */
  function describe() {
    const { series, domain } = drawn;
    const x = cursor ?? Math.max(0, ...series.map(({ points }) => points.at(-1)?.[0] ?? 0));
    const values = series.map((one) => [one, cursor === null ? one.points.at(-1) : nearest(one.points, x)]);
    const shown = ([{ name }, point]) => (point ? `${name} ${format(point[1])}` : name);
    place.textContent = cursor === null ? "" : at(x);
    legend.replaceChildren(
      ...values.map(([{ name, colour }, point]) =>
        h("li", {}, h("i", { class: `swatch ${colour}` }), name, h("b", {}, point ? format(point[1]) : "–")),
      ),
    );
    for (const [key, value] of Object.entries({ min: domain.x[0], max: domain.x[1], now: Number(x.toFixed(2)) })) {
      plot.setAttribute(`aria-value${key}`, value);
    }
    plot.setAttribute("aria-valuetext", [at(x), ...values.map(shown)].join(", "));
  }

  function move(x) {
    const [low, high] = drawn.domain.x;
    cursor = x === null ? null : Math.min(high, Math.max(low, x));
    show();
  }

  plot.addEventListener("pointermove", (event) => move(scale().x(event.clientX - plot.getBoundingClientRect().left)));
  plot.addEventListener("pointerleave", () => move(null));
  plot.addEventListener("blur", () => move(null));
  plot.addEventListener("keydown", (event) => {
    const [low, high] = drawn.domain.x;
    const from = cursor ?? high;
    const to = { ArrowLeft: Math.ceil(from) - 1, ArrowRight: Math.floor(from) + 1, Home: low, End: high }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    move(to);
  });
  const watch = new ResizeObserver(() => {
    width = plot.clientWidth;
    show();
  });
  watch.observe(plot);

  return {
    element,
    draw(series, domain) {
      drawn = { series, domain };
      show();
    },
  };
}

/** The point that is nearest to x, which lies between the first and the last one. */
function nearest(points, x) {
  if (!points.length || x > points.at(-1)[0] + 0.5 || x < points[0][0] - 0.5) return null;
  return points.reduce((a, b) => (Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a));
}

/** About `count` round numbers from `low` to `high`. */
function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough * 0.999);
  const [first, last] = [Math.ceil(low / step - 1e-9), Math.floor(high / step + 1e-6)];
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(6)));
}
