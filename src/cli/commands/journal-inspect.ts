import type { Command } from "../command.ts";
import { resolveContextConfig } from "../context.ts";
import { EXIT_OK } from "../exit-code.ts";
import { formatInspection, inspectionJson } from "../journal/format-inspection.ts";
import { readJournals } from "../journal/read-journals.ts";

export const journalInspect: Command = {
  name: "journal inspect",
  usage: "[--shard N] [flags]",
  summary: "show what lies in the journal",
  details:
    "Reads system.journal.path and changes nothing: files, frames, what is not in the store yet, a torn tail, damage, and what was set " +
    "aside, with topic ids and offsets. Needs no lock and no store. Beside a process that writes there the last frames may look torn: " +
    "they are being written.",
  flags: [{ name: "shard", value: "N", help: "only the journal of this shard" }],
  positionals: [],
  examples: ["tierlog journal inspect", "tierlog journal inspect --json | jq '.journals[].live.records'"],

  async run(context, args) {
    const { output, runtime } = context;
    const shard = args.integer("shard", 0, 9999);
    const { config } = await resolveContextConfig(context);
    const found = await readJournals(config, runtime.fileSystem, shard);
    if (output.json) await output.writeJson({ path: config.journal.path, journals: found.map(inspectionJson) });
    else await output.writeLine(found.map(formatInspection).join("\n\n\n"));
    return EXIT_OK;
  },
};
