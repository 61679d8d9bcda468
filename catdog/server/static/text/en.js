import answer from "./en/answer.js";
import common from "./en/common.js";
import inside from "./en/inside.js";
import learn from "./en/learn.js";

export default { ...common, ...answer, ...inside, ...learn };
