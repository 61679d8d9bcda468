// The runs side by side: curves of those that are chosen, and a table of all.

import { h, number, percent } from "../dom.js";
import { chart } from "./learn/chart.js";
import { loss, share } from "./learn/curves.js";

const SHOWN_FIRST = 3; // runs whose curves are drawn until others are chosen
const MOST = 8; // curves that can be told apart
const COMPARED = { val_accuracy: share, val_loss: loss };

let chosen = null; // ids, kept while the page is open

export default {
  id: "runs",
  asksNetwork: false,
  mount(root, app) {
    const { t } = app;
    const problem = h("p", { role: "alert", class: "problem" });
    const body = h("div");
    root.append(h("h1", {}, t("runs.title")), h("p", { class: "soft" }, t("runs.lead")), problem, body);

    function show(runs, current) {
      const drawable = runs.filter((run) => run.epochs?.length);
      if (!runs.some((run) => run.epochs)) {
        body.replaceChildren(h("p", {}, t("runs.none"), " ", h("a", { href: "#learn" }, t("runs.first"))));
        if (!runs.length) return;
      } else body.replaceChildren();
      chosen = (chosen ?? drawable.slice(0, SHOWN_FIRST).map((run) => run.id)).filter((id) => drawable.some((run) => run.id === id));
      const at = (x) => t("learn.epoch", { epoch: Math.round(x) });
      const plots = Object.entries(COMPARED).map(([name, kind]) => [name, chart({ label: t(`learn.${name}`), ...kind, at })]);
      const compared = h("section", { class: "curves" }, h("div", { class: "pair" }, plots.map(([, plot]) => plot.element)));
      const keys = new Map();

      function draw() {
        const shown = chosen.map((id) => drawable.find((run) => run.id === id));
        compared.hidden = !shown.length;
        const epochs = Math.max(1, ...shown.map((run) => run.epochs.at(-1).epoch));
        for (const [name, plot] of plots) {
          const series = shown.map((run) => ({
            name: run.id,
            colour: colour(run.id),
            points: run.epochs.map((row) => [row.epoch, row[name]]),
          }));
          const values = series.flatMap((one) => one.points.map(([, y]) => y));
          const isLoss = name.endsWith("loss");
          const low = isLoss ? 0 : Math.max(0, Math.floor(10 * Math.min(0.95, ...values)) / 10);
          plot.draw(series, { x: [0, epochs], y: [low, isLoss ? 1.05 * Math.max(0.1, ...values) : 1] });
        }
        for (const [id, key] of keys) key.className = chosen.includes(id) ? `swatch ${colour(id)}` : "swatch";
      }

      function toggle(id, isOn) {
        chosen = isOn ? [...chosen, id].slice(-MOST) : chosen.filter((one) => one !== id);
        for (const box of body.querySelectorAll("input[type=checkbox]")) box.checked = chosen.includes(box.value);
        draw();
      }

      function row(run) {
        const isCurrent = run.id === current;
        const settings = run.settings ?? {};
        const key = h("i", { class: "swatch" });
        keys.set(run.id, key);
        const box =
          run.epochs?.length > 0 &&
          h("label", { class: "compare" }, h("input", { type: "checkbox", value: run.id, checked: chosen.includes(run.id), onchange: (event) => toggle(run.id, event.target.checked) }), key, h("span", { class: "unseen" }, t("runs.compare", { run: run.id })));
        const best = run.best?.val_accuracy ?? run.accuracy;
        const cell = (name, ...content) => h("td", { "data-label": t(`runs.${name}`) }, h("span", {}, content));
        const made = [settings.local?.join(", "), settings.hidden?.join(", ")].filter(Boolean).join(" · ");
        return h(
          "tr",
          {},
          h("td", { class: "pick" }, box),
          h("th", { scope: "row" }, run.id, state(run, isCurrent)),
          cell("right", best === undefined || best === null ? "–" : h("b", {}, percent(best)), run.validation_photos ? h("small", {}, t("runs.of", { count: run.validation_photos.toLocaleString("en") })) : null),
          cell("loss", run.best ? loss.format(run.best.val_loss) : "–"),
          cell("epochs", run.settings ? `${run.epochs_done} / ${settings.epochs}` : "–"),
          cell("photos", run.settings ? settings.photos || t("learn.drawn") : run.trained_on),
          cell("network", run.settings ? [made || t("runs.linear"), h("small", {}, how(settings))] : run.model ?? "–"),
          h("td", { class: "open" }, actions(run, isCurrent)),
        );
      }

      const how = ({ activation, loss, learning_rate }) => `${activation} · ${loss} · ${number(learning_rate, 3)}`;

      const state = (run, isCurrent) => {
        const word = run.error ? "damaged" : isCurrent ? "running" : run.can_continue ? "stopped" : null;
        return word && h("small", { title: run.error }, t(`runs.${word}`));
      };

      const actions = (run, isCurrent) => [
        run.answers && button("answer", run, () => open(run.id, "answer")),
        run.answers && run.model === "mlp" && button("inside", run, () => open(run.id, "inside")),
        isCurrent && button("watch", run, () => app.go("learn")),
        run.can_continue && !isCurrent && button("continue", run, () => resume(run.id)),
      ];

      const button = (name, run, act) =>
        h("button", { type: "button", "aria-label": `${t(`learn.${name}`)}: ${run.id}`, onclick: act }, t(`learn.${name}`));

      const heads = ["compare.head", "run", "right", "loss", "epochs", "photos", "network", "open"];
      body.append(
        compared,
        h(
          "div",
          { class: "scrolled", tabindex: "0", role: "region", "aria-label": t("runs.title") },
          h(
            "table",
            { class: "runs" },
            h("thead", {}, h("tr", {}, heads.map((name) => h("th", { scope: "col" }, t(`runs.${name}`))))),
            h("tbody", {}, runs.map(row)),
          ),
        ),
      );
      draw();
    }

    /** The colour of a run is that of its place among the chosen ones when it was chosen. */
    const places = new Map();
    function colour(id) {
      for (const one of places.keys()) if (!chosen.includes(one)) places.delete(one);
      if (!places.has(id)) {
        const free = [...Array(MOST).keys()].find((place) => ![...places.values()].includes(place));
        places.set(id, free);
      }
      return `class-${places.get(id)}`;
    }

    async function open(id, view) {
      await app.refreshNetworks();
      app.setRun(id);
      app.go(view);
    }

    async function resume(run) {
      try {
        await app.api.post("/api/trainings", { run });
        app.go("learn");
      } catch (error) {
        problem.textContent = t(error.message);
      }
    }

    Promise.all([app.api.get("/api/runs"), app.api.get("/api/trainings/current")])
      .then(([{ runs }, { phase, run }]) => show(runs, ["none", "done", "stopped", "failed"].includes(phase.phase) ? null : run))
      .catch((error) => (problem.textContent = t(error.message)));
  },
};
