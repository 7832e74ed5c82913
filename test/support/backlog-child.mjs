// Appends to a journaled shard while its store is away, then lets the store come back, and prints how far the memory of this process
// grew. Plain JavaScript on dist/: a process of its own, without the test runner's memory in the way.
//
//     node backlog-child.mjs DIRECTORY TOTAL_MIB FLUSH_MIB
import { join } from "node:path";

import { createFsStore, defaultConfig, Engine, ObjectStoreError, systemRuntime } from "../../dist/index.js";

const MIB = 1024 * 1024;
const [directory, ...numbers] = process.argv.slice(2);
const [totalMiB, flushMiB] = numbers.map(Number);

const config = defaultConfig({
  path: join(directory, "data"),
  storage: { object: { ackAfterUpload: false } },
  flush: { maxBytes: flushMiB * MIB },
  journal: { fileSizeBytes: 16 * MIB, maxSizeBytes: 2 * totalMiB * MIB, fsync: "never" },
  cache: { tailSizeBytes: MIB, sizeBytes: MIB },
});

let away = false;
const inner = createFsStore({ root: join(directory, "store"), ...systemRuntime });
const objectStore = {
  ...inner,
  put: (key, body, options) =>
    away
      ? Promise.reject(new ObjectStoreError("away", { operation: "put", key, retryable: true }, { effect: "none" }))
      : inner.put(key, body, options),
};

const engine = await Engine.open(config, { objectStore });
await engine.createTopic("t", { partitions: 4 });
const topic = await engine.topic("t");
await topic.append([{ value: Buffer.from("warm") }], { ack: "uploaded" });

const before = process.memoryUsage().rss;
let rssMax = before;
const watch = setInterval(() => {
  rssMax = Math.max(rssMax, process.memoryUsage().rss);
}, 20);
away = true;
const value = Buffer.alloc(64 * 1024, 1);
for (let mib = 0; mib < totalMiB; mib++) {
  await Promise.all(Array.from({ length: 16 }, (_, i) => topic.partition(i % 4).append([{ value }])));
}
const lagMiB = Math.round(engine.metrics().journal.lagBytes / MIB);
const grownAwayBytes = rssMax - before;
away = false;
await engine.flush();
const { journaled } = await engine.close();
clearInterval(watch);
console.log(JSON.stringify({ lagMiB, grownAwayBytes, grownBytes: rssMax - before, journaled }));
