// Asks the server. What goes wrong is an Error whose message is a sentence for the reader.

export const api = {
  get: (path, options) => ask(path, { ...options, method: "GET" }),
  post: (path, value = {}, options) =>
    ask(path, {
      ...options,
      method: "POST",
      body: JSON.stringify(value),
      headers: { "content-type": "application/json", ...options?.headers },
    }),
  upload: (path, file, options) => ask(path, { ...options, method: "POST", body: file }),
  remove: (path, options) => ask(path, { ...options, method: "DELETE" }),
};

export class AskError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new AskError("error.offline", 0); // the key of a text: nobody has answered with a sentence
  }
  if (response.status === 204) return null;
  const found = await response.json().catch(() => ({ error: "error.unreadable" }));
  if (!response.ok) throw new AskError(found.error ?? firstError(found) ?? "error.unreadable", response.status);
  return found;
}

const firstError = (found) => found.photos?.find((photo) => photo.error)?.error;
