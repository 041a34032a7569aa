/** Charts as inline SVG, each with a text alternative. */

import { drawing } from "./element.js";
import { clock, integer, shortDate } from "./figures.js";

const WIDTH = 360;
const HEIGHT = 210;
const FRAME = { left: 40, right: 12, top: 22, bottom: 28 };
const TICKS = 4;
const DAY_MS = 86_400_000;

/** Speed over time: `points` of [time in ms, ms per keystroke], oldest first; faster is lower. */
export function speedChart(points, target, summary) {
  const values = points.map(([, value]) => value);
  const highest = Math.max(...values, target);
  // Some room below the target, so that the area that meets it is visible.
  const lowest = Math.min(...values, target - (highest - Math.min(...values, target)) / 10);
  const ticks = round(lowest, highest);
  const [low, high] = [ticks[0], ticks.at(-1)];
  const [first, last] = [points[0][0], points.at(-1)[0]];
  const bottom = HEIGHT - FRAME.bottom;
  const right = WIDTH - FRAME.right;
  // A single point is drawn in the middle.
  const x = (at) => FRAME.left + 8 + (last > first ? (at - first) / (last - first) : 0.5) * (right - FRAME.left - 16);
  const y = (value) => bottom - ((value - low) / (high - low)) * (bottom - FRAME.top);
  const best = points.reduce((one, other) => (other[1] < one[1] ? other : one));
  const label = (attributes, ...text) => drawing("text", attributes, ...text);
  return drawing(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": summary, class: "chart" },
    drawing("rect", { class: "met", x: FRAME.left, y: y(target), width: right - FRAME.left, height: bottom - y(target) }),
    ...ticks.flatMap((tick) => [
      drawing("line", { class: "rule", x1: FRAME.left, x2: right, y1: y(tick), y2: y(tick) }),
      label({ x: FRAME.left - 6, y: y(tick) + 4, "text-anchor": "end" }, integer(tick)),
    ]),
    label({ x: 0, y: 10 }, "ms per keystroke"),
    drawing("line", { class: "target", x1: FRAME.left, x2: right, y1: y(target), y2: y(target) }),
    label({ class: "strong", x: right, y: 10, "text-anchor": "end" }, `╌ target ${integer(target)}`),
    drawing("polyline", { class: "line", points: points.map(([at, value]) => `${x(at)},${y(value)}`).join(" ") }),
    ...points.map(([at, value]) => drawing("circle", { class: "point", cx: x(at), cy: y(value), r: 3.5 })),
    drawing("circle", { class: "best", cx: x(best[0]), cy: y(best[1]), r: 6.5 }),
    ...times(first, last).map((at, index, all) => {
      const anchor = all.length === 1 ? "middle" : ["start", "middle", "end"][index];
      return label({ x: x(at), y: HEIGHT - 8, "text-anchor": anchor }, instant(at, last - first));
    }),
  );
}

/** Counts side by side, oldest first. */
export function bars(values, summary) {
  const [width, height, gap] = [12, 56, 4];
  const highest = Math.max(1, ...values);
  return drawing(
    "svg",
    {
      viewBox: `0 0 ${Math.max(values.length * (width + gap) - gap, width)} ${height}`,
      role: "img",
      "aria-label": summary,
      class: "bars",
      preserveAspectRatio: "none",
    },
    ...values.map((value, index) => {
      const tall = Math.max(2, (value / highest) * height);
      const attributes = { x: index * (width + gap), y: height - tall, width, height: tall, rx: 2 };
      return drawing("rect", { ...attributes, class: index === values.length - 1 ? "newest" : null });
    }),
  );
}

/** Round figures that span a range: steps of 1, 2 or 5 times a power of ten. */
function round(low, high) {
  const rough = Math.max((high - low) / TICKS, high / 100, 0.1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  const ticks = [];
  // Counted in steps: a running sum of fractions could drift past the end.
  for (let at = Math.floor(low / step); at <= Math.ceil(high / step); at += 1) ticks.push(at * step);
  return ticks.length > 1 ? ticks : [ticks[0], ticks[0] + step];
}

const times = (first, last) => (last > first ? [first, (first + last) / 2, last] : [first]);
const instant = (at, span) => (span >= 2 * DAY_MS ? shortDate(at) : `${shortDate(at)}, ${clock(at)}`);
