// Opens the engine, brings what the journal holds into the chain, says what was found, and leaves.
//   node recover.mjs CONFIG.toml
// Prints "P pid", "R report" (JSON) for each shard's recovery, "L left" (JSON, what close left in the journal), "C done".
import { writeSync } from "node:fs";

import { Engine, loadConfig } from "../../../dist/index.js";

writeSync(1, `P ${process.pid}\n`);
try {
  const { config } = await loadConfig({ file: process.argv[2], env: process.env, cwd: process.cwd() });
  const engine = await Engine.open(config);
  writeSync(1, "O\n");
  await engine.recover();
  for (const report of engine.recoveryReports()) writeSync(1, `R ${JSON.stringify(report)}\n`);
  const left = await engine.close();
  writeSync(1, `L ${JSON.stringify(left)}\nC done\n`);
} catch (error) {
  process.stderr.write(`${error.stack}\n`);
  writeSync(1, `C ${error.code ?? error.name}\n`);
  process.exitCode = error.exitCode ?? 70;
}
