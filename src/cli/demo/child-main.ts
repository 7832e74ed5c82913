/** The reading process of the demo: takes a `ReadJob` on stdin, answers a `ReadAnswer` on stdout. */
import { text } from "node:stream/consumers";

import { asTierlogError } from "../../errors.ts";
import { systemRuntime } from "../../runtime/runtime.ts";
import { resolveContextConfig } from "../context.ts";
import { silenceNodeVersionWarning } from "../node-version-warning.ts";
import type { ReadAnswer, ReadJob } from "./child-message.ts";
import { readDemo, type ReadResult } from "./read-demo.ts";

silenceNodeVersionWarning(process.env);
// Ctrl-C reaches the whole group of processes: the parent decides, and ends this one by closing its pipes.
process.on("SIGINT", () => undefined);

const answer = await read(JSON.parse(await text(process.stdin)) as ReadJob).then(
  (result): ReadAnswer => ({ ok: true, result }),
  (error: unknown): ReadAnswer => ({ ok: false, error: asTierlogError(error).toJSON() }),
);
process.stdout.write(JSON.stringify(answer));

async function read(job: ReadJob): Promise<ReadResult> {
  const { config } = await resolveContextConfig({ configSource: job.source, env: process.env });
  const { Engine } = await import("../../engine/engine.ts");
  const engine = await Engine.open(config, { readOnly: true, runtime: systemRuntime });
  try {
    return await readDemo(engine, job.topic);
  } finally {
    await engine.close();
  }
}
