import { isAbsolute, join } from "node:path";

import type { DumpItem } from "../../engine/dump-object.ts";
import type { Command } from "../command.ts";
import { resolveContextConfig, type CommandContext } from "../context.ts";
import { EXIT_DAMAGE, EXIT_OK } from "../exit-code.ts";
import { recordJson } from "../record-json.ts";

export const dump: Command = {
  name: "dump",
  usage: "NAME [--records] [flags]",
  summary: "show what one object of the store holds, or one file of a journal",
  details:
    "NAME is the key of an object below the prefix, an end of a key that only one object has, as 42.idx, or the path of a file of a " +
    "journal (.jrn). Shows index files, data objects with their batches, checkpoints, catalogs, FORMAT and probe results part by part, " +
    "with byte positions. Where bytes fail a check it says where and why, and shows what could be read. Changes nothing. " +
    "With --json: an object per line, each with a type. Exit codes: 0 all of it is whole; 65 something is damaged; 66 not found.",
  flags: [{ name: "records", help: "show the records of batches too" }],
  positionals: ["NAME"],
  examples: [
    "tierlog dump 42.idx --records",
    "tierlog dump data/4f/0000-0000000001-0000000000-4f00112233445566.log",
    "tierlog dump tierlog-data/journal/0000/0000.jrn --json | jq -c 'select(.type == \"frame\")'",
  ],

  run(context, args) {
    const { output, interruption } = context;
    return interruption.exitCodeOf(async (signal) => {
      let damaged = false;
      for await (const item of await open(context, args.positional(0), args.has("records"), signal)) {
        damaged ||= item.type === "damage";
        if (output.json) await output.writeJson(asJson(item));
        else await output.writeLine(formatItem(item));
      }
      return damaged ? EXIT_DAMAGE : EXIT_OK;
    });
  },
};

async function open(
  context: CommandContext,
  name: string,
  records: boolean,
  signal: AbortSignal,
): Promise<AsyncGenerator<DumpItem>> {
  const { runtime, configSource } = context;
  const { dumpJournalFile, isJournalFile } = await import("../../engine/dump/dump-journal-file.ts");
  if (isJournalFile(name)) {
    const path = isAbsolute(name) ? name : join(configSource.cwd, name);
    return dumpJournalFile(path, runtime.fileSystem, records);
  }
  const { config } = await resolveContextConfig(context);
  const { dumpObject } = await import("../../engine/dump-object.ts");
  return dumpObject(config, name, { records, signal, runtime });
}

function asJson({ type, position, fields = {}, record }: DumpItem): Record<string, unknown> {
  return {
    type,
    ...(position === undefined ? {} : { position }),
    ...fields,
    ...(record === undefined ? {} : fieldsOf(record)),
  };
}

function formatItem({ type, depth, position, fields = {}, record }: DumpItem): string {
  const head = position === undefined ? type : `${type} at ${position}`;
  const shown = Object.entries(record === undefined ? fields : fieldsOf(record)).map(
    ([name, value]) => `${spaced(name)} ${textOf(value)}`,
  );
  if (type === "damage") return `${"  ".repeat(depth)}${head}: ${String(fields["problem"])}`;
  if (type === "json") return JSON.stringify(fields["value"], undefined, 2);
  return `${"  ".repeat(depth)}${head}${shown.length === 0 ? "" : `: ${shown.join(", ")}`}`;
}

function fieldsOf(record: NonNullable<DumpItem["record"]>): Record<string, unknown> {
  const { partition: _, ...fields } = recordJson(0, record);
  return fields;
}

function textOf(value: unknown): string {
  return typeof value === "string" && /^[\w./:-]+$/.test(value) ? value : (JSON.stringify(value) ?? "-");
}

/** "maxTimestampMs" as "max timestamp ms". */
function spaced(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}
