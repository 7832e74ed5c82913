import type { Contents, StoreDescription } from "../../engine/stores.ts";
import type { Command } from "../command.ts";
import { resolveContextConfig } from "../context.ts";
import { EXIT_OK } from "../exit-code.ts";
import { formatBytes, formatCount } from "../numbers.ts";
import { parsePrefix, showPrefix } from "../store-prefix.ts";
import { formatFields, formatTable } from "../table.ts";

export const storesDescribe: Command = {
  name: "stores describe",
  usage: "PREFIX [flags]",
  summary: "show what a store holds and who writes to it",
  details:
    "Shows id, format version, topics, shards with their owners, the newest probe result, and objects and bytes, which are counted " +
    "by listing: a request per 1,000 objects. Changes nothing and disturbs no writer. What an object store cannot tell is left out: " +
    "uploads under way are not counted.",
  flags: [],
  positionals: ["PREFIX"],
  examples: ["tierlog stores describe teams/orders", "tierlog stores describe / --json | jq .total"],

  run(context, args) {
    const { output, interruption, runtime } = context;
    const prefix = parsePrefix(args.positional(0));
    return interruption.exitCodeOf(async (signal) => {
      const { config } = await resolveContextConfig(context);
      const { describeStore } = await import("../../engine/stores.ts");
      const description = await describeStore(config, prefix, {
        signal,
        runtime,
        onProgress: ({ doing, ...so }) => output.progress(`${doing}; ${formatContents(so)} so far`),
      });
      if (output.json) await output.writeJson({ ...description, probe: description.probe ?? null });
      else await output.writeLine(formatDescription(description));
      return EXIT_OK;
    });
  },
};

function formatDescription(store: StoreDescription): string {
  const { contents, total, topics, shards, probe } = store;
  const sections = [
    formatFields([
      ["prefix", showPrefix(store.prefix)],
      ["id", store.storeId],
      ["format version", String(store.formatVersion)],
      ["created", store.createdAt],
      ["probe", probe === undefined ? "none stored" : `${probe.verdict}, since ${probe.createdAt}`],
      ["total", formatContents(total)],
      ...Object.entries(contents).map(([name, of]) => [`  ${name}`, formatContents(of)] as const),
    ]),
  ];
  if (topics.length > 0) {
    const rows = topics.map(({ name, partitions, compression, ack, createdAt }) => [
      name,
      formatCount(partitions),
      compression,
      ack ?? "as configured",
      createdAt,
    ]);
    sections.push(formatTable(["TOPIC", "PARTITIONS", "COMPRESSION", "ACK", "CREATED"], rows));
  }
  if (shards.length > 0) {
    const rows = shards.map(({ shard, epoch, links, owner }) => [
      ...[shard, epoch, links].map(formatCount),
      owner === "" ? "-" : owner,
    ]);
    sections.push(formatTable(["SHARD", "EPOCH", "LINKS", "OWNER"], rows));
  }
  return sections.join("\n\n");
}

function formatContents({ objects, bytes }: Contents): string {
  return `${formatCount(objects)} objects, ${formatBytes(bytes)}`;
}
