// The runs side by side: curves of those that are chosen, and a table of all.

import { h } from "../dom.js";
import { chart } from "./learn/chart.js";
import { loss, share } from "./learn/curves.js";
import { RUNNING } from "./learn/status.js";
import { table } from "./runs/table.js";

const COMPARED = { val_accuracy: share, val_loss: loss };
const AT_FIRST = 3; // runs whose curves are drawn until others are chosen
const MOST = 8; // curves that can be told apart

let chosen = null; // ids by place, each place with its colour; kept while the page is open

export default {
  id: "runs",
  asksNetwork: false,
  mount(root, app) {
    const { t } = app;
    const problem = h("p", { role: "alert", class: "problem" });
    const body = h("div");
    root.append(h("h1", {}, t("runs.title")), h("p", { class: "soft" }, t("runs.lead")), problem, body);

    function show(runs, running) {
      const drawable = new Map(runs.filter((run) => run.epochs?.length).map((run) => [run.id, run]));
      chosen = (chosen ?? [...drawable.keys()].slice(0, AT_FIRST)).map((id) => (drawable.has(id) ? id : null));
      const at = (x) => t("learn.epoch", { epoch: Math.round(x) });
      const plots = Object.entries(COMPARED).map(([figure, kind]) => ({
        figure,
        plot: chart({ label: t(`learn.${figure}`), ...kind, at }),
      }));
      const curves = h(
        "section",
        { class: "curves" },
        h("div", { class: "pair" }, plots.map(({ plot }) => plot.element)),
      );
      const colour = (id) => (chosen.includes(id) ? `class-${chosen.indexOf(id)}` : "");
      const rows = table(app, runs, { running, isDrawable: (id) => drawable.has(id), toggle, act });
      if (!runs.some((run) => run.settings)) {
        body.append(h("p", {}, t("runs.none"), " ", h("a", { href: "#learn" }, t("runs.first"))));
      }
      body.append(curves, rows.element);
      draw();

      function draw() {
        const shown = chosen.filter((id) => id !== null).map((id) => drawable.get(id));
        curves.hidden = !shown.length;
        const x = [0, Math.max(1, ...shown.map((run) => run.epochs.at(-1).epoch))];
        for (const { figure, plot } of plots) {
          const series = shown.map((run) => ({
            name: run.id,
            colour: colour(run.id),
            points: run.epochs.map((row) => [row.epoch, row[figure]]),
          }));
          const values = series.flatMap((one) => one.points.map((point) => point[1]));
          const y = figure === "val_loss" ? [0, 1.05 * Math.max(0.1, ...values)] : [tenBelow(values), 1];
          plot.draw(series, { x, y });
        }
        rows.mark(colour);
      }

      function toggle(id, isOn) {
        if (!isOn) chosen[chosen.indexOf(id)] = null;
        else if (chosen.includes(null)) chosen[chosen.indexOf(null)] = id;
        else if (chosen.length < MOST) chosen.push(id);
        else chosen[MOST - 1] = id; // the last one makes room
        draw();
      }
    }

    async function act(name, id) {
      problem.textContent = "";
      try {
        if (name === "continue") await app.api.post("/api/trainings", { run: id });
        if (name === "continue" || name === "watch") return app.go("learn");
        await app.refreshNetworks();
        app.setRun(id);
        app.go(name);
      } catch (error) {
        problem.textContent = t(error.message);
      }
    }

    Promise.all([app.api.get("/api/runs"), app.api.get("/api/trainings/current")])
      .then(([{ runs }, { phase, run }]) => show(runs, RUNNING.includes(phase.phase) ? run : null))
      .catch((error) => (problem.textContent = t(error.message)));
  },
};

/** A tenth, or the one below: where the axis of shares begins. */
const tenBelow = (values) => Math.floor(10 * Math.min(0.95, ...values)) / 10;
