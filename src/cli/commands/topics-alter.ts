import { InvalidArgumentError } from "../../errors.ts";
import type { Command } from "../command.ts";
import { withEngine } from "../engine-session.ts";
import { EXIT_OK } from "../exit-code.ts";
import { retentionOf, RETENTION_FLAGS } from "../retention-flags.ts";

export const topicsAlter: Command = {
  name: "topics alter",
  usage: "NAME [--retention-ms 7d|off|default] [--retention-bytes 10GiB|off|default]",
  summary: "change how long a topic keeps its records",
  details:
    "Changes the limits that are given; default goes back to the configuration of whoever writes. The engine that owns a shard looks every " +
    "system.retention.check_interval and trims whole flushes. What is trimmed is not read any more; its space is freed later (tierlog help gc).",
  flags: RETENTION_FLAGS,
  positionals: ["NAME"],
  examples: ["tierlog topics alter events --retention-ms 7d", "tierlog topics alter events --retention-bytes off"],

  run(context, args) {
    const change = retentionOf(args, ["off", "default"]);
    if (Object.keys(change).length === 0)
      throw new InvalidArgumentError(
        "topics alter",
        undefined,
        "nothing to change: give --retention-ms or --retention-bytes",
      );
    return withEngine(context, { readOnly: false, appends: false }, async (engine) => {
      const topic = await engine.alterTopic(args.positional(0), change);
      if (context.output.json) await context.output.writeJson(topic);
      else if (context.output.isTerminal) context.output.message(`topic ${topic.name} is changed`);
      return EXIT_OK;
    });
  },
};
