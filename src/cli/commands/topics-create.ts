import { TOPIC_ACKS } from "../../engine/topic-ack.ts";
import { InvalidArgumentError } from "../../errors.ts";
import type { Command } from "../command.ts";
import { withEngine } from "../engine-session.ts";
import { EXIT_OK } from "../exit-code.ts";

export const topicsCreate: Command = {
  name: "topics create",
  usage: "NAME --partitions N [--compression none|lz4] [--ack journaled|uploaded]",
  summary: "create a topic",
  details:
    "Creates a topic, and the store itself where it is empty. Names are letters, digits, dots, hyphens and underscores.",
  flags: [
    { name: "partitions", value: "N", help: "number of partitions, 1 … 100,000; it cannot be changed later" },
    { name: "compression", value: "CODEC", help: "codec of the batches: none or lz4 (default: none)" },
    {
      name: "ack",
      value: "LEVEL",
      help:
        "when appends are acknowledged: journaled (needs system.storage.object.ack_after_upload = false) or uploaded (default: as " +
        "the configuration of whoever appends says)",
    },
  ],
  positionals: ["NAME"],
  examples: [
    "tierlog topics create events --partitions 16 --compression lz4",
    "tierlog topics create payments --partitions 4 --ack uploaded",
  ],

  run(context, args) {
    const partitions = args.integer("partitions", 1, Number.MAX_SAFE_INTEGER);
    if (partitions === undefined) {
      throw new InvalidArgumentError(
        "--partitions",
        undefined,
        "is missing; how many partitions shall the topic have?",
      );
    }
    const compression = args.choice("compression", ["none", "lz4"]) ?? "none";
    const ack = args.choice("ack", TOPIC_ACKS);
    return withEngine(context, { readOnly: false, appends: false }, async (engine) => {
      const topic = await engine.createTopic(args.positional(0), {
        partitions,
        compression,
        ...(ack === undefined ? {} : { ack }),
      });
      if (context.output.json) await context.output.writeJson(topic);
      else if (context.output.isTerminal) context.output.message(`topic ${topic.name} is created`);
      return EXIT_OK;
    });
  },
};
