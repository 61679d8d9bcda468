// Makes elements. Text always becomes a text node, so nothing that was uploaded or typed is ever taken for HTML.

const SVG = "http://www.w3.org/2000/svg";

/** h("button", { class: "quiet", onclick: act }, "Text", child): properties, listeners (on...), attributes. */
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** The same for SVG: svg("circle", { cx: 3, cy: 4, r: 2 }). */
export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else if (name === "vars") for (const [key, of] of Object.entries(value)) element.style.setProperty(key, of);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** A number with a fixed count of digits, or as many as matter: 0.0312, 12,345, 1.2e-7. */
export function number(value, digits = 4) {
  if (value === 0 || (Math.abs(value) >= 1e-4 && Math.abs(value) < 1e7)) {
    return Number(value.toPrecision(digits)).toLocaleString("en", { maximumSignificantDigits: digits });
  }
  return value.toExponential(digits - 1);
}

export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}%`;

/** The value of a colour or length of style.css, for a canvas. */
export const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
