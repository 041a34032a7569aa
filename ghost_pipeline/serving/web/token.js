/** The token of this tab: kept until the tab is closed, and never in the address. */

const NAME = "ghost-token";
let token = stored();

function stored() {
  try {
    return sessionStorage.getItem(NAME) ?? "";
  } catch {
    return ""; // Storage may be forbidden; the token then lasts until the page is closed.
  }
}

export const current = () => token;

export function keep(value) {
  token = value.trim();
  try {
    if (token) sessionStorage.setItem(NAME, token);
    else sessionStorage.removeItem(NAME);
  } catch {
    // As above.
  }
}

/** Take the token of a link `#token=...` and remove it from the address bar; returns whether there was one. */
export function takeFromFragment() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (found === null) return false;
  keep(found);
  history.replaceState(null, "", location.pathname + location.search);
  return true;
}

/** The user that the token names, unverified: only used to fill in the field. */
export function subject() {
  try {
    const claims = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(claims), (character) => character.charCodeAt(0));
    return String(JSON.parse(new TextDecoder().decode(bytes)).sub ?? "");
  } catch {
    return "";
  }
}
