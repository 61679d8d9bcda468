// In words: what the doctor finds in the curves, what the training has noted, and its plan.

import { h } from "../../dom.js";

export function notes(app) {
  const { t } = app;
  const findings = h("ul", { class: "findings", lang: "en" });
  const lines = h("ul", { class: "findings", lang: "en" });
  const plan = h("pre", { lang: "en", tabindex: "0" });
  const ofNotes = h("section", { hidden: true }, h("h2", {}, t("learn.notes")), findings, lines);
  const ofPlan = h("details", { hidden: true, class: "plan" }, h("summary", {}, t("learn.plan")), plan);

  function draw({ doctor = [], log = { plan: [], notes: [] } }) {
    findings.replaceChildren(
      ...doctor.map(({ state, message, advice }) => {
        const verdict = h("b", { lang: document.documentElement.lang }, t(`learn.finding.${state}`));
        return h("li", { class: state }, verdict, ` ${sentence(message)} ${advice}`);
      }),
    );
    lines.replaceChildren(...log.notes.map((line) => h("li", {}, line)));
    plan.textContent = log.plan.join("\n\n");
    ofNotes.hidden = !doctor.length && !log.notes.length;
    ofPlan.hidden = !log.plan.length;
  }

  return { elements: [ofNotes, ofPlan], draw };
}

export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
