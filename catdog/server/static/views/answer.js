import { h } from "../dom.js";

export default {
  id: "answer",
  asksNetwork: true,
  mount(root, app) {
    root.append(h("h1", {}, app.t("answer.title")));
  },
};
