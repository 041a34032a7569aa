/** The page: one state, kept in the address. On every change the page asks the server for the data it lacks. */

import { ORDERS, UNFILTERED, query, read, write } from "./address.js";
import { Question } from "./api.js";
import { element } from "./element.js";
import { count, dateAndTime, integer } from "./figures.js";
import { Filters, passes } from "./filters.js";
import { spoken } from "./ngrams.js";
import { Notice } from "./notice.js";
import { ASKED, practice } from "./practice.js";
import { readout } from "./readout.js";
import { Tiles, keyOf } from "./tiles.js";
import { current, keep, subject, takeFromFragment } from "./token.js";
import { heading, summary, trend } from "./trend.js";

const part = (id) => document.getElementById(id);
const questions = { keyboards: new Question(), heatMap: new Question(), progress: new Question(), trend: new Question() };
const notice = new Notice(part("notice"), part("board"));
const filters = new Filters(part("filters"), change);
const tiles = new Tiles(part("tiles"), { point, choose: (row) => choose(numbered(row)), close: () => choose(null) });
let state = read();
let drawn = null;
let chosen = null;

function change(values, { step = true } = {}) {
  const next = { ...state, ...values };
  if (query(next) === query(state)) return;
  state = next;
  write(state, { step });
  show();
}

/** Start over: with another user, with another token, or after an error. */
function restart(values = {}) {
  for (const question of Object.values(questions)) question.forget();
  drawn = null;
  if (query({ ...state, ...values }) === query(state)) show();
  else change(values);
}

/** The answer; undefined if a newer question has replaced this one, or after an error, which `onProblem` receives. */
async function answered(asking, onProblem = (problem) => notice.explain(problem)) {
  try {
    return await asking;
  } catch (error) {
    if (error.name === "AbortError") return undefined;
    if (error.status === undefined) throw error;
    const isForAll = error.status === 401 || error.status === 403;
    (isForAll ? (problem) => notice.explain(problem) : onProblem)(error);
    return undefined;
  }
}

async function show() {
  part("user").value = state.user;
  part("forget").hidden = !current();
  document.title = state.user ? `${state.user} · Typing heat map` : "Typing heat map";
  if (!state.user) {
    part("keyboard-field").hidden = true;
    notice.say("Whose typing?", "Enter a user to see how fast they type each combination of keys and what to practise next.");
    return;
  }
  if (part("board").hidden) part("notice").hidden = true;
  const keyboards = await answered(questions.keyboards.ask(["users", state.user, "keyboards"]), (problem) =>
    problem.status === 404 ? sayNothingMeasured() : notice.explain(problem),
  );
  if (!keyboards) return;
  showKeyboards(keyboards);
  if (!keyboards.rows.length) {
    sayNothingMeasured();
    return;
  }
  if (state.keyboard === null) {
    state = { ...state, keyboard: keyboards.rows[0].keyboard_id };
    write(state, { step: false });
  }
  const keyboard = keyboards.rows.find((one) => one.keyboard_id === state.keyboard);
  part("keyboard").value = keyboard?.keyboard_id ?? "";
  if (!keyboard) {
    notice.say("Nothing measured on this keyboard", `“${state.user}” has typed nothing on the keyboard “${state.keyboard}”. Choose another keyboard above.`);
    return;
  }
  filters.fill(state, keyboard.target_ms_per_keystroke);
  notice.hide();
  await Promise.all([showHeatMap(), showPractice()]);
}

function sayNothingMeasured() {
  part("keyboard-field").hidden = true;
  notice.say("Nothing measured yet", `No typing of “${state.user}” has been measured. Check the id, and that the hour of their first practice has been published.`);
}

function showKeyboards({ rows, as_of: asOf, stale }) {
  const names = rows.map((row) => row.keyboard_name ?? row.keyboard_id);
  const twice = (name) => names.indexOf(name) !== names.lastIndexOf(name);
  part("keyboard").replaceChildren(
    ...rows.map((row, index) => {
      const name = twice(names[index]) ? `${names[index]} (${row.keyboard_id})` : names[index];
      return element("option", { value: row.keyboard_id }, `${name} · ${count(row.ngrams, "combination")}`);
    }),
  );
  part("keyboard-field").hidden = rows.length === 0;
  part("clock").textContent = asOf === null ? "" : `Data from ${dateAndTime(asOf)}${stale ? " (out of date)" : ""}`;
}

async function showHeatMap() {
  const [{ user, keyboard, target, sort }, box] = [state, part("tiles")];
  if (drawn?.keyboard_id !== keyboard || drawn.user_id !== user) {
    tiles.show([]);
    box.classList.add("loading");
  }
  box.setAttribute("aria-busy", "true");
  const path = ["ngrams", user, keyboard, "heatmap"];
  const answer = await answered(questions.heatMap.ask(path, { target_speed_ms: target, sort_order: sort }));
  if (!answer) return;
  box.setAttribute("aria-busy", "false");
  box.classList.remove("loading");
  if (answer !== drawn) tiles.show(answer.rows);
  drawn = answer;
  filters.offer(answer.rows, state);
  const visible = tiles.filter(passes(state));
  part("shown").textContent =
    (visible === answer.rows.length ? "" : `${integer(visible)} of `) +
    `${count(answer.rows.length, "combination")} in words per minute, ${state.sort === ORDERS[0] ? "slowest" : "fastest"} first`;
  box.hidden = visible === 0;
  part("tiles-keys").hidden = visible === 0;
  part("nothing").hidden = visible > 0;
  const filtered = state.find !== "" || state.size !== null;
  part("nothing").firstElementChild.textContent =
    state.show === "missing" && !filtered ? "Everything meets the target. Time for a harder one?" : "Nothing matches these filters.";
  chosen = state.ngram && tiles.select(`${state.ngram.size}:${state.ngram.text}`);
  if (!state.ngram) tiles.select(null);
  point(null);
  await showTrend();
}

async function showTrend() {
  const [box, wanted] = [part("trend"), state.ngram];
  if (!wanted) {
    questions.trend.forget();
    box.hidden = true;
    return;
  }
  const close = () => {
    choose(null);
    tiles.focus();
  };
  const row = chosen ?? { ngram_text: wanted.text, ngram_size: wanted.size, performance_category: "grey" };
  const say = (text) => box.replaceChildren(heading(row, close), element("p", { class: "quiet" }, text));
  box.hidden = false;
  if (!chosen) {
    say("This combination is not measured on this keyboard.");
    return;
  }
  if (box.dataset.key !== keyOf(row)) say("Loading …");
  box.dataset.key = keyOf(row);
  const path = ["ngrams", state.user, state.keyboard, "trend"];
  const answer = await answered(questions.trend.ask(path, { ngram_text: wanted.text }), (problem) => say(problem.message));
  if (!answer) return;
  box.replaceChildren(...trend(row, answer, close));
  const states = answer.rows.filter((one) => one.ngram_size === row.ngram_size);
  part("said").textContent = states.length ? summary(row, states) : `${spoken(row.ngram_text)}: no hour on record yet`;
}

async function showPractice() {
  const path = ["ngrams", state.user, state.keyboard, "progress"];
  const box = part("practice");
  const answer = await answered(questions.progress.ask(path, { n: ASKED, target_speed_ms: state.target }), (problem) =>
    box.replaceChildren(element("h2", { id: "practice-title" }, "What to practise"), element("p", {}, problem.message)),
  );
  if (answer && box.answer !== answer) box.replaceChildren(...practice(answer, choose));
  if (answer) box.answer = answer;
}

const numbered = (row) => ({ size: row.ngram_size, text: row.ngram_text });

/** Show progress on an n-gram; null closes the panel. */
function choose(ngram) {
  change({ ngram });
}

function point(row) {
  const box = part("readout");
  const next = row ?? chosen;
  if (box.row === next) return;
  box.row = next;
  box.replaceChildren(...readout(next));
}

part("who").addEventListener("submit", (event) => {
  event.preventDefault();
  const user = part("user").value.trim();
  restart(user === state.user ? {} : { ...UNFILTERED, user, keyboard: null, target: null, ngram: null });
});
part("keyboard").addEventListener("change", () => change({ keyboard: part("keyboard").value, target: null, ngram: null }));
part("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keep(part("token").value);
  part("token").value = "";
  restart(state.user ? {} : { user: subject() });
});
part("forget").addEventListener("click", () => {
  keep("");
  restart();
});
part("retry").addEventListener("click", () => restart());
part("clear").addEventListener("click", () => change(UNFILTERED));
addEventListener("popstate", () => {
  state = read();
  if (!location.hash.includes("token=")) show();
});
addEventListener("hashchange", () => {
  if (takeFromFragment()) restart();
});

takeFromFragment();
if (!state.user && current()) state = { ...state, user: subject() };
show();
