import type { Command } from "../command.ts";
import { withEngine } from "../engine-session.ts";
import { EXIT_OK } from "../exit-code.ts";

export const topicsDelete: Command = {
  name: "topics delete",
  usage: "NAME [flags]",
  summary: "delete a topic with all its records",
  details:
    "Deletes a topic at once, without asking. Producers that run get a not-found error within seconds. A topic created again " +
    "under the same name is another topic.",
  flags: [],
  positionals: ["NAME"],
  examples: ["tierlog topics delete events"],

  run: (context, args) =>
    withEngine(context, { readOnly: false, appends: false }, async (engine) => {
      const name = args.positional(0);
      await engine.deleteTopic(name);
      if (context.output.json) await context.output.writeJson({ name, deleted: true });
      else if (context.output.isTerminal) context.output.message(`topic ${name} is deleted`);
      return EXIT_OK;
    }),
};
