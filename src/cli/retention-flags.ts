import { formatDuration, parseDuration } from "../config/duration.ts";
import type { Parsed } from "../config/quantity.ts";
import { formatSize, parseSize } from "../config/size.ts";
import type { RetentionLimit, TopicDescription } from "../engine/api.ts";
import { InvalidArgumentError } from "../errors.ts";
import type { ParsedArguments } from "./arguments.ts";
import type { Signature } from "./signature.ts";

export const RETENTION_FLAGS: Signature["flags"] = [
  {
    name: "retention-ms",
    value: "TIME",
    help: "how long records are kept at least, as in 7d; off: for ever (default: system.retention.ms)",
  },
  {
    name: "retention-bytes",
    value: "SIZE",
    help: "how much of each partition is kept at least, as in 10GiB; off: all (default: system.retention.bytes)",
  },
];

/** What the flags say; those that are not given are absent. `InvalidArgumentError`. */
export function retentionOf<Word extends string = "off">(
  args: ParsedArguments,
  words: readonly Word[],
): { readonly retentionMs?: number | Word; readonly retentionBytes?: number | Word } {
  const ms = limitOf(args, "retention-ms", parseDuration, words);
  const bytes = limitOf(args, "retention-bytes", parseSize, words);
  return {
    ...(ms === undefined ? {} : { retentionMs: ms }),
    ...(bytes === undefined ? {} : { retentionBytes: bytes }),
  };
}

function limitOf<Word extends string>(
  args: ParsedArguments,
  name: string,
  parse: (text: string) => Parsed<number>,
  words: readonly Word[],
): number | Word | undefined {
  const text = args.text(name);
  const word = words.find((candidate) => candidate === text);
  if (text === undefined || word !== undefined) return word;
  const parsed = parse(text);
  if (!parsed.ok)
    throw new InvalidArgumentError(`--${name}`, text, `"${text}" ${parsed.problem}; or ${words.join(", ")}`);
  if (parsed.value === 0)
    throw new InvalidArgumentError(`--${name}`, text, `"${text}" keeps nothing; write ${words.join(", ")}`);
  return parsed.value;
}

/** For people. */
export function formatRetention({
  retentionMs,
  retentionBytes,
}: TopicDescription): readonly (readonly [string, string])[] {
  const show = (limit: RetentionLimit | undefined, format: (value: number) => string): string =>
    limit === undefined ? "as configured" : limit === "off" ? "off" : format(limit);
  return [
    ["retention.ms", show(retentionMs, formatDuration)],
    ["retention.bytes", show(retentionBytes, formatSize)],
  ];
}
