import type { Command } from "../command.ts";
import { withEngine } from "../engine-session.ts";
import { EXIT_OK } from "../exit-code.ts";
import { formatCount } from "../numbers.ts";
import { formatTable } from "../table.ts";

export const topicsList: Command = {
  name: "topics list",
  usage: "[flags]",
  summary: "list the topics",
  details: "Lists all topics, by name. With --json: an object per line, as topics describe gives it.",
  flags: [],
  positionals: [],
  examples: ["tierlog topics list"],

  run: (context) =>
    withEngine(context, { readOnly: true }, async (engine) => {
      const topics = await engine.listTopics();
      if (context.output.json) {
        for (const topic of topics) await context.output.writeJson(topic);
      } else {
        const rows = topics.map((topic) => [
          topic.name,
          formatCount(topic.partitions),
          topic.compression,
          topic.ack ?? "as configured",
          topic.createdAt,
        ]);
        await context.output.writeLine(formatTable(["TOPIC", "PARTITIONS", "COMPRESSION", "ACK", "CREATED"], rows));
      }
      return EXIT_OK;
    }),
};
