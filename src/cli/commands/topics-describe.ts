import type { Command } from "../command.ts";
import { withEngine } from "../engine-session.ts";
import { EXIT_OK } from "../exit-code.ts";
import { formatCount } from "../numbers.ts";
import { formatRetention } from "../retention-flags.ts";
import { formatFields } from "../table.ts";

export const topicsDescribe: Command = {
  name: "topics describe",
  usage: "NAME [flags]",
  summary: "show how a topic was created",
  details: "Shows the settings of a topic. What is stored in it is shown by tierlog inspect.",
  flags: [],
  positionals: ["NAME"],
  examples: ["tierlog topics describe events"],

  run: (context, args) =>
    withEngine(context, { readOnly: true }, async (engine) => {
      const topic = await engine.describeTopic(args.positional(0));
      if (context.output.json) await context.output.writeJson(topic);
      else {
        const shards = [...new Set(topic.shards)].sort((a, b) => a - b);
        await context.output.writeLine(
          formatFields([
            ["name", topic.name],
            ["id", topic.id],
            ["partitions", formatCount(topic.partitions)],
            ["compression", topic.compression],
            ["ack", topic.ack ?? "as configured"],
            ...formatRetention(topic),
            ["shards", shards.join(", ")],
            ["created", topic.createdAt],
          ]),
        );
      }
      return EXIT_OK;
    }),
};
