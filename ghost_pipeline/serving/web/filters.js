/** The controls above the heat map: category, size, text, order and target. */

import { ORDERS, SHOWN, target } from "./address.js";
import { element } from "./element.js";
import { count, integer, precise, wordsPerMinute } from "./figures.js";

const SETTLED_MS = 200;

const IS_SHOWN = {
  all: () => true,
  missing: (row) => !row.meets_target,
  green: (row) => row.performance_category === "green",
  amber: (row) => row.performance_category === "amber",
  grey: (row) => row.performance_category === "grey",
};

/** Whether a row passes the filters of a state. */
export function passes(state) {
  const others = passesOthers(state);
  return (row) => others(row) && IS_SHOWN[state.show](row);
}

function passesOthers({ size, find }) {
  const wanted = folded(find.trim());
  return (row) => (size === null || row.ngram_size === size) && folded(row.ngram_text).includes(wanted);
}

const folded = (text) => text.normalize("NFC").toLowerCase();

export class Filters {
  #form;
  #change;
  #usual = null;
  #settling = 0;

  /** Calls `change(part of the state, {step})` when a control is used; see `write` for `step`. */
  constructor(form, change) {
    this.#form = form;
    this.#change = change;
    const { show, find, size, sort } = form.elements;
    const slider = form.elements.target;
    const number = form.elements["target-number"];
    form.addEventListener("submit", (event) => event.preventDefault());
    for (const one of show) one.addEventListener("change", () => change({ show: one.value }));
    find.addEventListener("input", () => change({ find: find.value }, { step: false }));
    size.addEventListener("change", () => change({ size: size.value ? Number(size.value) : null }));
    sort.addEventListener("change", () => change({ sort: sort.value }));
    slider.addEventListener("input", () => this.#aim(slider.value));
    number.addEventListener("input", () => this.#aim(number.value));
    form.elements["target-reset"].addEventListener("click", () => {
      clearTimeout(this.#settling);
      change({ target: null });
    });
  }

  /** Show a state; `usual` is the keyboard's own target, null until it is known. */
  fill(state, usual) {
    const { show, find, size, sort } = this.#form.elements;
    this.#usual = usual;
    show[SHOWN.indexOf(state.show)].checked = true;
    if (find.value !== state.find) find.value = state.find;
    size.value = state.size ?? "";
    sort.selectedIndex = ORDERS.indexOf(state.sort);
    this.#showTarget(state.target ?? usual);
    this.#form.elements["target-reset"].hidden = state.target === null;
    this.#form.elements["target-reset"].textContent = usual === null ? "Reset" : `Reset to ${precise(usual)}`;
  }

  /** Offer the sizes that occur in the rows, and count the categories among the rows that pass the other filters. */
  offer(rows, state) {
    const { size, show } = this.#form.elements;
    const sizes = new Set(rows.map((row) => row.ngram_size));
    if (state.size !== null) sizes.add(state.size);
    size.replaceChildren(
      element("option", { value: "" }, "All sizes"),
      ...[...sizes].sort((one, other) => one - other).map((value) => element("option", { value }, count(value, "key"))),
    );
    size.value = state.size ?? "";
    const left = rows.filter(passesOthers(state));
    for (const one of show) {
      const amount = left.filter(IS_SHOWN[one.value]).length;
      one.parentElement.querySelector("output").value = integer(amount);
      this.#form.querySelector(`.shares .${one.value}`)?.style.setProperty("flex-grow", amount);
    }
  }

  #aim(text) {
    const value = target(text);
    if (value === null) return;
    this.#showTarget(value, document.activeElement);
    clearTimeout(this.#settling);
    this.#settling = setTimeout(
      () => this.#change({ target: value === this.#usual ? null : value }, { step: false }),
      SETTLED_MS,
    );
  }

  /** Show the target in both fields, except the one being typed into. */
  #showTarget(value, typing = null) {
    if (value === null) return;
    const slider = this.#form.elements.target;
    const number = this.#form.elements["target-number"];
    if (slider !== typing) slider.value = value;
    if (number !== typing && Number(number.value) !== value) number.value = value;
    slider.setAttribute("aria-valuetext", `${precise(value)} ms per keystroke, ${precise(wordsPerMinute(value))} words per minute`);
    this.#form.elements["target-wpm"].value = `${precise(wordsPerMinute(value))} WPM`;
  }
}
