/** What a run finds, with a bit of everything that a report has to show. */
export const FOUND = {
  machine: {
    cpu: "2 × <b>some</b> processor",
    memory: "24 GiB",
    disk: "ext4",
    system: "linux",
    load: "0",
    node: "v20",
    versions: { tierlog: "0.1.0" },
  },
  run: { turns: 5, turnMs: 1000, full: true },
  suites: [{ name: "append", mode: "fsync always, recycled files" }],
  blindSpots: ["figures of one machine"],
  startedAt: "2026-11-21T10:00:00.000Z",
  rows: [
    {
      suite: "append",
      id: "append.journaled.256x1KiB.bare",
      what: "journaled, 256 × 1 KiB",
      unit: "appends/s",
      value: { median: 600_000, min: 550_000, max: 650_000, turns: 5 },
      against: {
        title: "256 per write+fdatasync",
        value: { median: 800_000, min: 700_000, max: 900_000, turns: 5 },
        ratio: { median: 0.75, min: 0.7, max: 0.8, turns: 5 },
      },
      target: { row: "append.journaled.256x1KiB.bare", title: "journaled: bare", ratio: { atLeast: 0.7 } },
      verdict: "met",
    },
    {
      suite: "append",
      id: "partitions.idle-bytes",
      what: "memory of an idle partition",
      unit: "bytes",
      value: { median: 1800, min: 1700, max: 1900, turns: 5 },
      target: { row: "partitions.idle-bytes", title: "bytes per idle partition", value: { atMost: 1024 } },
      verdict: "missed",
    },
  ],
  skipped: [{ suite: "peers", what: "lmdb", why: "not installed: npm run bench:peers:install" }],
  failures: [],
  took: { append: 10 },
  plots: {
    throughput: {
      buffered: [
        [100, 80],
        [1024, 500],
        [65_536, 2000],
      ],
      journaled: [
        [100, 60],
        [1024, 400],
        [65_536, 900],
      ],
      uploaded: [
        [100, 20],
        [1024, 60],
        [65_536, 300],
      ],
    },
    latency: {
      p50: [
        [0.2, 0.4],
        [0.8, 1.1],
      ],
      p99: [
        [0.2, 0.9],
        [0.8, 4],
      ],
      "p99.9": [
        [0.2, 2],
        [0.8, 20],
      ],
    },
    puts: {
      tierlog: [
        [1, 2000],
        [10_000, 2000],
      ],
      "one PUT per partition and flush (computed)": [
        [1, 2000],
        [10_000, 1e6],
      ],
    },
    dollars: {
      tierlog: [
        [1, 0.01],
        [10_000, 0.01],
      ],
      "one PUT per partition and flush (computed)": [
        [1, 0.01],
        [10_000, 5],
      ],
    },
    memory: { RSS: Array.from({ length: 100 }, (_, i) => [i, 150 + (i % 7)]) },
  },
};
