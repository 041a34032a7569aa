/** What to practise: the costliest n-grams, the keys mixed up most often, and the misses per session. */

import { bars } from "./charts.js";
import { element } from "./element.js";
import { count, date, duration, integer, precise } from "./figures.js";
import { shown, spoken } from "./ngrams.js";

export const ASKED = 8;

/** The contents of the panel from an answer of /progress; `choose({size, text})` shows an n-gram. */
export function practice(answer, choose) {
  return [
    element("h2", { id: "practice-title" }, "What to practise"),
    ...costliest(answer.practice_impact.filter((row) => row.impact_ms > 0), choose),
    ...mistakes(answer.mistake_pairs),
    ...misses(answer.rows),
  ];
}

function costliest(rows, choose) {
  const title = element("h3", {}, "Costs the most time");
  if (!rows.length) return [title, element("p", { class: "quiet" }, "Nothing: everything meets the keyboard's target.")];
  const item = (row) => {
    const bar = element("span", { class: "bar" });
    bar.style.inlineSize = `${(100 * row.impact_ms) / rows[0].impact_ms}%`;
    const button = element(
      "button",
      {
        type: "button",
        "aria-label": `${spoken(row.ngram_text)}: ${duration(row.impact_ms)} above the target in ${count(row.sample_count, "measurement")}`,
        click: () => choose({ size: row.ngram_size, text: row.ngram_text }),
      },
      element("span", { class: "keycap" }, shown(row.ngram_text)),
      element("span", { class: "track" }, bar),
      element("span", { class: "amount" }, duration(row.impact_ms)),
    );
    return element("li", {}, button);
  };
  return [
    title,
    element("p", { class: "quiet" }, `Time above the keyboard's target of ${precise(rows[0].target_speed_ms)} ms, multiplied by the number of measurements.`),
    element("ol", { class: "costs" }, ...rows.map(item)),
  ];
}

function mistakes(rows) {
  if (!rows.length) return [];
  const item = ({ expected_char: wanted, keystroke_char: typed, mistake_count: times }) =>
    element(
      "li",
      {},
      element("span", { class: "keycap" }, shown(wanted)),
      element("span", { class: "quiet" }, " typed as "),
      element("span", { class: "keycap" }, shown(typed)),
      element("span", { class: "amount" }, `${integer(times)}×`),
    );
  return [element("h3", {}, "Mixed up most often"), element("ul", { class: "mistakes" }, ...rows.map(item))];
}

function misses(rows) {
  if (!rows.length) return [];
  const [first, last] = [rows[0], rows.at(-1)];
  const sessions = count(rows.length, "session");
  const summary =
    `Combinations that missed the target in each of the newest ${sessions}, oldest first: from ${integer(first.missing)} ` +
    `on ${date(first.start_time)} to ${integer(last.missing)} on ${date(last.start_time)}`;
  return [
    element("h3", {}, "Misses per session"),
    bars(rows.map((row) => row.missing), summary),
    element(
      "p",
      { class: "ends quiet" },
      element("span", {}, `${date(first.start_time)}: ${integer(first.missing)}`),
      element("span", {}, `${date(last.start_time)}: ${integer(last.missing)}`),
    ),
  ];
}
