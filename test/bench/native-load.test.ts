import { readFileSync } from "node:fs";

import { describe, expect, it } from "vitest";

import { FOUND } from "./found.ts";

/** Not typed: the benchmarks are plain JavaScript. */
interface Histogram {
  readonly count: number;
  readonly maxMs: number;
  at(share: number): number;
  record(ms: number, times?: number): void;
}
interface Found {
  readonly rate: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

const path = (name: string): string => new URL(`../../native-bench/${name}`, import.meta.url).href;
const { Histogram } = (await import(path("load/histogram.mjs"))) as { Histogram: new () => Histogram };
const { openLoop } = (await import(path("load/open-loop.mjs"))) as {
  openLoop: (send: (n: number) => Promise<void>, rate: number, ms: number) => Promise<Found>;
};
const { closedLoop } = (await import(path("load/closed-loop.mjs"))) as {
  closedLoop: (send: (producer: number) => Promise<void>, producers: number, ms: number) => Promise<Found>;
};
const { ratios } = (await import(path("harness/statistics.mjs"))) as {
  ratios: (own: number[], other: number[]) => { median: number; min: number; max: number };
};
const { withMeasured } = (await import(path("report/markdown.mjs"))) as {
  withMeasured: (text: string, found: unknown) => string;
};

describe("the histogram", () => {
  it("finds percentiles within 1.6 %, over seven orders of magnitude", () => {
    for (const scale of [0.001, 0.1, 1, 100, 10_000]) {
      const histogram = new Histogram();
      for (let i = 1; i <= 1000; i++) histogram.record(i * scale);

      for (const share of [0.01, 0.5, 0.9, 0.99, 1]) {
        const exact = share * 1000 * scale;
        expect(Math.abs(histogram.at(share) - exact) / exact).toBeLessThanOrEqual(0.016);
      }
      expect(histogram.count).toBe(1000);
    }
  });

  it("has no percentiles of nothing, and the largest of one", () => {
    const histogram = new Histogram();
    expect(histogram.at(0.5)).toBeNaN();
    histogram.record(3.1234);
    expect(histogram.at(0.5)).toBeCloseTo(3.1234, 2);
    expect(histogram.maxMs).toBe(3.1234);
  });
});

describe("the open loop", () => {
  it("counts from when an append was due, not from when a loop that stood still came to send it", async () => {
    const stoodStillMs = 300;
    let stands = true;
    const send = async (): Promise<void> => {
      if (!stands) return;
      stands = false;
      for (const end = performance.now() + stoodStillMs; performance.now() < end;);
    };
    const { p90, max } = await openLoop(send, 1000, 600);

    // Half of all were due meanwhile, evenly: a tenth of them all waited for more than 240 ms. Sent late and counted from
    // then, they would have waited for nothing.
    expect(p90).toBeGreaterThan(stoodStillMs / 2);
    expect(max).toBeGreaterThanOrEqual(stoodStillMs * 0.99);
  });

  it("throws what an append rejects with", async () => {
    await expect(openLoop(() => Promise.reject(new Error("no room")), 1000, 50)).rejects.toThrow("no room");
  });
});

describe("the closed loop", () => {
  it("has one append on its way for each producer", async () => {
    let now = 0;
    let most = 0;
    await closedLoop(
      async () => {
        most = Math.max(most, ++now);
        await new Promise((resolve) => setImmediate(resolve));
        now--;
      },
      7,
      30,
    );
    expect(most).toBe(7);
    expect(now).toBe(0);
  });

  it("throws what an append rejects with", async () => {
    await expect(closedLoop(() => Promise.reject(new Error("no room")), 3, 50)).rejects.toThrow("no room");
  });
});

describe("ratios", () => {
  it("are those of each turn: a machine that slows down for one changes nothing", () => {
    expect(ratios([100, 10, 100], [200, 20, 200])).toMatchObject({ median: 0.5, min: 0.5, max: 0.5 });
  });
});

describe("the document", () => {
  const document = readFileSync(new URL("../../docs/performance.md", import.meta.url), "utf8");

  it("gets a row for each target, measured or not, and keeps what stands around them", () => {
    const text = withMeasured(document, FOUND);

    expect(text).toContain(
      "| journaled, 256 × 1 KiB: 256 per bare write+fdatasync | 0.75 × | 0.70–0.80 | ≥ 0.7 × | met |",
    );
    expect(text).toContain("| bytes per idle partition of 100,000 | 1,800 bytes | −6 … +6 % | ≤ 1,024 | missed |");
    expect(text).toContain("| encode, 100 B: naive concat | not measured | | ≥ 7 × | |");
    expect(text.slice(0, text.indexOf("<!-- measured: begin"))).toBe(
      document.slice(0, document.indexOf("<!-- measured: begin")),
    );
    expect(withMeasured(text, FOUND)).toBe(text);
  });

  it("refuses a text without its markers", () => {
    expect(() => withMeasured("# Performance", {})).toThrow("has no");
  });
});
