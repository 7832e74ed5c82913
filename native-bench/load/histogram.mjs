/**
 * Counts of latencies in buckets that grow with the value: 64 for each doubling, so a percentile is at most 1.6 % off, from 1 µs to
 * about 19 hours, in 16 KiB. Allocates nothing after it was made.
 */
const STEPS = 64;
const STEP_BITS = 6;
const DOUBLINGS = 36;

export class Histogram {
  #counts = new Float64Array(STEPS * DOUBLINGS);
  #total = 0;
  #max = 0;
  #sum = 0;

  get count() {
    return this.#total;
  }

  get maxMs() {
    return this.#max;
  }

  get meanMs() {
    return this.#total === 0 ? Number.NaN : this.#sum / this.#total;
  }

  /** `times`: how many had this latency. */
  record(ms, times = 1) {
    const us = Math.max(0, Math.round(ms * 1000));
    this.#counts[indexOf(us)] += times;
    this.#total += times;
    this.#sum += ms * times;
    if (ms > this.#max) this.#max = ms;
  }

  /** Upper edge, in ms, of the bucket that holds the `share` (0 … 1) of all; NaN where nothing was recorded. */
  at(share) {
    if (this.#total === 0) return Number.NaN;
    const wanted = Math.max(1, Math.ceil(this.#total * share));
    let seen = 0;
    for (let index = 0; index < this.#counts.length; index++) {
      seen += this.#counts[index];
      if (seen >= wanted) return Math.min(upperEdge(index) / 1000, this.#max);
    }
    return this.#max;
  }

  reset() {
    this.#counts.fill(0);
    this.#total = 0;
    this.#max = 0;
    this.#sum = 0;
  }
}

/** Values below 64 have a bucket each; above, the top seven bits name it. */
function indexOf(us) {
  if (us < STEPS) return us;
  const shift = Math.floor(Math.log2(us)) - STEP_BITS;
  const index = (shift + 1) * STEPS + (Math.floor(us / 2 ** shift) - STEPS);
  return Math.min(index, STEPS * DOUBLINGS - 1);
}

function upperEdge(index) {
  if (index < STEPS) return index;
  const shift = Math.floor(index / STEPS) - 1;
  return ((index % STEPS) + STEPS + 1) * 2 ** shift - 1;
}
