// The shell: header, router, language, theme, and the network and photo that the views share.

import { api } from "./api.js";
import { h, percent } from "./dom.js";
import en from "./text/en.js";
import zh from "./text/zh.js";
import answer from "./views/answer.js";
import inside from "./views/inside.js";
import learn from "./views/learn.js";
import runs from "./views/runs.js";

const VIEWS = [answer, inside, learn, runs];
const LANGUAGES = { en: { name: "English", text: en }, zh: { name: "中文", text: zh } };
const DARK_WHEN = { system: "(prefers-color-scheme: dark)", light: "not all", dark: "all" };
const THEMES = Object.keys(DARK_WHEN);
let theme = "system";

const listeners = new EventTarget();
let language = remembered("language") ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
let run = null;
let unmount = () => {};

/** What a view is given. Events: "run", "photo", "networks", "theme". A change of language mounts the view anew. */
const app = {
  api,
  photo: null, // { id, name, width, height }, the one last chosen
  networks: [], // as GET /api/networks gives them
  get language() {
    return language;
  },
  get theme() {
    return theme;
  },
  get run() {
    return run;
  },
  get network() {
    return app.networks.find((one) => one.id === run);
  },
  /** The text of a key, "{name}" in it replaced by values.name; what is no key is a sentence already. */
  t(key, values = {}) {
    const text = LANGUAGES[language].text[key] ?? key;
    return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
  },
  setRun(id) {
    run = id;
    remember("run", id, sessionStorage);
    tell("run");
  },
  setPhoto(photo) {
    app.photo = photo;
    tell("photo");
  },
  /** Calls `listener` at each such event; returns a function that ends it. */
  on(event, listener) {
    listeners.addEventListener(event, listener);
    return () => listeners.removeEventListener(event, listener);
  },
  /** Has a screen reader read a text. */
  announce(text) {
    live.textContent = "";
    requestAnimationFrame(() => (live.textContent = text));
  },
  go(view) {
    location.hash = view;
  },
  async refreshNetworks() {
    const found = await api.get("/api/networks");
    app.networks = found.networks.filter((one) => !one.error);
    if (!app.network) run = app.networks.find((one) => one.id === remembered("run", sessionStorage))?.id ?? found.first;
    tell("networks");
  },
};

function tell(event) {
  listeners.dispatchEvent(new Event(event));
}

function remembered(key, where = localStorage) {
  try {
    return where.getItem(`catdog.${key}`);
  } catch {
    return null; // a browser may refuse to keep anything
  }
}

function remember(key, value, where = localStorage) {
  try {
    where.setItem(`catdog.${key}`, value);
  } catch {}
}

const live = h("div", { class: "unseen", "aria-live": "polite" });
const header = h("header", { class: "top" });
const main = h("main", { id: "main", tabindex: "-1" });
const footer = h("footer", { class: "bottom" });

function setTheme(name) {
  theme = name;
  document.getElementById("dark").media = DARK_WHEN[theme];
}

function showTheme(name) {
  setTheme(name);
  remember("theme", theme);
  tell("theme");
}

function drawHeader(current) {
  const { t } = app;
  const links = VIEWS.map((view) =>
    h("a", { href: `#${view.id}`, "aria-current": view === current && "page" }, t(`nav.${view.id}`)),
  );
  header.replaceChildren(
    h("a", { class: "skip", href: "#main", onclick: skip }, t("nav.skip")),
    h("span", { class: "brand" }, h("img", { src: "/icon.svg", alt: "", width: 22, height: 22 }), "catdog"),
    h("nav", { "aria-label": t("nav.label") }, links),
    h(
      "div",
      { class: "settings" },
      current.asksNetwork && networkChooser(),
      choice(t("theme.label"), THEMES.map((name) => [name, t(`theme.${name}`)]), theme, showTheme),
      choice(t("language.label"), Object.entries(LANGUAGES).map(([id, { name }]) => [id, name]), language, speak),
    ),
  );
}

function skip(event) {
  event.preventDefault();
  main.focus();
}

function networkChooser() {
  const named = app.networks.map((one) => {
    const right = one.accuracy ? ` · ${percent(one.accuracy, 2)}` : "";
    return [one.id, one.id + right];
  });
  return choice(app.t("network.label"), named, run, (id) => app.setRun(id), "network");
}

/** A labelled select; the label is for screen readers and the pointer. */
export function choice(label, options, chosen, act, name = "") {
  return h(
    "select",
    { "aria-label": label, title: label, class: name, onchange: (event) => act(event.target.value) },
    options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)),
  );
}

function speak(chosen) {
  language = chosen;
  remember("language", chosen);
  show();
  header.querySelector("select:last-of-type")?.focus();
}

function show() {
  const view = VIEWS.find((one) => location.hash === `#${one.id}`) ?? VIEWS[0];
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = `${app.t(`nav.${view.id}`)} · catdog`;
  unmount();
  drawHeader(view);
  main.replaceChildren();
  unmount = view.mount(main, app) ?? (() => {});
  footer.replaceChildren(h("a", { href: "/openapi.json" }, app.t("footer.api")), h("span", {}, app.t("footer.local")));
}

/** The token stands behind # in the address that was printed; the server gives a cookie for it. */
async function giveToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token === null) return;
  history.replaceState(null, "", location.pathname);
  await api.post("/api/session", {}, { headers: { authorization: `Bearer ${token}` } });
}

async function start() {
  setTheme(THEMES.includes(remembered("theme")) ? remembered("theme") : "system");
  document.body.replaceChildren(header, main, footer, live);
  try {
    await giveToken();
    await app.refreshNetworks();
  } catch (error) {
    const sentence = error.status === 401 ? "error.token" : error.message;
    main.replaceChildren(h("h1", {}, "catdog"), h("p", { role: "alert", class: "problem" }, app.t(sentence)));
    return;
  }
  let shown = location.hash;
  addEventListener("hashchange", () => {
    show();
    if (location.hash !== shown) main.focus({ preventScroll: true });
    shown = location.hash;
    scrollTo(0, 0);
  });
  app.on("networks", () => drawHeader(VIEWS.find((one) => location.hash === `#${one.id}`) ?? VIEWS[0]));
  show();
}

start();
