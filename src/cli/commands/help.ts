import { nearest } from "../../config/nearest.ts";
import { InvalidArgumentError } from "../../errors.ts";
import type { Command } from "../command.ts";
import { COMMON_FLAGS, type FlagSpec } from "../signature.ts";
import { formatTable, wrapText } from "../table.ts";

const WIDTH = 100;

/** The page of `tierlog --help`. */
export function overviewHelp(commands: readonly Command[]): string {
  return `tierlog: partitioned append-only logs whose durable home is an object store

${list(commands)}

First steps, in an empty directory:
  tierlog demo
  tierlog topics create events --partitions 4
  echo hello | tierlog produce events
  tierlog consume events

tierlog help COMMAND shows what a command does and takes. Without --config the logs are kept in ./tierlog-data; the
file config.toml in the package explains every setting, and tierlog config check shows those in force.

Exit codes: 0 done; 64 wrong arguments; 65 bad data; 66 not found; 69 a store that cannot keep writers apart;
70 a bug; 75 try again later; 76 doctor: an unusable store; 77 fenced by another writer; 78 wrong configuration;
130, 143 interrupted. With TIERLOG_DEBUG=1 errors come with their stack.
`;
}

/** The page of the first word of several commands, as in `tierlog topics --help`. */
export function groupHelp(commands: readonly Command[]): string {
  return `${list(commands)}\n`;
}

export function commandHelp(command: Command): string {
  const flags = [...command.flags, ...COMMON_FLAGS].flatMap(flagLines);
  return `tierlog ${command.name} ${command.usage}

${wrapText(command.details, WIDTH).join("\n")}

Flags
${flags.join("\n")}

Examples
${command.examples.map((example) => `  ${example}`).join("\n")}
`;
}

/** The error for a command that does not exist. */
export function unknownCommand(words: readonly string[], commands: readonly Command[]): InvalidArgumentError {
  const names = commands.map(({ name }) => name);
  const [first = ""] = words;
  const group = names.filter((name) => name.startsWith(`${first} `)).map((name) => name.slice(first.length + 1));
  if (group.length > 0) {
    const second = words[1];
    const problem = second === undefined ? "needs one more word" : `has no command "${second}"`;
    return new InvalidArgumentError(`tierlog ${first}`, second, `${problem}: ${group.join(", ")}`);
  }
  const found = nearest(first, [...new Set(names.flatMap((name) => [name, name.split(" ")[0] ?? name]))]);
  const hint = found === undefined ? "" : `did you mean tierlog ${found}? `;
  return new InvalidArgumentError(first, undefined, `unknown command; ${hint}See tierlog --help`);
}

function list(commands: readonly Command[]): string {
  const rows = commands.map((command) => [`  tierlog ${command.name}`, command.summary]);
  return formatTable(["Commands", ""], rows);
}

function flagLines(flag: FlagSpec): string[] {
  const head = `  --${flag.name}${flag.value === undefined ? "" : ` ${flag.value}`}`;
  const [first = "", ...rest] = wrapText(flag.help, WIDTH - 26);
  // Too long a head gets a line of its own.
  const lines = head.length > 24 ? [head, `${" ".repeat(26)}${first}`] : [`${head.padEnd(26)}${first}`];
  return [...lines, ...rest.map((line) => `${" ".repeat(26)}${line}`)];
}
