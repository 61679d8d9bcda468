// The settings of a new training, each with its meaning beside it.

import { h } from "../../dom.js";

/** choices: what GET /api/trainings gives. start: called with the settings that differ from the usual ones. */
export function form(app, choices, start) {
  const { t } = app;
  const problem = h("p", { role: "alert", class: "problem" });
  const photos = h(
    "select",
    { id: "learn-data" },
    choices.folders.map(({ id, name }) => h("option", { value: id }, name || t("learn.drawn"))),
  );
  const controls = choices.settings.map((setting) => ({ setting, control: control(setting) }));
  const button = h("button", { class: "main", type: "submit" }, t("learn.start"));
  const only = choices.folders.length === 1 ? ` ${t("learn.data.none")}` : "";
  const element = h(
    "form",
    { class: "choose", novalidate: true, onsubmit: submit },
    row("data", t("learn.data"), photos, t("learn.data.about") + only),
    controls.map(({ setting, control }) =>
      row(setting.name, t(`learn.setting.${setting.name}`), control, t(`learn.about.${setting.name}`) || setting.about),
    ),
    h("div", { class: "act" }, button, problem),
  );

  function row(name, label, control, about) {
    control.setAttribute("aria-describedby", `learn-${name}-about`);
    return h(
      "div",
      { class: "setting" },
      h("label", { for: `learn-${name}` }, label),
      control,
      h("p", { id: `learn-${name}-about`, class: "soft" }, about),
    );
  }

  async function submit(event) {
    event.preventDefault();
    const wanted = { data: photos.value };
    for (const { setting, control } of controls) {
      control.removeAttribute("aria-invalid");
      const value = read(setting, control.value);
      if (JSON.stringify(value) !== JSON.stringify(setting.default)) wanted[setting.name] = value;
    }
    problem.textContent = "";
    button.disabled = true;
    try {
      await start(wanted);
    } catch (error) {
      problem.textContent = t(error.message);
      const wrong = controls.find(({ setting }) => error.message.startsWith(setting.name));
      wrong?.control.setAttribute("aria-invalid", "true");
      wrong?.control.focus();
    } finally {
      button.disabled = false;
    }
  }

  return element;
}

function control({ name, default: usual, choices }) {
  const id = `learn-${name}`;
  if (choices) {
    const options = choices.map((one) => h("option", { value: one, selected: one === usual }, one));
    return h("select", { id }, options);
  }
  const [value, inputmode] = Array.isArray(usual) ? [usual.join(", "), "text"] : [String(usual), "decimal"];
  return h("input", { id, type: "text", value, inputmode, autocomplete: "off", spellcheck: "false" });
}

/** What was typed, as the server takes it; what is no number stays as it is, and the server says what is wrong. */
function read({ default: usual, choices }, typed) {
  if (choices) return typed;
  const words = typed.split(/[\s,，、;]+/).filter(Boolean);
  const values = words.map((word) => (Number.isFinite(Number(word)) ? Number(word) : word));
  if (Array.isArray(usual)) return values;
  return values.length === 1 ? values[0] : typed;
}
