/** Requests to the server. */

import { current } from "./token.js";

/** The reason why a request failed; `status` is 0 if the server was not reached. */
export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** A request that is repeated with changing parameters: an equal one is not sent again, a new one aborts the last. */
export class Question {
  #url = null;
  #answer = null;
  #sending = null;

  /** The JSON answer, with `stale` from its header. Rejects with a Problem, or with an AbortError if replaced. */
  ask(path, parameters = {}) {
    const given = Object.entries(parameters).filter(([, value]) => value !== null);
    const url = `${path.map(encodeURIComponent).join("/")}?${new URLSearchParams(given)}`;
    if (url !== this.#url) {
      this.forget();
      this.#url = url;
      this.#sending = new AbortController();
      this.#answer = send(url, this.#sending.signal).catch((error) => {
        if (this.#url === url) this.#url = null;
        throw error;
      });
    }
    return this.#answer;
  }

  forget() {
    this.#sending?.abort();
    this.#url = null;
  }
}

async function send(url, signal) {
  const headers = current() ? { Authorization: `Bearer ${current()}` } : {};
  let response;
  try {
    response = await fetch(url, { headers, signal, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The server cannot be reached.");
  }
  const answer = await response.json().catch((error) => {
    if (error.name === "AbortError") throw error;
    return {};
  });
  if (!response.ok) throw new Problem(response.status, answer.detail ?? `The server answered ${response.status}.`);
  return { ...answer, stale: response.headers.get("Ghost-Stale") === "true" };
}
