// Answer: photos come in, the network's answers come out.

import { h, percent } from "../dom.js";
import { gallery } from "./answer/gallery.js";
import { items, verdict } from "./answer/kept.js";
import { result } from "./answer/result.js";
import { sources } from "./answer/sources.js";

const AT_ONCE = 2; // photos uploaded at the same time

let chosen = null; // of the items

export default {
  id: "answer",
  asksNetwork: true,
  mount(root, app) {
    const { t } = app;
    const about = h("p", { class: "soft" });
    const into = h("section", { class: "sources", "aria-label": t("answer.sources") });
    const shown = h("div", {});
    const line = h("div", {});
    root.append(h("h1", {}, t("answer.title")), about, into, shown, line);

    const drawn = { result: {}, cards: new Map() }; // what is there already, and of what
    let isWaiting = false;

    /** Draws what has changed, once for all changes until the next frame. */
    function draw() {
      if (isWaiting) return;
      isWaiting = true;
      requestAnimationFrame(() => {
        isWaiting = false;
        const adjusts = document.activeElement?.closest(".unsure");
        about.textContent = introduction(app);
        into.classList.toggle("small", items.length > 0);
        shown.replaceChildren(chosen ? result(chosen, app, draw, drawn.result) : "");
        line.replaceChildren(items.length > 1 ? gallery(items, chosen, app, choose, drawn.cards) : "");
        if (adjusts) root.querySelector(".unsure input")?.focus();
      });
    }

    function choose(item) {
      chosen = item;
      if (item.photo) app.setPhoto(item.photo);
      draw();
    }

    /** Takes makers of photos, functions that upload one and return what POST /api/photos does. */
    async function take(makers) {
      const waiting = makers.map(({ name, make }) => ({ name, make }));
      items.unshift(...waiting);
      if (waiting.length) choose(waiting[0]);
      const left = [...waiting];
      const work = async () => {
        for (let item = left.shift(); item; item = left.shift()) {
          try {
            item.photo = (await item.make()).photos[0];
            item.name = item.photo.name;
          } catch (error) {
            item.problem = t(error.message);
          }
          if (item.photo) await answer([item]);
          if (item === chosen) choose(item);
          else draw();
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, work));
      if (waiting.length) app.announce(inWords(waiting, app));
    }

    /** Asks the chosen network for each item. */
    async function answer(some) {
      for (const item of some) {
        const { run } = app;
        Object.assign(item, { run, problem: null });
        try {
          const found = await app.api.post(`/api/predict?run=${encodeURIComponent(run)}`, { photos: [item.photo.id] });
          if (app.run === run) Object.assign(item, { run, problem: null, answer: found.answers[0] });
        } catch (error) {
          if (app.run === run) Object.assign(item, { run: null, problem: t(error.message), answer: null });
        }
      }
    }

    async function askAnew() {
      const known = items.filter((item) => item.photo);
      if (chosen?.photo) known.sort((a, b) => (b === chosen) - (a === chosen));
      for (const item of known) {
        await answer([item]);
        draw();
      }
      if (chosen?.answer) app.announce(inWords([chosen], app));
    }

    const stop = sources(into, app, take);
    const ends = [app.on("run", askAnew), app.on("networks", draw), app.on("theme", draw)];
    draw();
    if (items.some((item) => item.photo && item.run !== app.run)) askAnew();
    return () => [stop, ...ends].forEach((end) => end());
  },
};

function introduction(app) {
  const network = app.network;
  if (!network) return "";
  const values = { name: network.id, classes: listed(network.classes.slice(0, 8), app.language), size: network.image_size.join(" × ") };
  const about = app.t("answer.about", values);
  if (!network.accuracy) return about;
  const right = { right: percent(network.accuracy, 2), photos: network.validation_photos.toLocaleString("en") };
  return about + app.t("answer.accuracy", right);
}

/** "cat and dog", "cat 和 dog". */
function listed(words, language) {
  const parts = new Intl.ListFormat(language).formatToParts(words);
  return parts.map(({ value }) => (value === "和" ? " 和 " : value)).join("");
}

function inWords(some, app) {
  const words = some.map(({ name, answer, problem }) => {
    if (!answer) return `${name}: ${problem ?? ""}`;
    const said = verdict(answer);
    const label = ["unsure", "unfamiliar"].includes(said) ? app.t(`answer.${said}`) : said;
    return `${name}: ${label}, ${answer.label} ${percent(answer.probability)}`;
  });
  return words.slice(0, 5).join(". ");
}
