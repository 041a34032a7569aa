/** The view, kept in the query of the address, so that it can be shared, reloaded and gone back to. */

export const SHOWN = ["all", "missing", "green", "amber", "grey"];
export const ORDERS = ["worst_to_best", "best_to_worst"];
export const UNFILTERED = { show: SHOWN[0], find: "", size: null };
const LARGEST_SIZE = 20;
const LARGEST_TARGET = 1e6;

export function read(search = location.search) {
  const query = new URLSearchParams(search);
  return {
    user: query.get("user") ?? "",
    keyboard: query.get("keyboard"),
    show: oneOf(SHOWN, query.get("show")),
    find: query.get("find") ?? "",
    size: size(query.get("size")),
    sort: oneOf(ORDERS, query.get("sort")),
    target: target(query.get("target")),
    ngram: ngram(query.get("ngram")),
  };
}

export function query(state) {
  const found = new URLSearchParams();
  const put = (name, value, usual) => value !== null && value !== usual && found.set(name, value);
  put("user", state.user, "");
  put("keyboard", state.keyboard);
  put("show", state.show, SHOWN[0]);
  put("find", state.find, "");
  put("size", state.size);
  put("sort", state.sort, ORDERS[0]);
  put("target", state.target);
  put("ngram", state.ngram && `${state.ngram.size}:${state.ngram.text}`);
  return found.size ? `?${found}` : location.pathname;
}

/** Add a history entry or, while the user is typing or dragging, replace the last one. */
export function write(state, { step }) {
  history[step ? "pushState" : "replaceState"](null, "", query(state));
}

/** A target that the server accepts, otherwise null. */
export function target(text) {
  const value = Number(text);
  return text !== null && value > 0 && value <= LARGEST_TARGET ? value : null;
}

const oneOf = (allowed, value) => (allowed.includes(value) ? value : allowed[0]);

function size(text) {
  const value = Number(text);
  return Number.isInteger(value) && value >= 1 && value <= LARGEST_SIZE ? value : null;
}

function ngram(text) {
  const found = /^(\d{1,2}):(.+)$/su.exec(text ?? "");
  return found && { size: Number(found[1]), text: found[2] };
}
