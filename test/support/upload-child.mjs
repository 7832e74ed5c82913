// Pushes many bytes through a BufferedMultipartWriter into a slow store that keeps nothing, and prints how far the memory of this
// process grew. Plain JavaScript on dist/: a process of its own, without the test runner's memory in the way.
//
//     node upload-child.mjs TOTAL_MIB MIB_PER_SECOND PART_MIB PARTS_IN_FLIGHT

import { setTimeout as sleep } from "node:timers/promises";

import { BufferedMultipartWriter } from "../../dist/object-store/buffered-multipart-writer.js";
import { PartBufferPool } from "../../dist/object-store/part-buffer-pool.js";

const MIB = 1024 * 1024;
const [totalMiB, mibPerSecond, partMiB, partsInFlight] = process.argv.slice(2).map(Number);

/** One line for all parts: each waits for those before it. */
let line = Promise.resolve();
const upload = {
  async putPart(partNumber, body) {
    const sent = line.then(() => sleep((body.length / MIB / mibPerSecond) * 1000));
    line = sent;
    await sent;
    return { partNumber, etag: `e${partNumber}`, sizeBytes: body.length };
  },
  complete: async () => ({ kind: "completed" }),
  abort: async () => undefined,
};
const store = { createMultipart: async () => upload };

const pool = new PartBufferPool({ partSizeBytes: partMiB * MIB, buffersMax: 1000 });
const writer = new BufferedMultipartWriter({ store, key: "k", pool, partsInFlight });
const chunk = Buffer.alloc(MIB, 1);
const before = process.memoryUsage.rss();
let rssMax = before;
let bufferedMax = 0;
for (let i = 0; i < totalMiB; i++) {
  await writer.write(chunk);
  rssMax = Math.max(rssMax, process.memoryUsage.rss());
  bufferedMax = Math.max(bufferedMax, writer.bufferedBytes);
}
const { sizeBytes, parts } = await writer.finish();
console.log(JSON.stringify({ sizeBytes, parts, grownBytes: rssMax - before, bufferedMax, poolBytes: pool.sizeBytes }));
