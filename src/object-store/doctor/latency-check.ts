import { answerOf } from "../probe/race-create.ts";
import { ok, skipped, type CheckSpec } from "./check.ts";

const PUT_BYTES = 4096;
const PUTS_MAX = 100;
/** Enough to say anything; after that the time counts. */
const PUTS_MIN = 20;
const TIME_MAX_MS = 10_000;

/** What each ack waits for at least: a flush is one such request. One after the other, without retries. */
export const LATENCY_CHECK: CheckSpec = {
  name: "latency of a 4 KiB PUT",
  severity: "info",
  hint: "",
  needs: ["s3:PutObject"],
  async run(lab) {
    const { once, key, clock, random } = lab;
    const body = random.bytes(PUT_BYTES);
    const took: number[] = [];
    let failed = 0;
    let conditional = true;
    const startedMs = clock.monotonic();
    for (let i = 0; i < PUTS_MAX; i++) {
      const sentMs = clock.monotonic();
      if (i >= PUTS_MIN && sentMs - startedMs > TIME_MAX_MS) break;
      try {
        await once.put(key(`latency-${i}`), body, { condition: { kind: conditional ? "if-absent" : "none" } });
        took.push(clock.monotonic() - sentMs);
      } catch (error) {
        const answer = answerOf(error);
        if (answer.kind === "unsupported" && !conditional) throw error;
        if (answer.kind === "unsupported") {
          conditional = false;
          i -= 1;
        } else failed += 1;
      }
    }
    if (took.length < PUTS_MIN) return skipped(`${failed} of ${took.length + failed} PUTs failed`);
    took.sort((a, b) => a - b);
    const at = (share: number): number => round(took[Math.ceil(share * took.length) - 1] ?? 0);
    const p50 = at(0.5);
    const p99 = at(0.99);
    lab.latencyMs = { p50, p99 };
    const { createHeader } = lab;
    const what = conditional ? `with ${createHeader}` : `without ${createHeader}, which the store refuses`;
    const aside = failed === 0 ? "" : `, ${failed} more failed`;
    return ok(`${p50} ms median, ${p99} ms for the slowest 1 % of ${took.length}, ${what}${aside}`);
  },
};

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}
