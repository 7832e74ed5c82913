import { createHistogram } from "node:perf_hooks";

export interface LatencySummary {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** Times of many operations, to three digits, in bounded memory. */
export class Latencies {
  /** In microseconds: it holds whole numbers only. */
  readonly #histogram = createHistogram({ figures: 3 });

  get count(): number {
    return this.#histogram.count;
  }

  record(ms: number): void {
    this.#histogram.record(Math.max(1, Math.round(ms * 1000)));
  }

  /** In milliseconds; 0 where nothing was recorded. */
  percentile(percent: number): number {
    return this.count === 0 ? 0 : rounded(this.#histogram.percentile(percent));
  }

  summary(): LatencySummary {
    return {
      p50: this.percentile(50),
      p90: this.percentile(90),
      p99: this.percentile(99),
      p999: this.percentile(99.9),
      max: this.count === 0 ? 0 : rounded(this.#histogram.max),
    };
  }
}

function rounded(microseconds: number): number {
  return Math.round(microseconds) / 1000;
}
