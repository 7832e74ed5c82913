import type { Command } from "../command.ts";
import { resolveContextConfig } from "../context.ts";
import { EXIT_OK } from "../exit-code.ts";
import { parsePrefix, showPrefix } from "../store-prefix.ts";
import { formatTable } from "../table.ts";

const DEPTH_MAX = 64;

export const storesList: Command = {
  name: "stores list",
  usage: "[--prefix PREFIX] [--depth N] [flags]",
  summary: "list the stores of a bucket or directory",
  details:
    "Finds the stores at and below a prefix, level by level, by their FORMAT objects; what they hold is not gone through. What lies " +
    "deeper than --depth is named on stderr. A store that cannot be read, for its format or its key, is listed with the reason. " +
    "With --json: an object per line.",
  flags: [
    {
      name: "prefix",
      value: "PREFIX",
      help: "look only there (default: the whole bucket, or directory store below path)",
    },
    { name: "depth", value: "N", help: "levels to look at below the prefix, 0 … 64 (default: 4)" },
  ],
  positionals: [],
  examples: ["tierlog stores list --config config.toml", "tierlog stores list --prefix teams --depth 1 --json"],

  run(context, args) {
    const { output, interruption, runtime } = context;
    const given = args.text("prefix");
    const prefix = given === undefined ? "" : parsePrefix(given);
    const depth = args.integer("depth", 0, DEPTH_MAX);
    return interruption.exitCodeOf(async (signal) => {
      const { config } = await resolveContextConfig(context);
      const { listStores } = await import("../../engine/stores.ts");
      const { stores, unexplored } = await listStores(config, {
        prefix,
        ...(depth === undefined ? {} : { depth }),
        signal,
        runtime,
        onProgress: (progress) =>
          output.progress(`${progress.stores} stores; looking at ${showPrefix(progress.prefix)}`),
      });
      if (output.json) {
        for (const { problem, ...store } of stores) {
          const known = problem === undefined ? store : { prefix: store.prefix, problem };
          await output.writeJson(known);
        }
      } else {
        const rows = stores.map(({ prefix: at, storeId = "-", formatVersion, createdAt = "-", problem }) => [
          showPrefix(at),
          storeId,
          formatVersion === undefined ? "-" : String(formatVersion),
          problem === undefined ? createdAt : problem,
        ]);
        await output.writeLine(formatTable(["PREFIX", "ID", "FORMAT", "CREATED"], rows));
      }
      const [first] = unexplored;
      if (first !== undefined) {
        const more = unexplored.length === 1 ? "" : ` and ${unexplored.length - 1} more prefixes`;
        output.message(`not looked below ${first}${more}: deeper than --depth`, { unexplored });
      }
      return EXIT_OK;
    });
  },
};
