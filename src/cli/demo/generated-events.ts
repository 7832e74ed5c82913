import type { Random } from "../../runtime/random.ts";
import type { LineBatch } from "../line-batches.ts";

const ACTIONS = ["view", "search", "add_to_cart", "checkout", "login", "logout", "refund"];
const PAGES = ["/", "/products", "/products/coffee-grinder", "/cart", "/account/orders", "/help/shipping"];

/** JSON lines as a shop's web server would send them, about 140 bytes each. The same `random` gives the same events. */
export function* generateEvents(
  random: Random,
  startMs: number,
  count: number,
  batchLines: number,
): Generator<LineBatch> {
  let timeMs = startMs;
  for (let id = 0; id < count;) {
    const lines: Uint8Array[] = [];
    let bytes = 0;
    while (lines.length < batchLines && id < count) {
      timeMs += Math.floor(random.float() * 20);
      const event = {
        id: id++,
        time: timeMs,
        user: `user-${Math.floor(random.float() * 50_000)}`,
        action: pick(random, ACTIONS),
        page: pick(random, PAGES),
        durationMs: Math.floor(random.float() * 3000),
        amount: Math.floor(random.float() * 100_000) / 100,
      };
      const line = Buffer.from(JSON.stringify(event));
      lines.push(line);
      bytes += line.length;
    }
    yield { lines, bytes };
  }
}

function pick(random: Random, options: readonly string[]): string {
  return options[Math.floor(random.float() * options.length)] ?? "";
}
