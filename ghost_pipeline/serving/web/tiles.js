/** The heat map: a tile for every n-gram. One stop for the Tab key; within, the arrow keys move. */

import { element } from "./element.js";
import { CATEGORIES, count, integer, precise } from "./figures.js";
import { columns, shown, spoken } from "./ngrams.js";

const PAGE_OF_ROWS = 5;
const VERTICAL = new Set(["ArrowDown", "ArrowUp", "PageDown", "PageUp"]);
/** Tiles that are drawn at once, and further ones as the box is scrolled: a typist may have 2,000. */
const BATCH = 240;
/** The next batch is drawn when so many pixels are left below. */
const AHEAD = 400;

export const keyOf = (row) => `${row.ngram_size}:${row.ngram_text}`;

export class Tiles {
  #box;
  #all = [];
  #visible = [];
  #byKey = new Map();
  #active = null;
  #column = null;
  #selected = null;
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
    box.addEventListener("scroll", () => this.#fillBox(), { passive: true });
    new ResizeObserver(() => this.#fillBox()).observe(box);
  }

  /** Take the rows of an answer in their order; `filter` draws them. Tiles of the same n-grams are reused. */
  show(rows) {
    const before = this.#byKey;
    this.#all = rows;
    this.#byKey = new Map();
    for (const key of rows.map(keyOf)) if (before.has(key)) this.#byKey.set(key, before.get(key));
    if (!rows.length) this.filter(() => false);
  }

  /** Show only the tiles of the rows that `isShown` accepts; returns their number. */
  filter(isShown) {
    this.#visible = this.#all.filter(isShown);
    const focused = this.#box.contains(document.activeElement);
    const kept = this.#active && this.#visible.findIndex((row) => keyOf(row) === keyOf(this.#active.row));
    this.#draw(Math.max(BATCH, (kept ?? -1) + 1));
    if (kept === null || kept < 0) this.#activate(this.#box.firstElementChild);
    // Moving the tiles makes the focused one lose the focus.
    if (focused && document.activeElement !== this.#active) this.#active?.focus({ preventScroll: true });
    this.#fillBox();
    return this.#visible.length;
  }

  /** Mark the n-gram whose progress is shown; returns its row, or null. */
  select(key) {
    this.#byKey.get(this.#selected)?.setAttribute("aria-selected", "false");
    this.#selected = key;
    const index = this.#visible.findIndex((row) => keyOf(row) === key);
    this.#add(index + 1);
    const tile = this.#byKey.get(key);
    tile?.setAttribute("aria-selected", "true");
    if (index >= 0) this.#activate(tile);
    return this.#all.find((row) => keyOf(row) === key) ?? null;
  }

  /** Draw the first tiles and no others. */
  #draw(number) {
    const tiles = this.#tiles(0, number);
    const drawn = this.#box.children;
    if (tiles.length !== drawn.length || tiles.some((tile, index) => tile !== drawn[index])) this.#box.replaceChildren(...tiles);
  }

  /** Add tiles until those below what is seen reach far enough. */
  #fillBox() {
    const box = this.#box;
    while (box.clientHeight && box.childElementCount < this.#visible.length && box.scrollTop + box.clientHeight + AHEAD > box.scrollHeight)
      this.#add(box.childElementCount + BATCH);
  }

  /** Draw further tiles below those that are there, until there are so many. */
  #add(number) {
    const drawn = this.#box.childElementCount;
    if (number > drawn) this.#box.append(...this.#tiles(drawn, number));
  }

  /** The tiles of a stretch of the visible rows, with what they say now. */
  #tiles(from, to) {
    return this.#visible.slice(from, to).map((row, index) => {
      const key = keyOf(row);
      const tile = this.#byKey.get(key) ?? empty(row);
      this.#byKey.set(key, tile);
      fill(tile, row);
      tile.setAttribute("aria-selected", key === this.#selected);
      tile.setAttribute("aria-posinset", from + index + 1);
      tile.setAttribute("aria-setsize", this.#visible.length);
      return tile;
    });
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
    const at = this.#visible.findIndex((row) => keyOf(row) === keyOf(this.#active.row));
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
      if (column !== null) this.#add(at + BATCH);
      const next = moves[event.key]();
      this.#add(next + 1);
      this.#activate(this.#box.children[next]);
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
    const tiles = this.#box.children;
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
  const tile = element("div", { role: "option", tabindex: -1 }, shown(row.ngram_text), speed);
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
