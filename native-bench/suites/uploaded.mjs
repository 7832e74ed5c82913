import { PutObjectCommand } from "@aws-sdk/client-s3";

import { appender } from "../contestants/appender.mjs";
import { barePuts, defaultClient, NULL_BUCKET } from "../contestants/s3-clients.mjs";
import { compileCode, openTierlog } from "../contestants/tierlog.mjs";
import { addRow, compare } from "../harness/compare.mjs";
import { openLoop } from "../load/open-loop.mjs";
import { startSink } from "../sink/start-sink.mjs";

const KIB = 1024;
const STORE_DELAY_MS = 50;
const LINGER_MS = 20;
const RATE = 2000;

export const uploaded = {
  name: "uploaded",
  mode:
    `acks from the store: one producer at linger 0 against a bare PUT of as many bytes with If-None-Match; open loop of ${RATE} × 1 KiB per ` +
    `second, linger ${LINGER_MS} ms, a store that answers ${STORE_DELAY_MS} ms late; overlap: flushes of 16 MiB in parts of 8 MiB, that store`,
  blindSpots: ["the late store delays every answer alike and takes any number of requests at once"],
  async run(run) {
    const sink = await run.shared("sink", () => startSink(run.workspace));
    await compileCode(run.workspace, { store: sink, flags: { "system.flush.linger": "0ms" } });
    await oneProducer(run);
    const far = await startSink(run.workspace);
    await openLoopOf(run, far);
    await overlap(run, far);
  },
};

async function oneProducer(run) {
  const sink = await run.shared("sink", () => startSink(run.workspace));
  const flags = { "system.flush.linger": "0ms" };
  const load = { producers: 1, bytes: KIB };
  const bytes = await bytesOfOneFlush(run, sink, flags);
  const body = Buffer.alloc(bytes, 7);
  const client = async () => {
    const s3 = defaultClient(sink);
    let n = 0;
    return {
      append: () =>
        s3.send(new PutObjectCommand({ Bucket: NULL_BUCKET, Key: `data/c${++n}`, Body: body, IfNoneMatch: "*" })),
      close: async () => s3.destroy(),
    };
  };
  const result = await compare(run, {
    name: "uploaded, one producer",
    turnMs: run.turnMs,
    contestants: {
      tierlog: appender(() => openTierlog(run.workspace, { store: sink, flags, bytes: KIB }), load),
      bare: appender(async () => barePuts(sink, body, { conditional: true }), load),
      client: appender(client, load),
    },
  });
  const row = { what: "uploaded, 1 × 1 KiB, linger 0, p50", unit: "ms", own: ["tierlog", "p50"] };
  addRow(run, result, {
    ...row,
    id: "uploaded.one.p50",
    other: ["bare", "p50", `PUT of ${bytes} B by node:http, p50`],
  });
  addRow(run, result, {
    ...row,
    id: "uploaded.one.client",
    other: ["client", "p50", "the same by client-s3 as it comes"],
  });
}

/** What the engine sends for one append of 1 KiB. */
async function bytesOfOneFlush(run, sink, flags) {
  const tierlog = await openTierlog(run.workspace, { store: sink, flags, bytes: KIB });
  try {
    await tierlog.append(0);
    const before = tierlog.engine.metrics().storedBytes;
    await tierlog.append(0);
    return tierlog.engine.metrics().storedBytes - before;
  } finally {
    await tierlog.close();
  }
}

async function openLoopOf(run, far) {
  const result = await compare(run, {
    name: "uploaded, open loop, a store far away",
    turnMs: run.full ? 2000 : 500,
    contestants: {
      tierlog: {
        async open() {
          await far.setDelay(0);
          const flags = { "system.flush.linger": `${LINGER_MS}ms` };
          const tierlog = await openTierlog(run.workspace, { store: far, flags, bytes: KIB });
          await tierlog.append(0);
          await far.setDelay(STORE_DELAY_MS);
          return { turn: (ms) => openLoop(tierlog.append, RATE, ms), close: () => tierlog.close() };
        },
      },
      rtt: appender(async () => barePuts(far, Buffer.alloc(KIB, 7)), { producers: 1, bytes: KIB }),
    },
  });
  for (const [metric, share] of [
    ["p50", 1.6],
    ["p99", 2.2],
  ]) {
    addRow(run, result, {
      id: `uploaded.open.${metric}`,
      what: `uploaded, ${RATE.toLocaleString("en")}/s, store ${STORE_DELAY_MS} ms away, ${metric}`,
      unit: "ms",
      own: ["tierlog", metric],
      other: ["rtt", "p50", `linger + ${share} RTT`],
      convert: (rtt) => LINGER_MS + share * rtt,
    });
  }
}

/** Flushes that overlap against flushes one by one: there is then no room for the bytes of a second one. */
async function overlap(run, far) {
  const point = { store: far, bytes: 64 * KIB, recordsPerAppend: 4, partitions: 16 };
  // As many as fill four flushes and the next; one by one fewer wait as well, or the end of each turn would be all waiting.
  const load = (producers) => ({ producers, bytes: 256 * KIB });
  const flags = { "system.flush.linger": "10ms", "system.flush.max_bytes": "16 MiB" };
  const opened = (maxPending) => async () => {
    await far.setDelay(0);
    const all = { ...flags, "system.flush.max_pending": maxPending };
    const tierlog = await openTierlog(run.workspace, { ...point, flags: all });
    await far.setDelay(STORE_DELAY_MS);
    return tierlog;
  };
  const result = await compare(run, {
    name: "uploaded, flushes that overlap",
    turnMs: run.full ? 2000 : 500,
    contestants: {
      overlapping: appender(opened("256 MiB"), load(384)),
      serial: appender(opened("16 MiB"), load(96)),
    },
  });
  addRow(run, result, {
    id: "uploaded.overlap",
    what: `uploaded, flushes of 16 MiB, store ${STORE_DELAY_MS} ms away`,
    unit: "B/s",
    own: ["overlapping", "bytesPerSecond"],
    other: ["serial", "bytesPerSecond", "one flush at a time"],
  });
}
