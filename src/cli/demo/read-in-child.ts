import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

import { InvariantError } from "../../errors.ts";
import { ReaderError, type ReadAnswer, type ReadJob } from "./child-message.ts";
import type { ReadResult } from "./read-demo.ts";

/** Runs the reading in a process of its own: nothing that this one has in memory can help it. Works in the built CLI only. */
export async function readInChild(job: ReadJob, signal: AbortSignal): Promise<ReadResult> {
  // Named as it is built: TypeScript rewrites imports, not this.
  const program = fileURLToPath(new URL("./child-main.js", import.meta.url));
  const child = spawn(process.execPath, [program], { stdio: ["pipe", "pipe", "inherit"], signal });
  // A child that dies early tells so by its exit, not by the pipe that breaks.
  child.stdin.on("error", () => undefined);
  child.stdin.end(JSON.stringify(job));
  const [output, [exitCode]] = await Promise.all([
    text(child.stdout),
    once(child, "close") as Promise<[number | null]>,
  ]);
  const answer = parseAnswer(output);
  if (answer === undefined)
    throw new InvariantError(`the reading process ended with ${String(exitCode)} and no answer`);
  if (!answer.ok) throw new ReaderError(answer.error);
  return answer.result;
}

function parseAnswer(output: string): ReadAnswer | undefined {
  try {
    return JSON.parse(output) as ReadAnswer;
  } catch {
    return undefined;
  }
}
