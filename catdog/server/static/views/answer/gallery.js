// All photos of this visit, each with its answer; one is chosen.

import { h, percent } from "../../dom.js";
import { once, verdict } from "./kept.js";

/** cards: for each item, the store of `once`. */
export function gallery(items, chosen, app, choose, cards) {
  const { t } = app;
  return h(
    "section",
    { class: "all", "aria-label": t("answer.all") },
    h("h2", {}, t("answer.all")),
    h("p", { class: "soft" }, counts(items, t)),
    h("ul", { class: "gallery" }, items.map((item) => h("li", {}, card(item, item === chosen, t, choose, cards)))),
  );
}

function card(item, isChosen, t, choose, cards) {
  if (!cards.has(item)) cards.set(item, {});
  const said = caption(item, t);
  return once(cards.get(item), [said, item.name, item.photo, isChosen], () => draw(item, said, isChosen, choose));
}

function draw(item, said, isChosen, choose) {
  const image = item.photo && h("img", { src: `/api/photos/${item.photo.id}?side=240`, alt: "", loading: "lazy" });
  return h(
    "button",
    { "aria-pressed": String(isChosen), onclick: () => choose(item), title: item.name },
    image || h("span", { class: "empty" }),
    h("strong", {}, said),
    h("small", {}, item.name),
  );
}

function caption({ photo, answer, problem }, t) {
  if (problem && photo) return t("answer.notanswered");
  if (problem || answer?.error) return t("answer.failed");
  if (!answer) return t("answer.working");
  const said = verdict(answer);
  return said === answer.label ? `${said} ${percent(answer.probability)}` : t(`answer.${said}`);
}

/** "12 photos: 7 cat, 4 dog, 1 not sure". */
function counts(items, t) {
  const found = new Map();
  for (const { answer } of items) {
    if (!answer || answer.error) continue;
    const said = verdict(answer);
    const label = said === answer.label ? said : t(`answer.${said}`);
    found.set(label, (found.get(label) ?? 0) + 1);
  }
  const parts = [...found].sort((a, b) => b[1] - a[1]).map(([label, count]) => `${count} ${label}`);
  return t("answer.counts", { count: items.length, parts: parts.join(", ") });
}
