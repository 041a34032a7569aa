/** N-grams in readable form: characters without a glyph are shown by name or code. */

import { element } from "./element.js";

const NAMES = { " ": "space", "\t": "tab", "\n": "enter", "\r": "return", "\b": "backspace", "\u007f": "delete" };
// Controls, formats (bidi overrides, joiners), unassigned, separators, and characters without a visible form.
const INVISIBLE = /^[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}]+$/u;
const PLAIN = /^[!-~]+$/u;
const COMBINING = /^\p{M}/u;
const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" });

/** Parts of a text in order: [text, whether it stands for something invisible]. */
function parts(text) {
  if (PLAIN.test(text)) return [[text, false]];
  const found = [];
  for (const { segment } of graphemes.segment(text)) {
    if (INVISIBLE.test(segment)) found.push(...Array.from(segment, (one) => [NAMES[one] ?? code(one), true]));
    // A combining mark without a base would be drawn on the border of the tile.
    else found.push([COMBINING.test(segment) ? `◌${segment}` : segment, false]);
  }
  return found;
}

const code = (character) => `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;

/** An n-gram as an element whose text direction is isolated from its surroundings. */
export function shown(text) {
  const isolated = element("bdi", { class: "ngram" });
  let run = "";
  const flush = () => {
    if (run) isolated.append(run);
    run = "";
  };
  for (const [part, invisible] of parts(text)) {
    if (invisible) {
      flush();
      isolated.append(element("span", { class: "code" }, part));
    } else run += part;
  }
  flush();
  return isolated;
}

/** The same for a screen reader. */
export const spoken = (text) =>
  parts(text)
    .map(([part, invisible]) => (invisible ? ` ${part} ` : part))
    .join("")
    .trim();

/** How many columns of the grid an n-gram needs. */
export function columns(text) {
  const width = PLAIN.test(text)
    ? text.length
    : parts(text).reduce((sum, [part, invisible]) => sum + (invisible ? part.length : 1), 0);
  return width <= 5 ? 1 : width <= 11 ? 2 : 3;
}
