/** Of an unsorted list of numbers; NaN of an empty one. */
export function median(list) {
  if (list.length === 0) return Number.NaN;
  const sorted = list.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Median, and how far the turns lie apart. */
export function summary(list) {
  return { median: median(list), min: Math.min(...list), max: Math.max(...list), turns: list.length };
}

/** Of the ratios within each turn, not of the medians: what slows the machine down for a while slows both sides. */
export function ratios(own, other) {
  return summary(own.map((value, turn) => value / other[turn]));
}
