// What the view keeps while another is shown: its photos, and below which probability an answer is "not sure".

/** The newest first. An item: { name, photo, answer, problem, run }, as far as it has come; run: null where asking failed. */
export const items = [];
export const settings = { unsureBelow: 0.6 };

/** The element in `store`, if it was made of the same; else a new one: what has not changed is not drawn again. */
export function once(store, of, make) {
  const key = JSON.stringify(of);
  if (store.key !== key) Object.assign(store, { key, element: make() });
  return store.element;
}

/** What an answer comes to: a class, "unsure" or "unfamiliar". */
export function verdict(answer) {
  if (answer.unfamiliar) return "unfamiliar";
  return answer.probability < settings.unsureBelow ? "unsure" : answer.label;
}
