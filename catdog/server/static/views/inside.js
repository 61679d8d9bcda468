// Look inside: one photo's way through the network and back, a chapter a screen, at one's own pace.

import { h } from "../dom.js";
import { chain } from "./inside/chain.js";
import { Names } from "./inside/kit.js";
import { layers } from "./inside/layers.js";
import { photo } from "./inside/photo.js";
import { loss, scores } from "./inside/scores.js";
import { step } from "./inside/step.js";
import { textbook } from "./inside/textbook.js";

const CHAPTERS = [
  ["photo", photo],
  ["layers", layers],
  ["scores", scores],
  ["loss", loss],
  ["chain", chain],
  ["step", step],
  ["network", textbook("network"), true], // needs no photo
  ["circuit", textbook("circuit"), true],
];

/** What stays when another view or language is chosen: the chapter, and the steps that were taken. */
const kept = { chapter: 0, photo: null, run: null, state: null, initial: null, rate: null, chosen: null };

export default {
  id: "inside",
  asksNetwork: true,
  mount(root, app) {
    const { t } = app;
    const pages = h("ol", { class: "chapters" });
    const title = h("h2", { tabindex: -1 });
    const about = h("p", { class: "about" });
    const body = h("div", { class: "chapter" });
    const problem = h("p", { class: "problem", role: "alert" });
    const before = h("button", { onclick: () => turn(kept.chapter - 1) }, `← ${t("inside.previous")}`);
    const after = h("button", { class: "main", onclick: () => turn(kept.chapter + 1) }, `${t("inside.next")} →`);
    root = root.appendChild(h("div", { class: "inside" }));
    root.append(
      h("h1", { class: "unseen" }, t("nav.inside")),
      h("nav", { "aria-label": t("inside.chapters") }, pages),
      title,
      about,
      problem,
      body,
      h("div", { class: "turn" }, before, after),
    );
    let current = null; // what the chapter gave: update, end
    let outputs = new Map(); // of layers, for the weights of now
    let asking = null; // what `begin` waits for

    const inside = {
      app,
      t,
      get state() {
        return kept.state;
      },
      get initial() {
        return kept.initial;
      },
      get names() {
        return new Names(kept.state, t);
      },
      get chosen() {
        return (kept.chosen ??= { layer: 0, unit: null });
      },
      get rate() {
        return kept.rate;
      },
      set rate(value) {
        kept.rate = value;
      },
      neuron: (layer, unit) =>
        attempt(() => app.api.get(`/api/steps/${kept.state.id}/neuron?layer=${layer}&unit=${unit}`)),
      /** Weights of a neuron of the first layer; null where there are too many to draw. */
      template(unit) {
        const { layers, height, width } = kept.state;
        const isLarge = layers[0].kind === "dense" && 3 * height * width > 200_000;
        return isLarge ? null : attempt(() => app.api.get(`/api/steps/${kept.state.id}/template?unit=${unit}`));
      },
      outputs(layer) {
        if (!outputs.has(layer)) outputs.set(layer, numbers(`/api/steps/${kept.state.id}/outputs?layer=${layer}`));
        return outputs.get(layer);
      },
      /** Changes the steps on the server; resolves to whether it went well. focus: what has the focus afterwards. */
      async act(what, values, focus) {
        const found = await attempt(() => app.api.post(`/api/steps/${kept.state.id}/${what}`, values));
        if (!found) return false;
        kept.state = { ...found, id: kept.state.id };
        outputs = new Map();
        if (current?.update) current.update();
        else drawChapter();
        if (focus) body.querySelector(focus)?.focus();
        return true;
      },
      begin,
    };

    /** What the server answers, or null, and its sentence for what went wrong. */
    async function attempt(ask) {
      problem.textContent = "";
      body.setAttribute("aria-busy", "true");
      try {
        return await ask();
      } catch (error) {
        problem.textContent = t(error.message);
        if (error.status === 404) kept.photo = null; // begun anew at the next turn
        return null;
      } finally {
        body.removeAttribute("aria-busy");
      }
    }

    async function numbers(path) {
      const response = await fetch(path, { credentials: "same-origin" });
      return response.ok ? new Float32Array(await response.arrayBuffer()) : new Float32Array();
    }

    /** Steps anew, for the photo and network that are chosen, from the network's own weights. */
    async function begin(label = null) {
      const asked = { photo: app.photo.id, run: app.run, label };
      const mine = (asking = JSON.stringify(asked));
      const found = await attempt(() => app.api.post("/api/steps", asked));
      if (asking !== mine) return; // something else was asked for meanwhile
      asking = null;
      Object.assign(kept, {
        photo: asked.photo,
        run: asked.run,
        state: found,
        initial: found,
        rate: null,
        chosen: null,
      });
      outputs = new Map();
      drawChapter();
    }

    const isFresh = () => kept.state && kept.photo === app.photo?.id && kept.run === app.run;

    function draw() {
      const needsPhoto = !CHAPTERS[kept.chapter][2];
      const isAsked = asking === JSON.stringify({ photo: app.photo?.id, run: app.run, label: null });
      if (needsPhoto && app.photo && !isFresh() && !isAsked) begin();
      drawChapter();
    }

    function drawChapter() {
      const [name, make, alone] = CHAPTERS[kept.chapter];
      current?.end?.();
      current = null;
      pages.replaceChildren(
        ...CHAPTERS.map(([id], i) =>
          h(
            "li",
            {},
            h(
              "button",
              { "aria-current": i === kept.chapter && "step", onclick: () => turn(i) },
              h("span", {}, String(i + 1)),
              t(`inside.${id}.title`),
            ),
          ),
        ),
      );
      title.textContent = `${kept.chapter + 1}. ${t(`inside.${name}.title`)}`;
      about.textContent = t(`inside.${name}.about`);
      before.disabled = kept.chapter === 0;
      after.disabled = kept.chapter === CHAPTERS.length - 1;
      body.className = `chapter ${name}`;
      body.replaceChildren();
      if (alone || isFresh()) current = make(body, inside);
      else if (!app.photo) body.append(noPhoto());
    }

    function noPhoto() {
      const drawn = async () => {
        const found = await attempt(() =>
          app.api.post("/api/photos/drawn", { label: "cat", seed: Math.floor(Math.random() * 1000) }),
        );
        if (found) app.setPhoto(found.photos[0]);
      };
      return h(
        "div",
        { class: "empty" },
        h("p", {}, t("inside.nophoto")),
        h(
          "div",
          { class: "controls" },
          h("button", { class: "main", onclick: () => app.go("answer") }, t("inside.choose")),
          h("button", { onclick: drawn }, t("inside.drawing")),
        ),
      );
    }

    function turn(chapter) {
      if (chapter < 0 || chapter >= CHAPTERS.length) return;
      kept.chapter = chapter;
      problem.textContent = "";
      draw();
      title.focus({ preventScroll: true });
      if (title.getBoundingClientRect().top < 0) title.scrollIntoView();
    }

    function keys(event) {
      const typing = event.target.closest?.("input, select, textarea, canvas, [role=region]");
      if (typing || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
      if (event.key === "ArrowRight") turn(kept.chapter + 1);
      if (event.key === "ArrowLeft") turn(kept.chapter - 1);
    }

    document.addEventListener("keydown", keys);
    const ends = [app.on("photo", draw), app.on("run", draw), app.on("theme", drawChapter)];
    draw();
    return () => {
      asking = null;
      document.removeEventListener("keydown", keys);
      ends.forEach((end) => end());
      current?.end?.();
    };
  },
};
