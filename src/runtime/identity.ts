import { hostname } from "node:os";
import { pid } from "node:process";

import type { Random } from "./random.ts";

/** Who writes, for people: host, process and a few random digits, as in `node-7:4711:9f3c`. Decides nothing. */
export function writerIdentity(random: Random): string {
  return `${hostname()}:${pid}:${Buffer.from(random.bytes(2)).toString("hex")}`;
}

/** Who holds a lock, for people. */
export function processIdentity(): { readonly pid: number; readonly host: string } {
  return { pid, host: hostname() };
}
