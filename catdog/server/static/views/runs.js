import { h } from "../dom.js";

export default {
  id: "runs",
  asksNetwork: false,
  mount(root, app) {
    root.append(h("h1", {}, app.t("nav.runs")));
  },
};
