const WIDTH = 640;
const HEIGHT = 360;
const LEFT = 86;
const RIGHT = 30;
const TOP = 16;
const BOTTOM = 52;
const SERIES_MAX = 6;

/**
 * A line plot as an inline SVG that takes its colours from the page.
 *
 * @param plot  `{ title, x: { label, log?, format? }, y: { … }, series: { name: [[x, y], …] } }`
 * @returns an SVG element as text; a note in words where there is nothing to draw
 */
export function plotSvg({ title, x, y, series }) {
  const named = Object.entries(series)
    .map(([name, points]) => [
      name,
      points.filter(([px, py]) => usable(px, x) && usable(py, y)).toSorted((a, b) => a[0] - b[0]),
    ])
    .filter(([, points]) => points.length > 0)
    .slice(0, SERIES_MAX);
  if (named.length === 0) return `<p class="empty">Not measured in this run.</p>`;
  const all = named.flatMap(([, points]) => points);
  const across = scale(
    x,
    all.map(([value]) => value),
    LEFT,
    WIDTH - RIGHT,
    x.values,
  );
  const up = scale(
    y,
    all.map(([, value]) => value),
    HEIGHT - BOTTOM,
    TOP,
  );
  const grid = [
    ...up.ticks.map(
      (tick) =>
        `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${up.at(tick)}" y2="${up.at(tick)}"/>` +
        `<text class="tick" x="${LEFT - 8}" y="${up.at(tick) + 4}" text-anchor="end">${label(y, tick)}</text>`,
    ),
    ...across.ticks.map(
      (tick) =>
        `<line class="grid" x1="${across.at(tick)}" x2="${across.at(tick)}" y1="${TOP}" y2="${HEIGHT - BOTTOM}"/>` +
        `<text class="tick" x="${across.at(tick)}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${label(x, tick)}</text>`,
    ),
  ];
  const lines = named.map(([name, points], i) => {
    const path = points.map(
      ([px, py], j) => `${j === 0 ? "M" : "L"}${across.at(px).toFixed(1)} ${up.at(py).toFixed(1)}`,
    );
    const marks =
      points.length > 40
        ? ""
        : points
            .map(([px, py]) => mark(i, across.at(px), up.at(py), `${name}: ${label(x, px)}, ${label(y, py)}`))
            .join("");
    return `<path class="line s${i}" d="${path.join("")}"/>${marks}`;
  });
  const legend = named.map(([name], i) => `<span class="key"><i class="k${i}"></i>${escapeHtml(name)}</span>`);
  return (
    `<div class="legend">${legend.join("")}</div>` +
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(title)}">${grid.join("")}` +
    `<text class="axis" x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 8}" text-anchor="middle">${escapeHtml(x.label)}</text>` +
    `<text class="axis" transform="translate(14 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">${escapeHtml(y.label)}</text>` +
    `${lines.join("")}</svg>`
  );
}

export function escapeHtml(text) {
  return String(text).replace(/[&<>"]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[sign]);
}

const usable = (value, axis) => Number.isFinite(value) && (axis.log !== true || value > 0);

/** Series differ by shape as well as by colour. */
function mark(i, x, y, text) {
  const title = `<title>${escapeHtml(text)}</title>`;
  const [cx, cy] = [x.toFixed(1), y.toFixed(1)];
  switch (i % 3) {
    case 0:
      return `<circle class="mark s${i}" cx="${cx}" cy="${cy}" r="4">${title}</circle>`;
    case 1:
      return `<rect class="mark s${i}" x="${(x - 4).toFixed(1)}" y="${(y - 4).toFixed(1)}" width="8" height="8">${title}</rect>`;
    default:
      return `<path class="mark s${i}" d="M${cx} ${(y - 5).toFixed(1)}l5 9h-10z">${title}</path>`;
  }
}

const label = (axis, value) =>
  escapeHtml(
    axis.format === undefined ? value.toLocaleString("en", { maximumSignificantDigits: 3 }) : axis.format(value),
  );

/** `values`: ticks that are given; else round numbers. A linear axis begins at 0. */
function scale({ log }, numbers, from, to, values) {
  let [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  let ticks;
  if (log === true) {
    const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
    const decades = Array.from({ length: Math.max(1, last - first) + 1 }, (_, i) => 10 ** (first + i));
    ticks = values ?? decades;
    low = Math.min(low, ticks[0]);
    high = Math.max(high, ticks.at(-1));
    if (low === high) [low, high] = [low / 2, high * 2];
  } else {
    const step = roundStep(high === 0 ? 1 : high / 5);
    low = 0;
    high = Math.max(step, Math.ceil(high / step - 1e-9) * step);
    ticks = values ?? Array.from({ length: Math.round(high / step) + 1 }, (_, i) => i * step);
  }
  const place = log === true ? Math.log10 : (value) => value;
  const span = place(high) - place(low);
  return { ticks, at: (value) => from + ((place(value) - place(low)) / span) * (to - from) };
}

function roundStep(step) {
  const power = 10 ** Math.floor(Math.log10(step));
  return [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= step * 0.999);
}
