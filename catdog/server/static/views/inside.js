import { h } from "../dom.js";

export default {
  id: "inside",
  asksNetwork: true,
  mount(root, app) {
    root.append(h("h1", {}, app.t("nav.inside")));
  },
};
