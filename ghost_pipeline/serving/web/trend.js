/** Progress on one n-gram: a chart, its trend in words, and the figures behind it. */

import { speedChart } from "./charts.js";
import { element } from "./element.js";
import { count, date, dateAndTime, integer, precise, ratio, wordsPerMinute } from "./figures.js";
import { shown, spoken } from "./ngrams.js";

/**
 * The contents of the panel.
 *
 * `row` is the tile's row, `answer` the answer of /trend for the same n-gram; `close` closes the panel.
 */
export function trend(row, answer, close) {
  const states = answer.rows.filter((state) => state.ngram_size === row.ngram_size);
  const rate = answer.learning_rates.find((one) => one.ngram_size === row.ngram_size);
  if (!states.length) {
    return [heading(row, close), element("p", {}, now(row)), element("p", { class: "quiet" }, "No published hour has changed it yet.")];
  }
  const points = states.map((state) => [Date.parse(state.as_of), state.decaying_average_ms]);
  return [
    heading(row, close),
    speedChart(points, row.target_speed_ms, summary(row, states)),
    element("ul", { class: "facts" }, ...facts(rate).map((fact) => element("li", {}, fact))),
    element("details", {}, element("summary", {}, `${count(states.length, "state")} as a table`), table(states)),
  ];
}

export function heading(row, close) {
  return element(
    "header",
    {},
    element("h2", { id: "trend-title" }, "Progress on ", element("span", { class: `keycap ${row.performance_category}` }, shown(row.ngram_text))),
    element("button", { type: "button", class: "close", "aria-label": "Close", click: close }, "×"),
  );
}

/** The chart in a sentence. */
export function summary(row, states) {
  const [first, last] = [states[0], states.at(-1)];
  const name = spoken(row.ngram_text);
  const target = `the target is ${precise(row.target_speed_ms)}`;
  if (states.length === 1) return `${name}: ${precise(last.decaying_average_ms)} ms per keystroke on ${date(last.as_of)}; ${target}`;
  return (
    `${name}: from ${precise(first.decaying_average_ms)} ms per keystroke on ${date(first.as_of)} ` +
    `to ${precise(last.decaying_average_ms)} on ${date(last.as_of)}; ${target}`
  );
}

const now = (row) => `${precise(row.decaying_average_ms)} ms per keystroke, ${precise(row.decaying_average_wpm)} words per minute.`;

/** The trend in words, from `learning_rates`; its target is the keyboard's own. */
function facts(rate) {
  const found = [];
  const slope = rate?.slope_ms_per_day ?? null;
  if (slope === null) found.push("One state so far: a trend needs two.");
  else {
    const fit = rate.r_squared === null ? "" : ` (r² ${ratio(rate.r_squared)})`;
    if (!rate.clear_trend) found.push(`No clear trend yet, over ${count(rate.states, "session")}.`);
    else found.push(`Gets ${slope < 0 ? "faster" : "slower"} by ${precise(Math.abs(slope))} ms a day${fit}.`);
    found.push(...outlook(rate));
  }
  if (rate) found.push(`Best ever: ${precise(rate.best_ms)} ms (${precise(wordsPerMinute(rate.best_ms))} WPM) on ${date(rate.best_as_of)}.`);
  return found;
}

function outlook(rate) {
  const target = `the ${precise(rate.target_speed_ms)} ms target`;
  if (rate.sessions_to_target === 0) return [`Meets ${target}.`];
  if (rate.sessions_to_target === null) return [];
  return [`At this pace you will reach ${target} in about ${count(rate.sessions_to_target, "more session")}.`];
}

function table(states) {
  const head = ["At", "ms per key", "WPM", "Measured"];
  const line = (state) => [
    dateAndTime(state.as_of),
    precise(state.decaying_average_ms),
    precise(wordsPerMinute(state.decaying_average_ms)),
    integer(state.sample_count),
  ];
  return element(
    "table",
    {},
    element("thead", {}, element("tr", {}, ...head.map((name) => element("th", { scope: "col" }, name)))),
    // Newest first: the state that people look for.
    element("tbody", {}, ...states.toReversed().map((state) => element("tr", {}, ...line(state).map((cell) => element("td", {}, cell))))),
  );
}
