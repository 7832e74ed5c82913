import { InvalidArgumentError } from "../../errors.ts";
import type { Command } from "../command.ts";
import { withEngine } from "../engine-session.ts";
import { EXIT_OK } from "../exit-code.ts";

export const trim: Command = {
  name: "trim",
  usage: "TOPIC --partition N --before OFFSET [--take-over]",
  summary: "move the start of a partition",
  details:
    "What lies below OFFSET is not read any more; its space is freed later (tierlog help gc). Takes the shard of the partition over, which " +
    "ends the turn of a producer that runs: without --take-over it refuses unless the last owner has given the shard back. Goes to " +
    "the end of what is in the store at most. Where records wait in this machine's journal they are sent first.",
  flags: [
    { name: "partition", value: "N", help: "the partition" },
    { name: "before", value: "OFFSET", help: "the new start; one at or below the old start changes nothing" },
    { name: "take-over", help: "also where the last owner has not given the shard back" },
  ],
  positionals: ["TOPIC"],
  examples: [
    "tierlog trim events --partition 0 --before 1000",
    "tierlog trim events --partition 0 --before 1000 --take-over",
  ],

  async run(context, args) {
    const name = args.positional(0);
    const number = required("--partition", args.integer("partition", 0, Number.MAX_SAFE_INTEGER));
    const before = required("--before", args.integer("before", 0, Number.MAX_SAFE_INTEGER));
    // Beside whoever owns the shard: opened for writing, an engine may take shards over for what is in its journal.
    const found = await withEngine(context, { readOnly: true }, async (engine) =>
      (await engine.topic(name)).partition(number).inspect(),
    );
    if (found.owner !== "" && !args.has("take-over")) {
      throw new InvalidArgumentError(
        "--take-over",
        undefined,
        `is missing: shard ${found.shard} belongs to ${found.owner} since epoch ${found.epoch}, which has not given it back. Stop it ` +
          "first, or give --take-over to end its turn",
      );
    }
    return withEngine(context, { readOnly: false }, async (engine) => {
      const partition = (await engine.topic(name)).partition(number);
      const { start: oldStart } = await partition.watermarks();
      const newStart = await partition.trim({ before });
      const { output } = context;
      if (output.json) await output.writeJson({ topic: name, partition: number, oldStart, newStart });
      else await output.writeLine(`${name}/${number}: start ${oldStart} → ${newStart}`);
      return EXIT_OK;
    });
  },
};

function required(flag: string, value: number | undefined): number {
  if (value === undefined) throw new InvalidArgumentError(flag, undefined, "is missing");
  return value;
}
