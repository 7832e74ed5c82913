import type { Command } from "../command.ts";
import { resolveContextConfig } from "../context.ts";
import { EXIT_OK } from "../exit-code.ts";
import { parsePrefix, showPrefix } from "../store-prefix.ts";

export const storesCreate: Command = {
  name: "stores create",
  usage: "PREFIX [flags]",
  summary: "create an empty store",
  details:
    "Probes the bucket, as the first engine would, and creates the object FORMAT below PREFIX (/ for the top). Refuses a prefix that " +
    "holds a store or anything else, and one above or below another store. Not needed: the first topic creates the store of the " +
    "configuration too.",
  flags: [],
  positionals: ["PREFIX"],
  examples: ["tierlog stores create teams/orders --config config.toml"],

  async run(context, args) {
    const { output, runtime } = context;
    const prefix = parsePrefix(args.positional(0));
    const { config } = await resolveContextConfig(context);
    const { createStore } = await import("../../engine/stores.ts");
    const { storeId, formatVersion, createdAt } = await createStore(config, prefix, { runtime });
    if (output.json) await output.writeJson({ prefix, storeId, formatVersion, createdAt });
    else if (output.isTerminal) output.message(`store ${storeId ?? ""} is created at ${showPrefix(prefix)}`);
    return EXIT_OK;
  },
};
