import type { DeletedStore } from "../../engine/stores.ts";
import { InvalidArgumentError } from "../../errors.ts";
import type { Command } from "../command.ts";
import { resolveContextConfig } from "../context.ts";
import { EXIT_OK } from "../exit-code.ts";
import { formatBytes, formatCount } from "../numbers.ts";
import { parsePrefix, showPrefix } from "../store-prefix.ts";

export const storesDelete: Command = {
  name: "stores delete",
  usage: "PREFIX --yes [flags]",
  summary: "delete a store with everything in it",
  details:
    "Deletes what tierlog made below PREFIX (/ for the top), ends the multipart uploads that are open there, and deletes FORMAT last: " +
    "a delete that was interrupted is repeated by the same command. Other objects below the prefix stay. Refuses a prefix without " +
    "FORMAT, and one with other stores below it. Stop every process that uses the store first. Versions that a bucket keeps are its own.",
  flags: [{ name: "yes", help: "really do it; nothing asks again" }],
  positionals: ["PREFIX"],
  examples: ["tierlog stores delete teams/orders --yes"],

  run(context, args) {
    const { output, interruption, runtime } = context;
    const prefix = parsePrefix(args.positional(0));
    if (!args.has("yes")) {
      throw new InvalidArgumentError(
        "--yes",
        undefined,
        `is missing: every record of the store at ${showPrefix(prefix)} would be gone for good (tierlog stores describe ${showPrefix(prefix)} shows them)`,
      );
    }
    return interruption.exitCodeOf(async (signal) => {
      const { config } = await resolveContextConfig(context);
      const { deleteStore } = await import("../../engine/stores.ts");
      const deleted = await deleteStore(config, prefix, {
        signal,
        runtime,
        onProgress: ({ doing, objects, bytes }) =>
          output.progress(`${doing}; ${formatCount(objects)} objects, ${formatBytes(bytes)} gone`),
      });
      if (output.json) await output.writeJson({ ...deleted, uploads: deleted.uploads ?? null });
      else if (output.isTerminal) output.message(told(deleted));
      if (deleted.uploads === undefined) {
        output.message("warning: the store does not tell of open uploads; a lifecycle rule ends those that were left");
      }
      if (deleted.othersLeft) {
        output.message(`warning: below ${showPrefix(prefix)} there are objects that are not tierlog's; they were left`);
      }
      return EXIT_OK;
    });
  },
};

function told({ storeId, prefix, objects, bytes, uploads }: DeletedStore): string {
  const ended = uploads === undefined || uploads === 0 ? "" : `, and ${formatCount(uploads)} open uploads`;
  return `store ${storeId} at ${showPrefix(prefix)} is deleted: ${formatCount(objects)} objects, ${formatBytes(bytes)}${ended}`;
}
