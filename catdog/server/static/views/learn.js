import { h } from "../dom.js";

export default {
  id: "learn",
  asksNetwork: false,
  mount(root, app) {
    root.append(h("h1", {}, app.t("nav.learn")));
  },
};
