// What processes under test have in common: lines that leave the process before it goes on, choices from a seed, a look at the clock.
import { writeSync } from "node:fs";

// A test that is interrupted leaves nobody behind.
const parent = process.ppid;
setInterval(() => process.ppid !== parent && process.exit(1), 500).unref();

/** What was printed has left the process before it goes on: a stream would queue it while the reader is slow, and die with it. */
export function print(text) {
  for (let rest = Buffer.from(text); rest.length > 0;) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

/** Mulberry32: enough for choices, and the same choices for the same seed. */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The gap shows that this process stood still. Acks printed before its line may have been decided before it did. */
export function printGaps() {
  let beat = Date.now();
  setInterval(() => {
    const now = Date.now();
    if (now - beat > 1000) print(`H ${now - beat}\n`);
    beat = now;
  }, 20);
}

/** Ends the process as the CLI would, and says with what. */
export function endWith(error) {
  process.stderr.write(`${error.stack}\n`);
  print(`C ${error.code ?? error.name}\n`);
  process.exit(error.exitCode ?? 70);
}
