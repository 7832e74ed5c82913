import { closeSync, fdatasyncSync, openSync, writeSync } from "node:fs";

import { Histogram } from "../load/histogram.mjs";

const FILE_BYTES = 64 * 1024 * 1024;

/**
 * The limit of a group commit: rounds of one write and one fdatasync over a file that was filled with zeros before, by calls that
 * block, which is faster than by the thread pool. `rate` counts `perRound` appends for each.
 */
export function bareSync(workspace, bytes, perRound) {
  return {
    async open() {
      const fd = openSync(workspace.path("bare"), "w+");
      const zeros = Buffer.alloc(256 * 1024);
      const fileBytes = Math.max(FILE_BYTES, bytes);
      for (let at = 0; at < fileBytes; at += zeros.length) writeSync(fd, zeros, 0, zeros.length, at);
      fdatasyncSync(fd);
      const block = Buffer.alloc(bytes, 7);
      let position = 0;
      return {
        async turn(ms) {
          const histogram = new Histogram();
          const began = performance.now();
          let now = began;
          while (now < began + ms) {
            if (position + bytes > fileBytes) position = 0;
            writeSync(fd, block, 0, bytes, position);
            fdatasyncSync(fd);
            position += Math.ceil(bytes / 512) * 512;
            const then = performance.now();
            histogram.record(then - now);
            now = then;
          }
          const rounds = histogram.count / ((now - began) / 1000);
          return {
            rate: rounds * perRound,
            bytesPerSecond: rounds * bytes,
            p50: histogram.at(0.5),
            p99: histogram.at(0.99),
          };
        },
        async close() {
          closeSync(fd);
        },
      };
    },
  };
}
