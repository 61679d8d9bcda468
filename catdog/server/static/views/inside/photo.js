// Chapter 1: the photo as numbers.

import { h } from "../../dom.js";
import { cells, count, figure, formula, num, photoCanvas, pixelsOf } from "./kit.js";

const COLOURS = ["red", "green", "blue"];
const AROUND = 2; // rows and columns of numbers on each side of the pixel

export function photo(root, inside) {
  const { t, state } = inside;
  const { height, width, mean, std } = state;
  const pixel = pixelsOf(state);
  let at = [Math.floor(height / 2), Math.floor(width / 2)];

  const canvas = photoCanvas(state, {
    class: "pixels",
    tabindex: 0,
    role: "img",
    "aria-label": t("inside.photo.alt", { width, height }),
  });
  const marker = h("div", { class: "marker" });
  const grids = COLOURS.map((colour) => h("div", { class: `grid ${colour}`, "aria-hidden": true }));
  const ticks = COLOURS.map((colour) => h("span", { class: `tick ${colour}` }));
  const rows = h("div", { "aria-live": "polite" });

  function show(row, column) {
    at = [row, column];
    marker.style.setProperty("--row", row / height);
    marker.style.setProperty("--column", column / width);
    COLOURS.forEach((colour, c) => {
      const found = [];
      for (let r = row - AROUND; r <= row + AROUND; r++) {
        for (let k = column - AROUND; k <= column + AROUND; k++) {
          const there = r >= 0 && r < height && k >= 0 && k < width;
          const value = there ? pixel(c, r, k) : null;
          const kind = `${r === row && k === column ? "here" : ""} ${value > 140 ? "bright" : ""}`;
          found.push(h("span", { class: kind, vars: { "--value": (value ?? 0) / 255 } }, there ? String(value) : ""));
        }
      }
      grids[c].replaceChildren(...found);
      ticks[c].style.setProperty("--at", ((c * height + row) * width + column) / (3 * height * width));
    });
    rows.replaceChildren(
      h("h3", {}, t("inside.photo.pixel", { row, column })),
      ...COLOURS.map((colour, c) => {
        const n = pixel(c, row, column);
        return formula(
          h("b", { class: colour }, `${t(`inside.${colour}`)} ${n}`),
          ` → (${n} − ${figure(mean[c])}) / ${figure(std[c])} = `,
          num((n - mean[c]) / std[c]),
          ` = x[${count((c * height + row) * width + column)}]`,
        );
      }),
    );
  }

  cells(canvas, () => at, show);
  root.append(
    h(
      "div",
      { class: "beside" },
      h("div", { class: "frame", vars: { "--cells": width, "--rows": height } }, canvas, marker),
      h("div", {}, h("div", { class: "grids" }, grids), rows),
    ),
    h("h3", {}, t("inside.photo.input", { count: count(3 * height * width) })),
    h(
      "div",
      { class: "inputs", "aria-hidden": true },
      COLOURS.map((c) => h("span", { class: c }, t(`inside.${c}`))),
      ticks,
    ),
    h(
      "p",
      { class: "soft" },
      t("inside.photo.order", { plane: count(height * width), first: count(height * width - 1) }),
    ),
  );
  show(...at);
}
