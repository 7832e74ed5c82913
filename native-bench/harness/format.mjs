/** Numbers for people, the same in table, report and Markdown. */

export function formatNumber(value) {
  if (!Number.isFinite(value)) return "?";
  const size = Math.abs(value);
  if (size >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  if (size >= 1e4) return `${(value / 1e3).toFixed(size >= 1e5 ? 0 : 1)} k`;
  if (size >= 100) return Math.round(value).toLocaleString("en");
  if (size >= 10) return value.toFixed(1);
  if (size >= 1) return value.toFixed(2);
  return size === 0 ? "0" : value.toPrecision(2);
}

/** How far the turns lie from their median, as in "−12 … +8 %". */
export function formatSpread({ median, min, max }) {
  const percent = (value) => Math.round((value / median - 1) * 100);
  if (!Number.isFinite(percent(min)) || !Number.isFinite(percent(max))) return "";
  return `${percent(min)} … +${Math.max(0, percent(max))} %`.replace("-", "−");
}

export function formatBytes(bytes) {
  if (bytes >= 2 ** 20) return `${bytes / 2 ** 20} MiB`;
  return bytes >= 1024 ? `${bytes / 1024} KiB` : `${bytes} B`;
}

/** A unit that people read more easily, and what to divide by. */
function readable({ unit, value }) {
  if (unit === "B/s") return { unit: "MB/s", divisor: 1e6 };
  return unit === "bytes" && value.median >= 2 ** 20 ? { unit: "MiB", divisor: 2 ** 20 } : { unit, divisor: 1 };
}

/** The cells of a row, as texts. */
export function cellsOf(row, targetText) {
  const { against } = row;
  const { unit, divisor } = readable(row);
  return {
    what: row.what,
    unit,
    value: formatNumber(row.value.median / divisor),
    spread: formatSpread(row.value),
    peer: against === undefined ? "" : `${against.title}: ${formatNumber(against.value.median / divisor)}`,
    ratio: against === undefined ? "" : formatNumber(against.ratio.median),
    ratioSpread: against === undefined ? "" : `${formatNumber(against.ratio.min)}–${formatNumber(against.ratio.max)}`,
    target: row.target === undefined ? "" : targetText(row.target),
    verdict: row.verdict === "-" ? "" : row.verdict,
  };
}
