/** Figures of the n-gram under the pointer or the focus. Screen readers get them from the tile's name. */

import { element } from "./element.js";
import { CATEGORIES, count, dateAndTime, integer, precise } from "./figures.js";
import { shown } from "./ngrams.js";

export function readout(row) {
  if (!row) return [element("p", { class: "quiet" }, "Point at a combination for its figures; choose it to see progress on it.")];
  return [
    element("span", { class: `keycap ${row.performance_category}` }, shown(row.ngram_text)),
    element(
      "dl",
      {},
      figure("WPM", precise(row.decaying_average_wpm)),
      figure("ms per key", precise(row.decaying_average_ms)),
      figure(`of ${precise(row.target_speed_ms)} ms`, `${integer(row.target_performance_pct)} %`),
    ),
    element(
      "p",
      { class: "quiet" },
      element("b", {}, sentence(CATEGORIES[row.performance_category])),
      ` ${count(row.sample_count, "measurement")}, the last on ${dateAndTime(row.last_measured)}`,
    ),
  ];
}

const figure = (name, value) => element("div", {}, element("dt", {}, name), element("dd", {}, value));
const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;
