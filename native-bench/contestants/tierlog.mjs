import { Engine, loadConfig } from "../../dist/index.js";
import { closedLoop } from "../load/closed-loop.mjs";
import { payloads } from "../load/payload.mjs";
import { createNullStore } from "./null-store.mjs";

/** What would go on beside the measurement and is measured by rows of its own. */
const QUIET = {
  "system.merge.enabled": "false",
  "system.gc.enabled": "false",
  "system.index.checkpoint_every": "65536",
  "system.flush.max_pending": "1 GiB",
};

/**
 * An engine in a directory of the workspace.
 *
 * @param options  `flags`: of the configuration. `store`: "null" (within the process), "fs", a sink, or an `ObjectStore`
 */
export async function openEngine(workspace, { flags = {}, store = "null" } = {}) {
  const path = workspace.path("store");
  const objectStore = store === "null" ? createNullStore() : typeof store.put === "function" ? store : undefined;
  const { config } = await loadConfig({
    env: {},
    cwd: workspace.directory,
    flags: {
      "system.path": path,
      "system.storage.kind": "fs",
      ...QUIET,
      ...(store.flags === undefined ? {} : { ...store.flags, "system.storage.object.prefix": path.split("/").at(-1) }),
      ...flags,
    },
  });
  return await Engine.open(config, objectStore === undefined ? {} : { objectStore });
}

/**
 * Flags of an engine that acknowledges from its journal. What is uploaded makes room in it: at the default rate a run at full speed would
 * be a run over files that are made for it.
 */
export const JOURNALED = {
  "system.storage.object.ack_after_upload": "false",
  "system.journal.max_size": "8 GiB",
  "system.journal.catch_up_rate": "64 GiB",
};

/** Files of the journal that were used before, and are used again, before a measurement begins. */
const RECYCLED_MIN = 3;
const WARM_UP_BYTES_MAX = 1024 * 1024 * 1024;
/** At least so many different ones. */
const APPENDS = 16;

/**
 * tierlog as a contestant of appends.
 *
 * @param options  as of `openEngine`, and `ack`, `bytes` of a value, `partitions`, `compression`, `recordsPerAppend`; `fresh`: with the
 *                 journal as it was made, else it first goes over its files once
 * @returns `{ append(producer): Promise, engine, close() }`
 */
export async function openTierlog(workspace, options) {
  const { bytes, ack, partitions = 1, compression = "none", recordsPerAppend = 1 } = options;
  const engine = await openEngine(workspace, options);
  await engine.createTopic("bench", { partitions, compression });
  const topic = await engine.topic("bench");
  // No value is in two appends: of what comes again within a batch, a compressor would make less than of real records.
  const values = payloads(bytes, Math.max(256, APPENDS * recordsPerAppend));
  const appends = Array.from({ length: Math.floor(values.length / recordsPerAppend) }, (_, i) =>
    values.slice(i * recordsPerAppend, (i + 1) * recordsPerAppend).map((value) => ({ value })),
  );
  const parts = Array.from({ length: partitions }, (_, i) => topic.partition(i));
  const given = ack === undefined ? undefined : { ack };
  const journaled = options.flags?.["system.storage.object.ack_after_upload"] === "false";
  if (journaled && options.fresh !== true) await recycleFiles(engine, parts[0]);
  let n = 0;
  return {
    engine,
    append: (producer) => parts[producer % partitions].append(appends[n++ % appends.length], given),
    close: () => engine.close(),
  };
}

const COMPILED_MS = 1500;

/**
 * Half of its first second an engine spends on code that is compiled and memory that is touched for the first time: what a server
 * does once. Called at the beginning of a suite that opens engines.
 */
export async function compileCode(workspace, options) {
  const tierlog = await openTierlog(workspace, { bytes: 1024, ...options });
  try {
    await closedLoop(tierlog.append, 256, COMPILED_MS);
  } finally {
    await tierlog.close();
  }
}

/** Until the journal goes over files that it wrote before: a new one is written twice, first with zeros. */
async function recycleFiles(engine, partition) {
  // Of a row of sevens LZ4 would leave nothing to write.
  const append = payloads(64 * 1024, 15).map((value) => ({ value }));
  for (let bytes = 0; engine.metrics().journal.filesRecycled < RECYCLED_MIN; bytes += 8 * 1024 * 1024) {
    if (bytes >= WARM_UP_BYTES_MAX) throw new Error("no file of the journal was used again: is nothing uploaded?");
    await Promise.all(Array.from({ length: 8 }, () => partition.append(append)));
    await engine.flush();
  }
}
