import type { Config } from "../../config/config.ts";
import type { TopicDescription } from "../../engine/api.ts";
import { InvalidArgumentError } from "../../errors.ts";
import type { ParsedArguments } from "../arguments.ts";
import type { Command } from "../command.ts";
import { resolveContextConfig, type CommandContext } from "../context.ts";
import { withEngine } from "../engine-session.ts";
import { EXIT_OK } from "../exit-code.ts";
import { readJournals } from "../journal/read-journals.ts";
import {
  appendFile,
  cutJournals,
  planSalvage,
  type AppendedFile,
  type AsideFile,
  type BrokenJournal,
  type CutJournal,
  type SalvagePlan,
} from "../journal/salvage.ts";
import { formatBytes, formatCount } from "../numbers.ts";
import { formatRanges } from "../partition-ranges.ts";

export const journalSalvage: Command = {
  name: "journal salvage",
  usage: "[--shard N] [--append [--file NAME]] [--yes] [flags]",
  summary: "cut a damaged journal, append what was set aside",
  details:
    "Without --yes it says what it would do. A damaged journal is cut: whole frames before the damage stay and are recovered as ever, " +
    "those behind it are set aside; what the damaged frames held is lost. With --append the records that were set aside, now or by a " +
    "recovery, are appended as new records to their topics, in their order, and their file is renamed to ….done; records of a topic " +
    "that is gone are named and stay in the file. Interrupted, it begins the file anew the next time: some records are then there " +
    "twice. Needs the journal for itself, and the store.",
  flags: [
    { name: "shard", value: "N", help: "only the journal of this shard" },
    { name: "append", help: "append the records that were set aside" },
    { name: "file", value: "NAME", help: "of what was set aside only this file, as tierlog journal inspect names it" },
    { name: "yes", help: "really do it; nothing asks again" },
  ],
  positionals: [],
  examples: ["tierlog journal salvage", "tierlog journal salvage --append --yes"],

  async run(context, args) {
    const shard = args.integer("shard", 0, 9999);
    const file = args.text("file");
    if (file !== undefined && !args.has("append")) {
      throw new InvalidArgumentError("--file", file, "names what --append appends: it is missing");
    }
    const { config } = await resolveContextConfig(context);
    const plan = planSalvage(await readJournals(config, context.runtime.fileSystem, shard), file);
    await (args.has("yes") ? carryOut(context, args, plan) : tellPlan(context, args, plan));
    return EXIT_OK;
  },
};

async function tellPlan({ output }: CommandContext, args: ParsedArguments, plan: SalvagePlan): Promise<void> {
  const append = args.has("append");
  if (output.json) {
    await output.writeJson({ done: false, broken: plan.broken, append: append ? plan.aside : [] });
    return;
  }
  const sections = [
    ...plan.broken.map(brokenLines),
    ...plan.aside.map(({ file, records, partitions, problem }) => {
      const head = `${file}: ${formatCount(records)} records`;
      if (problem !== undefined) return `${head} can be read, then it is damaged: ${problem}`;
      const fate = append ? "would be appended" : "are set aside; --append would append them";
      return `${head} ${fate}\n${formatRanges(partitions)}`;
    }),
  ];
  const does = plan.broken.some(({ cut }) => cut) || (append && plan.aside.length > 0);
  sections.push(does ? "Nothing was done: --yes does it." : "There is nothing to do.");
  await output.writeLine(sections.join("\n\n"));
}

function brokenLines({ shard, problems, cut, damage }: BrokenJournal): string {
  const lines = [`shard ${shard} cannot be opened: ${problems.join("; ")}`];
  if (!cut) return [...lines, "cutting it does not help"].join("\n");
  const places = damage.map(({ file, position, sequence, problem }) => {
    const frame = sequence === undefined ? "" : `frame ${sequence}: `;
    return `  ${file}, byte ${position}: ${frame}${problem}`;
  });
  return [...lines, "it would be cut at the first of", ...places].join("\n");
}

async function carryOut(context: CommandContext, args: ParsedArguments, plan: SalvagePlan): Promise<void> {
  const { output } = context;
  const cuts = plan.broken.some(({ cut }) => cut) ? await cut(context, plan) : [];
  if (!output.json) {
    for (const report of cuts) await output.writeLine(formatCut(report));
  }
  const appended = args.has("append") ? await append(context, args) : [];
  if (output.json) await output.writeJson({ done: true, cuts, appended });
  else if (cuts.length === 0 && appended.length === 0) await output.writeLine("There is nothing to do.");
}

function formatCut({ shard, file, records, bytes }: CutJournal): string {
  const behind =
    file === undefined
      ? "nothing whole stood behind the damage"
      : `${formatCount(records)} records (${formatBytes(bytes)}) that stood behind the damage are in ${file}`;
  return `shard ${shard} is cut: ${behind}`;
}

function cut(context: CommandContext, { broken }: SalvagePlan): Promise<readonly CutJournal[]> {
  return withEngine(context, { readOnly: true }, ({ storeId }, config) =>
    cutJournals(config, context.runtime, storeId, broken),
  );
}

/** The files are looked for again: a cut has made another one. */
async function append(context: CommandContext, args: ParsedArguments): Promise<AppendedFile[]> {
  const { output, runtime } = context;
  const files = async (config: Config): Promise<readonly AsideFile[]> =>
    planSalvage(await readJournals(config, runtime.fileSystem, args.integer("shard", 0, 9999)), args.text("file"))
      .aside;
  if ((await files((await resolveContextConfig(context)).config)).length === 0) return [];
  return withEngine(context, { readOnly: false }, async (engine, config) => {
    const topics = await engine.listTopics();
    const done: AppendedFile[] = [];
    for (const file of await files(config)) {
      const appended = await appendFile(engine, config, runtime, file, (records) =>
        output.progress(`${file.file}: ${formatCount(records)} records appended`),
      );
      done.push(appended);
      if (!output.json) await output.writeLine(formatAppended(appended, topics));
    }
    return done;
  });
}

function formatAppended(
  { file, records, bytes, partitions, skipped, doneFile }: AppendedFile,
  topics: readonly TopicDescription[],
): string {
  const nameOf = (id: string): string | undefined => topics.find((topic) => topic.id === id)?.name;
  const lines =
    doneFile === undefined
      ? [`${file}: nothing was appended`]
      : [
          `${file}: ${formatCount(records)} records, ${formatBytes(bytes)} are appended; it is ${doneFile} now`,
          formatRanges(partitions, nameOf),
        ];
  if (skipped.length > 0) lines.push("left out, their topics are gone:", formatRanges(skipped));
  return lines.join("\n");
}
