import { appender } from "../contestants/appender.mjs";
import { bareSync } from "../contestants/bare.mjs";
import { compileCode, JOURNALED, openTierlog } from "../contestants/tierlog.mjs";
import { addRow, compare } from "../harness/compare.mjs";
import { formatBytes } from "../harness/format.mjs";
import { buildProgram } from "../limits/programs.mjs";
import { startSink } from "../sink/start-sink.mjs";

const KIB = 1024;
const MIB = 1024 * KIB;
/** Past the page cache, as the device is measured. */
const DIRECT = { "system.journal.o_direct": "true" };
const BASE = { bytes: KIB, producers: 256, partitions: 1, compression: "none" };

export const append = {
  name: "append",
  mode:
    "appends by a closed loop, a promise per record; journaled: fsync always, files that were written before, uploaded to a store that takes all for nothing; " +
    "uploaded: linger 0, to the null S3 sink, payload unsigned with CRC-32C",
  blindSpots: [
    "producers run in the engine's own process and share its core; a closed loop shows latencies of a full queue",
    "the bare loop knows nothing but bytes; it blocks its thread, which an engine must not",
  ],
  async run(run) {
    await compileCode(run.workspace, { flags: JOURNALED });
    await level(run, "journaled", BASE);
    await level(run, "buffered", BASE);
    await level(run, "uploaded", BASE);
    await oneProducer(run);
    await level(run, "journaled", { ...BASE, bytes: 100, producers: 4096 });
    await level(run, "buffered", { ...BASE, bytes: 100 });
    await largeBatches(run);
    await whileUploading(run);
    if (!run.full) return;
    for (const name of ["journaled", "buffered", "uploaded"]) {
      for (const axis of AXES) await level(run, name, { ...BASE, ...axis });
    }
  },
};

const AXES = [
  { bytes: 100 },
  { bytes: 64 * KIB },
  { producers: 1 },
  { producers: 16 },
  { producers: 4096 },
  { partitions: 500 },
  { partitions: 10_000 },
  { compression: "lz4" },
];

/** How each level is asked for. */
export async function openLevel(run, level, point) {
  const { workspace } = run;
  if (level === "buffered") return openTierlog(workspace, { ...point, ack: "buffered" });
  if (level === "journaled") return openTierlog(workspace, { ...point, flags: JOURNALED });
  if (level === "direct") return openTierlog(workspace, { ...point, flags: { ...JOURNALED, ...DIRECT } });
  const sink = await run.shared("sink", () => startSink(workspace));
  return openTierlog(workspace, { ...point, store: sink, flags: { "system.flush.linger": "0ms" } });
}

export function pointText({ producers, bytes, partitions, compression }) {
  const more = [
    partitions > 1 ? `${partitions.toLocaleString("en")} partitions` : "",
    compression === "none" ? "" : compression,
  ];
  return [`${producers.toLocaleString("en")} × ${formatBytes(bytes)}`, ...more.filter((text) => text !== "")].join(
    ", ",
  );
}

export const pointId = ({ producers, bytes, partitions, compression }) =>
  `${producers}x${formatBytes(bytes).replace(" ", "")}${partitions > 1 ? `.p${partitions}` : ""}${compression === "none" ? "" : `.${compression}`}`;

async function level(run, level_, point) {
  const { bytes, producers } = point;
  const what = `${level_}, ${pointText(point)}`;
  const id = `append.${level_}.${pointId(point)}`;
  if (run.rows.some((row) => row.id === `${id}.bare`)) return;
  const result = await compare(run, {
    name: what,
    turnMs: run.turnMs,
    contestants: {
      tierlog: appender(() => openLevel(run, level_, point), point),
      bare: bareSync(run.workspace, bytes * producers, producers),
    },
  });
  const other = ["bare", "rate", `${producers.toLocaleString("en")} per write+fdatasync`];
  addRow(run, result, { id: `${id}.bare`, what, unit: "appends/s", own: ["tierlog", "rate"], other });
  addRow(run, result, {
    id: `${id}.p99`,
    what: `${what}, p99`,
    unit: "ms",
    own: ["tierlog", "p99"],
    other: ["bare", "p99", "write+fdatasync p99"],
  });
  const rates = result.of("tierlog", "bytesPerSecond");
  if (
    rates !== undefined &&
    point.producers === BASE.producers &&
    point.partitions === 1 &&
    point.compression === "none"
  ) {
    const sorted = rates.toSorted((a, b) => a - b);
    run.addPoint("throughput", level_, bytes, sorted[sorted.length >> 1] / 1e6);
  }
}

async function oneProducer(run) {
  const point = { ...BASE, producers: 1 };
  const result = await compare(run, {
    name: "journaled, one producer",
    turnMs: run.turnMs,
    contestants: {
      tierlog: appender(() => openLevel(run, "journaled", point), point),
      bare: bareSync(run.workspace, KIB, 1),
    },
  });
  addRow(run, result, {
    id: "append.journaled.1x1KiB.p50",
    what: "journaled, 1 × 1 KiB, p50",
    unit: "ms",
    own: ["tierlog", "p50"],
    other: ["bare", "p50", "write+fdatasync p50"],
  });
}

/** 8 producers of appends of 1 MiB: past the page cache against what the device takes there, through it against a bare loop. */
async function largeBatches(run) {
  const point = { ...BASE, producers: 8, recordsPerAppend: 16, bytes: 64 * KIB };
  const device = await run.shared("sync-write", () => buildProgram(run.workspace, "sync-write"));
  const file = run.workspace.path("device");
  const result = await compare(run, {
    name: "journaled, appends of 1 MiB",
    turnMs: Math.max(run.turnMs, 200),
    contestants: {
      direct: appender(() => openLevel(run, "direct", point), { producers: 8, bytes: MIB }),
      tierlog: appender(() => openLevel(run, "journaled", point), { producers: 8, bytes: MIB }),
      bare: bareSync(run.workspace, MIB, 1),
      device: {
        open: async () =>
          device === undefined
            ? { skipped: "no C compiler: cannot write past the page cache" }
            : { turn: (ms) => device(file, MIB, ms, "direct") },
      },
    },
  });
  addRow(run, result, {
    id: "append.journaled.1MiB.device",
    what: "journaled, o_direct, appends of 1 MiB",
    unit: "B/s",
    own: ["direct", "bytesPerSecond"],
    other: ["device", "bytesPerSecond", "O_DIRECT writes of 1 MiB (C)"],
  });
  addRow(run, result, {
    id: "append.journaled.1MiB.bare",
    what: "journaled, appends of 1 MiB",
    unit: "B/s",
    own: ["tierlog", "bytesPerSecond"],
    other: ["bare", "bytesPerSecond", "1 MiB write+fdatasync"],
  });
}

/** The same as the base point, with the uploads that go on behind the acks. */
async function whileUploading(run) {
  const sink = await run.shared("sink", () => startSink(run.workspace));
  const result = await compare(run, {
    name: "journaled, while uploading",
    turnMs: run.turnMs,
    contestants: {
      uploading: appender(() => openTierlog(run.workspace, { ...BASE, store: sink, flags: JOURNALED }), BASE),
      alone: appender(() => openLevel(run, "journaled", BASE), BASE),
    },
  });
  addRow(run, result, {
    id: "append.journaled.256x1KiB.uploading",
    what: "journaled, 256 × 1 KiB, while uploading to the sink",
    unit: "appends/s",
    own: ["uploading", "rate"],
    other: ["alone", "rate", "without a store"],
  });
}
