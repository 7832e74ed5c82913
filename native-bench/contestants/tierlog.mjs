import { Engine, loadConfig } from "../../dist/index.js";
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
 * @param options  `flags`: of the configuration. `store`: "null" (within the process), "fs", or a sink
 */
export async function openEngine(workspace, { flags = {}, store = "null" } = {}) {
  const path = workspace.path("store");
  const { config } = await loadConfig({
    env: {},
    cwd: workspace.directory,
    flags: {
      "system.path": path,
      "system.storage.kind": "fs",
      ...QUIET,
      ...(typeof store === "string" ? {} : { ...store.flags, "system.storage.object.prefix": path.split("/").at(-1) }),
      ...flags,
    },
  });
  return await Engine.open(config, store === "null" ? { objectStore: createNullStore() } : {});
}

/** Flags of an engine that acknowledges from its journal. */
export const JOURNALED = {
  "system.storage.object.ack_after_upload": "false",
  "system.journal.max_size": "8 GiB",
};

/** At least so many different ones. */
const APPENDS = 16;

/**
 * tierlog as a contestant of appends.
 *
 * @param options  as of `openEngine`, and `ack`, `bytes` of a value, `partitions`, `compression`, `recordsPerAppend`
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
  let n = 0;
  return {
    engine,
    append: (producer) => parts[producer % partitions].append(appends[n++ % appends.length], given),
    close: () => engine.close(),
  };
}
