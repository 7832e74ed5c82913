/**
 * Acks per second and their latency at level "journaled", against a bare loop that writes the same bytes to a file of the same disk
 * and syncs them, in turn within one run.
 *
 *   npm run bench:journal -- [directory] [seconds per turn] [turns]
 *
 * Blind spots: producers run in the engine's own process, each with one append at a time; the store is a directory on the same disk
 * and gets its uploads meanwhile; the bare loop knows nothing but bytes; recycled files on both sides.
 */
import { mkdtempSync, openSync, rmSync, closeSync, writeSync, fdatasyncSync, write, fdatasync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";

import { defaultConfig, Engine } from "../dist/index.js";

const directory = mkdtempSync(join(resolve(process.argv[2] ?? tmpdir()), "tierlog-bench-"));
const seconds = Number(process.argv[3] ?? 2);
const turns = Number(process.argv[4] ?? 5);
const PRODUCERS = [1, 256, 4096];
const SIZES = [100, 1024];
const BARE_FILE_BYTES = 64 * 1024 * 1024;

const median = (list) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)];
const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];

/** Rounds of `bytes` written over a file made of zeros, one sync each. */
async function bare(bytes, milliseconds) {
  const path = join(directory, "bare");
  const fd = openSync(path, "w+");
  const zeros = Buffer.alloc(256 * 1024);
  for (let at = 0; at < BARE_FILE_BYTES; at += zeros.length) writeSync(fd, zeros, 0, zeros.length, at);
  fdatasyncSync(fd);
  const block = Buffer.alloc(bytes, 7);
  const latencies = [];
  const end = performance.now() + milliseconds;
  let position = 0;
  await new Promise((done, fail) => {
    const round = () => {
      const began = performance.now();
      if (began >= end) return done();
      if (position + bytes > BARE_FILE_BYTES) position = 0;
      write(fd, block, 0, bytes, position, (error) => {
        if (error) return fail(error);
        fdatasync(fd, (problem) => {
          if (problem) return fail(problem);
          latencies.push(performance.now() - began);
          position += Math.ceil(bytes / 512) * 512;
          round();
        });
      });
    };
    round();
  });
  closeSync(fd);
  latencies.sort((a, b) => a - b);
  return { rate: latencies.length / (milliseconds / 1000), p50: at(latencies, 0.5), p99: at(latencies, 0.99) };
}

async function journaled(partition, producers, bytes, milliseconds) {
  const records = [{ value: Buffer.alloc(bytes, 7) }];
  const latencies = [];
  const began = performance.now();
  const end = began + milliseconds;
  await Promise.all(
    Array.from({ length: producers }, async () => {
      for (let now = performance.now(); now < end;) {
        await partition.append(records);
        const then = performance.now();
        latencies.push(then - now);
        now = then;
      }
    }),
  );
  const elapsed = performance.now() - began;
  latencies.sort((a, b) => a - b);
  return { rate: latencies.length / (elapsed / 1000), p50: at(latencies, 0.5), p99: at(latencies, 0.99) };
}

console.log(
  `node ${process.version}, ${cpus()[0]?.model} × ${cpus().length}, fsync always, recycled files, ${turns} turns of ${seconds} s`,
);
console.log("producers  record    acks/s   of bare  p50 ms  p99 ms   bare rounds/s  bare p50  bare p99");
try {
  for (const bytes of SIZES) {
    for (const producers of PRODUCERS) {
      const config = defaultConfig({
        path: join(directory, `store-${bytes}-${producers}`),
        storage: { kind: "fs", object: { ackAfterUpload: false } },
      });
      const engine = await Engine.open(config);
      await engine.createTopic("bench", { partitions: 1 });
      const partition = (await engine.topic("bench")).partition(0);
      await journaled(partition, producers, bytes, 500);
      const own = [];
      const other = [];
      for (let turn = 0; turn < turns; turn++) {
        other.push(await bare(bytes * producers, seconds * 500));
        own.push(await journaled(partition, producers, bytes, seconds * 1000));
      }
      const pick = (list, name) => median(list.map((one) => one[name]));
      const ratio = pick(own, "rate") / (pick(other, "rate") * producers);
      console.log(
        `${String(producers).padStart(9)}  ${`${bytes} B`.padStart(6)}  ${Math.round(pick(own, "rate")).toLocaleString("en").padStart(8)}  ${ratio.toFixed(2).padStart(8)}  ` +
          `${pick(own, "p50").toFixed(2).padStart(6)}  ${pick(own, "p99").toFixed(2).padStart(6)}  ${Math.round(pick(other, "rate")).toLocaleString("en").padStart(14)}  ` +
          `${pick(other, "p50").toFixed(2).padStart(8)}  ${pick(other, "p99").toFixed(2).padStart(8)}`,
      );
      await engine.close();
      rmSync(config.path, { recursive: true, force: true });
    }
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}
