import { monitorEventLoopDelay } from "node:perf_hooks";

import { Histogram } from "./histogram.mjs";

/** Appends that may be without an ack; beyond it the offered load is more than is taken, and the run says so. */
const OUTSTANDING_MAX = 200_000;

/**
 * `rate` appends per second on a fixed schedule, whatever the acks do. The latency of each is counted from the moment at which it
 * was due, not from when it could be sent: what stands in a queue because of a slow one before it is not left out.
 *
 * The schedule is looked at by a timer of 1 ms, so latencies include up to that: it tells tails apart, not tenths of a millisecond.
 *
 * @returns as `closedLoop`, and `loopDelayP99` in ms, `overloaded`
 */
export async function openLoop(send, rate, ms) {
  const histogram = new Histogram();
  const delay = monitorEventLoopDelay({ resolution: 1 });
  let failure;
  let sent = 0;
  let settled = 0;
  let overloaded = false;
  const cpu = process.cpuUsage();
  const began = performance.now();
  const total = Math.floor((rate * ms) / 1000);
  delay.enable();
  await new Promise((done) => {
    const settle = () => {
      settled++;
      if (settled === sent && (sent === total || overloaded || failure !== undefined)) done();
    };
    const tick = () => {
      const due = Math.min(total, Math.floor(((performance.now() - began) * rate) / 1000));
      while (sent < due) {
        if (failure !== undefined) break;
        if (sent - settled >= OUTSTANDING_MAX) {
          overloaded = true;
          break;
        }
        const dueAt = began + (sent * 1000) / rate;
        const producer = sent++;
        send(producer).then(
          () => {
            histogram.record(performance.now() - dueAt);
            settle();
          },
          (error) => {
            failure ??= error;
            settle();
          },
        );
      }
      if (sent < total && !overloaded && failure === undefined) setTimeout(tick, 1);
      else if (settled === sent) done();
    };
    setTimeout(tick, 1);
  });
  delay.disable();
  if (failure !== undefined) throw failure;
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return {
    rate: histogram.count / seconds,
    p50: histogram.at(0.5),
    p90: histogram.at(0.9),
    p99: histogram.at(0.99),
    p999: histogram.at(0.999),
    max: histogram.maxMs,
    cores: (user + system) / 1e6 / seconds,
    // The monitor counts its own interval of 1 ms.
    loopDelayP99: Math.max(0, delay.percentile(99) / 1e6 - 1),
    overloaded,
  };
}
