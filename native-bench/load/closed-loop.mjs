import { Histogram } from "./histogram.mjs";

/**
 * `producers` callers, each with one append on its way: the next goes out when the last was acknowledged. Finds the peak rate; its
 * latencies are those of a full queue. They leave out what a producer that kept its own pace would have waited (coordinated
 * omission): for that there is the open loop.
 *
 * @param send  `(producer) => Promise`, one append. Its first rejection ends the run and is thrown.
 * @param ms    how long new appends are sent; what is on its way then is waited for and counts.
 * @returns acks per second, latencies in ms, CPU seconds of this process per second (`cores`)
 */
export async function closedLoop(send, producers, ms) {
  const histogram = new Histogram();
  let failure;
  const cpu = process.cpuUsage();
  const began = performance.now();
  const end = began + ms;
  await new Promise((done) => {
    let open = producers;
    const close = () => {
      if (--open === 0) done();
    };
    for (let producer = 0; producer < producers; producer++) {
      let sentAt = began;
      const fail = (error) => {
        failure ??= error;
        close();
      };
      const next = () => {
        let promise;
        try {
          promise = send(producer);
        } catch (error) {
          fail(error);
          return;
        }
        promise.then(acknowledged, fail);
      };
      const acknowledged = () => {
        const now = performance.now();
        histogram.record(now - sentAt);
        if (now >= end || failure !== undefined) {
          close();
          return;
        }
        sentAt = now;
        next();
      };
      next();
    }
  });
  if (failure !== undefined) throw failure;
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return {
    rate: histogram.count / seconds,
    p50: histogram.at(0.5),
    p99: histogram.at(0.99),
    p999: histogram.at(0.999),
    max: histogram.maxMs,
    cores: (user + system) / 1e6 / seconds,
  };
}
