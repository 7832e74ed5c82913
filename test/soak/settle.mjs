// Brings what a journal holds to the store, then stays until merging has nothing to do, and leaves.
//   node settle.mjs '{"config":"c.toml"}'
import { setTimeout as sleep } from "node:timers/promises";

import { Engine, loadConfig } from "../../dist/index.js";
import { endWith, print } from "../crash/rounds/child-lines.mjs";

/** More than segment.max_age and a few looks. */
const QUIET_MS = 2_500;

const job = JSON.parse(process.argv[2]);
print(`P ${process.pid}\n`);
try {
  const { config } = await loadConfig({ file: job.config, env: process.env, cwd: process.cwd() });
  const engine = await Engine.open(config);
  print("O\n");
  await engine.recover();
  let before = -1;
  for (let quietMs = 0; quietMs < QUIET_MS; quietMs += 100) {
    await sleep(100);
    const { merges, running } = engine.metrics().merge;
    if (merges !== before || running > 0) quietMs = 0;
    before = merges;
  }
  print(`L ${JSON.stringify(await engine.close())}\nC done\n`);
  process.exit(0);
} catch (error) {
  endWith(error);
}
