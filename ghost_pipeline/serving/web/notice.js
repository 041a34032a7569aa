/** The notice in place of the heat map: what is missing or went wrong, and how to fix it. */

import { current } from "./token.js";

const TITLES = {
  0: "The server cannot be reached",
  401: "This server asks for a token",
  403: "The token is another user's",
  503: "Nothing has been published yet",
};
const NEEDS_TOKEN = new Set([401, 403]);
const UNREACHED = "Check that it is running. Nothing on this page is lost.";
const NO_TOKEN = "Paste the token that your application gives you. It is kept until you close this tab.";

export class Notice {
  #box;
  #board;

  constructor(box, board) {
    this.#box = box;
    this.#board = board;
  }

  hide() {
    this.#box.hidden = true;
    this.#board.hidden = false;
  }

  say(title, text) {
    this.#show(title, text, { token: false, retry: false });
  }

  /** Explain a Problem; ask for a token if it is missing, otherwise offer another try. */
  explain(problem) {
    const token = NEEDS_TOKEN.has(problem.status);
    const text = problem.status === 0 ? UNREACHED : token && !current() ? NO_TOKEN : sentence(problem.message);
    this.#show(TITLES[problem.status] ?? "Something went wrong", text, { token, retry: !token });
  }

  #show(title, text, { token, retry }) {
    const [form, button] = this.#box.querySelectorAll("#token-form, #retry");
    this.#box.querySelector("h2").textContent = title;
    this.#box.querySelector("p").textContent = text;
    form.hidden = !token;
    button.hidden = !retry;
    this.#box.hidden = false;
    this.#board.hidden = true;
    if (token) form.querySelector("input").focus();
  }
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/u.test(text) ? "" : "."}`;
