import answer from "./zh/answer.js";
import common from "./zh/common.js";
import inside from "./zh/inside.js";
import learn from "./zh/learn.js";

export default { ...common, ...answer, ...inside, ...learn };
