/** Figures, dates and categories as words. */

export const CATEGORIES = { green: "on target", amber: "close to the target", grey: "far off the target" };

const number = (digits) => new Intl.NumberFormat("en-GB", { maximumFractionDigits: digits });
const whole = number(0);
const tenths = number(1);
const hundredths = number(2);
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
const shortDay = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
const time = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: "UTC" });

export const integer = (value) => whole.format(value);
export const precise = (value) => (Math.abs(value) < 100 ? tenths : whole).format(value);
export const ratio = (value) => hundredths.format(value);

/** Words per minute, a word being five keystrokes. */
export const wordsPerMinute = (milliseconds) => 60_000 / milliseconds / 5;

export function count(n, one, many = `${one}s`) {
  return `${integer(n)} ${n === 1 ? one : many}`;
}

/** A time that adds up: 850 ms, 12.3 s, 4.2 min. */
export function duration(milliseconds) {
  if (milliseconds < 1000) return `${integer(milliseconds)} ms`;
  if (milliseconds < 120_000) return `${precise(milliseconds / 1000)} s`;
  return `${precise(milliseconds / 60_000)} min`;
}

export const date = (instant) => day.format(new Date(instant));
export const shortDate = (instant) => shortDay.format(new Date(instant));
export const clock = (instant) => time.format(new Date(instant));
export const dateAndTime = (instant) => `${date(instant)}, ${clock(instant)} UTC`;
