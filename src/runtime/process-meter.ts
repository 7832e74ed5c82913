import { monitorEventLoopDelay, type IntervalHistogram } from "node:perf_hooks";

/** What this process took, all threads together. */
export interface ProcessUsage {
  /** User and system. */
  readonly cpuSeconds: number;
  /** Since the process began. */
  readonly rssPeakBytes: number;
  /** How late the event loop came to its timers, for the latest 1 %. */
  readonly loopDelayP99Ms: number;
}

const RESOLUTION_MS = 5;

/** From `start` to `stop`. */
export class ProcessMeter {
  readonly #cpu: NodeJS.CpuUsage;
  readonly #delay: IntervalHistogram;

  private constructor() {
    this.#cpu = process.cpuUsage();
    this.#delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    this.#delay.enable();
  }

  static start(): ProcessMeter {
    return new ProcessMeter();
  }

  stop(): ProcessUsage {
    const { user, system } = process.cpuUsage(this.#cpu);
    this.#delay.disable();
    // The time between two of its timers: of a loop that is never late that is the resolution.
    const p99Ms = this.#delay.count === 0 ? 0 : this.#delay.percentile(99) / 1e6 - RESOLUTION_MS;
    return {
      cpuSeconds: (user + system) / 1e6,
      rssPeakBytes: process.resourceUsage().maxRSS * 1024,
      loopDelayP99Ms: Math.max(0, p99Ms),
    };
  }
}
