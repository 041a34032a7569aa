/** The heat map: a tile for every n-gram. One stop for the Tab key; within, the arrow keys move. */

import { element } from "./element.js";
import { CATEGORIES, count, integer, precise } from "./figures.js";
import { columns, shown, spoken } from "./ngrams.js";

const PAGE_OF_ROWS = 5;
const VERTICAL = new Set(["ArrowDown", "ArrowUp", "PageDown", "PageUp"]);

export const keyOf = (row) => `${row.ngram_size}:${row.ngram_text}`;

export class Tiles {
  #box;
  #byKey = new Map();
  #visible = [];
  #active = null;
  #column = null;
  #events;

  /** `events`: `point(row or null)` for the tile under pointer or focus, `choose(row)`, `close()`. */
  constructor(box, events) {
    this.#box = box;
    this.#events = events;
    const rowAt = (event) => event.target.closest?.(".tile")?.row ?? null;
    box.addEventListener("pointerover", (event) => events.point(rowAt(event) ?? this.#focused()));
    box.addEventListener("pointerleave", () => events.point(this.#focused()));
    box.addEventListener("focusin", (event) => {
      const row = rowAt(event);
      if (!row) return this.#active?.focus();
      // A screen reader may put the focus anywhere.
      const tile = this.#byKey.get(keyOf(row));
      if (tile !== this.#active) this.#activate(tile);
      events.point(row);
    });
    box.addEventListener("focusout", () => events.point(null));
    box.addEventListener("click", (event) => {
      const row = rowAt(event);
      if (row) this.#choose(this.#byKey.get(keyOf(row)));
    });
    box.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Show the rows of an answer in their order. Tiles of the same n-grams are reused, so that only colours change. */
  show(rows) {
    const before = this.#byKey;
    const focused = this.#box.contains(document.activeElement);
    this.#byKey = new Map(rows.map((row) => [keyOf(row), before.get(keyOf(row)) ?? empty(row)]));
    for (const row of rows) fill(this.#byKey.get(keyOf(row)), row);
    const tiles = [...this.#byKey.values()];
    if (tiles.length !== this.#box.childElementCount || tiles.some((tile, index) => tile !== this.#box.children[index])) {
      this.#box.replaceChildren(...tiles);
      // Moving the tiles makes the focused one lose the focus.
      if (focused) this.#active?.focus({ preventScroll: true });
    }
  }

  /** Show only the tiles of the rows that `isShown` accepts; returns their number. */
  filter(isShown) {
    this.#visible = [];
    for (const tile of this.#byKey.values()) {
      tile.hidden = !isShown(tile.row);
      if (!tile.hidden) this.#visible.push(tile);
    }
    if (!this.#visible.includes(this.#active)) this.#activate(this.#visible[0] ?? null);
    return this.#visible.length;
  }

  /** Mark the n-gram whose progress is shown; returns its row, or null. */
  select(key) {
    const tile = this.#byKey.get(key) ?? null;
    this.#box.querySelector('[aria-selected="true"]')?.setAttribute("aria-selected", "false");
    tile?.setAttribute("aria-selected", "true");
    if (tile && !tile.hidden) this.#activate(tile);
    return tile?.row ?? null;
  }

  /** Put the focus on the tile that the Tab key would reach. */
  focus() {
    this.#active?.focus();
  }

  #focused() {
    const tile = document.activeElement;
    return this.#box.contains(tile) && tile.matches(":focus-visible") ? (tile.row ?? null) : null;
  }

  #activate(tile) {
    this.#column = null;
    if (this.#active) this.#active.tabIndex = -1;
    this.#active = tile;
    if (tile) tile.tabIndex = 0;
  }

  #choose(tile) {
    this.#activate(tile);
    tile.focus({ preventScroll: true });
    this.#events.choose(tile.row);
  }

  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || !this.#active) return;
    const at = this.#visible.indexOf(this.#active);
    const last = this.#visible.length - 1;
    const moves = {
      ArrowRight: () => Math.min(at + 1, last),
      ArrowLeft: () => Math.max(at - 1, 0),
      ArrowDown: () => this.#rows(at, 1, 1),
      ArrowUp: () => this.#rows(at, -1, 1),
      PageDown: () => this.#rows(at, 1, PAGE_OF_ROWS),
      PageUp: () => this.#rows(at, -1, PAGE_OF_ROWS),
      Home: () => 0,
      End: () => last,
    };
    if (event.key in moves) {
      const column = VERTICAL.has(event.key) ? (this.#column ?? middle(this.#active)) : null;
      this.#column = column;
      this.#activate(this.#visible[moves[event.key]()]);
      this.#active.focus();
      // Moving back up returns to the same tile, even from a wide one.
      this.#column = column;
    } else if (event.key === "Enter" || event.key === " ") this.#choose(this.#active);
    else if (event.key === "Escape") this.#events.close();
    else return;
    event.preventDefault();
  }

  /** The index of the tile `rows` rows away that is nearest to the current column; at most the last row. */
  #rows(from, step, rows) {
    const tiles = this.#visible;
    const distance = (at) => Math.abs(middle(tiles[at]) - this.#column);
    let [best, top, passed] = [from, tiles[from].offsetTop, 0];
    for (let at = from + step; at in tiles; at += step) {
      if (tiles[at].offsetTop !== top) {
        if (passed === rows) break;
        [best, top, passed] = [at, tiles[at].offsetTop, passed + 1];
      } else if (passed > 0 && distance(at) < distance(best)) best = at;
    }
    return best;
  }
}

const middle = (tile) => tile.offsetLeft + tile.offsetWidth / 2;

function empty(row) {
  const speed = element("span", { class: "wpm" });
  const tile = element("div", { role: "option", tabindex: -1, "aria-selected": "false" }, shown(row.ngram_text), speed);
  tile.dataset.columns = columns(row.ngram_text);
  return tile;
}

function fill(tile, row) {
  tile.row = row;
  tile.className = `tile ${row.performance_category}`;
  tile.lastChild.textContent = integer(row.decaying_average_wpm);
  tile.setAttribute(
    "aria-label",
    `${spoken(row.ngram_text)}: ${CATEGORIES[row.performance_category]}, ` +
      `${precise(row.decaying_average_wpm)} words per minute, ${precise(row.decaying_average_ms)} ms per keystroke, ` +
      `${integer(row.target_performance_pct)} % of the target, ${count(row.sample_count, "measurement")}`,
  );
}
