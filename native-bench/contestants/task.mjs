import { Bench } from "tinybench";

/**
 * A synchronous or asynchronous function as a contestant, timed by tinybench. `rate` counts `perCall` for each call.
 *
 * @param make  makes the function; called once
 */
export function task(make, { perCall = 1, bytesPerCall = 0 } = {}) {
  return {
    async open() {
      const made = await make();
      if (made.skipped !== undefined) return made;
      return {
        async turn(ms) {
          const bench = new Bench({ time: ms, warmupTime: ms / 10, iterations: 4, warmupIterations: 1 });
          bench.add("task", made);
          await bench.warmup();
          await bench.run();
          const { result } = bench.tasks[0];
          if (result.error !== undefined) throw result.error;
          const perSecond = 1000 / result.mean;
          return { rate: perSecond * perCall, bytesPerSecond: perSecond * bytesPerCall };
        },
      };
    },
  };
}

/** One of the C programs as a contestant. */
export function program(run, name, ...given) {
  return {
    async open() {
      const { buildProgram } = await import("../limits/programs.mjs");
      const execute = await run.shared(name, () => buildProgram(run.workspace, name));
      if (execute === undefined) return { skipped: `${name}.c: no C compiler, or no library for it` };
      return { turn: (ms) => execute(...given.map((one) => (one === "MS" ? Math.round(ms) : one))) };
    },
  };
}
