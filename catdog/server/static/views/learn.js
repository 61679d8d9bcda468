// Watch it learn: a training of one's own, which goes on when the page is closed and is found again.

import { h } from "../dom.js";
import { curves } from "./learn/curves.js";
import { form } from "./learn/form.js";
import { notes } from "./learn/notes.js";
import { pictures } from "./learn/pictures.js";
import { RUNNING, status } from "./learn/status.js";

const PARTS = ["task", "phase", "run", "log", "about", "photos", "epochs", "step", "pictures", "doctor"];
const CALM = 1500; // milliseconds between two pictures for who wants less motion

export default {
  id: "learn",
  asksNetwork: false,
  mount(root, app) {
    const { t } = app;
    const lost = h("p", { class: "problem", role: "status" });
    const choose = h("details", { class: "new", hidden: true }, h("summary", {}, t("learn.new")));
    const earlier = h("div", { class: "earlier" });
    const watched = h("div", { class: "training", hidden: true });
    root.append(h("h1", {}, t("learn.title")), h("p", { class: "soft" }, t("learn.lead")), lost);
    root.append(watched, earlier, choose);

    let told = {}; // the newest of each part
    let fresh = new Set();
    let views = null;
    let isAwaited = false; // by whoever has pressed Start
    const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;

    function begin() {
      views = { status: status(app, act), curves: curves(app), pictures: pictures(app), notes: notes(app) };
      watched.replaceChildren(
        views.status.element,
        views.curves.element,
        ...views.pictures.elements,
        ...views.notes.elements,
      );
      views.curves.element.hidden = true;
    }

    function hear(name, value) {
      if (name === "task" && value.number !== told.task?.number) {
        told = {};
        fresh = new Set();
        begin();
      }
      if (value.phase === "none") told = {}; // the server was started anew
      told[name] = value;
      if (!fresh.size) (isCalm && name !== "phase" ? (soon) => setTimeout(soon, CALM) : requestAnimationFrame)(draw);
      fresh.add(name);
    }

    function draw() {
      const changed = (...names) => names.some((name) => fresh.has(name));
      const phase = told.phase?.phase;
      const isRunning = RUNNING.includes(phase);
      if (changed("phase")) {
        watched.hidden = phase === "none";
        choose.hidden = isRunning;
        choose.open = phase === "none" || phase === "failed";
        earlier.hidden = phase !== "none";
        if (phase === "none") offerEarlier().catch((error) => (lost.textContent = t(error.message)));
        if (phase === "done" || phase === "stopped") app.refreshNetworks().catch(() => {});
      }
      if (views && told.phase) {
        views.status.draw(told);
        if (isAwaited && isRunning) {
          isAwaited = false;
          views.status.focus(); // the form, where it was, is hidden
        }
        if (told.about && told.epochs) {
          views.curves.element.hidden = false;
          if (changed("about", "step", "epochs")) views.curves.draw(told);
          if (changed("photos")) views.pictures.show(told.photos, told.about.classes);
          if (changed("photos", "pictures") && told.pictures) views.pictures.draw(told.pictures, told.about.classes);
        }
        if (changed("log", "doctor")) views.notes.draw(told);
      }
      fresh.clear();
    }

    async function act(button) {
      if (button === "again") {
        choose.open = true;
        choose.scrollIntoView();
        choose.querySelector("select").focus();
      } else if (button === "answer" || button === "inside") {
        await app.refreshNetworks();
        app.setRun(told.run);
        app.go(button);
      } else {
        await app.api.post(`/api/trainings/current/${button}`);
      }
    }

    /** The newest training that was stopped, of this page or of the command line. */
    async function offerEarlier() {
      const { runs } = await app.api.get("/api/runs");
      const run = runs.find((one) => one.can_continue);
      if (!run || told.phase?.phase !== "none") return;
      const problem = h("p", { role: "alert", class: "problem" });
      const resume = () =>
        app.api.post("/api/trainings", { run: run.id }).catch((error) => (problem.textContent = t(error.message)));
      earlier.replaceChildren(
        h("p", {}, t("learn.earlier", { run: run.id, epoch: run.epochs_done, epochs: run.settings.epochs })),
        h("button", { type: "button", onclick: resume }, t("learn.continue")),
        problem,
      );
    }

    async function start(wanted) {
      isAwaited = true;
      try {
        await app.api.post("/api/trainings", wanted);
      } catch (error) {
        isAwaited = false;
        throw error;
      }
    }

    app.api
      .get("/api/trainings")
      .then((choices) => choose.append(form(app, choices, start)))
      .catch((error) => (lost.textContent = t(error.message)));
    const source = new EventSource("/api/trainings/events");
    for (const name of PARTS) source.addEventListener(name, (event) => hear(name, JSON.parse(event.data)));
    source.onopen = () => (lost.textContent = "");
    source.onerror = () => (lost.textContent = t("error.offline"));
    return () => source.close();
  },
};
